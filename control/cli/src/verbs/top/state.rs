//! What is known, what is shown of it, and what keys change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use ratatui::crossterm::event::KeyCode;
use serde_json::{Value, json};
use weir_abi::{Class, Verdict};
use weir_api::{Counter, Flow, Record, Status};

use super::rates::rates;
use crate::failed::Failed;

/// The views, in the order of their numbers.
pub const VIEWS: [&str; 5] = ["overview", "kernel", "sources", "requests", "health"];
/// Rates that are remembered for each line.
const REMEMBERED: usize = 120;

/// One look at the appliance.
#[derive(Debug)]
pub struct Sample {
    pub at: Instant,
    pub status: Status,
    pub counters: Vec<Counter>,
    pub flows: Vec<Flow>,
    pub records: Vec<Record>,
}

/// Whether it goes on after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    On,
    End,
}

/// How lines are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Rate,
    Name,
}

/// What the kernel does with a class of a service.
#[derive(Clone, Debug)]
pub struct Row {
    pub service: String,
    pub class: Class,
    pub verdict: Verdict,
    pub reason: String,
    pub packets: f64,
    pub bytes: f64,
}

/// A source, by what begins from there.
#[derive(Clone, Debug)]
pub struct Source {
    pub address: IpAddr,
    pub class: Class,
    pub verdict: Verdict,
    pub begun: usize,
}

type Line = (String, Class);

/// See the module.
#[derive(Debug)]
pub struct Top {
    pub view: usize,
    pub sort: Sort,
    pub colours: bool,
    pub help: bool,
    pub trouble: Option<String>,
    paused: bool,
    newest: Option<Sample>,
    /// By service, class, verdict and reason: packets and bytes a second.
    pub rows: Vec<Row>,
    /// By flow, client and decision.
    pub requests: Vec<(String, String, String, f64)>,
    history: BTreeMap<Line, VecDeque<u64>>,
    decided: VecDeque<u64>,
}

impl Top {
    pub fn new(view: &str, colours: bool) -> Self {
        Self {
            view: VIEWS.iter().position(|one| *one == view).unwrap_or(0),
            sort: Sort::Rate,
            colours,
            help: false,
            trouble: None,
            paused: false,
            newest: None,
            rows: Vec::new(),
            requests: Vec::new(),
            history: BTreeMap::new(),
            decided: VecDeque::new(),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The newest look.
    pub fn sample(&self) -> Option<&Sample> {
        self.newest.as_ref()
    }

    /// Takes in a look, and makes rates of it and the one before.
    pub fn take(&mut self, sample: Sample) {
        self.trouble = None;
        if let Some(before) = &self.newest {
            let seconds = (sample.at - before.at).as_secs_f64();
            let of = |sample: &Sample, count: fn(&Counter) -> u64| by_line(&sample.counters, count);
            let packets = |counter: &Counter| counter.packets;
            let bytes = |counter: &Counter| counter.bytes;
            let bytes = rates(&of(before, bytes), &of(&sample, bytes), seconds);
            let packets = rates(&of(before, packets), &of(&sample, packets), seconds);
            self.rows = packets
                .into_iter()
                .map(|(key, packets)| {
                    let bytes = bytes.get(&key).copied().unwrap_or(0.0);
                    let (service, class, verdict, reason) = key;
                    Row {
                        service,
                        class: Class::ALL[class],
                        verdict: Verdict::ALL[verdict],
                        reason,
                        packets,
                        bytes,
                    }
                })
                .collect();
            let decided = rates(&decisions(before), &decisions(&sample), seconds);
            self.requests = decided
                .into_iter()
                .map(|((flow, client, decision), rate)| (flow, client, decision, rate))
                .collect();
            self.remember();
        }
        self.newest = Some(sample);
    }

    /// It could not be looked; what was seen last is still shown.
    pub fn fail(&mut self, failed: &Failed) {
        self.trouble = Some(failed.told());
    }

    pub fn press(&mut self, key: KeyCode) -> Turn {
        match key {
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Char('q') | KeyCode::Esc => return Turn::End,
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::Rate => Sort::Name,
                    Sort::Name => Sort::Rate,
                }
            }
            KeyCode::Tab | KeyCode::Right => self.view = (self.view + 1) % VIEWS.len(),
            KeyCode::BackTab | KeyCode::Left => {
                self.view = (self.view + VIEWS.len() - 1) % VIEWS.len();
            }
            KeyCode::Char(digit @ '1'..='5') => {
                self.view = usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(0);
            }
            _ => {}
        }
        Turn::On
    }

    /// Rates of packets by service and class, with what the kernel does most, and those of before.
    pub fn lines(&self) -> Vec<(Line, Verdict, f64, f64, Vec<u64>)> {
        let mut lines: BTreeMap<Line, (BTreeMap<usize, f64>, f64, f64)> = BTreeMap::new();
        for row in &self.rows {
            let line = lines.entry((row.service.clone(), row.class)).or_default();
            *line.0.entry(row.verdict as usize).or_default() += row.packets;
            line.1 += row.packets;
            line.2 += row.bytes;
        }
        let mut lines: Vec<_> = lines
            .into_iter()
            .map(|(key, (verdicts, packets, bytes))| {
                let most = verdicts
                    .into_iter()
                    .max_by(|one, other| one.1.total_cmp(&other.1));
                let verdict = Verdict::ALL[most.map_or(0, |(verdict, _)| verdict)];
                let history = self.history.get(&key).into_iter().flatten();
                let history = history.copied().collect();
                (key, verdict, packets, bytes, history)
            })
            .collect();
        if self.sort == Sort::Rate {
            lines.sort_by(|one, other| other.2.total_cmp(&one.2));
        }
        lines
    }

    /// All rows of the kernel.
    pub fn kernel_rows(&self) -> Vec<&Row> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        if self.sort == Sort::Rate {
            rows.sort_by(|one, other| other.packets.total_cmp(&one.packets));
        }
        rows
    }

    /// Sources by the beginnings of flows that are held.
    pub fn sources(&self) -> Vec<Source> {
        let flows = self.newest.iter().flat_map(|sample| &sample.flows);
        let mut sources: HashMap<IpAddr, Source> = HashMap::new();
        for flow in flows.filter(|flow| flow.side == "outside") {
            let source = sources.entry(flow.source).or_insert(Source {
                address: flow.source,
                class: flow.class,
                verdict: flow.verdict,
                begun: 0,
            });
            source.begun += 1;
            (source.class, source.verdict) = (flow.class, flow.verdict);
        }
        let mut sources: Vec<_> = sources.into_values().collect();
        match self.sort {
            Sort::Rate => sources.sort_by_key(|source| (Reverse(source.begun), source.address)),
            Sort::Name => sources.sort_by_key(|source| source.address),
        }
        sources
    }

    /// Requests a second by decision.
    pub fn by_decision(&self) -> BTreeMap<&str, f64> {
        let mut decisions = BTreeMap::new();
        for (_, _, decision, rate) in &self.requests {
            *decisions.entry(decision.as_str()).or_default() += rate;
        }
        decisions
    }

    /// Requests a second by flow, client and decision.
    pub fn request_rows(&self) -> Vec<&(String, String, String, f64)> {
        let mut rows: Vec<_> = self.requests.iter().collect();
        if self.sort == Sort::Rate {
            rows.sort_by(|one, other| other.3.total_cmp(&one.3));
        }
        rows
    }

    /// All requests a second, in the looks before.
    pub fn decided_before(&self) -> Vec<u64> {
        self.decided.iter().copied().collect()
    }

    /// The same for programs.
    pub fn told(&self) -> Value {
        let kernel = self.kernel_rows().into_iter().map(|row| {
            json!({
                "service": row.service, "class": row.class, "verdict": row.verdict, "reason": row.reason,
                "packets_per_second": row.packets, "bytes_per_second": row.bytes,
            })
        });
        let requests = self.request_rows().into_iter().map(|row| {
            let (flow, client, decision, rate) = row;
            json!({ "flow": flow, "client": client, "decision": decision, "per_second": rate })
        });
        let sources = self.sources().into_iter().take(20).map(|source| {
            json!({
                "source": source.address, "class": source.class, "verdict": source.verdict, "begun": source.begun,
            })
        });
        json!({
            "generation": self.newest.as_ref().map(|sample| sample.status.generation),
            "warnings": self.newest.as_ref().map(|sample| &sample.status.warnings),
            "kernel": kernel.collect::<Vec<_>>(),
            "requests": requests.collect::<Vec<_>>(),
            "sources": sources.collect::<Vec<_>>(),
        })
    }

    fn remember(&mut self) {
        let mut now: BTreeMap<Line, f64> = BTreeMap::new();
        for row in &self.rows {
            *now.entry((row.service.clone(), row.class)).or_default() += row.packets;
        }
        self.history.retain(|line, _| now.contains_key(line));
        for (line, rate) in now {
            push(self.history.entry(line).or_default(), rate);
        }
        let all = self.requests.iter().map(|row| row.3).sum();
        push(&mut self.decided, all);
    }
}

/// Numbers of counters by service, class, verdict and reason, both hooks together.
fn by_line(
    counters: &[Counter],
    count: fn(&Counter) -> u64,
) -> BTreeMap<(String, usize, usize, String), u64> {
    let mut counts = BTreeMap::new();
    for counter in counters {
        let (class, verdict) = (counter.class as usize, counter.verdict as usize);
        let key = (
            counter.service.clone(),
            class,
            verdict,
            counter.reason.clone(),
        );
        *counts.entry(key).or_default() += count(counter);
    }
    counts
}

fn decisions(sample: &Sample) -> BTreeMap<(String, String, String), u64> {
    let mut counts = BTreeMap::new();
    for one in &sample.status.proxy.decided {
        let key = (one.flow.clone(), one.client.clone(), one.decision.clone());
        *counts.entry(key).or_default() += one.count;
    }
    counts
}

fn push(history: &mut VecDeque<u64>, rate: f64) {
    if history.len() == REMEMBERED {
        history.pop_front();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "tenths of a rate, which is no less than nothing"
    )]
    history.push_back((rate * 10.0).round() as u64);
}
