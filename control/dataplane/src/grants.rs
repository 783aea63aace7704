//! Grants in the kernel: which addresses have a class for a time, and what the principals that earned them
//! may have.
//!
//! One word of the configuration says whether there is any grant, so that packets pay nothing for grants
//! that nobody has. It is set before the first one is written, and cleared behind the last.

use std::collections::HashSet;
use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use weir_abi::{Class, ClassSet, Config, Grant, MAX_GRANTS, MAX_PRINCIPALS, Principal};

use crate::Dataplane;
use crate::error::Error;
use crate::pins::Maps;
use crate::publish::Writer;
use crate::services::key;
use crate::sys;

/// What an address is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantSpec {
    /// Index of the principal that earned it, below [`MAX_PRINCIPALS`].
    pub principal: u32,
    /// Class that it gives while it lives: managed or bypass.
    pub class: Class,
    /// Classes that the address was granted before, within the drain window.
    pub held: ClassSet,
    /// From then on, by [`since_boot`], it gives no class any more.
    pub expires: Duration,
    /// From then on no flow is kept for it.
    pub rests: Duration,
    /// Forwarded flows were cut: what the servers still send to the address is dropped.
    pub cut: bool,
}

/// The clock of grants: it goes on from boot, also while the machine sleeps.
pub fn since_boot() -> Duration {
    sys::since_boot()
}

/// The addresses that have an entry.
#[derive(Debug)]
pub(crate) struct Granted(HashSet<[u8; 16]>);

impl Granted {
    /// Those of an earlier process.
    pub(crate) fn of(maps: &Maps) -> Result<Self, Error> {
        let keys = maps.grants.keys().map_err(failed)?;
        Ok(Self(keys.into_iter().collect()))
    }

    /// Says whether there is any grant.
    pub(crate) fn tell(&self, writer: &Writer) {
        let any = u32::from(!self.0.is_empty());
        let word = offset_of!(Config, grants);
        writer.config().publish_word(word, any);
    }
}

impl Dataplane {
    /// Says up to which class the grants of a principal open, for all of its addresses at once: managed,
    /// bypass, or with any other class nothing at all.
    pub fn set_principal(&mut self, index: u32, class: Class) -> Result<(), Error> {
        if index >= MAX_PRINCIPALS {
            return Err(Error::TooMany {
                what: "principals".to_owned(),
                given: index as usize + 1,
                limit: MAX_PRINCIPALS as usize,
            });
        }
        self.maps
            .principals
            .set(&index, &Principal::up_to(class))
            .map_err(|e| Error::kernel("cannot write a principal", e))
    }

    /// Grants something to an address, in place of what it was granted before; or takes it away, and with it
    /// what is kept for flows of the past.
    pub fn grant(&mut self, source: IpAddr, grant: Option<&GrantSpec>) -> Result<(), Error> {
        let key = key(source);
        let Some(grant) = grant else {
            self.maps.grants.remove(&key).map_err(failed)?;
            self.granted.0.remove(&key);
            self.tell_of_grants();
            return Ok(());
        };
        if !self.granted.0.contains(&key) && self.granted.0.len() >= MAX_GRANTS as usize {
            return Err(Error::TooMany {
                what: "grants".to_owned(),
                given: self.granted.0.len() + 1,
                limit: MAX_GRANTS as usize,
            });
        }
        self.granted.0.insert(key);
        self.tell_of_grants();
        let nanos = |since: Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let mut entry = Grant::new(grant.class, grant.held, grant.principal)
            .until(nanos(grant.expires), nanos(grant.rests));
        if grant.cut {
            entry = entry.cut();
        }
        self.maps.grants.set(&key, &entry).map_err(failed)
    }

    /// The addresses that were granted something, also by an earlier process.
    pub fn granted(&self) -> Vec<IpAddr> {
        let address = |key: &[u8; 16]| Ipv6Addr::from(*key).to_canonical();
        self.granted.0.iter().map(address).collect()
    }

    /// Says whether there is any grant.
    pub(crate) fn tell_of_grants(&self) {
        self.granted.tell(&self.writer);
    }
}

fn failed(error: io::Error) -> Error {
    Error::kernel("cannot write or read the grants", error)
}
