//! What holds for the first bytes of every connection: a PROXY protocol header, a ClientHello.
//!
//! An input that begins with the signature of a PROXY header is read as a hop's, any other as a
//! client's.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use crate::reader::{Error, read_hello, read_proxy_header};

/// A PROXY header says what stands in its bytes, and not one more is taken; a ClientHello is what was
/// read, within its limit, whether it comes whole or byte by byte.
pub fn check(input: &[u8]) {
    let client = if input.starts_with(SIGNATURE) {
        let mut rest = input;
        let read = now(read_proxy_header(&mut rest));
        if let Ok(source) = &read {
            let length = 16 + usize::from(u16::from_be_bytes([input[14], input[15]]));
            assert_eq!(
                rest.len(),
                input.len() - length,
                "bytes that are not its own"
            );
            assert_eq!(*source, stated(input));
        }
        rest
    } else {
        input
    };
    let mut rest = client;
    let whole = now(read_hello(&mut rest));
    if let Err(Error::TooLarge) = whole {
        assert!(client.len() > 5, "nothing is too large so soon");
    }
    let Ok(whole) = whole else { return };
    let read = client.len() - rest.len();
    assert_eq!(whole.raw, client[..read], "other bytes than were read");
    assert!(read <= 48 << 10);
    let name = |hello: &crate::reader::Hello| {
        let hello = hello.accepted.client_hello();
        hello.server_name().map(str::to_owned)
    };
    let pieces = now(read_hello(&mut Pieces(client)));
    let pieces = pieces.unwrap_or_else(|error| panic!("byte by byte it is another: {error}"));
    assert_eq!(name(&pieces), name(&whole));
    if let Some(name) = name(&whole) {
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a PROXY header that was accepted must say, by the offsets of its specification (2.2).
fn stated(header: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    match (header[12], header[13]) {
        (0x20, _) => None,
        (0x21, 0x11) => {
            let ip: [u8; 4] = header[16..20].try_into().expect("four bytes");
            Some((IpAddr::from(ip), port(24)).into())
        }
        (0x21, 0x21) => {
            let ip: [u8; 16] = header[16..32].try_into().expect("sixteen bytes");
            Some((IpAddr::from(ip), port(48)).into())
        }
        (version, family) => panic!("{version:#x} {family:#x} is accepted"),
    }
}

/// Gives one byte at a time.
struct Pieces<'a>(&'a [u8]);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some((first, rest)) = self.0.split_first() {
            buffer.put_slice(&[*first]);
            self.0 = rest;
        }
        Poll::Ready(Ok(()))
    }
}

/// Nothing here ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory does not wait"),
    }
}
