//! What one way through the router came to.

use serde_json::{Value, json};

use crate::report::Spread;

/// Frames by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Arrived at the servers.
    pub forwarded: u64,
    /// Taken up by the router's own stack, for the proxy.
    pub proxied: u64,
    /// Dropped, as whoever dropped them counted.
    pub dropped: u64,
}

/// One way, with one set of lists and one mix of classes.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose way.
    pub way: &'static str,
    /// Whether it looks at sources at all; what does not is shown for comparison.
    pub judges: bool,
    /// Which classes the frames are of.
    pub mix: &'static str,
    /// Prefixes in the lists.
    pub prefixes: usize,
    /// Frames that are sent in turn.
    pub frames: usize,
    /// Sources that they come from.
    pub sources: usize,
    /// Bytes of a frame, on average.
    pub bytes: f64,
    /// Frames that were sent in a second.
    pub offered: Spread,
    /// Frames that the router took up in a second.
    pub handled: Spread,
    /// Nanoseconds of the router's processor for each frame that it took up, with what the sink does with it.
    pub router_ns: Spread,
    /// The share of the time that the router's processor worked for frames.
    pub router_busy: Spread,
    /// Nanoseconds of the sender's processor for each frame that it made.
    pub sender_ns: Spread,
    /// Of the frames sent, the share that found the router's queue full.
    pub overrun: Spread,
    /// What became of the frames when each was sent once, slowly enough for every way.
    pub counts: Counts,
    /// What was to become of them.
    pub expected: Counts,
    /// Why the numbers of this row cannot stand beside the others.
    pub invalid: Option<String>,
}

/// The same frames from another sender.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Whose way it was sent.
    pub way: &'static str,
    /// Which classes the frames are of.
    pub mix: &'static str,
    /// Frames that it says it sent.
    pub sent: u64,
    /// Frames in a second, by its own account.
    pub rate: f64,
    /// Frames that found the router's queue full.
    pub overrun: u64,
    /// What became of the others.
    pub counts: Counts,
    /// What was to become of all.
    pub expected: Counts,
    /// Nanoseconds of the router's processor for each frame.
    pub router_ns: f64,
    /// Why what it says and what was counted do not agree.
    pub differs: Option<String>,
}

impl Counts {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.forwarded + self.proxied + self.dropped
    }

    /// So many times as many.
    #[must_use]
    pub fn times(&self, factor: u64) -> Self {
        Self {
            forwarded: self.forwarded * factor,
            proxied: self.proxied * factor,
            dropped: self.dropped * factor,
        }
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            forwarded: self.forwarded - before.forwarded,
            proxied: self.proxied - before.proxied,
            dropped: self.dropped - before.dropped,
        }
    }

    /// What differs from `expected`, in words; nothing when nothing does.
    pub fn against(&self, expected: &Self) -> Option<String> {
        let parts = [
            ("forwarded", self.forwarded, expected.forwarded),
            ("proxied", self.proxied, expected.proxied),
            ("dropped", self.dropped, expected.dropped),
        ];
        let wrong: Vec<String> = parts
            .into_iter()
            .filter(|(_, got, expected)| got != expected)
            .map(|(what, got, expected)| format!("{got} {what} where {expected} were to be"))
            .collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }

    /// The largest difference between the shares that both have of their sums.
    pub fn apart(&self, other: &Self) -> f64 {
        let shares = |counts: &Self| {
            let sum = float(counts.sum().max(1));
            [counts.forwarded, counts.proxied, counts.dropped].map(|count| float(count) / sum)
        };
        let pairs = shares(self).into_iter().zip(shares(other));
        pairs
            .map(|(one, other)| (one - other).abs())
            .fold(0.0, f64::max)
    }

    fn json(&self) -> Value {
        json!({ "forwarded": self.forwarded, "proxied": self.proxied, "dropped": self.dropped })
    }
}

impl Row {
    /// As it stands in the file.
    pub fn json(&self) -> Value {
        json!({
            "live": self.way,
            "judges": self.judges,
            "mix": self.mix,
            "prefixes": self.prefixes,
            "frames": self.frames,
            "sources": self.sources,
            "frame_bytes": self.bytes,
            "offered_pps": self.offered,
            "handled_pps": self.handled,
            "router_ns": self.router_ns,
            "router_busy": self.router_busy,
            "sender_ns": self.sender_ns,
            "overrun": self.overrun,
            "counted": self.counts.json(),
            "expected": self.expected.json(),
            "invalid": self.invalid,
        })
    }
}

impl Witness {
    /// As it stands in the file.
    pub fn json(&self) -> Value {
        json!({
            "witness": "tcpreplay",
            "way": self.way,
            "mix": self.mix,
            "sent": self.sent,
            "pps": self.rate,
            "overrun": self.overrun,
            "counted": self.counts.json(),
            "expected": self.expected.json(),
            "router_ns": self.router_ns,
            "differs": self.differs,
        })
    }
}

/// A count, to reckon with.
pub fn float(count: u64) -> f64 {
    let (high, low) = (count >> 32, count & 0xffff_ffff);
    let half = |half| f64::from(u32::try_from(half).expect("half of the bits"));
    half(high) * 4_294_967_296.0 + half(low)
}
