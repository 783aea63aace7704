//! What the proxy counts by names: decisions by service, flow, client and rule, how long answers took,
//! handshakes, and connections to servers. Like [`Counts`](crate::Counts) since its start, never reset.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Answers are counted by how long they took: within so many microseconds, or longer than the last.
pub const TOOK_WITHIN: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// What one number counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Requests, tunnels and refusals, each once.
    Decided {
        /// Name of the service.
        service: String,
        /// Flow kind; `tunnel` where nothing was decrypted, `none` for what never reached policy.
        flow: String,
        /// Client kind; `none` where nobody can say.
        client: String,
        /// As in [`Event::decision`](crate::Event::decision).
        decision: String,
    },
    /// Decisions that a rule made.
    Rule {
        /// Name of the service.
        service: String,
        /// `SET/NAME`.
        rule: String,
    },
    /// Requests that were decided, and that no server answered.
    Unanswered {
        /// Name of the service.
        service: String,
    },
    /// Answers to requests that took no longer than this, and longer than the one before.
    Took {
        /// Name of the service.
        service: String,
        /// Place in [`TOOK_WITHIN`]; its length for all that took longer.
        within: usize,
    },
    /// Microseconds that all of them took together.
    TookMicroseconds {
        /// Name of the service.
        service: String,
    },
    /// TLS handshakes of clients that succeeded.
    Handshake {
        /// Version of the protocol: `1.2` or `1.3`.
        version: String,
        /// It went on with an earlier session.
        resumed: bool,
    },
    /// Connections that were opened to a server.
    Connected {
        /// Name of the service.
        service: String,
        /// The server.
        server: SocketAddr,
    },
    /// Connections that could not be opened.
    NotConnected {
        /// Name of the service.
        service: String,
        /// The server.
        server: SocketAddr,
    },
}

impl Counted {
    /// The texts in it, which come from the proxy.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Decided {
                service,
                flow,
                client,
                decision,
            } => vec![service, flow, client, decision],
            Self::Rule { service, rule } => vec![service, rule],
            Self::Handshake { version, .. } => vec![version],
            Self::Unanswered { service }
            | Self::Took { service, .. }
            | Self::TookMicroseconds { service }
            | Self::Connected { service, .. }
            | Self::NotConnected { service, .. } => vec![service],
        }
    }
}
