//! The first bytes of a connection: PROXY protocol v2 from trusted hops, then the ClientHello.
//!
//! The bytes of the ClientHello are kept, so that a connection that is not to be decrypted can be
//! replayed to the upstream as it came. Nothing is answered here.

use std::net::SocketAddr;

use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Largest ClientHello that is read, with its record headers, in bytes. With post-quantum key
/// shares, real ones stay below 4 KB.
const MAX_HELLO: usize = 16 << 10;

/// Length of the fixed part of a PROXY protocol v2 header (section 2.2 of its specification).
const PROXY_FIXED: usize = 16;
/// Largest variable part that is read, in bytes: addresses and the type-length-values after them.
const MAX_PROXY_REST: usize = 2 << 10;

/// A whole ClientHello.
pub struct Hello {
    /// What rustls made of it; the handshake goes on from here.
    pub accepted: Accepted,
    /// The very bytes that were read.
    pub raw: Vec<u8>,
}

/// Why no ClientHello was read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection ended or failed before it was whole.
    #[error("the connection ended before the ClientHello was whole: {0}")]
    Io(#[from] std::io::Error),
    /// It is not TLS, or not TLS that we speak; the client is told by this alert.
    #[error("not a usable ClientHello: {0}")]
    Tls(rustls::Error, Box<AcceptedAlert>),
    /// It is longer than we read.
    #[error("the ClientHello is over {MAX_HELLO} bytes")]
    TooLarge,
    /// A trusted hop sent no usable PROXY protocol v2 header.
    #[error("no usable PROXY protocol v2 header from a hop that must send one: {0}")]
    Proxy(&'static str),
}

/// Reads until the ClientHello is whole.
pub async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, Error> {
    let mut acceptor = Acceptor::default();
    let mut raw = Vec::with_capacity(2 << 10);
    loop {
        let seen = raw.len();
        if seen >= MAX_HELLO {
            return Err(Error::TooLarge);
        }
        if stream.read_buf(&mut raw).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        let mut unread = &raw[seen..];
        while !unread.is_empty() {
            if acceptor.read_tls(&mut unread)? == 0 {
                return Err(Error::TooLarge);
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    // What came with the hello belongs to it as far as a replay is concerned, but
                    // rustls must have seen every byte too.
                    if !unread.is_empty() {
                        return Err(Error::TooLarge);
                    }
                    return Ok(Hello { accepted, raw });
                }
                Ok(None) => {}
                Err((error, alert)) => return Err(Error::Tls(error, Box::new(alert))),
            }
        }
    }
}

/// Reads the PROXY protocol v2 header; gives the source that the hop names, or `None` when the hop
/// speaks for itself (command LOCAL: its health check).
pub async fn read_proxy_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, Error> {
    let mut header = vec![0; PROXY_FIXED];
    stream.read_exact(&mut header).await?;
    if header[..12] != *ppp::v2::PROTOCOL_PREFIX {
        return Err(Error::Proxy("the first bytes are not its signature"));
    }
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if rest > MAX_PROXY_REST {
        return Err(Error::Proxy("it is too long"));
    }
    header.resize(PROXY_FIXED + rest, 0);
    stream.read_exact(&mut header[PROXY_FIXED..]).await?;
    let parsed = ppp::v2::Header::try_from(header.as_slice())
        .map_err(|_| Error::Proxy("it cannot be parsed"))?;
    if parsed.command == ppp::v2::Command::Local {
        return Ok(None);
    }
    if parsed.protocol != ppp::v2::Protocol::Stream {
        return Err(Error::Proxy("it tells of no TCP connection"));
    }
    match parsed.addresses {
        ppp::v2::Addresses::IPv4(ip) => Ok(Some((ip.source_address, ip.source_port).into())),
        ppp::v2::Addresses::IPv6(ip) => Ok(Some((ip.source_address, ip.source_port).into())),
        _ => Err(Error::Proxy("it names no IP address")),
    }
}
