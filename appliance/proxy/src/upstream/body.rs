//! The body of an answer, and the connection on which it comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::Connection;
use super::pin::PinSlot;
use super::pool::Pool;

/// The longest pause inside an answer.
const PAUSE: Duration = Duration::from_mins(1);

/// Where a connection goes when its answer has been read to the end.
#[derive(Debug)]
pub(super) enum Home {
    Pool(Arc<Pool>),
    Pin(Arc<PinSlot>),
}

/// The body of an answer. When it has been read to its end, the connection goes back to where it
/// may be used again; when it is dropped before, the connection closes.
#[derive(Debug)]
pub struct UpstreamBody {
    inner: Incoming,
    lease: Option<(Connection, Home)>,
    /// One of the upstream's exchanges, for as long as this one lasts.
    _permit: OwnedSemaphorePermit,
    /// Runs while nothing comes.
    pause: Option<Pin<Box<Sleep>>>,
}

impl UpstreamBody {
    pub(super) fn new(
        inner: Incoming,
        connection: Connection,
        home: Home,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let mut body = Self {
            inner,
            lease: Some((connection, home)),
            _permit: permit,
            pause: None,
        };
        if body.inner.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        match self.lease.take() {
            Some((connection, Home::Pool(pool))) => pool.put(connection),
            Some((connection, Home::Pin(slot))) => slot.put(connection),
            None => {}
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.pause = None;
                if self.inner.is_end_stream() {
                    self.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            Poll::Ready(None) => {
                self.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let pause = self
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(PAUSE)));
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.lease = None;
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
