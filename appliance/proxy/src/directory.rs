//! The directory of the tenant, as weir-control hands it over: sealed memory, read where it lies.
//!
//! In: a descriptor of the memory, and how old what stands in it may be. Out: what every decision asks, together
//! with the users of the generation and the rates. Looking a snapshot through takes as long as it is large, so it
//! is done where it may block; what the names in the rules mean is worked out once for each snapshot and
//! generation. Nothing is copied, and the memory goes when the last request that asks it is answered.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use time::UtcDateTime;
use weir_directory::{ParseError, Snapshot};
use weir_link::sealed::{self, Mapped};
use weir_policy::{Answers, Directory, Resident, Resolved, SignIn, Users, Wanted, Who};

use crate::generation::Service;
use crate::rates::Rates;

/// A snapshot in the memory of weir-control.
pub struct Held {
    snapshot: Snapshot<Mapped>,
    max_age: Duration,
}

/// A snapshot, and what the names in the rules of each service mean in it.
pub struct Tenant {
    held: Arc<Held>,
    resolved: HashMap<String, Resolved>,
}

/// What one decision asks.
pub struct Asking<'a> {
    resident: Resident<'a>,
    rates: &'a Rates,
}

/// Why a directory cannot be used; the one before stays.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its memory is not attached, or more than that.
    #[error(
        "{attached} descriptors came with it instead of one; weir-control and weir-proxy must be of one version"
    )]
    Attached {
        /// How many came.
        attached: usize,
    },
    /// The memory cannot be read.
    #[error(transparent)]
    Memory(#[from] sealed::Error),
    /// There is no directory in it.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is another one than was announced.
    #[error(
        "it is the directory {found}, and {announced} was announced; weir-control makes it anew when it starts"
    )]
    Epoch {
        /// Its number.
        found: u64,
        /// The number in the message.
        announced: u64,
    },
}

impl Held {
    /// Looks through the memory that came with a message. Blocks for as long as it takes to read it.
    pub fn take(
        mut descriptors: Vec<OwnedFd>,
        announced: u64,
        length: u64,
        max_age: Duration,
    ) -> Result<Self, Unusable> {
        let attached = descriptors.len();
        let (Some(memory), 1) = (descriptors.pop(), attached) else {
            return Err(Unusable::Attached { attached });
        };
        let snapshot = Snapshot::parse(sealed::map(&memory, length)?)?;
        let found = snapshot.head().epoch;
        if found != announced {
            return Err(Unusable::Epoch { found, announced });
        }
        Ok(Self { snapshot, max_age })
    }
}

impl Tenant {
    /// Works out what the names in the rules of these services mean.
    pub fn new(held: Arc<Held>, services: &HashMap<String, Arc<Service>>) -> Self {
        let services = services.iter();
        let resolved =
            services.map(|(name, service)| (name.clone(), service.policy.resolve(&held.snapshot)));
        Self {
            resolved: resolved.collect(),
            held,
        }
    }

    /// The same snapshot for other services.
    #[must_use]
    pub fn for_services(&self, services: &HashMap<String, Arc<Service>>) -> Self {
        Self::new(Arc::clone(&self.held), services)
    }
}

impl<'a> Asking<'a> {
    /// For a decision about a request to a service, at that moment.
    pub fn new(
        users: Option<&'a Users>,
        tenant: Option<&'a Tenant>,
        rates: &'a Rates,
        service: &str,
        now: UtcDateTime,
    ) -> Self {
        let tenant = tenant.and_then(|tenant| {
            let view = tenant
                .held
                .snapshot
                .at(now.unix_timestamp(), tenant.held.max_age);
            Some((view, tenant.resolved.get(service)?))
        });
        Self {
            resident: Resident::new(users, tenant),
            rates,
        }
    }
}

impl Directory for Asking<'_> {
    fn knows(&self, user: &str) -> Option<bool> {
        self.resident.knows(user)
    }

    fn admit(&self, sign_in: &SignIn<'_>) -> bool {
        self.rates.admit(sign_in)
    }

    fn would_admit(&self, sign_in: &SignIn<'_>) -> bool {
        self.rates.would_admit(sign_in)
    }

    fn look_up(&self, who: &Who<'_>, wanted: &Arc<Wanted>) -> Answers {
        self.resident.look_up(who, wanted)
    }
}
