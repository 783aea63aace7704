//! What is watched, and since when: where somebody may have been who was not seen, nobody is believed to be
//! alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Moment, Rules, millis};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// From when to when some address was not watched.
    blind: Option<(Moment, Moment)>,
    /// Since when each declared prefix is watched.
    prefixes: BTreeMap<IpNet, Moment>,
    /// For so long it is remembered who was seen.
    look_back: Moment,
}

impl Watch {
    /// Goes by other rules from now on. A prefix inside one that was declared before is watched since then.
    pub(super) fn follow(&mut self, rules: &Rules, now: Moment) {
        let look_back = millis(rules.look_back);
        // Who was seen before that is forgotten.
        let remembered = if look_back > self.look_back {
            now - self.look_back
        } else {
            Moment::MIN
        };
        let before = std::mem::take(&mut self.prefixes);
        let since = |prefix: &IpNet| {
            let wider = before.iter().filter(|(wider, _)| wider.contains(prefix));
            let since = wider.map(|(_, since)| *since).min();
            since.unwrap_or(now).max(remembered)
        };
        let declared = rules.single_user.iter();
        self.prefixes = declared.map(|prefix| (*prefix, since(prefix))).collect();
        self.look_back = look_back;
    }

    /// Somebody was not seen, on any address.
    pub(super) fn lose_sight(&mut self, now: Moment) {
        self.blind = Some((Moment::MIN, now + self.look_back));
    }

    /// There is no room to watch some address that nobody watches yet.
    pub(super) fn find_no_room(&mut self, now: Moment) {
        let since = self.blind.map_or(now, |(since, _)| since);
        self.blind = Some((since, now + self.look_back));
    }

    /// Whether somebody may have been missed on an address that is watched since then.
    pub(super) fn may_have_missed(&self, since: Moment, now: Moment) -> bool {
        let missed = |(from, until): (Moment, Moment)| now < until && since >= from;
        self.blind.is_some_and(missed)
    }

    /// Whether an address, which is watched by itself since then, is watched for too short a time.
    pub(super) fn is_new(&self, source: IpAddr, since: Moment, now: Moment) -> bool {
        let around = self.prefixes.iter();
        let around = around.filter(|(prefix, _)| prefix.contains(&source));
        let since = around.map(|(_, since)| *since).fold(since, Moment::min);
        now < since + self.look_back
    }

    /// Forgets what is over.
    pub(super) fn look(&mut self, now: Moment) {
        self.blind.take_if(|(_, until)| *until <= now);
    }

    /// Until when some addresses get no kernel grant, because a sign-in there may have been missed.
    pub fn blind_until(&self) -> Option<Moment> {
        self.blind.map(|(_, until)| until)
    }

    /// The prefixes that are watched for too short a time, and until when.
    pub fn new_prefixes(&self, now: Moment) -> impl Iterator<Item = (IpNet, Moment)> {
        let all = self.prefixes.iter();
        let all = all.map(|(prefix, since)| (*prefix, since + self.look_back));
        all.filter(move |(_, until)| now < *until)
    }

    /// Every moment that it knows, and how long it remembers.
    pub(super) fn moments(&self) -> impl Iterator<Item = Moment> {
        let since = self.prefixes.values().copied();
        since.chain(self.blind_until()).chain([self.look_back])
    }

    /// Everything was so much earlier or later.
    pub(super) fn shift(&mut self, by: Moment) {
        if let Some((since, until)) = &mut self.blind {
            *since = since.saturating_add(by);
            *until += by;
        }
        for since in self.prefixes.values_mut() {
            *since += by;
        }
    }
}
