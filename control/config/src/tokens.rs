//! `[service.tokens]` as typed values: by whose keys tokens are believed, and what rules may ask of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use weir_claims::Keys;
use weir_claims::mapping::MappingSpec;

/// `[service.tokens]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Rules have the last word at the token, on its way to the browser.
    pub decide: bool,
    /// Where the service's keys are.
    pub keys: KeySources,
    /// Tokens must be for one of these; any, when there is none.
    pub audiences: Vec<String>,
    /// The service whose keys and names of claims these are, when it is another one.
    pub of: Option<String>,
    /// Origins that forms with tokens are sent to, each with its own at the reverse proxy.
    pub forms: BTreeMap<String, String>,
    /// Whether values of claims are compared without regard to case.
    pub ignore_case: bool,
    /// Names of claims for rules: those of the profile, and those that are written.
    pub mapping: MappingSpec,
}

/// Where the documents are that publish a service's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySources {
    /// Federation metadata: the certificates that sign assertions.
    pub metadata: Option<KeySource>,
    /// The discovery document: the names of the issuer of JWTs, and where its keys are.
    pub discovery: Option<KeySource>,
    /// The keys that sign JWTs; where the discovery document says, when there is none.
    pub jwks: Option<KeySource>,
}

/// Where one such document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// Its place.
    pub place: KeyPlace,
    /// The administrator named it, so it must be there; where the profile says that it is, servers of an
    /// older release may have none.
    pub named: bool,
}

/// A place that publishes keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A path that the service's own upstream servers are asked for.
    Upstream(String),
    /// An address anywhere else: `https`.
    Elsewhere(String),
    /// A file on this machine.
    File(PathBuf),
}

impl Tokens {
    /// Names of claims that are written, besides those that every service has.
    pub(crate) fn claim_names(&self) -> Vec<String> {
        let written = self.mapping.claims.keys().chain(self.mapping.also.keys());
        let names: BTreeSet<String> = written.cloned().collect();
        names.into_iter().collect()
    }

    /// What the proxy is told, without keys.
    pub(crate) fn link(&self) -> weir_link::Tokens {
        weir_link::Tokens {
            keys: Keys::default(),
            mapping: self.mapping.clone(),
            audiences: self.audiences.clone(),
            forms: self.forms.clone(),
            keys_of: self.of.clone(),
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(path) => write!(f, "{} of the upstream servers", plain(path)),
            Self::Elsewhere(url) => f.write_str(plain(url)),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Without its query, which may hold what is nobody else's business.
fn plain(address: &str) -> &str {
    address.split('?').next().unwrap_or_default()
}
