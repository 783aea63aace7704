//! How much of the proxy clients may hold at once, and for how long.

use std::time::Duration;

/// What clients may hold. The defaults are those of the process; tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of request bodies in memory, of all clients together.
    pub request_memory: usize,
    /// Most exchanges with an upstream at once on one client connection.
    pub exchanges_per_client: usize,
    /// Longest wait for either of the two to become free.
    pub wait: Duration,
    /// The upstream may take this long until its answer begins. AD FS can need half a minute when its
    /// database is slow; a WAP in front of it gives up earlier.
    pub head: Duration,
    /// An answer of which its client takes nothing for so long is given up.
    pub stalled: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_memory: 256 << 20,
            exchanges_per_client: 32,
            wait: Duration::from_secs(5),
            head: Duration::from_mins(1),
            stalled: Duration::from_mins(1),
        }
    }
}
