//! How much of the proxy clients may hold at once, and for how long.

use std::time::Duration;

/// What clients may hold. The defaults are those of the process; tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory for the bodies of requests.
    pub request_memory: Room,
    /// Memory for answers that are looked at, until their clients have taken them. Of its own: requests that
    /// arrive slowly must not keep answers from being judged, nor slow readers of answers others from asking.
    pub answer_memory: Room,
    /// Most exchanges with an upstream at once on one client connection.
    pub exchanges_per_client: usize,
    /// Most of them of one source.
    pub exchanges_per_source: usize,
    /// Most connections of one source. Thousands of people may stand behind one address of a carrier.
    pub connections_per_source: usize,
    /// Longest wait for memory, or for an exchange, to become free.
    pub wait: Duration,
    /// The upstream may take this long until its answer begins. AD FS can need half a minute when its
    /// database is slow; a WAP in front of it gives up earlier.
    pub head: Duration,
    /// An answer of which its client takes nothing for so long is given up.
    pub stalled: Duration,
    /// A client has so long for its ClientHello, and as long again for the rest of the handshake.
    pub handshake: Duration,
    /// A request's head must be whole after this long; on HTTP/1.1 also the longest pause between
    /// requests.
    pub request_head: Duration,
    /// A request's body must be whole after this long.
    pub request_body: Duration,
    /// A connection without a request for so long is closed.
    pub idle: Duration,
    /// Most requests that a connection may take back before they are answered, beyond those that it
    /// waits for.
    pub taken_back: u64,
}

/// Bytes that may be in memory. Whatever is said of them, a source or a client has at most a quarter of all.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Of all clients together.
    pub all: usize,
    /// Of one source: an IPv4 address, or an IPv6 /64.
    pub per_source: usize,
    /// Of one client connection.
    pub per_client: usize,
}

impl Room {
    /// Most bytes of one source.
    pub fn of_source(&self) -> usize {
        self.per_source.min(self.all / 4)
    }

    /// Most bytes of one client connection.
    pub fn of_client(&self) -> usize {
        self.per_client.min(self.of_source())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_memory: Room {
                all: 256 << 20,
                per_source: 64 << 20,
                per_client: 8 << 20,
            },
            // Pages with a token have some 10 to 100 KB, and are gone in a moment.
            answer_memory: Room {
                all: 128 << 20,
                per_source: 32 << 20,
                per_client: 8 << 20,
            },
            exchanges_per_client: 32,
            exchanges_per_source: 1024,
            connections_per_source: 16 << 10,
            wait: Duration::from_secs(5),
            head: Duration::from_mins(1),
            stalled: Duration::from_mins(1),
            handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(30),
            request_body: Duration::from_secs(30),
            idle: Duration::from_mins(2),
            taken_back: 100,
        }
    }
}
