//! Idle connections to one upstream. The one used last is used next, so that the others may age.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Connection;

/// Idle connections are closed after this long: before the upstream closes them itself (http.sys
/// after 120 seconds, most others after 60 or 75).
const IDLE: Duration = Duration::from_secs(50);
/// Most idle connections to one upstream.
const MOST: usize = 256;

/// Idle connections to one upstream; none of them has ever been authenticated.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// An idle connection that is alive as far as is known.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((connection, since)) = idle.pop() {
            if !connection.is_closed() && since.elapsed() < IDLE {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(&self, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST {
            idle.push((connection, Instant::now()));
        }
    }

    /// Closes what is dead or has been idle too long.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < IDLE);
    }
}
