//! Clients: HTTP/1.1 and HTTP/2 over real TLS, from a source address of the test's choice.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{HOST, PATIENCE, Stage, patiently};

/// The address that a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(pub Ipv4Addr);

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One connection to the proxy.
pub enum Http {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Http {
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        whole(self.begin(request).await?).await
    }

    /// Sends a request; gives its answer as soon as the head is there.
    pub async fn begin(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::One(sender) => {
                patiently(sender.ready()).await?;
                patiently(sender.send_request(request)).await
            }
            Self::Two(sender) => {
                patiently(sender.ready()).await?;
                patiently(sender.send_request(request)).await
            }
        }
    }

    /// GET with the service's host.
    pub async fn get(&mut self, target: &str) -> Answer {
        let request = self.request("GET", target, "");
        self.send(request).await.expect("an answer")
    }

    /// POST with the service's host.
    pub async fn post(&mut self, target: &str, kind: &str, body: &str) -> Answer {
        let mut request = self.request("POST", target, body);
        request
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        self.send(request).await.expect("an answer")
    }

    /// A request in the form that this version of HTTP wants.
    pub fn request(&self, method: &str, target: &str, body: &str) -> Request<Full<Bytes>> {
        let request = Request::builder().method(method);
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        match self {
            Self::One(_) => request.uri(target).header("host", HOST).body(body).unwrap(),
            Self::Two(_) => request
                .uri(format!("https://{HOST}{target}"))
                .body(body)
                .unwrap(),
        }
    }
}

pub async fn whole(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let body = patiently(body.collect()).await?.to_bytes();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

impl Stage {
    /// A TCP connection from `source`.
    pub async fn tcp(&self, source: Source) -> TcpStream {
        tcp(source, self.address).await
    }

    /// A TLS connection from `source` with this SNI.
    pub async fn tls(
        &self,
        source: Source,
        sni: &str,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.tls_with(source, sni, self.pki.client(alpn)).await
    }

    /// The same with a configuration of the test's own.
    pub async fn tls_with(
        &self,
        source: Source,
        sni: &str,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        let stream = self.tcp(source).await;
        patiently(TlsConnector::from(config).connect(name, stream)).await
    }

    pub async fn http1(&self, source: Source) -> Http {
        let stream = self.tls(source, HOST, &["http/1.1"]).await.unwrap();
        over_http1(stream).await
    }

    pub async fn http2(&self, source: Source) -> Http {
        let stream = self.tls(source, HOST, &["h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        Http::Two(sender)
    }

    /// An HTTP/2 client that gives no window: it takes the heads of answers, and nothing of their
    /// bodies.
    pub async fn windowless(&self, source: Source) -> h2::client::SendRequest<Bytes> {
        let stream = self.tls(source, HOST, &["h2"]).await.unwrap();
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(0)
            .handshake(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        patiently(sender.ready()).await.unwrap()
    }

    /// Writes these bytes over TLS, and reads until the proxy closes.
    pub async fn raw(&self, source: Source, bytes: &[u8]) -> String {
        let mut stream = self.tls(source, HOST, &["http/1.1"]).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A proxy that closes without a TLS goodbye has said what it had to say.
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(ended.is_ok(), "the proxy does not close after: {answer}");
        answer
    }
}

pub async fn tcp(source: Source, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source.0, 0).into()).unwrap();
    patiently(socket.connect(address)).await.unwrap()
}

pub async fn over_http1(stream: TlsStream<TcpStream>) -> Http {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    Http::One(sender)
}

/// The certificate that the other end has shown.
pub fn certificate(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}
