//! How the synchronisation is set up: from the configuration to the settings of the engine. Everything here blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_config::{Config, Entra, Outbound};
use weir_entra::clock::{Clock, System};
use weir_entra::credential::{Credential, Registration};
use weir_entra::graph::Graph;
use weir_entra::network::{Network, Proxy, SetupError};
use weir_entra::store::StoreError;
use weir_entra::sync::{Engine, OpenError, Opened, Settings};
use weir_entra::token::Tokens;

use super::credentials::{self, Slot};
use crate::watch::Stamps;
use crate::{sockets, store};

/// Largest file of authorities, in bytes.
const LONGEST_CA: u64 = 4 << 20;

/// What the configuration says of the tenant, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) entra: Entra,
    pub(crate) outbound: Outbound,
    state: PathBuf,
}

/// A synchronisation that was opened, and with which credential.
pub(crate) struct Begun {
    pub(crate) opened: Opened,
    pub(crate) is_disconnected: bool,
    pub(crate) slot: Slot,
    /// Why it is not the first one, where it is not.
    pub(crate) not_first: Option<String>,
    pub(crate) stamps: Stamps,
}

/// Why a synchronisation was not opened.
pub(crate) struct NotBegun {
    pub(crate) why: String,
    /// Its files are in use yet.
    pub(crate) is_in_use: bool,
}

impl Asked {
    /// Of a configuration, if it has a tenant.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        Some(Self {
            entra: config.entra.clone()?,
            outbound: config.outbound.clone(),
            state: config.appliance.state.join("entra"),
        })
    }

    /// Whether a synchronisation that was opened for this can go on for `other`: credentials, and what rounds are
    /// judged by, can be changed while it runs.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let plain = |asked: &Self| {
            let mut asked = asked.clone();
            asked.entra.credential = self.entra.credential.clone();
            asked.entra.next_credential = None;
            asked.entra.limits = self.entra.limits;
            asked.entra.groups.clear();
            asked.entra.callback = None;
            asked.entra.elsewhere.clear();
            asked
        };
        plain(self) == plain(other)
    }

    /// Opens the synchronisation, with what is kept of the tenant. Nobody is asked anything.
    pub(crate) fn open(&self) -> Result<Begun, NotBegun> {
        sockets::directory(&self.state, 0o700).map_err(failed)?;
        let clock: Arc<dyn Clock> = Arc::new(System::default());
        let stamps = credentials::stamps_of(&self.entra);
        let chosen = credentials::choose(&self.entra, clock.now());
        let network = self.network().map_err(failed)?;
        let file = self.state.join("store.redb");
        let mut settings = Settings::new(self.registration(chosen.credential), network, file);
        settings.parts.clone_from(&self.entra.parts);
        settings.cadences.clone_from(&self.entra.every);
        settings.guard.limits = self.entra.limits;
        settings.keep = self.entra.keep;
        settings.max_age = self.entra.max_age;
        settings.epoch = self.epoch();
        settings.clock = clock;
        let opened = Engine::open(settings).map_err(|error| NotBegun {
            why: error.to_string(),
            is_in_use: matches!(error, OpenError::Store(StoreError::InUse { .. })),
        })?;
        let is_disconnected = opened.store.is_disconnected();
        Ok(Begun {
            opened,
            is_disconnected: is_disconnected.map_err(failed)?,
            slot: chosen.slot,
            not_first: chosen.not_first,
            stamps,
        })
    }

    /// A Graph beside that of the engine: to try a credential with.
    pub(crate) fn graph(&self, credential: Credential) -> Result<Graph, SetupError> {
        let (network, clock) = (self.network()?, Arc::new(System::default()));
        let tokens = Arc::new(Tokens::new(&network, clock.clone())?);
        Graph::new(
            Arc::new(self.registration(credential)),
            tokens,
            &network,
            clock,
        )
    }

    pub(crate) fn registration(&self, credential: Credential) -> Registration {
        Registration {
            cloud: self.entra.cloud.clone(),
            tenant: self.entra.tenant,
            client: self.entra.application,
            credential,
        }
    }

    /// Remembers the epoch of a picture: those to come are newer, whatever the clock says then.
    pub(crate) fn remember(&self, epoch: u64) -> std::io::Result<()> {
        store::replace(&self.epoch_file(), format!("{epoch}\n").as_bytes())
    }

    /// The epoch of the last picture that was published; 0 when nobody knows.
    fn epoch(&self) -> u64 {
        let known = std::fs::read_to_string(self.epoch_file());
        known
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    fn epoch_file(&self) -> PathBuf {
        self.state.join("epoch")
    }

    fn network(&self) -> Result<Network, SetupError> {
        let mut network = Network::default();
        if let Some(proxy) = &self.outbound.proxy {
            network.proxy = Some(Proxy::parse(proxy)?);
        }
        if let Some(ca) = self.entra.ca.as_ref().or(self.outbound.ca.as_ref()) {
            network.trust(&pem(ca)?)?;
        }
        Ok(network)
    }
}

fn pem(ca: &Path) -> Result<Vec<u8>, SetupError> {
    let failed =
        |error: std::io::Error| SetupError::Authorities(format!("{}: {error}", ca.display()));
    weir_config::read_file(ca, LONGEST_CA).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: impl ToString) -> NotBegun {
    NotBegun {
        why: error.to_string(),
        is_in_use: false,
    }
}
