//! What all proxies counted together: it only grows, whichever of them comes, goes or takes over.
//!
//! In: what each proxy says that it has counted since its start. Out: sums since weir-control started. What a
//! proxy had counted before that is left out, so that a restart of weir-control looks like one, and not like a
//! burst of requests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use weir_link::{Counted, Counts};

use crate::process::Identity;

/// Numbers that are kept at most: so much memory can be had from a proxy.
const MOST: usize = 50_000;
/// Longest name in one, in bytes.
const LONGEST: usize = 256;
/// Proxies of which it is remembered what they said: those that work, drain, and have just gone.
const PROXIES: usize = 8;

/// What one number counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A field of [`Counts`], by its name.
    Count(&'static str),
    /// By names.
    Row(Counted),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Totals {
    sums: BTreeMap<Key, u64>,
    said: BTreeMap<Identity, BTreeMap<Key, u64>>,
    /// Whether the last connection to each server could be opened.
    reached: BTreeMap<(String, SocketAddr), bool>,
    me: Identity,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            sums: BTreeMap::new(),
            said: BTreeMap::new(),
            reached: BTreeMap::new(),
            me: Identity::of(std::process::id()),
        }
    }
}

impl Totals {
    /// A heartbeat of a proxy.
    pub(super) fn heard_counts(&mut self, proxy: Identity, counts: &Counts) {
        let rows = named(counts).map(|(name, count)| (Key::Count(name), count));
        self.take(proxy, rows);
    }

    /// The rows of a proxy.
    pub(super) fn heard_rows(&mut self, proxy: Identity, rows: Vec<(Counted, u64)>) {
        let fits = |row: &Counted| row.texts().iter().all(|text| text.len() <= LONGEST);
        let rows = rows.into_iter().filter(|(row, _)| fits(row)).take(MOST);
        let grown = self.take(proxy, rows.map(|(row, count)| (Key::Row(row), count)));
        let (mut opened, mut failed) = (BTreeSet::new(), BTreeSet::new());
        for key in grown {
            match key {
                Key::Row(Counted::Connected { service, server }) => {
                    opened.insert((service, server));
                }
                Key::Row(Counted::NotConnected { service, server }) => {
                    failed.insert((service, server));
                }
                _ => {}
            }
        }
        self.reached
            .extend(failed.into_iter().map(|place| (place, false)));
        // One that opened within the same second is reached.
        self.reached
            .extend(opened.into_iter().map(|place| (place, true)));
    }

    /// Every sum.
    pub(crate) fn sums(&self) -> &BTreeMap<Key, u64> {
        &self.sums
    }

    /// Whether the last connection to a server could be opened; nothing when nobody tried.
    pub(crate) fn reached(&self, service: &str, server: SocketAddr) -> Option<bool> {
        self.reached.get(&(service.to_owned(), server)).copied()
    }

    /// Adds what has grown, and gives its keys.
    fn take(&mut self, proxy: Identity, rows: impl Iterator<Item = (Key, u64)>) -> Vec<Key> {
        // One that is older than this process had counted before.
        let is_older = proxy.began < self.me.began;
        if !self.said.contains_key(&proxy) && self.said.len() == PROXIES {
            let oldest = self.said.keys().min_by_key(|known| known.began).copied();
            self.said.retain(|known, _| Some(*known) != oldest);
        }
        let said = self.said.entry(proxy).or_default();
        let is_first = |key: &Key, said: &BTreeMap<Key, u64>| match key {
            Key::Count(_) => !said.contains_key(key),
            Key::Row(_) => !said.keys().any(|known| matches!(known, Key::Row(_))),
        };
        let mut grown = Vec::new();
        let mut first = None;
        for (key, count) in rows {
            let first = *first.get_or_insert_with(|| is_first(&key, said));
            if said.len() >= MOST && !said.contains_key(&key) {
                continue;
            }
            let before = said.insert(key.clone(), count);
            let more = match before {
                None if first && is_older => 0,
                None => count,
                // It counts anew: all of it is more.
                Some(before) => count.checked_sub(before).unwrap_or(count),
            };
            if self.sums.len() >= MOST && !self.sums.contains_key(&key) {
                continue;
            }
            let sum = self.sums.entry(key.clone()).or_default();
            *sum = sum.saturating_add(more);
            if more > 0 {
                grown.push(key);
            }
        }
        grown
    }
}

/// The fields of [`Counts`] that only grow.
fn named(counts: &Counts) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("accepted", counts.accepted),
        ("requests", counts.requests),
        ("handshakes_failed", counts.handshakes_failed),
        ("tunnelled", counts.tunnelled),
        ("refused", counts.refused),
        ("events_lost", counts.events_lost),
        ("events_skipped", counts.events_skipped),
        ("answers_cut", counts.answers_cut),
        ("replays_full", counts.replays_full),
    ]
    .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Option<u64> = Some(1000);

    fn totals() -> Totals {
        Totals {
            me: Identity { pid: 1, began: ME },
            ..Totals::default()
        }
    }

    fn proxy(pid: u32, began: u64) -> Identity {
        Identity {
            pid,
            began: Some(began),
        }
    }

    fn requests(count: u64) -> Counts {
        Counts {
            requests: count,
            ..Counts::default()
        }
    }

    fn sum(totals: &Totals) -> u64 {
        totals.sums()[&Key::Count("requests")]
    }

    #[test]
    fn sums_grow_over_proxies_that_come_and_go() {
        let mut totals = totals();
        totals.heard_counts(proxy(7, 2000), &requests(10));
        totals.heard_counts(proxy(7, 2000), &requests(15));
        assert_eq!(sum(&totals), 15);
        // A newer one takes over while the older one drains.
        totals.heard_counts(proxy(8, 3000), &requests(2));
        totals.heard_counts(proxy(7, 2000), &requests(16));
        assert_eq!(sum(&totals), 18);
        // The link broke, and the same process is back.
        totals.heard_counts(proxy(8, 3000), &requests(4));
        assert_eq!(sum(&totals), 20);
    }

    #[test]
    fn what_was_counted_before_weir_control_started_is_left_out() {
        let mut totals = totals();
        totals.heard_counts(proxy(7, 500), &requests(1_000_000));
        assert_eq!(sum(&totals), 0);
        totals.heard_counts(proxy(7, 500), &requests(1_000_003));
        assert_eq!(sum(&totals), 3);
        let rule = |name: &str, count| {
            let (service, rule) = ("sts".to_owned(), name.to_owned());
            (Counted::Rule { service, rule }, count)
        };
        totals.heard_rows(proxy(7, 500), vec![rule("a/b", 40)]);
        totals.heard_rows(proxy(7, 500), vec![rule("a/b", 41), rule("c/d", 5)]);
        let rows: Vec<u64> = totals.sums().iter().skip(9).map(|(_, sum)| *sum).collect();
        assert_eq!(rows, [1, 5], "a rule that is new was not counted before");
    }

    #[test]
    fn a_number_that_falls_begins_anew() {
        let mut totals = totals();
        totals.heard_counts(proxy(7, 2000), &requests(10));
        totals.heard_counts(proxy(7, 2000), &requests(4));
        assert_eq!(sum(&totals), 14);
    }

    #[test]
    fn a_server_is_reached_by_the_last_connection() {
        let mut totals = totals();
        let server: SocketAddr = ([192, 0, 2, 10], 443).into();
        let mut told = |opened, failed| {
            let service = || "sts".to_owned();
            let rows = vec![
                (
                    Counted::Connected {
                        service: service(),
                        server,
                    },
                    opened,
                ),
                (
                    Counted::NotConnected {
                        service: service(),
                        server,
                    },
                    failed,
                ),
            ];
            totals.heard_rows(proxy(7, 2000), rows);
            totals.reached("sts", server)
        };
        let reached = [(0, 0), (1, 0), (1, 0), (1, 2), (1, 2), (2, 3)].map(|(o, f)| told(o, f));
        assert_eq!(
            reached,
            [
                None,
                Some(true),
                Some(true),
                Some(false),
                Some(false),
                Some(true)
            ]
        );
    }

    #[test]
    fn a_proxy_cannot_fill_the_memory() {
        let mut totals = totals();
        let rule = |rule: String| Counted::Rule {
            service: "sts".to_owned(),
            rule,
        };
        let long = vec![(rule("x".repeat(LONGEST + 1)), 1)];
        totals.heard_rows(proxy(7, 2000), long);
        assert!(totals.sums().is_empty());
        for part in 0..3 {
            let rows = (0..MOST).map(|number| (rule(format!("{part}/{number}")), 1));
            totals.heard_rows(proxy(7, 2000), rows.collect());
        }
        assert_eq!(totals.sums().len(), MOST);
        for pid in 0..100 {
            totals.heard_counts(proxy(pid, 2000 + u64::from(pid)), &requests(1));
        }
        assert_eq!(totals.said.len(), PROXIES);
    }
}
