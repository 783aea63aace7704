//! What the synchronisation is set up with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, System};
use crate::credential::Registration;
use crate::guard::Guard;
use crate::model::Part;
use crate::network::Network;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What the synchronisation of a tenant is set up with.
#[derive(Debug)]
pub struct Settings {
    /// Who asks whom.
    pub registration: Registration,
    /// How they are reached.
    pub network: Network,
    /// What is read.
    pub parts: BTreeSet<Part>,
    /// How often a part is read, where not as [`cadence`] has it.
    pub cadences: BTreeMap<Part, Duration>,
    /// How often users and groups are read in full, since neither purges nor restores are always told. Less than the
    /// seven days that a delta link lives.
    pub full_every: Duration,
    /// What rounds are judged by. The groups that it watches are those whose movements are told, too.
    pub guard: Guard,
    /// For how long things are kept.
    pub keep: Keep,
    /// What is older than that, nobody goes by: a snapshot is drawn anew long before, also when nothing changed.
    pub max_age: Duration,
    /// Where the store lies.
    pub store: PathBuf,
    /// The epoch of the last snapshot of the tenant that was ever published, if anybody knows: those to come are newer.
    pub epoch: u64,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// For how long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Sign-ins and audits.
    pub logs: Duration,
    /// So many of each, and no more are read at once.
    pub entries: usize,
    /// The journal of what changed.
    pub journal: Duration,
}

impl Settings {
    /// The usual, for a tenant and a file.
    pub fn new(registration: Registration, network: Network, store: PathBuf) -> Self {
        Self {
            registration,
            network,
            parts: Part::ALL.into(),
            cadences: BTreeMap::new(),
            full_every: 6 * DAY,
            guard: Guard::default(),
            keep: Keep::default(),
            max_age: DAY,
            store,
            epoch: 0,
            clock: Arc::new(System::default()),
        }
    }

    /// How often a part is read.
    pub(super) fn cadence(&self, part: Part) -> Duration {
        let told = self.cadences.get(&part).copied();
        told.unwrap_or_else(|| cadence(part)).max(MINUTE)
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            logs: 30 * DAY,
            entries: 100_000,
            journal: 400 * DAY,
        }
    }
}

/// How often a part is usually read: what decides about people often, what seldom changes seldom, and Conditional
/// Access, which all applications of the tenant share one question a second of, every half hour.
pub fn cadence(part: Part) -> Duration {
    match part {
        Part::Users | Part::Groups => 3 * MINUTE,
        Part::Roles | Part::SignIns | Part::Audits => 15 * MINUTE,
        Part::ConditionalAccess
        | Part::Locations
        | Part::Methods
        | Part::SecurityDefaults
        | Part::Organisation
        | Part::Domains => 30 * MINUTE,
        Part::Credentials => 6 * HOUR,
        Part::Registrations => DAY,
    }
}
