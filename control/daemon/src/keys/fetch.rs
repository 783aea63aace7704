//! Reads the documents that a service publishes its keys in: from its own upstream servers, from an address
//! elsewhere, or from a file.
//!
//! Only over TLS: the servers by the name and the authorities of the service's upstream, everything else by
//! those of the system. No redirect is followed and no proxy of the environment is used; size and time are
//! bounded. A document that cannot be read leaves what is known of its kind as it is.

mod client;

use std::fmt;
use std::path::PathBuf;

use url::Url;
use weir_claims::jwks::{self, Discovery};
use weir_claims::{Keys, metadata};
use weir_config::{KeyPlace, KeySource, KeySources};
use weir_link::Upstream;

use crate::brain::blocking;
use crate::generation::Candidate;
use crate::watch::{Stamps, stamps};

/// Longest document.
const LONGEST: usize = 4 << 20;

/// What is asked for the keys of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    sources: KeySources,
    /// The names of the service; the first is what its servers are asked as.
    hosts: Vec<String>,
    upstream: Upstream,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Read {
    /// The keys that are published, and those that are known in place of what could not be read.
    pub(crate) keys: Keys,
    /// What could not be read.
    pub(crate) failed: Option<String>,
    /// What was left out of the documents.
    pub(crate) left_out: Vec<String>,
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Why {
    /// Over HTTPS.
    #[error(transparent)]
    Https(#[from] weir_https::Why),
    /// A file.
    #[error("cannot be read: {0}")]
    File(String),
    /// It is not what it should be.
    #[error("cannot be used: {0}")]
    Unusable(String),
    /// The discovery document leads elsewhere.
    #[error(
        "says that the keys are at {0}, which is not of this service; if that is meant, name it: `jwks` in \
         [service.tokens]"
    )]
    Elsewhere(String),
}

/// A document that was read, could not be read, or is not there and need not be.
type Document<T> = Option<Result<T, String>>;

impl Asked {
    /// What the configuration says of a service; nothing when its tokens are not looked at, or are another's.
    pub(crate) fn of(candidate: &Candidate, service: &str) -> Option<Self> {
        let services = &candidate.config().services;
        let configured = services.iter().find(|one| one.name == service)?;
        let tokens = configured.tokens.as_ref();
        Some(Self {
            sources: tokens.filter(|tokens| tokens.of.is_none())?.keys.clone(),
            hosts: configured.hosts.clone(),
            upstream: candidate.upstream(service)?.clone(),
        })
    }

    /// The places, in words.
    pub(crate) fn sources(&self) -> Vec<String> {
        let KeySources {
            metadata,
            discovery,
            jwks,
        } = &self.sources;
        let all = [
            ("metadata", metadata),
            ("discovery", discovery),
            ("keys", jwks),
        ];
        let all = all.into_iter();
        all.filter_map(|(what, source)| Some(format!("{what}: {}", source.as_ref()?.place)))
            .collect()
    }

    /// The states of the files among them. Blocks.
    pub(crate) fn stamps(&self) -> Stamps {
        stamps(self.files())
    }

    /// The files among them.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let sources = &self.sources;
        let all = [&sources.metadata, &sources.discovery, &sources.jwks];
        let all = all.into_iter().flatten();
        all.filter_map(|source| match &source.place {
            KeyPlace::File(path) => Some(path.clone()),
            KeyPlace::Upstream(_) | KeyPlace::Elsewhere(_) => None,
        })
        .collect()
    }

    /// Reads everything. What cannot be read stays as it is `known`; nothing at all is an error.
    pub(crate) async fn read(&self, known: &Keys) -> Result<Read, String> {
        let KeySources {
            metadata,
            discovery,
            jwks,
        } = &self.sources;
        let has_certificates = !known.certificates.is_empty();
        let has_jwks = !known.jwks.is_empty();
        let metadata = self.document(
            "metadata",
            metadata.as_ref(),
            has_certificates,
            metadata::read,
        );
        let metadata = metadata.await;
        let discovery = self
            .document(
                "discovery document",
                discovery.as_ref(),
                has_jwks,
                jwks::discovery,
            )
            .await;
        let jwks = match self.place_of_jwks(jwks.as_ref(), discovery.as_ref()) {
            Ok(place) => {
                self.document("keys", place.as_ref(), has_jwks, jwks::read)
                    .await
            }
            Err(why) => Some(Err(why)),
        };
        let failed: Vec<_> = [
            error(metadata.as_ref()),
            error(discovery.as_ref()),
            error(jwks.as_ref()),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
        let failed = (!failed.is_empty()).then(|| failed.join("; "));
        let (metadata_fails, jwks_fails) = (
            error(metadata.as_ref()).is_some(),
            error(jwks.as_ref()).is_some(),
        );
        let (metadata, discovery, jwks) = (found(metadata), found(discovery), found(jwks));
        if metadata.is_none() && jwks.is_none() {
            let why = failed.unwrap_or_else(|| {
                format!("nothing is published at {}", self.sources().join(" or "))
            });
            return Err(why);
        }
        let mut keys = Keys::published(metadata.as_ref(), discovery.as_ref(), jwks.as_ref());
        if metadata_fails {
            keys.certificates.clone_from(&known.certificates);
        }
        if jwks_fails {
            keys.jwks.clone_from(&known.jwks);
        }
        if failed.is_some() {
            keys.issuers.extend(known.issuers.iter().cloned());
            keys.issuers.sort();
            keys.issuers.dedup();
        }
        let certificates = metadata.map(|found| found.left_out).unwrap_or_default();
        let certificates = certificates.into_iter();
        let certificates = certificates
            .map(|(place, why)| format!("certificate {place} of the metadata is left out: {why}"));
        let left_out = jwks.map(|found| found.left_out).unwrap_or_default();
        let left_out = left_out.into_iter();
        let left_out = left_out.map(|(place, why)| format!("JWK {place} is left out: {why}"));
        Ok(Read {
            keys,
            failed,
            left_out: certificates.chain(left_out).collect(),
        })
    }

    /// Where the keys of JWTs are: where the administrator says, else where the discovery document says, else
    /// where the profile says.
    fn place_of_jwks(
        &self,
        source: Option<&KeySource>,
        discovery: Option<&Result<Discovery, String>>,
    ) -> Result<Option<KeySource>, String> {
        let found = match (source, discovery) {
            (Some(source), _) if source.named => return Ok(Some(source.clone())),
            (_, Some(Ok(found))) => found,
            _ => return Ok(source.cloned()),
        };
        let at = self.sources.discovery.as_ref().map(|source| &source.place);
        let url = Url::parse(&found.jwks_uri).ok();
        let place = url.as_ref().and_then(|url| {
            let host = url.host_str()?;
            let mut own = self.hosts.iter().chain([&self.upstream.server_name]);
            match at {
                Some(KeyPlace::Elsewhere(at)) => {
                    let at = Url::parse(at).ok()?;
                    (at.origin() == url.origin()).then(|| KeyPlace::Elsewhere(url.to_string()))
                }
                _ => own.any(|own| own == host).then(|| {
                    let path = match url.query() {
                        Some(query) => format!("{}?{query}", url.path()),
                        None => url.path().to_owned(),
                    };
                    KeyPlace::Upstream(path)
                }),
            }
        });
        if let Some(place) = place {
            return Ok(Some(KeySource { place, named: true }));
        }
        let host = url.as_ref().and_then(Url::host_str);
        let host: String = host.unwrap_or("no address").chars().take(253).collect();
        Err(format!("the discovery document {}", Why::Elsewhere(host)))
    }

    /// Reads one document. Where nobody named it, a server may have none; but not when something of its kind
    /// `is_known`.
    async fn document<T, E: fmt::Display>(
        &self,
        what: &str,
        source: Option<&KeySource>,
        is_known: bool,
        read: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Document<T> {
        let source = source?;
        let read = match self.bytes(&source.place).await {
            Ok(bytes) => read(&bytes).map_err(|error| Why::Unusable(error.to_string())),
            Err(Why::Https(weir_https::Why::Status(404 | 410))) if !source.named && !is_known => {
                return None;
            }
            Err(why) => Err(why),
        };
        Some(read.map_err(|why| format!("the {what} ({}) {why}", source.place)))
    }

    async fn bytes(&self, place: &KeyPlace) -> Result<Vec<u8>, Why> {
        match place {
            KeyPlace::Upstream(path) => {
                Ok(client::upstream(&self.upstream, &self.hosts[0], path).await?)
            }
            KeyPlace::Elsewhere(url) => Ok(client::elsewhere(url).await?),
            KeyPlace::File(path) => {
                let path = path.clone();
                let read = blocking(move || Ok(weir_config::read_file(&path, LONGEST as u64)));
                let read = read.await.map_err(|error| Why::File(error.to_string()))?;
                read.map_err(|error| Why::File(error.to_string()))
            }
        }
    }
}

fn error<T>(document: Option<&Result<T, String>>) -> Option<&String> {
    document?.as_ref().err()
}

fn found<T>(document: Document<T>) -> Option<T> {
    document?.ok()
}
