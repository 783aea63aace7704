//! What the JSON of a replay says.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Everything that is shown.
pub(super) struct Replay {
    pub(super) machine: Machine,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) traffic: Traffic,
    pub(super) fates: Vec<Fate>,
    pub(super) judged: Vec<Judged>,
    pub(super) requests: Vec<Requests>,
    pub(super) sources: Vec<Source>,
    pub(super) course: Option<Course>,
    pub(super) live: Vec<Live>,
    pub(super) witness: Option<Witness>,
    pub(super) notes: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Machine {
    pub(super) date: String,
    pub(super) kernel: String,
    pub(super) cpu: String,
    pub(super) cpus: u64,
    pub(super) load_before: String,
    pub(super) memory_mb: u64,
    pub(super) runs: u64,
}

#[derive(Deserialize)]
pub(super) struct Traffic {
    #[serde(rename = "traffic")]
    pub(super) name: String,
    pub(super) mapping: Option<String>,
    pub(super) seconds: f64,
    pub(super) lists: u64,
    pub(super) prefixes: u64,
    pub(super) services: Vec<Service>,
    pub(super) all: Amount,
    pub(super) compared: u64,
    pub(super) not_run: u64,
    pub(super) differences: u64,
    #[serde(default)]
    pub(super) notes: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) ports: Vec<u16>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Amount {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) flows: u64,
    pub(super) sources: u64,
}

#[derive(Deserialize)]
pub(super) struct Fate {
    #[serde(rename = "would_have_been")]
    pub(super) name: String,
    pub(super) amount: Amount,
}

#[derive(Deserialize)]
pub(super) struct Judged {
    pub(super) side: String,
    pub(super) class: String,
    pub(super) verdict: String,
    pub(super) reason: String,
    pub(super) amount: Amount,
}

#[derive(Deserialize)]
pub(super) struct Requests {
    pub(super) class: String,
    pub(super) client: String,
    pub(super) flow: String,
    pub(super) decision: String,
    #[serde(rename = "requests")]
    pub(super) count: u64,
}

#[derive(Deserialize)]
pub(super) struct Source {
    #[serde(rename = "source")]
    pub(super) address: String,
    pub(super) class: Option<String>,
    pub(super) verdict: Option<String>,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) flows: u64,
}

/// Frames by verdict, in steps of time.
#[derive(Deserialize)]
pub(super) struct Course {
    #[serde(rename = "course")]
    pub(super) step_seconds: f64,
    pub(super) frames: BTreeMap<String, Vec<u64>>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Counts {
    pub(super) forwarded: u64,
    pub(super) proxied: u64,
    pub(super) dropped: u64,
}

#[derive(Deserialize)]
pub(super) struct Live {
    #[serde(rename = "live")]
    pub(super) way: String,
    pub(super) judges: bool,
    pub(super) mix: String,
    pub(super) prefixes: u64,
    pub(super) frames: u64,
    pub(super) sources: u64,
    pub(super) frame_bytes: f64,
    pub(super) handled_pps: Spread,
    pub(super) router_ns: Spread,
    pub(super) router_busy: Spread,
    pub(super) overrun: Spread,
    pub(super) counted: Counts,
    pub(super) invalid: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Witness {
    #[serde(rename = "witness")]
    pub(super) name: String,
    pub(super) way: String,
    pub(super) mix: String,
    pub(super) sent: u64,
    pub(super) pps: f64,
    pub(super) overrun: u64,
    pub(super) counted: Counts,
    pub(super) router_ns: f64,
    pub(super) differs: Option<String>,
}

impl Replay {
    /// Reads a report. Rows are known by what they have; there may be others.
    pub(super) fn read(report: &Value) -> Result<Self, serde_json::Error> {
        let rows = report["rows"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(Self {
            machine: of(&report["machine"])?,
            versions: of(&report["versions"])?,
            traffic: of(rows
                .iter()
                .find(|row| row.get("traffic").is_some())
                .unwrap_or(&Value::Null))?,
            fates: with(rows, "would_have_been")?,
            judged: with(rows, "reason")?,
            requests: with(rows, "decision")?,
            sources: with(rows, "source")?,
            course: with(rows, "course")?.pop(),
            live: with(rows, "live")?,
            witness: with(rows, "witness")?.pop(),
            notes: of(&report["notes"])?,
        })
    }

    /// What became of frames from outside.
    pub(super) fn fates_outside(&self) -> impl Iterator<Item = &Fate> {
        let fates = self.fates.iter();
        fates.filter(|fate| fate.name != ANSWERS && fate.amount.packets > 0)
    }
}

/// What frames from inside are called.
const ANSWERS: &str = "answers of services";

fn of<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// The rows that have this member.
fn with<T: DeserializeOwned>(rows: &[Value], member: &str) -> Result<Vec<T>, serde_json::Error> {
    let known = rows.iter().filter(|row| row.get(member).is_some());
    known.map(of).collect()
}
