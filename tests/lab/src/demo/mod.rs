//! The demonstration: real clients sign in through Weir, and what the two planes say of it is held against what the
//! default policy says.
//!
//! Each row is done alone. Before and after it the kernel's counters are read, and every audit event in between is
//! taken; who decided is read from those. The wire in front of Weir and the logs of the services behind it must agree.
//! A request of the lab's own, sent after each row to the other service, marks the end of the row's events.

mod capture;
mod chromium;
mod curl;
mod forge;
mod msal;
mod row;
mod rows;
mod table;
mod webdriver;
mod witness;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use self::curl::Call;
use self::row::{Act, Decider, Done, Evidence, Row, Verdict};
use self::table::Table;
use self::witness::Witness;
use crate::args;
use crate::exec::{Identity, clean};
use crate::lab::{Lab, with_lab};
use crate::netns::Part;
use crate::sources::Family;
use crate::topology::firewall_counters;
use crate::weir::{Control, Counter, Event};

/// How long an event may be on its way from the proxy to the audit log.
const EVENT: Duration = Duration::from_secs(10);
/// What the lab asks for to mark the end of a row: a path that exists nowhere.
const MARK: &str = "/weir-lab/end-of-row";

/// What rows are done with.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// The Python that has msal, when a row needs it.
    pub python: Option<msal::Python>,
    /// The browser, when a row needs it.
    pub programs: Option<chromium::Programs>,
    /// Where screenshots go.
    pub screenshots: PathBuf,
}

/// Raises a lab, does the rows, prints the table, and says by the exit status whether all is as expected.
pub async fn run(wanted: &args::Demo) -> Result<ExitCode> {
    let options = wanted.raise.options()?;
    if wanted.list {
        for row in rows::all(&weir_lab_servers::plan::Plan::new(&options.out)) {
            println!("{}", row.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let progress = |text: &str| eprintln!("  {text}");
    with_lab(options, &progress, async |lab| show(lab, wanted).await).await
}

async fn show(lab: &Lab, wanted: &args::Demo) -> Result<ExitCode> {
    let mut rows = rows::all(&lab.plan);
    rows.retain(|row| {
        wanted.only.is_empty() || wanted.only.iter().any(|glob| matches(glob, &row.name))
    });
    if rows.is_empty() {
        bail!("no row has such a name; `demo --list` prints them");
    }
    let stage = Stage::new(lab, wanted, &rows)?;
    let control = lab.control();
    let status = control.status().await?;
    let hook = status["kernel"]["hooks"][0]["hook"]
        .as_str()
        .unwrap_or("?")
        .to_owned();
    eprintln!(
        "  weir is up: kernel plane by {hook}, proxy plane as process {}, rules of {}",
        status["proxy"]["pid"],
        rows::SET
    );
    if !lab.options.switched_off.is_empty() {
        eprintln!("  switched off: {}", lab.options.switched_off.join(", "));
    }
    let mut events = control.follow().await?;
    let begun = Instant::now();
    let mut table = Table::new(&hook);
    let mut done = Vec::new();
    for row in &rows {
        let result = stage.perform(row, &control, &mut events).await;
        let result = result.with_context(|| format!("row {}", row.name))?;
        table.row(&result);
        done.push(result);
    }
    let seconds = begun.elapsed().as_secs();
    table.summary(&done, seconds);
    let good = done.iter().filter(|row| row.ok).count();
    if let Some(path) = &wanted.json {
        let report = json!({
            "rows": done, "as_expected": good, "total": done.len(), "seconds": seconds, "hook": hook,
            "switched_off": lab.options.switched_off,
        });
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if wanted.keep {
        eprintln!(
            "  the lab stands ({}); Ctrl-C takes it down",
            lab.options.out.join("lab.json").display()
        );
        std::future::pending::<()>().await;
    }
    Ok(if good == done.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl<'a> Stage<'a> {
    fn new(lab: &'a Lab, wanted: &args::Demo, rows: &[Row]) -> Result<Self> {
        // The relying party verifies signatures with xmlsec1.
        crate::require::tools(&["curl", "xmlsec1"])?;
        let needs = |client: &str| rows.iter().any(|row| row.client == client);
        let screenshots = lab.options.out.join("screenshots");
        fs::create_dir_all(&screenshots)
            .with_context(|| format!("cannot make {}", screenshots.display()))?;
        let python =
            needs("msal").then(|| msal::Python::new(&lab.run, wanted.raise.venv.as_deref()));
        Ok(Self {
            lab,
            python: python.transpose()?,
            programs: needs("chromium")
                .then(chromium::Programs::find)
                .transpose()?,
            screenshots,
        })
    }

    async fn perform(
        &self,
        row: &Row,
        control: &Control,
        events: &mut UnboundedReceiver<Event>,
    ) -> Result<Done> {
        let counters = control.counters().await?;
        let firewall = firewall_counters(&self.lab.options.instance)?;
        let witness = Witness::begin(self.lab)?;
        let begun = Instant::now();
        let answer = self.act(row).await?;
        let took = begun.elapsed();
        let seen = tokio::task::spawn_blocking(|| witness.end()).await??;
        let events = self.events_until_mark(row, events).await?;
        let evidence = Evidence {
            events,
            counters: more(row.service, &counters, &control.counters().await?),
            firewall: firewall_counters(&self.lab.options.instance)?.since(firewall),
            seen,
        };
        let got = Verdict {
            outcome: answer.describe(row, &evidence, &self.lab.plan.cloud.egress),
            by: evidence.deciders(row.class, row.flows),
        };
        let doubts = evidence.seen.doubts(row, &got.by);
        let ok = got == row.expected && doubts.is_empty();
        let mut remarks: Vec<String> = doubts
            .iter()
            .map(|doubt| format!("* but {doubt}"))
            .collect();
        let refused = evidence.firewall.refused;
        if refused > 0 && !got.by.contains(&Decider::firewall("drop")) {
            remarks.push(format!(
                "{refused} packets were refused by the router's firewall"
            ));
        }
        Ok(Done {
            name: row.name.clone(),
            class: row.class,
            address: row.class.source().address(row.family),
            client: row.client,
            service: row.service,
            what: row.what.clone(),
            ok,
            expected: row.expected.clone(),
            got,
            packets: evidence.packets(row.class),
            evidence,
            screenshot: answer.screenshot(),
            remarks,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn act(&self, row: &Row) -> Result<Answer> {
        let (class, family) = (row.class, row.family);
        Ok(match &row.act {
            Act::Curl(call) => Answer::Curl(call.send(self, Some(class), family).await?),
            Act::Msal(sign_in) => Answer::Msal(sign_in.run(self, class, family).await?),
            Act::Chromium(visit) => Answer::Chromium(visit.run(self, row).await?),
            Act::Datagrams => Answer::Words(self.datagrams(row).await?),
            Act::FlippedByte => Answer::Words(forge::flipped_byte(self, row).await?),
        })
    }

    async fn datagrams(&self, row: &Row) -> Result<String> {
        let service = self
            .lab
            .plan
            .service(row.service)
            .context("the plan has the service")?;
        let v6 = row.family == Family::V6;
        let to: SocketAddr = *service
            .listen
            .iter()
            .find(|address| address.is_ipv6() == v6)
            .context("the service has an address of the family")?;
        let mut command = clean(self.lab.run.join("bin/weir-lab"));
        command
            .arg("udp-probe")
            .arg(to.to_string())
            .stdin(Stdio::null());
        let identity = Identity::Reader(row.class.source().uid);
        self.lab
            .entry(Part::Inet, Some(row.family), identity)?
            .apply(&mut command);
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The events of the row's source since the row before, and those of the reverse proxy's own addresses. The mark is
    /// sent to the other service, from the router's address, so that it is in no count of the row's.
    async fn events_until_mark(
        &self,
        row: &Row,
        events: &mut UnboundedReceiver<Event>,
    ) -> Result<Vec<Event>> {
        let other = if row.service == "sts" { "adfs" } else { "sts" };
        let call = Call::get(format!("https://{other}.corp.example{MARK}"));
        let mark = call.send(self, None, row.family).await?;
        if mark.status != 404 {
            bail!(
                "weir-proxy does not answer: {} {}",
                mark.status,
                mark.complaint
            );
        }
        let mut ours: Vec<IpAddr> = self.lab.plan.cloud.egress.clone();
        ours.push(row.class.source().address(row.family));
        let mut seen = Vec::new();
        loop {
            let event = timeout(EVENT, events.recv()).await;
            let Ok(Some(event)) = event else {
                bail!("the audit log does not show the mark after the row: an event was lost");
            };
            let Some(peer) = event.peer else { continue };
            if event.path.as_deref() == Some(MARK) && peer.port() == mark.port {
                return Ok(seen);
            }
            if ours.contains(&peer.ip().to_canonical()) {
                seen.push(event);
            }
        }
    }
}

/// What a client got.
enum Answer {
    Curl(curl::Answer),
    Msal(msal::Answer),
    Chromium(chromium::Answer),
    Words(String),
}

impl Answer {
    fn describe(&self, row: &Row, evidence: &Evidence, egress: &[IpAddr]) -> String {
        match (self, &row.act) {
            (Self::Curl(answer), Act::Curl(call)) => answer.describe(&call.url, evidence),
            (Self::Msal(answer), _) => answer.describe(evidence),
            (Self::Chromium(answer), Act::Chromium(visit)) => {
                answer.describe(row, visit, evidence, egress)
            }
            (Self::Words(words), _) => words.clone(),
            (Self::Curl(_) | Self::Chromium(_), _) => "another client's answer".to_owned(),
        }
    }

    fn screenshot(&self) -> Option<PathBuf> {
        match self {
            Self::Chromium(answer) => answer.screenshot.clone(),
            _ => None,
        }
    }
}

/// What was counted more, for one service.
fn more(service: &str, before: &[Counter], after: &[Counter]) -> Vec<Counter> {
    let key = |counter: &Counter| {
        (
            counter.class.clone(),
            counter.verdict.clone(),
            counter.reason.clone(),
        )
    };
    let of = |counter: &&Counter| counter.service == service;
    let before: BTreeMap<_, u64> = before
        .iter()
        .filter(of)
        .map(|counter| (key(counter), counter.packets))
        .collect();
    after
        .iter()
        .filter(of)
        .map(|counter| {
            let old = before.get(&key(counter)).copied().unwrap_or(0);
            Counter {
                packets: counter.packets.saturating_sub(old),
                ..counter.clone()
            }
        })
        .filter(|counter| counter.packets > 0)
        .collect()
}

/// Whether a name matches a pattern, in which `*` stands for any text.
fn matches(glob: &str, name: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else {
        return glob == name;
    };
    name.strip_prefix(start).is_some_and(|name| {
        (0..=name.len())
            .filter(|&at| name.is_char_boundary(at))
            .any(|at| matches(rest, &name[at..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_any_text_at_their_stars() {
        assert!(matches("*", "curl/mex/sts/managed/4"));
        assert!(matches("curl/*/4", "curl/mex/sts/managed/4"));
        assert!(matches("*/managed/*", "curl/mex/sts/managed/4"));
        assert!(!matches("*/managed/*", "curl/mex/sts/unmanaged/4"));
        assert!(!matches("curl", "curl/mex/sts/managed/4"));
    }

    #[test]
    fn rows_have_names_of_their_own_and_expect_something() {
        let rows = rows::all(&weir_lab_servers::plan::Plan::new("/lab"));
        let mut names = std::collections::BTreeSet::new();
        for row in &rows {
            assert!(names.insert(&row.name), "{} is there twice", row.name);
            assert!(
                !row.expected.outcome.is_empty(),
                "{} expects nothing",
                row.name
            );
        }
    }
}
