//! A server of lists with real TLS, which can be told what to answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use weir_feeds::Fetcher;
use weir_https::{Client, Roots, Setup};

const NAME: &str = "lists.example";

/// What is answered for a path.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    body: Vec<u8>,
    tag: Option<String>,
    cut_short: bool,
}

impl Answer {
    pub fn bytes(body: &[u8]) -> Self {
        Self {
            status: 200,
            body: body.to_vec(),
            tag: None,
            cut_short: false,
        }
    }

    pub fn ok(body: &str) -> Self {
        Self::bytes(body.as_bytes())
    }

    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::ok("")
        }
    }

    pub fn tagged(mut self, tag: &str) -> Self {
        self.tag = Some(tag.to_owned());
        self
    }

    /// The connection ends in the middle of it.
    pub fn cut_short(mut self) -> Self {
        self.cut_short = true;
        self
    }
}

#[derive(Debug, Default)]
struct Said {
    answers: BTreeMap<String, Answer>,
    asked: BTreeMap<String, String>,
}

pub struct Server {
    address: SocketAddr,
    authority: String,
    said: Arc<Mutex<Said>>,
}

impl Server {
    pub async fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let said = Arc::new(Mutex::new(Said::default()));
        let shared = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, said) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| {
                        let answer = answer(&said, &request);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    // A body that is cut short ends the connection with an error, as it should.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            authority: authority.pem(),
            said,
        }
    }

    pub fn url(&self, path: &str) -> url::Url {
        let port = self.address.port();
        let url = format!("https://{NAME}:{port}{path}");
        url.parse().expect("an address")
    }

    pub fn set(&self, path: &str, answer: Answer) {
        let mut said = self.said.lock().expect("nobody panics with it");
        said.answers.insert(path.to_owned(), answer);
    }

    /// The query that a path was asked with the last time.
    pub fn asked(&self, path: &str) -> String {
        let said = self.said.lock().expect("nobody panics with it");
        said.asked.get(path).cloned().unwrap_or_default()
    }

    /// One that trusts this server, and reads up to 1 MiB.
    pub fn fetcher(&self) -> Fetcher {
        let setup = Setup {
            roots: Roots::given(&self.authority).expect("a certificate"),
            pinned: Some((NAME, self.address)),
            proxy: None,
            within: Duration::from_secs(30),
            longest: 1 << 20,
        };
        Fetcher {
            client: Client::new(&setup).expect("a client"),
            machine: uuid::Uuid::from_u128(7),
        }
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

fn answer(said: &Mutex<Said>, request: &Request<hyper::body::Incoming>) -> Response<Body> {
    let mut said = said.lock().expect("nobody panics with it");
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default();
    said.asked.insert(path.clone(), query.to_owned());
    let answer = said.answers.get(&path).cloned();
    let mut answer = answer.unwrap_or_else(|| Answer::status(404));
    let known = request.headers().get("if-none-match");
    if known.is_some_and(|known| answer.tag.as_deref() == known.to_str().ok()) {
        answer.status = 304;
        answer.body.clear();
    }
    let mut response = Response::builder().status(answer.status);
    if let Some(tag) = &answer.tag {
        response = response.header("etag", tag);
    }
    if (300..304).contains(&answer.status) {
        response = response.header("location", "https://elsewhere.example/");
    }
    let body: Body = if answer.cut_short {
        let half = Bytes::from(answer.body[..answer.body.len() / 2].to_vec());
        response = response.header("content-length", answer.body.len());
        let frames = [
            Ok(Frame::data(half)),
            Err(std::io::Error::other("the cable was cut")),
        ];
        BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
    } else {
        let whole = Full::new(Bytes::from(answer.body));
        whole.map_err(|never| match never {}).boxed()
    };
    response.body(body).expect("an answer")
}
