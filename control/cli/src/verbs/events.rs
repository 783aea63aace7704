//! `weir events`: the audit log, newest last.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use weir_api::{Change, Record, RecordBody};
use weir_link::Event;

use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, moment};
use crate::words;

/// Time between two looks for a weir-control that is away.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Shows decisions and administrative acts, one a line, newest last.
///
/// All of the audit log is searched, also what weir-control holds no more in memory. With --follow the
/// lines go on without a gap when weir-control is restarted.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir events --follow --source 198.51.100.0/24\n  weir events --id 3f9c02d4a1b87e65\n  weir events --since 1h --decision block --rule '*/native-*'\n  weir events --kind change -n 20"
)]
pub struct Events {
    /// Go on with those that come.
    #[arg(long, short)]
    follow: bool,
    /// At most so many lines, of those that there are [default: 100, with --since all].
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// Only after this number.
    #[arg(long, value_name = "SEQ", conflicts_with = "since")]
    after: Option<u64>,
    /// Only from this address or prefix.
    #[arg(long, value_name = "PREFIX")]
    source: Option<String>,
    /// Only of this stated user, or of a domain: `@corp.example`.
    #[arg(long)]
    user: Option<String>,
    /// Only by this rule, `SET/NAME`, or by a set: `SET/`; `*` stands for any text.
    #[arg(long)]
    rule: Option<String>,
    /// Only with this reference id, as block pages show it.
    #[arg(long)]
    id: Option<String>,
    /// Only with this decision.
    #[arg(long, value_parser = ["pass", "redirect", "block", "step-up", "refuse"])]
    decision: Option<String>,
    /// Only for this service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only of this kind; `change` are administrative acts.
    #[arg(long, value_parser = ["request", "tunnel", "refused", "upstream", "change"])]
    kind: Option<String>,
    /// Only at this time or later: how long ago (15m, 2h, 3d), or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    since: Option<String>,
    /// Only before this time.
    #[arg(long, value_name = "TIME", value_parser = words::time, conflicts_with = "follow")]
    until: Option<String>,
}

impl Events {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        // The number of the line that was seen last, once it is known.
        let mut seen = None;
        let mut away = false;
        loop {
            let ended = self.read(client, out, &mut seen, &mut away).await;
            match ended {
                Ok(()) | Err(Failed::Unreachable(_)) if self.follow && seen.is_some() => {}
                other => return other,
            }
            if !away {
                away = true;
                let line = seen.unwrap_or_default();
                eprintln!("weir: weir-control is away; waiting for it, behind line {line}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Reads until the lines end, or weir-control does.
    async fn read(
        &self,
        client: &Client,
        out: &mut Out,
        seen: &mut Option<u64>,
        away: &mut bool,
    ) -> Result<(), Failed> {
        let mut lines = client.lines(&self.path(*seen)).await?;
        let begins = lines.after().or(*seen).or(self.after).unwrap_or_default();
        if std::mem::take(away) {
            eprintln!("weir: weir-control is back; going on behind line {begins}");
        }
        if seen.is_some_and(|seen| seen > begins) {
            eprintln!("weir: its audit log was begun anew, so that lines may be missing here");
        }
        *seen = Some(begins);
        while let Some(line) = lines.next().await? {
            let record = serde_json::from_str::<Record>(&line);
            if out.json {
                writeln!(out, "{line}")?;
            } else {
                let text = match &record {
                    Ok(Record {
                        body: RecordBody::Event(event),
                        ..
                    }) => row(out, event),
                    Ok(Record {
                        body: RecordBody::Change(change),
                        ..
                    }) => act(out, change),
                    Err(_) => clean(&line),
                };
                writeln!(out, "{text}")?;
            }
            if let Ok(record) = &record {
                *seen = Some(record.seq);
            }
            if !lines.has_next() {
                out.flush()?;
            }
        }
        Ok(())
    }

    fn path(&self, seen: Option<u64>) -> String {
        let first = seen.is_none();
        let conditions = [
            ("follow", self.follow.then(|| "true".to_owned())),
            (
                "limit",
                self.limit.filter(|_| first).map(|limit| limit.to_string()),
            ),
            ("after", seen.or(self.after).map(|after| after.to_string())),
            ("source", self.source.clone()),
            ("user", self.user.clone()),
            ("rule", self.rule.clone()),
            ("id", self.id.clone()),
            ("decision", self.decision.clone()),
            ("service", self.service.clone()),
            ("kind", self.kind.clone()),
            ("since", self.since.clone().filter(|_| first)),
            ("until", self.until.clone()),
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
