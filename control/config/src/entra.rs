//! `[entra]`: the tenant whose directory is kept in step, and how this appliance signs in to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::Date;
use url::Url;
use uuid::Uuid;
use weir_abi::Class;
use weir_entra::cloud::Cloud;
use weir_entra::credential::{
    Assigned, Certificate, Credential, CredentialError, LONGEST, ManagedIdentity, Secret,
};
use weir_entra::guard::Limits;
use weir_entra::model::Part;
use weir_entra::sync::Keep;
use zeroize::Zeroizing;

use crate::certificate::io_words;
use crate::file;

/// `[entra]`: the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entra {
    /// Its id.
    pub tenant: Uuid,
    /// The id of the application that Weir is there.
    pub application: Uuid,
    /// Where the tenant lives.
    pub cloud: Cloud,
    /// What Weir signs in with.
    pub credential: CredentialSource,
    /// What it signs in with soon: proved beside the present one before it takes its place.
    pub next_credential: Option<CredentialSource>,
    /// What is read.
    pub parts: BTreeSet<Part>,
    /// How often a part is read, where not as usual.
    pub every: BTreeMap<Part, Duration>,
    /// What is older than that, nobody goes by.
    pub max_age: Duration,
    /// How much a round may take away by itself.
    pub limits: Limits,
    /// For how long things are kept.
    pub keep: Keep,
    /// Where an administrator's browser goes back to after consent.
    pub callback: Option<Url>,
    /// PEM of the authorities that may vouch for the cloud's hosts; those of `[outbound]` when absent.
    pub ca: Option<PathBuf>,
    /// Domains whose users sign in past this appliance, on purpose; in lower case.
    pub elsewhere: BTreeSet<String>,
    /// Groups whose members' grants reach less far.
    pub groups: Vec<GroupClass>,
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// A certificate that is registered with the application.
    Certificate {
        /// PEM; of a chain, the certificate is that of the key.
        certificate: PathBuf,
        /// PEM.
        key: PathBuf,
    },
    /// A client secret.
    Secret {
        /// The file that holds it, as one line.
        file: PathBuf,
        /// The day on which it expires, as the portal shows it.
        expires: Option<Date>,
    },
    /// The machine's own identity, in Azure.
    ManagedIdentity(Assigned),
}

impl CredentialSource {
    /// Reads it. Blocks.
    pub fn load(&self) -> Result<Credential, CredentialError> {
        Ok(match self {
            Self::Certificate { certificate, key } => {
                let (chain, key) = (read(certificate)?, read(key)?);
                Credential::Certificate(Certificate::from_parts(&chain, &key)?)
            }
            Self::Secret { file, expires } => {
                // Some time on that day; whoever renews it goes by its beginning.
                let expires = expires.map(|day| day.midnight().assume_utc());
                Credential::Secret(Secret::new(&read(file)?, expires)?)
            }
            Self::ManagedIdentity(assigned) => {
                Credential::ManagedIdentity(ManagedIdentity::new(assigned.clone()))
            }
        })
    }
}

/// What a file with a credential holds; wiped when dropped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let read = file::read_file(path, LONGEST as u64).map(Zeroizing::new);
    read.map_err(|error| CredentialError::File {
        path: path.display().to_string(),
        why: io_words(&error),
    })
}

/// `[[entra.group]]`: how far grants of a group's members reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupClass {
    /// Its object id or its name.
    pub group: String,
    /// How far they reach at most.
    pub class: Class,
    /// Line of the configuration file, from 1.
    pub line: usize,
}
