//! The books as they lie in the state directory, from one weir-control to the next.
//!
//! Moments are of the clock since boot, which goes on when weir-control ends; so a restart finds everything
//! as it was. After a reboot nothing is left that was granted: the kernel's maps are gone and with them what
//! was forwarded, and addresses may have been given to others while the machine was down. Whom the
//! administrators revoked stays revoked, and who was seen where counts on by the wall clock.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::place::Place;
use super::void::Void;
use super::watch::Watch;
use super::{Known, Ledger, Moment, Rules};
use weir_link::PrincipalId;

/// The layout of the file.
const VERSION: u32 = 1;

/// Some million years, so that no sum of a few of them is too large.
const LATEST: u64 = 1 << 58;

/// The clocks of a machine at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// What tells one boot from another.
    pub boot_id: String,
    /// Time since boot.
    pub since_boot: Moment,
    /// Milliseconds since 1970.
    pub wall: i64,
}

/// A ledger, and when it was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    version: u32,
    clocks: Clocks,
    #[serde(default)]
    watch: Watch,
    #[serde(default, skip_serializing_if = "Void::is_empty")]
    void: Void,
    principals: BTreeMap<PrincipalId, Known>,
    places: BTreeMap<IpAddr, Place>,
}

impl Saved {
    /// As [`Ledger::watch`].
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether this version can read it; by the layout, and by what must be so.
    pub fn check(&self, room: usize) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!(
                "it has layout {}, and this version has layout {VERSION}",
                self.version
            ));
        }
        let mut taken = std::collections::BTreeSet::new();
        for (who, known) in &self.principals {
            if known.index as usize >= room || !taken.insert(known.index) {
                return Err(format!("{who} has no place of its own"));
            }
        }
        let places = self.places.values().flat_map(Place::moments);
        let clocks = [self.clocks.since_boot, self.clocks.wall];
        let mut moments = (places.chain(self.watch.moments()))
            .chain(self.void.moments())
            .chain(clocks);
        if let Some(odd) = moments.find(|moment| moment.unsigned_abs() > LATEST) {
            return Err(format!(
                "it tells of the moment {odd}, which no machine lives to see"
            ));
        }
        if self.places.len() > room {
            return Err("it tells of more addresses than there is room for".to_owned());
        }
        for (source, place) in &self.places {
            let whose = place.principals().into_iter().flatten();
            if let Some(who) = whose
                .into_iter()
                .find(|who| !self.principals.contains_key(who))
            {
                return Err(format!("{source} belongs to {who}, who is not told of"));
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// As it is to be found again.
    pub fn save(&self, clocks: Clocks) -> Saved {
        Saved {
            version: VERSION,
            clocks,
            watch: self.watch.clone(),
            void: self.void.clone(),
            principals: self.principals.clone(),
            places: self.places.clone(),
        }
    }

    /// As it was saved; what was checked before. What is over by now is still there, until
    /// [`Ledger::look`].
    pub fn open(rules: Rules, saved: Saved, clocks: &Clocks) -> Self {
        let mut ledger = Self::new(rules, clocks.since_boot);
        let same_boot = saved.clocks.boot_id == clocks.boot_id;
        let shift = if same_boot {
            0
        } else {
            let passed = (clocks.wall - saved.clocks.wall).max(0);
            clocks.since_boot - (saved.clocks.since_boot + passed)
        };
        ledger.watch = saved.watch;
        ledger.watch.shift(shift);
        ledger.watch.follow(&ledger.rules, clocks.since_boot);
        ledger.void = saved.void;
        ledger.void.shift(shift);
        for (who, known) in saved.principals {
            ledger.free.remove(&known.index);
            ledger.changed.insert(who);
            ledger.principals.insert(who, known);
        }
        for (source, mut place) in saved.places {
            place.shift(shift);
            if !same_boot {
                place.grant = None;
                place.rest = None;
            }
            place.deadline = clocks.since_boot;
            ledger.deadlines.insert((place.deadline, source));
            ledger.places.insert(source, place);
            ledger.change(source, Moment::MIN, |_, _| {});
        }
        let all: Vec<_> = ledger.principals.keys().copied().collect();
        for who in all {
            ledger.forget_if_idle(who);
        }
        ledger
    }
}
