//! `weir flows`: what the kernel does with flows that begin, newest last.

use std::io::Write;

use clap::Args;
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_api::{Flow, MissedFlows};

use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, moment, verdict_colour};

/// Shows what the kernel programs do with packets that begin a flow, or are refused, one a line.
///
/// It is a sample: `flow_sample` in [kernel] of the configuration says one of how many is shown, and no
/// more than 1000 a second of each processor are. `weir status` says how many were lost; counters miss
/// nothing. Where the output is read too slowly, a line says how many were not shown. What the proxy decides about requests is in `weir events`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir flows --follow --verdict drop\n  weir flows --source 198.51.100.0/24\n  weir flows --follow --service sts --json"
)]
pub struct Flows {
    /// Go on with those that come.
    #[arg(long, short)]
    follow: bool,
    /// At most so many lines, of those that there are [default: 100].
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// Only from this address or prefix.
    #[arg(long, value_name = "PREFIX")]
    source: Option<String>,
    /// Only for this service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only of clients of this class.
    #[arg(long, value_parser = Class::ALL.map(Class::name))]
    class: Option<String>,
    /// Only with this verdict.
    #[arg(long, value_parser = Verdict::ALL.map(Verdict::name))]
    verdict: Option<String>,
    /// Only for this reason.
    #[arg(long, value_parser = Reason::ALL.map(Reason::name))]
    reason: Option<String>,
    /// Only by this hook.
    #[arg(long, value_parser = Hook::ALL.map(Hook::name))]
    hook: Option<String>,
}

impl Flows {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let mut lines = client.lines(&self.path()).await?;
        while let Some(line) = lines.next().await? {
            if out.json {
                writeln!(out, "{line}")?;
            } else {
                let text = text(out, &line);
                writeln!(out, "{text}")?;
            }
            if !lines.has_next() {
                out.flush()?;
            }
        }
        Ok(())
    }

    fn path(&self) -> String {
        let conditions = [
            ("follow", self.follow.then(|| "true".to_owned())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("source", self.source.clone()),
            ("service", self.service.clone()),
            ("class", self.class.clone()),
            ("verdict", self.verdict.clone()),
            ("reason", self.reason.clone()),
            ("hook", self.hook.clone()),
        ];
        let query: Vec<_> = conditions
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encode(&value?))))
            .collect();
        format!("/v1/flows?{}", query.join("&"))
    }
}

fn text(out: &Out, line: &str) -> String {
    if let Ok(flow) = serde_json::from_str::<Flow>(line) {
        return row(out, &flow);
    }
    match serde_json::from_str::<MissedFlows>(line) {
        Ok(MissedFlows { missed }) => {
            let told = format!("{missed} events were not shown: reader too slow");
            out.paint(Colour::Careful, &told)
        }
        Err(_) => clean(line),
    }
}

fn row(out: &Out, flow: &Flow) -> String {
    let verdict = format!("{:<7}", flow.verdict.name());
    let end = |address: std::net::IpAddr, port| match port {
        0 => address.to_string(),
        port => std::net::SocketAddr::new(address, port).to_string(),
    };
    let service = if flow.service.is_empty() {
        "-".to_owned()
    } else {
        clean(&flow.service)
    };
    let mut line = format!(
        "{time} {verdict} {class:<9} {reason:<10} {hook} {from} -> {to} {service}",
        time = out.paint(Colour::Faint, &moment(&flow.time)),
        verdict = out.paint(verdict_colour(flow.verdict), &verdict),
        class = flow.class.name(),
        reason = clean(&flow.reason),
        hook = flow.hook.name(),
        from = end(flow.source, flow.source_port),
        to = end(flow.destination, flow.port),
    );
    if flow.observed {
        line.push_str(&out.paint(Colour::Careful, " (observed: it goes on untouched)"));
    }
    line
}
