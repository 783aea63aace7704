//! What became of traffic, counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use weir_abi::{Class, Reason, Verdict};

use super::packet::Ends;
use super::{Frame, Side};

/// What was judged of a frame that is a service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Judged {
    /// Class of the client.
    pub class: Class,
    /// What is done.
    pub verdict: Verdict,
    /// And why.
    pub reason: Reason,
    /// Number of the service; [`weir_abi::NO_SERVICE`] when none is concerned.
    pub service: u16,
}

/// What frames are counted by: the side, and what was judged; nothing for what is no service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it came in.
    pub side: Side,
    /// What was judged; nothing for what stays untouched.
    pub judged: Option<Judged>,
    /// How much of it there was.
    pub amount: Amount,
}

/// How much there was of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Frames.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Flows: both ends and the protocol, in either direction, are one.
    pub flows: u64,
    /// Addresses on the Internet's side.
    pub sources: u64,
}

/// A source, and what became of what it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The source.
    pub source: IpAddr,
    /// Its class; nothing when it spoke to no service.
    pub class: Option<Class>,
    /// Frames from it.
    pub packets: u64,
    /// Bytes from it.
    pub bytes: u64,
    /// Flows from it.
    pub flows: u64,
    /// What became of most of its frames; nothing for untouched.
    pub verdict: Option<Verdict>,
}

type Key = (bool, Option<Judged>);
type Flow = (IpAddr, IpAddr, u8, [u16; 2]);

/// What became of traffic.
#[derive(Clone, Debug, Default)]
pub struct Told {
    rows: BTreeMap<Key, Gathered>,
    sources: HashMap<IpAddr, BySource>,
    times: Vec<(Duration, Option<Verdict>)>,
}

/// Frames from outside by verdict, in steps of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// How long a step is.
    pub step: Duration,
    /// Frames in each step, by verdict; nothing for untouched.
    pub frames: BTreeMap<Option<Verdict>, Vec<u64>>,
}

#[derive(Clone, Debug, Default)]
struct Gathered {
    packets: u64,
    bytes: u64,
    flows: BTreeSet<Flow>,
    sources: BTreeSet<IpAddr>,
}

#[derive(Clone, Debug, Default)]
struct BySource {
    class: Option<Class>,
    packets: u64,
    bytes: u64,
    flows: BTreeSet<Flow>,
    verdicts: BTreeMap<Option<Verdict>, u64>,
}

impl Told {
    /// Counts a frame.
    pub fn count(&mut self, frame: &Frame, ends: Option<&Ends>, judged: Option<Judged>) {
        let inside = frame.side == Side::Inside;
        if !inside {
            let verdict = judged.map(|judged| judged.verdict);
            self.times.push((frame.time, verdict));
        }
        let row = self.rows.entry((inside, judged)).or_default();
        row.packets += 1;
        row.bytes += u64::from(frame.wire);
        let Some(ends) = ends else { return };
        let client = if inside {
            ends.destination
        } else {
            ends.source
        };
        let flow = flow(ends, inside);
        row.flows.insert(flow);
        row.sources.insert(client);
        if inside {
            return;
        }
        let source = self.sources.entry(client).or_default();
        source.packets += 1;
        source.bytes += u64::from(frame.wire);
        source.flows.insert(flow);
        source.class = source.class.or(judged.map(|judged| judged.class));
        *source
            .verdicts
            .entry(judged.map(|judged| judged.verdict))
            .or_default() += 1;
    }

    /// Every row, from outside first.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|((inside, judged), gathered)| Row {
            side: if *inside { Side::Inside } else { Side::Outside },
            judged: *judged,
            amount: gathered.amount(),
        })
    }

    /// When frames came from outside, in so many steps.
    pub fn course(&self, steps: u32) -> Course {
        let times = self.times.iter().map(|(time, _)| *time);
        let lasts = times.max().unwrap_or_default();
        // Behind the last frame, so that it is in the last step.
        let step = (lasts + Duration::from_nanos(1))
            .div_f64(f64::from(steps))
            .max(Duration::from_nanos(1));
        let mut frames: BTreeMap<Option<Verdict>, Vec<u64>> = BTreeMap::new();
        for (time, verdict) in &self.times {
            let at = usize::try_from(time.as_nanos() / step.as_nanos()).unwrap_or(usize::MAX);
            let last = steps.saturating_sub(1) as usize;
            let counts = frames
                .entry(*verdict)
                .or_insert_with(|| vec![0; steps as usize]);
            if let Some(count) = counts.get_mut(at.min(last)) {
                *count += 1;
            }
        }
        Course { step, frames }
    }

    /// All rows together for which this holds: a flow or source in several of them counts once.
    pub fn sum(&self, which: impl Fn(Side, Option<Judged>) -> bool) -> Amount {
        let mut sum = Gathered::default();
        for ((inside, judged), row) in &self.rows {
            let side = if *inside { Side::Inside } else { Side::Outside };
            if which(side, *judged) {
                sum.packets += row.packets;
                sum.bytes += row.bytes;
                sum.flows.extend(&row.flows);
                sum.sources.extend(&row.sources);
            }
        }
        sum.amount()
    }

    /// The sources that sent most, by frames.
    pub fn top(&self, count: usize) -> Vec<Top> {
        let mut top: Vec<Top> = self
            .sources
            .iter()
            .map(|(source, by)| Top {
                source: *source,
                class: by.class,
                packets: by.packets,
                bytes: by.bytes,
                flows: length(by.flows.len()),
                verdict: by
                    .verdicts
                    .iter()
                    .max_by_key(|(_, packets)| **packets)
                    .and_then(|(verdict, _)| *verdict),
            })
            .collect();
        top.sort_by_key(|one| (std::cmp::Reverse(one.packets), one.source));
        top.truncate(count);
        top
    }
}

impl Gathered {
    fn amount(&self) -> Amount {
        Amount {
            packets: self.packets,
            bytes: self.bytes,
            flows: length(self.flows.len()),
            sources: length(self.sources.len()),
        }
    }
}

/// The client's end first.
fn flow(ends: &Ends, inside: bool) -> Flow {
    let [from, to] = ends.ports.unwrap_or_default();
    if inside {
        (ends.destination, ends.source, ends.protocol, [to, from])
    } else {
        (ends.source, ends.destination, ends.protocol, [from, to])
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).expect("a count fits")
}
