//! What the proxy counts: since its start, never reset, in [`weir_link::Counts`].

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tally::Tally;

/// The live counters. Every field but the last is one of [`weir_link::Counts`].
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed; with `accepted` this gives the open ones.
    pub closed: Counter,
    /// Requests decided.
    pub requests: Counter,
    /// TLS handshakes that failed.
    pub handshakes_failed: Counter,
    /// Connections spliced without decryption.
    pub tunnelled: Counter,
    /// Refused before policy.
    pub refused: Counter,
    /// Events that found the queue full.
    pub events_lost: Counter,
    /// Refusals that were not told of, because there were too many.
    pub events_skipped: Counter,
    /// Answers that ended early, because something in them looked like a token.
    pub answers_cut: Counter,
    /// What is counted by names.
    pub tally: Tally,
}

impl Counters {
    /// These counters as they stand now.
    pub fn read(&self) -> weir_link::Counts {
        // `closed` first: a connection that comes and goes in between must not make it the larger.
        let closed = self.closed.read();
        let accepted = self.accepted.read();
        weir_link::Counts {
            accepted,
            open: accepted.saturating_sub(closed),
            requests: self.requests.read(),
            handshakes_failed: self.handshakes_failed.read(),
            tunnelled: self.tunnelled.read(),
            refused: self.refused.read(),
            events_lost: self.events_lost.read(),
            events_skipped: self.events_skipped.read(),
            answers_cut: self.answers_cut.read(),
            ..weir_link::Counts::default()
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more.
    pub fn add_many(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
