//! The body of an answer on its way: in one piece, or as a bad network or a broken server would send it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

/// How a body is sent when not in one piece. Put it among the extensions of a [`Response`](crate::http::Response).
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivery {
    /// Bytes sent at a time; nothing: all.
    pub piece: Option<usize>,
    /// What is waited before each piece.
    pub pause: Duration,
    /// After so many bytes the connection is cut.
    pub cut: Option<usize>,
}

/// The body of an answer.
#[derive(Debug)]
pub struct Body {
    rest: Bytes,
    delivery: Option<Delivery>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body {
    /// Sends `bytes` as `delivery` says.
    pub fn new(bytes: Bytes, delivery: Option<Delivery>) -> Self {
        let mut body = Self {
            rest: bytes,
            delivery,
            pause: None,
        };
        if let Some(cut) = delivery.and_then(|delivery| delivery.cut) {
            body.rest.truncate(cut);
        }
        body.wait();
        body
    }

    /// What was written before must be on the wire before the connection is cut, so there is always some wait.
    fn wait(&mut self) {
        self.pause = self.delivery.map(|delivery| {
            let least = Duration::from_millis(if delivery.cut.is_some() { 20 } else { 0 });
            Box::pin(tokio::time::sleep(delivery.pause.max(least)))
        });
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.rest.is_empty() {
            let cut = self.delivery.and_then(|delivery| delivery.cut).is_some();
            return Poll::Ready(cut.then(|| Err(io::ErrorKind::ConnectionAborted.into())));
        }
        let piece = self.delivery.and_then(|delivery| delivery.piece);
        let size = piece.map_or(self.rest.len(), |size| size.clamp(1, self.rest.len()));
        let piece = self.rest.split_to(size);
        self.wait();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.delivery.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.delivery {
            None => SizeHint::with_exact(self.rest.len() as u64),
            Some(_) => SizeHint::default(),
        }
    }
}
