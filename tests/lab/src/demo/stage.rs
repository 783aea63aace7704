//! Does rows. What the planes say of a row is taken from that row alone: before and after it the kernel's counters are
//! read, and every audit event in between is taken. The wire in front of Weir and the logs of the services behind it must
//! agree. A request of the lab's own, sent after each row to the other service, marks the end of the row's events.
//!
//! Rows of a blocked source wait for a client to give up, so they are done together: nothing may come of any of them,
//! and the kernel must have dropped just as many packets as the wire saw of all of them.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use weir_lab_servers::control::Keys;

use super::client::{Client, Connection, address};
use super::curl::{Answer as Got, Call};
use super::row::{Act, Decider, Done, Evidence, Row, Verdict};
use super::rows::House;
use super::witness::{SERVICES, Seen, Witness};
use super::{chromium, forge, msal, turn, walk};
use crate::args;
use crate::exec::{Identity, clean};
use crate::lab::Lab;
use crate::netns::Part;
use crate::settings::Hook;
use crate::sources::{Class, Family};
use crate::topology::{Firewall, firewall_counters};
use crate::weir::{Control, Counter, Event};

/// How long an event may be on its way from the proxy to the audit log.
const EVENT: Duration = Duration::from_secs(10);
/// What the lab asks for to mark the end of a row: anyone gets it, and each time somebody does is told of.
const MARK: &str = "/adfs/discovery/keys";
/// How often a browser is sent round before a row gives up.
const ROUNDS: usize = 6;

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
    hook: Hook,
    control: Control,
    client: Client,
    marks: [Option<Connection>; 2],
    witness: Witness,
    firewall: Firewall,
    events: UnboundedReceiver<Event>,
}

/// What a client got.
enum Answer {
    Curl(Got),
    Round { redirects: usize, last: Got },
    Walk(walk::Answer),
    Msal(msal::Answer),
    Chromium(chromium::Answer),
    Words(String),
}

impl<'a> Stage<'a> {
    /// Everything that these houses need.
    pub async fn new(
        lab: &'a Lab,
        wanted: &args::Demo,
        houses: &[House],
        hook: Hook,
    ) -> Result<Self> {
        // The relying party verifies signatures with xmlsec1.
        crate::require::tools(&["curl", "xmlsec1"])?;
        let needs = |client: &str| {
            let mut rows = houses.iter().flat_map(|house| &house.rows);
            rows.any(|row| row.client == client)
        };
        let screenshots = lab.options.out.join("screenshots");
        fs::create_dir_all(&screenshots)
            .with_context(|| format!("cannot make {}", screenshots.display()))?;
        let python =
            needs("msal").then(|| msal::Python::new(&lab.run, wanted.raise.venv.as_deref()));
        let control = lab.control();
        Ok(Self {
            lab,
            python: python.transpose()?,
            programs: needs("chromium")
                .then(chromium::Programs::find)
                .transpose()?,
            screenshots,
            hook,
            client: Client::new(lab)?,
            marks: [None, None],
            witness: Witness::begin(lab)?,
            firewall: firewall_counters(&lab.options.instance)?,
            events: control.follow().await?,
            control,
        })
    }

    /// Where the kernel plane has to decide.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// Puts a house's settings in force, in both planes.
    pub async fn enter(&mut self, house: &House) -> Result<()> {
        let product = house.settings.tokens.map(|tokens| tokens.product);
        turn::tell(self.lab, product, Keys::First)?;
        self.lab.configure(house.settings)?;
        let context = || format!("Weir does not take the settings of house {}", house.name);
        self.control
            .ask("POST", "/v1/reload", Some(&json!({})))
            .await
            .with_context(context)?;
        self.control
            .both_planes_ready()
            .await
            .with_context(context)?;
        if product.is_some() {
            turn::settle_keys(self.lab).await.with_context(context)?;
        }
        Ok(())
    }

    /// Has the services as they were before any house.
    pub fn leave(&self) -> Result<()> {
        turn::tell(self.lab, None, Keys::First)
    }

    /// Does the rows of a house; `each` gets them as they are done.
    pub async fn perform_all(&mut self, house: &House, each: &mut dyn FnMut(Done)) -> Result<()> {
        let is_blocked = |row: &&Row| row.class == Class::Blocked;
        for row in house.rows.iter().filter(|row| !is_blocked(row)) {
            let result = self.perform(house, row).await;
            each(result.with_context(|| format!("row {}", row.name))?);
        }
        let blocked: Vec<&Row> = house.rows.iter().filter(is_blocked).collect();
        if !blocked.is_empty() {
            let results = self.perform_together(house, &blocked).await;
            let results = results.context("the rows of blocked sources")?;
            results.into_iter().for_each(each);
        }
        Ok(())
    }

    /// Does a row of a house that was entered.
    pub async fn perform(&mut self, house: &House, row: &Row) -> Result<Done> {
        let product = house.settings.tokens.map(|tokens| tokens.product);
        let mut complaints = Vec::new();
        for turn in &row.turns {
            complaints.extend(turn.take(self.lab, product).await?);
        }
        let counters = self.control.counters().await?;
        self.witness.seen()?;
        let begun = Instant::now();
        let answer = self.act(row).await?;
        let took = begun.elapsed();
        let seen = self.witness.seen()?;
        let events = self.events_until_mark(row.service, &[row]).await?;
        let counters = more(row.service, &counters, &self.control.counters().await?);
        let evidence = Evidence {
            events,
            counters,
            firewall: self.firewall_since()?,
            seen,
        };
        let packets = evidence.packets(row.taken_for);
        let mut done = self.judge(house, row, &answer, evidence, packets, took);
        done.ok &= complaints.is_empty();
        done.remarks.extend(complaints);
        Ok(done)
    }

    /// Forgets what was seen since the row before: it was no row's.
    pub async fn forget(&mut self) -> Result<()> {
        self.witness.seen()?;
        for service in SERVICES {
            self.events_until_mark(service, &[]).await?;
        }
        self.firewall_since().map(drop)
    }

    /// Does rows of blocked sources at the same time.
    async fn perform_together(&mut self, house: &House, rows: &[&Row]) -> Result<Vec<Done>> {
        let counters = self.control.counters().await?;
        self.witness.seen()?;
        let begun = Instant::now();
        let answers = join_all(rows.iter().map(|row| self.act(row))).await;
        let took = begun.elapsed();
        let seen = self.witness.seen()?;
        let after = self.control.counters().await?;
        let mut events = Vec::new();
        for service in SERVICES {
            events.extend(self.events_until_mark(service, rows).await?);
        }
        let firewall = self.firewall_since()?;
        let mut results = Vec::new();
        for (row, answer) in rows.iter().zip(answers) {
            let answer = answer.with_context(|| format!("row {}", row.name))?;
            let is_to =
                |opened: &super::capture::Opened| self.witness.service(opened) == Some(row.service);
            let sent = seen.opened.iter().filter(|opened| is_to(opened)).count() as u64;
            let evidence = Evidence {
                events: events
                    .iter()
                    .filter(|event| event.peer.is_some_and(|peer| peer.ip() == row.address()))
                    .cloned()
                    .collect(),
                counters: more(row.service, &counters, &after),
                firewall,
                seen: Seen {
                    opened: seen
                        .opened
                        .iter()
                        .filter(|opened| is_to(opened) && row.sent(opened))
                        .cloned()
                        .collect(),
                    ..seen.clone()
                },
            };
            let dropped = evidence.packets(row.class).remove("drop").unwrap_or(0);
            let own = evidence.seen.opened.len() as u64;
            let packets = BTreeMap::from([("drop".to_owned(), own)]);
            let mut done = self.judge(house, row, &answer, evidence, packets, took);
            if dropped != sent {
                done.ok = false;
                done.remarks.push(format!(
                    "* but {sent} packets were sent to {}, and the kernel dropped {dropped}",
                    row.service
                ));
            }
            results.push(done);
        }
        Ok(results)
    }

    fn judge(
        &self,
        house: &House,
        row: &Row,
        answer: &Answer,
        evidence: Evidence,
        packets: BTreeMap<String, u64>,
        took: Duration,
    ) -> Done {
        let got = Verdict {
            outcome: answer.describe(row, &evidence, &self.lab.plan.cloud.egress),
            by: evidence.deciders(row.taken_for, row.flows),
        };
        let at_token = evidence.events.iter().any(Event::is_about_token);
        let mut doubts = evidence.seen.doubts(row, &got.by, at_token);
        if let Answer::Walk(walk) = answer {
            doubts.extend(walk.doubt(&evidence.seen));
        }
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
        Done {
            name: row.name.clone(),
            house: house.name,
            hook: self.hook,
            class: row.class,
            address: row.address(),
            client: row.client,
            service: row.service,
            what: row.what.clone(),
            ok,
            expected: row.expected.clone(),
            got,
            packets,
            evidence,
            screenshot: answer.screenshot(),
            remarks,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    async fn act(&self, row: &Row) -> Result<Answer> {
        let (class, family) = (row.class, row.family);
        Ok(match &row.act {
            Act::Curl(call) => Answer::Curl(call.send(self, Some(class), family).await?),
            Act::Round(call) => self.send_round(call, row).await?,
            Act::Several(calls) => {
                let mut last = Got::default();
                for call in calls {
                    last = call.send(self, Some(class), family).await?;
                }
                Answer::Curl(last)
            }
            Act::Walk(walk) => Answer::Walk(walk.run(self, row).await?),
            Act::Msal(sign_in) => Answer::Msal(sign_in.run(self, class, family).await?),
            Act::Chromium(visit) => Answer::Chromium(visit.run(self, row).await?),
            Act::Datagrams => Answer::Words(self.datagrams(row).await?),
            Act::FlippedByte => Answer::Words(forge::flipped_byte(self, row).await?),
        })
    }

    /// As a browser that comes back each time it is sent to the reverse proxy.
    async fn send_round(&self, call: &Call, row: &Row) -> Result<Answer> {
        let jar = self.empty_jar(row, "round.cookies")?;
        let call = call.clone().with(&["--cookie", &jar, "--cookie-jar", &jar]);
        let mut redirects = 0;
        loop {
            let last = call.send(self, Some(row.class), row.family).await?;
            if !(300..400).contains(&last.status) || redirects == ROUNDS {
                return Ok(Answer::Round { redirects, last });
            }
            redirects += 1;
        }
    }

    /// Where the cookies of a browser that was never used are kept.
    pub fn empty_jar(&self, row: &Row, name: &str) -> Result<String> {
        let jar = self.lab.home(row.class).join(name);
        match fs::remove_file(&jar) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let jar = jar.to_str().context("the lab's directory is not UTF-8")?;
        Ok(jar.to_owned())
    }

    async fn datagrams(&self, row: &Row) -> Result<String> {
        let to = address(self.lab, row.service, row.family)?;
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

    fn firewall_since(&mut self) -> Result<Firewall> {
        let now = firewall_counters(&self.lab.options.instance)?;
        let since = now.since(self.firewall);
        self.firewall = now;
        Ok(since)
    }

    /// The events of the rows' sources since the row before, and those of the reverse proxy's own addresses. The mark is
    /// sent to the other service, from the router's address, so that it is in no count of the row's.
    async fn events_until_mark(&mut self, service: &str, rows: &[&Row]) -> Result<Vec<Event>> {
        let port = self.mark(service).await?;
        let mut ours: Vec<IpAddr> = self.lab.plan.cloud.egress.clone();
        ours.extend(rows.iter().map(|row| row.address()));
        let mut seen = Vec::new();
        loop {
            let event = timeout(EVENT, self.events.recv()).await;
            let Ok(Some(event)) = event else {
                bail!("the audit log does not show the mark after the row: an event was lost");
            };
            let Some(peer) = event.peer else { continue };
            if event.path.as_deref() == Some(MARK) && peer.port() == port {
                return Ok(seen);
            }
            if ours.contains(&peer.ip().to_canonical()) {
                seen.push(event);
            }
        }
    }

    /// Asks the other service for the mark, on a connection that is kept; answers its port.
    async fn mark(&mut self, service: &str) -> Result<u16> {
        let at = usize::from(service == SERVICES[0]);
        let other = SERVICES[at];
        if let Some(connection) = &mut self.marks[at]
            && connection.get(MARK).await.is_ok_and(|status| status == 200)
        {
            return Ok(connection.local.port());
        }
        // None yet, or it was idle for too long.
        let to = address(self.lab, other, Family::V4)?;
        let host = format!("{other}.corp.example");
        let connection = self.client.connect(None, to, &host).await;
        let mut connection = connection.context("weir-proxy does not answer")?;
        let status = connection.get(MARK).await?;
        if status != 200 {
            bail!("weir-proxy does not answer as it should: {status}");
        }
        let port = connection.local.port();
        self.marks[at] = Some(connection);
        Ok(port)
    }
}

impl Answer {
    fn describe(&self, row: &Row, evidence: &Evidence, egress: &[IpAddr]) -> String {
        match (self, &row.act) {
            (Self::Curl(answer), Act::Curl(call)) => answer.describe(&call.url, evidence),
            (Self::Curl(answer), Act::Several(calls)) => {
                let url = calls.last().map_or("", |call| &call.url);
                answer.describe(url, evidence)
            }
            (Self::Round { redirects, last }, Act::Round(call)) => {
                let last = last.describe(&call.url, evidence);
                format!("{redirects}x 302, {last}")
            }
            (Self::Walk(answer), Act::Walk(walk)) => answer.describe(walk, evidence, egress),
            (Self::Msal(answer), _) => answer.describe(evidence),
            (Self::Chromium(answer), Act::Chromium(visit)) => {
                answer.describe(row, visit, evidence, egress)
            }
            (Self::Words(words), _) => words.clone(),
            (Self::Curl(_) | Self::Round { .. } | Self::Walk(_) | Self::Chromium(_), _) => {
                "another client's answer".to_owned()
            }
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
            counter.hook.clone(),
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
