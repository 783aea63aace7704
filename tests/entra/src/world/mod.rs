//! What there is in the lab's cloud: tenants, applications, a clock, and how badly the services behave.
//!
//! Everything is in memory and behind one lock. Nothing here answers a request: [`crate::token`] and [`crate::graph`]
//! read it, and tests change it through an [`Edit`].

pub mod apps;
pub mod clock;
pub mod directory;
pub mod documents;
pub mod edit;
pub mod fabrik;
pub mod object;
pub mod populate;
pub mod shapes;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::chance::Chance;
use crate::faults::Faults;
use crate::graph::delta::Plans;
use crate::throttle::Throttle;
use apps::{Account, App};
use clock::Clock;
use directory::Directory;
use documents::{Documents, Section};
pub use edit::{Edit, Refused};

/// Everything.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub clock: Clock,
    /// What the seed decides.
    pub chance: Chance,
    /// The tenants; the first is that of the administrator who consents.
    pub tenants: Vec<Tenant>,
    /// The registered applications.
    pub apps: Vec<App>,
    /// What goes wrong, by script.
    pub faults: Faults,
    /// How the services behave where Microsoft says little.
    pub quirks: Quirks,
    /// How much is too much.
    pub throttle: Throttle,
    /// What the administrator does with the page that asks for consent.
    pub consent: Consent,
    /// How long consent takes to be in force.
    pub consent_delay: Duration,
    /// How many times a client may ask for the same token in a minute before it is taken for a loop.
    pub token_loop: usize,
    /// By client: when it asked for a token in the last minute.
    pub(crate) asked: HashMap<Uuid, Vec<OffsetDateTime>>,
    /// `jti` of assertions that were used, with when they end.
    pub(crate) assertions: HashMap<String, f64>,
    /// How many requests there were: what makes their ids differ.
    pub(crate) requests: u64,
}

impl World {
    /// Without tenants.
    pub fn new(seed: u64) -> Self {
        Self {
            clock: Clock::default(),
            chance: Chance::new(seed),
            tenants: Vec::new(),
            apps: Vec::new(),
            faults: Faults::default(),
            quirks: Quirks::default(),
            throttle: Throttle::default(),
            consent: Consent::Ask,
            consent_delay: Duration::ZERO,
            token_loop: 60,
            asked: HashMap::new(),
            assertions: HashMap::new(),
            requests: 0,
        }
    }

    /// The tenant of that id.
    pub fn tenant(&self, id: Uuid) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.id == id)
    }

    /// The tenant of that id or with that verified domain, as a path names it.
    pub fn find(&self, name: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.is_named(name))
    }

    /// Changes a tenant.
    pub fn edit(&mut self, id: Uuid) -> Option<Edit<'_>> {
        let now = self.clock.now();
        let chance = self.chance.of_text("edit").of_text(&id.to_string());
        let silent = self.quirks.silent_purge;
        let tenant = self.tenants.iter_mut().find(|tenant| tenant.id == id)?;
        Some(Edit::new(tenant, now, chance, silent))
    }

    /// The application of that id.
    pub fn app(&self, app_id: Uuid) -> Option<&App> {
        self.apps.iter().find(|app| app.app_id == app_id)
    }

    /// The application of that id, to be changed.
    pub fn app_mut(&mut self, app_id: Uuid) -> Option<&mut App> {
        self.apps.iter_mut().find(|app| app.app_id == app_id)
    }

    /// Purges what was soft-deleted more than 30 days ago.
    pub(crate) fn forget(&mut self) {
        let until = (self.clock.now() - RESTORABLE).unix_timestamp();
        for at in 0..self.tenants.len() {
            let tenant = &self.tenants[at];
            let over: Vec<Uuid> = tenant.directory.deleted_before(until).collect();
            let id = tenant.id;
            if let (false, Some(mut edit)) = (over.is_empty(), self.edit(id)) {
                for id in over {
                    edit.purge(id).expect("it is soft-deleted");
                }
            }
        }
    }

    /// Chance for one more request.
    pub(crate) fn next_request(&mut self) -> Chance {
        self.requests += 1;
        self.chance.of_text("request").of(self.requests)
    }
}

/// How long a soft-deleted object can be restored.
const RESTORABLE: Duration = Duration::days(30);

/// A tenant.
#[derive(Debug)]
pub struct Tenant {
    /// Its id.
    pub id: Uuid,
    /// `tenant_region_scope`
    pub region: String,
    /// What it pays for.
    pub licence: Licence,
    /// Users, groups, devices, service principals, and edges.
    pub directory: Directory,
    /// The rest.
    pub documents: Documents,
    /// What is said otherwise than usual of a user's registered methods.
    pub registrations: BTreeMap<Uuid, Value>,
    /// Accounts of applications.
    pub accounts: Vec<Account>,
    /// How often all links were voided: those of an earlier generation are expired.
    pub generation: u64,
    /// What the tenant's cloud does not offer at all.
    pub not_offered: Vec<Section>,
    pub(crate) plans: Plans,
}

impl Tenant {
    /// Whether a path means it by `name`: its id, or a domain that it has verified.
    pub fn is_named(&self, name: &str) -> bool {
        let domains = self.documents.of(Section::Domains);
        Uuid::try_parse(name) == Ok(self.id)
            || domains.iter().any(|domain| {
                domain["id"]
                    .as_str()
                    .is_some_and(|id| id.eq_ignore_ascii_case(name))
            })
    }

    /// The account of an application.
    pub fn account(&self, app_id: Uuid) -> Option<&Account> {
        let mut accounts = self.accounts.iter();
        accounts.find(|account| account.app_id == app_id)
    }

    /// The account of an application, to be changed.
    pub fn account_mut(&mut self, app_id: Uuid) -> Option<&mut Account> {
        let mut accounts = self.accounts.iter_mut();
        accounts.find(|account| account.app_id == app_id)
    }
}

/// What a tenant pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Licence {
    /// Nothing: no sign-in log, no Conditional Access.
    Free,
    /// P1.
    P1,
    /// P2: Privileged Identity Management too.
    P2,
}

/// What the administrator does when asked for consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Sees a page with two buttons.
    Ask,
    /// Approves at once.
    Approve,
    /// Declines at once.
    Deny,
}

/// How the services behave where Microsoft says little, or where what they do is not what is documented.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quirks {
    /// Most objects on a page of a delta round.
    pub delta_page: usize,
    /// Most members of a group that are told at once; the rest comes on another page, or later on the same.
    pub piece: usize,
    /// Chance that an object is told twice in a round.
    pub duplicate: f64,
    /// Chance that a round tells again what the one before it told.
    pub replay: f64,
    /// Chance that a page is empty although more follows.
    pub empty_page: f64,
    /// Chance that a soft-deleted object is already told of in the first round.
    pub gone_at_first: f64,
    /// Chance that nobody is told of a purge.
    pub silent_purge: f64,
    /// Whether a restored object comes back only when a selected property changed too.
    pub hidden_restore: bool,
    /// Chance that a request meets a replica that lags.
    pub lagging: f64,
    /// By how many changes it lags at most.
    pub lag: usize,
    /// What the answer to an expired link is.
    pub expired: Expired,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            delta_page: 100,
            piece: 500,
            duplicate: 0.03,
            replay: 0.1,
            empty_page: 0.03,
            gone_at_first: 0.5,
            silent_purge: 0.5,
            hidden_restore: false,
            lagging: 0.0,
            lag: 0,
            expired: Expired::BadRequest,
        }
    }
}

impl Quirks {
    /// The services as their documentation would have them: nothing told twice, nothing kept quiet, nothing empty.
    pub fn none() -> Self {
        Self {
            duplicate: 0.0,
            replay: 0.0,
            empty_page: 0.0,
            gone_at_first: 0.0,
            silent_purge: 0.0,
            ..Self::default()
        }
    }
}

/// What the answer to an expired delta link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expired {
    /// 400 `syncStateNotFound`
    BadRequest,
    /// 400 `SyncStateNotFound`, as it was seen too.
    BadRequestCapital,
    /// 404 `syncStateNotFound`
    NotFound,
    /// 410 `resyncRequired` with a `Location`
    Gone,
}
