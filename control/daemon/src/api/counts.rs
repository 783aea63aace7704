//! What is counted on the control sockets.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use weir_api::ControlStatus;

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    open: AtomicU64,
    pub(super) turned_away: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    denied: AtomicU64,
    failed: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) slow: AtomicU64,
}

/// A connection that is open as long as this lives.
pub(super) struct Open<'a>(&'a AtomicU64);

impl Counts {
    /// One more.
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was opened.
    pub(super) fn open(&self) -> Open<'_> {
        Self::add(&self.open);
        Open(&self.open)
    }

    /// A request is answered.
    pub(super) fn answered(&self, status: StatusCode) {
        Self::add(&self.requests);
        if status == StatusCode::FORBIDDEN {
            Self::add(&self.denied);
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            Self::add(&self.slow);
        }
        if status.is_client_error() {
            Self::add(&self.refused);
        }
        if status.is_server_error() {
            Self::add(&self.failed);
        }
    }

    /// As status shows them.
    pub(super) fn status(&self) -> ControlStatus {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ControlStatus {
            open: of(&self.open),
            turned_away: of(&self.turned_away),
            requests: of(&self.requests),
            refused: of(&self.refused),
            denied: of(&self.denied),
            failed: of(&self.failed),
            malformed: of(&self.malformed),
            slow: of(&self.slow),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
