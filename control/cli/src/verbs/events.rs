//! `weir events`: the audit log, newest last.

use std::io::Write;

use clap::Args;
use weir_api::{Change, Record, RecordBody};
use weir_link::Event;

use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, moment};

/// Shows decisions and administrative acts, one a line, newest last.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir events --follow --source 198.51.100.0/24\n  weir events --id 3f9c02d4a1b87e65"
)]
pub struct Events {
    /// Go on with those that come.
    #[arg(long, short)]
    follow: bool,
    /// At most so many lines, of those that there are [default: 100].
    #[arg(short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Only after this number.
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only from this address or prefix.
    #[arg(long, value_name = "PREFIX")]
    source: Option<String>,
    /// Only of this stated user, or of a domain: `@corp.example`.
    #[arg(long)]
    user: Option<String>,
    /// Only by this rule, `SET/NAME`, or by a set: `SET/`.
    #[arg(long)]
    rule: Option<String>,
    /// Only with this reference id, as block pages show it.
    #[arg(long)]
    id: Option<String>,
}

impl Events {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        client
            .lines(&self.path(), |line| {
                if out.json {
                    writeln!(out, "{line}")?;
                } else {
                    match serde_json::from_str(line) {
                        Ok(Record {
                            body: RecordBody::Event(event),
                            ..
                        }) => {
                            writeln!(out, "{}", row(out, &event))?;
                        }
                        Ok(Record {
                            body: RecordBody::Change(change),
                            ..
                        }) => {
                            writeln!(out, "{}", act(out, &change))?;
                        }
                        Err(_) => writeln!(out, "{}", clean(line))?,
                    }
                }
                Ok(out.flush()?)
            })
            .await
    }

    fn path(&self) -> String {
        let conditions = [
            ("follow", self.follow.then(|| "true".to_owned())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("after", self.after.map(|after| after.to_string())),
            ("source", self.source.clone()),
            ("user", self.user.clone()),
            ("rule", self.rule.clone()),
            ("id", self.id.clone()),
        ];
        let query: Vec<_> = conditions
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encode(&value?))))
            .collect();
        format!("/v1/events?{}", query.join("&"))
    }
}

fn row(out: &Out, event: &Event) -> String {
    let colour = match event.decision.as_str() {
        "pass" => Colour::Good,
        "redirect" | "step-up" => Colour::Careful,
        _ => Colour::Bad,
    };
    let decision = format!("{:<8}", clean(&event.decision));
    let source = event.effective_source.unwrap_or_else(|| event.peer.ip());
    let flow = match (&event.flow, &event.client) {
        (Some(flow), Some(client)) => format!("{flow}/{client}"),
        (Some(flow), None) => flow.clone(),
        _ => "-".to_owned(),
    };
    let host = event.host.as_deref().unwrap_or("-");
    let path = event.path.as_deref().unwrap_or_default();
    let status = event
        .status
        .map_or_else(|| "-".to_owned(), |status| status.to_string());
    let mut line = format!(
        "{time} {decision} {status:<3} {class:<9} {source:<15} {flow:<22} {rule} {id} {target}",
        time = out.paint(Colour::Faint, &moment(&event.time)),
        decision = out.paint(colour, &decision),
        class = event.class.name(),
        source = source.to_string(),
        flow = clean(&flow),
        rule = clean(&event.rule),
        id = clean(&event.id),
        target = clean(&format!("{host}{path}")),
    );
    if let Some(user) = &event.stated_user {
        line.push_str(" user=");
        line.push_str(&clean(user));
    }
    line
}

fn act(out: &Out, change: &Change) -> String {
    let done = if change.done {
        out.paint(Colour::Good, "change  ")
    } else {
        out.paint(Colour::Bad, "refused ")
    };
    format!(
        "{time} {done} {action} by {who}: {detail}",
        time = out.paint(Colour::Faint, &moment(&change.time)),
        action = clean(&change.action),
        who = clean(&change.who.to_string()),
        detail = clean(change.detail.lines().next().unwrap_or_default()),
    )
}
