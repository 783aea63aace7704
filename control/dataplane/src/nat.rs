//! The connections of topology `nat` as user space sees them: how many there are, which are over, and the
//! end of those that are to go.
//!
//! The programs forget by themselves what they need room for; what is cleared away here only makes that
//! rare, and the numbers true.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_abi::{Flow, IDLE, IDLE_BEGUN, MAX_TRANSLATIONS, Topology, Translation, UNIT};

use crate::error::Error;
use crate::pins::Maps;
use crate::sys;
use crate::types::ServiceSpec;

/// Time between two clearings.
const CLEAR_AGAIN: Duration = Duration::from_secs(10);

/// Connections of topology `nat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NatUse {
    /// Established connections, also those that are over.
    pub connections: u32,
    /// Of these, those that are over: their ports rest.
    pub resting: u32,
    /// Connections that only begin.
    pub begun: u32,
    /// Established connections that fit; beyond that the longest silent is forgotten.
    pub capacity: u32,
    /// Ports towards each server at each of its ports.
    pub ports: u16,
}

/// Clears away what is over, every now and then.
#[derive(Debug, Default)]
pub(crate) struct Clearing {
    last: Option<Instant>,
}

impl Clearing {
    /// Clears away what is over, if it is time for that.
    pub(crate) fn go_on(&mut self, maps: &Maps) -> Result<(), Error> {
        if self.last.is_some_and(|last| last.elapsed() < CLEAR_AGAIN) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        let now = now();
        remove(maps, |_, entry, idle| entry.is_free(now, idle)).map(drop)
    }
}

/// The ports of services of `nat`, which all have the same.
pub(crate) fn ports(services: &[ServiceSpec]) -> Option<RangeInclusive<u16>> {
    let mut services = services.iter();
    let service = services.find(|service| service.topology == Topology::Nat)?;
    Some(service.nat.ports.clone())
}

/// Ends the connections of these clients; the next packet of each is one of no connection. Gives how many.
pub(crate) fn cut(maps: &Maps, goes: &dyn Fn(IpAddr) -> bool) -> Result<usize, Error> {
    remove(maps, |flow, _, _| {
        goes(IpAddr::from(flow.client).to_canonical())
    })
}

/// How many connections there are.
pub(crate) fn usage(maps: &Maps, ports: u16) -> Result<NatUse, Error> {
    let mut usage = NatUse {
        capacity: MAX_TRANSLATIONS,
        ports,
        ..NatUse::default()
    };
    let count = |_: &Flow, entry: &Translation| {
        usage.connections += 1;
        usage.resting += u32::from(entry.is_over());
    };
    maps.translations.each(count).map_err(unreadable)?;
    maps.begun
        .each(|_, _| usage.begun += 1)
        .map_err(unreadable)?;
    Ok(usage)
}

/// The addresses of this machine to which servers answer in connections that are not over.
pub(crate) fn answered(maps: &Maps) -> Result<BTreeSet<[u8; 16]>, Error> {
    let mut addresses = BTreeSet::new();
    for entries in [&maps.begun, &maps.translations] {
        let note = |_: &Flow, entry: &Translation| {
            if !entry.is_over() {
                addresses.insert(entry.answer.service);
            }
        };
        entries.each(note).map_err(unreadable)?;
    }
    Ok(addresses)
}

/// Removes connections that are chosen by how their client sends them, what is remembered of them, and how
/// long they may be silent. Gives how many.
fn remove(
    maps: &Maps,
    mut chosen: impl FnMut(&Flow, &Translation, u32) -> bool,
) -> Result<usize, Error> {
    let mut removed = 0;
    // One that begins may move to the established ones meanwhile.
    for (entries, answers, idle) in [
        (&maps.begun, &maps.begun_answers, IDLE_BEGUN),
        (&maps.translations, &maps.answers, IDLE),
    ] {
        let mut gone = Vec::new();
        entries
            .each(|flow, entry| {
                if chosen(flow, entry, idle) {
                    gone.push(*flow);
                }
            })
            .map_err(unreadable)?;
        for flow in gone {
            // It may have gone on meanwhile, or begun anew.
            let Some(entry) = entries.get(&flow).map_err(unreadable)? else {
                continue;
            };
            if !chosen(&flow, &entry, idle) {
                continue;
            }
            entries.remove(&flow).map_err(unreadable)?;
            removed += 1;
            // Perhaps another connection has the port by now.
            if answers.get(&entry.answer).map_err(unreadable)? == Some(flow) {
                answers.remove(&entry.answer).map_err(unreadable)?;
            }
        }
    }
    Ok(removed)
}

/// This moment, as the programs write it.
fn now() -> u32 {
    let units = sys::since_boot().as_nanos() >> UNIT;
    u32::try_from(units & u128::from(u32::MAX)).expect("masked")
}

fn unreadable(error: io::Error) -> Error {
    Error::kernel("cannot read the connections of nat", error)
}
