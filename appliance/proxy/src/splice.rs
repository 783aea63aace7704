//! Connections that are passed on without being decrypted.
//!
//! Nothing in them is seen or changed: the client shakes hands with the upstream itself. Whether a
//! connection may be spliced is decided before, by its SNI and source.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// A tunnel in which nothing moves for this long is closed.
const IDLE: Duration = Duration::from_mins(5);

/// Sends `first` (the bytes already read from the client) to the upstream, then copies in both
/// directions until both sides have ended, or nothing has moved for five minutes.
pub async fn splice(client: TcpStream, mut upstream: TcpStream, first: &[u8]) -> io::Result<()> {
    upstream.write_all(first).await?;
    let moved = Arc::new(AtomicU64::new(0));
    let mut client = Watched {
        inner: client,
        moved: Arc::clone(&moved),
    };
    let copy = tokio::io::copy_bidirectional(&mut client, &mut upstream);
    tokio::pin!(copy);
    loop {
        let before = moved.load(Ordering::Relaxed);
        tokio::select! {
            ended = &mut copy => return ended.map(drop),
            () = tokio::time::sleep(IDLE) => {
                if moved.load(Ordering::Relaxed) == before {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

/// Counts every read and write, so that a tunnel that stands still is seen.
struct Watched {
    inner: TcpStream,
    moved: Arc<AtomicU64>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
