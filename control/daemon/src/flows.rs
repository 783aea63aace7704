//! The newest beginnings of flows, as the kernel programs told of them, for whoever wants to see them.
//!
//! In: packets from the kernel plane's ring buffer. Out: numbered lines, those that match a filter. What is
//! old is forgotten; nothing is written to disk.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::watch;
use weir_abi::{Class, Hook, Verdict};
use weir_api::Flow;

/// Lines that are held.
const HELD: usize = 4096;
/// Beginnings that have to be held before it is said that one source has most of them.
const ENOUGH: usize = 500;

/// The newest lines. Copies are not needed: the brain has one.
#[derive(Debug, Default)]
pub struct Flows {
    held: Mutex<VecDeque<Flow>>,
    newest: watch::Sender<u64>,
}

/// Lines behind a number.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Those that match, oldest first.
    pub lines: Vec<Flow>,
    /// The number up to which was looked.
    pub seen: u64,
    /// How many were forgotten before they were looked at, whether they match or not.
    pub missed: u64,
}

/// Which lines are wanted; what is absent is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The source lies in this prefix.
    pub source: Option<IpNet>,
    /// The service.
    pub service: Option<String>,
    /// The class.
    pub class: Option<Class>,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// The reason.
    pub reason: Option<String>,
    /// The hook.
    pub hook: Option<Hook>,
}

impl Wanted {
    fn matches(&self, flow: &Flow) -> bool {
        self.source.is_none_or(|net| net.contains(&flow.source))
            && self
                .service
                .as_ref()
                .is_none_or(|name| *name == flow.service)
            && self.class.is_none_or(|class| class == flow.class)
            && self.verdict.is_none_or(|verdict| verdict == flow.verdict)
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| *reason == flow.reason)
            && self.hook.is_none_or(|hook| hook == flow.hook)
    }
}

impl Flows {
    /// Adds lines, which get the next numbers.
    pub fn add(&self, flows: impl IntoIterator<Item = Flow>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = *self.newest.borrow();
        for mut flow in flows {
            newest += 1;
            flow.seq = newest;
            if held.len() == HELD {
                held.pop_front();
            }
            held.push_back(flow);
        }
        drop(held);
        self.newest.send_if_modified(|number| {
            let changed = *number != newest;
            *number = newest;
            changed
        });
    }

    /// The number of the newest line, and how it grows.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// What there is behind a number.
    pub fn after(&self, after: u64, wanted: &Wanted) -> Found {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = held.front().map_or(0, |flow| flow.seq);
        let lines = held
            .iter()
            .filter(|flow| flow.seq > after && wanted.matches(flow));
        Found {
            lines: lines.cloned().collect(),
            seen: held.back().map_or(after, |flow| flow.seq.max(after)),
            missed: oldest.saturating_sub(after + 1),
        }
    }

    /// The source that has more than three quarters of what begins and goes on, if one does: how much of it,
    /// in per cent. Then something in front may hide who the clients are. A flood that is dropped says
    /// nothing of that.
    pub fn dominating(&self) -> Option<(IpAddr, usize)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        let mut all = 0;
        let goes_on = |flow: &&Flow| {
            flow.side == "outside" && matches!(flow.verdict, Verdict::Forward | Verdict::Proxy)
        };
        for flow in held.iter().filter(goes_on) {
            *counts.entry(flow.source).or_default() += 1;
            all += 1;
        }
        let (source, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (all >= ENOUGH && most * 4 > all * 3).then(|| (source, most * 100 / all))
    }
}
