//! Connections that belong to one client.
//!
//! NTLM and Negotiate authenticate the connection, not the request (RFC 4559, section 6): a second
//! client on it would act as the first. Once either is seen, the connection to the upstream is this
//! client connection's own until one of the two closes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Response, StatusCode};

use super::Connection;

/// The place for a connection of one client's own. One per HTTP/1.1 client connection, on which
/// there is one request at a time.
#[derive(Debug, Default)]
pub struct PinSlot {
    bound: AtomicBool,
    connection: Mutex<Option<Connection>>,
}

impl PinSlot {
    /// From now on this client has a connection of its own.
    pub(super) fn bind(&self) {
        self.bound.store(true, Ordering::Relaxed);
    }

    /// Whether this client has a connection of its own.
    pub(super) fn is_bound(&self) -> bool {
        self.bound.load(Ordering::Relaxed)
    }

    /// The client's own connection, when it is alive.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut slot = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        slot.take().filter(|connection| !connection.is_closed())
    }

    /// Keeps the connection for this client's next request.
    pub(super) fn put(&self, connection: Connection) {
        *self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

/// Whether a request authenticates its connection.
pub(super) fn carries_connection_auth(headers: &HeaderMap) -> bool {
    headers
        .get_all(AUTHORIZATION)
        .iter()
        .any(|value| names_connection_scheme(value.as_bytes()))
}

/// Whether an answer asks the client to authenticate its connection, or goes on with that.
pub(super) fn asks_connection_auth<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::UNAUTHORIZED
        && response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .any(|value| {
                value
                    .as_bytes()
                    .split(|byte| *byte == b',')
                    .any(names_connection_scheme)
            })
}

fn names_connection_scheme(value: &[u8]) -> bool {
    let scheme = value
        .trim_ascii_start()
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or(value);
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}
