//! What a named location of the tenant has to say as a list. Pure.
//!
//! In: the tenant's named locations as they are kept, and which of them a list names. Out: its prefixes, or why there
//! are none that a list can have; then what is in force of the list stays.

use ipnet::IpNet;
use weir_config::closest;
use weir_entra::decode::locations::{Location, Place};

/// Why a named location is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoList {
    /// What is kept of it cannot be read.
    #[error("what is kept of the tenant's named locations cannot be read: {0}")]
    Malformed(String),
    /// Nothing of that name, or not any more.
    #[error(
        "the tenant has no named location {0:?}{1}; it may have been deleted or renamed: write what the portal shows, \
         or take the list away"
    )]
    Missing(String, String),
    /// Several.
    #[error(
        "the tenant has several named locations {0:?}; write the id of the one that is meant: {1}"
    )]
    Ambiguous(String, String),
    /// No addresses.
    #[error(
        "named location {0:?} names countries, not addresses; write a rule on `country` in place of this list"
    )]
    Countries(String),
    /// Nothing that this version knows.
    #[error("named location {0:?} is of a kind that this version does not know")]
    Other(String),
    /// It would open more than the tenant does.
    #[error(
        "the tenant does not trust named location {0:?}, and a list of class `managed` or `bypass` opens what it names; \
         mark it as trusted in the tenant, or give the list another class"
    )]
    Untrusted(String),
    /// Half of it is no list.
    #[error("{1} entries of named location {0:?} are no prefixes; put them right in the tenant")]
    Unreadable(String, usize),
}

/// The named locations, from the documents that are kept of them.
pub fn read<'d>(documents: impl IntoIterator<Item = &'d Vec<u8>>) -> Result<Vec<Location>, NoList> {
    let locations = documents
        .into_iter()
        .map(|bytes| serde_json::from_slice(bytes));
    let locations: Result<_, _> = locations.collect();
    locations.map_err(|error: serde_json::Error| NoList::Malformed(error.to_string()))
}

/// The prefixes of the location with that id or name.
pub fn prefixes(
    locations: &[Location],
    named: &str,
    must_be_trusted: bool,
) -> Result<Vec<IpNet>, NoList> {
    let location = find(locations, named)?;
    let name = || location.display_name.clone();
    match &location.place {
        Place::Countries { .. } => Err(NoList::Countries(name())),
        Place::Other(_) => Err(NoList::Other(name())),
        Place::Addresses {
            is_trusted: false, ..
        } if must_be_trusted => Err(NoList::Untrusted(name())),
        Place::Addresses { unreadable, .. } if *unreadable > 0 => {
            Err(NoList::Unreadable(name(), *unreadable))
        }
        Place::Addresses { prefixes, .. } => Ok(prefixes.clone()),
    }
}

/// By its id, else by its name, to the letter or at least without regard to case: one, or none.
fn find<'l>(locations: &'l [Location], named: &str) -> Result<&'l Location, NoList> {
    let all = |fits: &dyn Fn(&Location) -> bool| -> Vec<&Location> {
        locations.iter().filter(|one| fits(one)).collect()
    };
    let by_id = all(&|one| one.id.eq_ignore_ascii_case(named));
    let by_name = all(&|one| one.display_name == named);
    let lower = named.to_lowercase();
    let by_any_case = all(&|one| one.display_name.to_lowercase() == lower);
    let found = [by_id, by_name, by_any_case];
    match found
        .iter()
        .find(|found| !found.is_empty())
        .map(Vec::as_slice)
    {
        Some([one]) => Ok(one),
        Some(several) => {
            let ids: Vec<_> = several.iter().map(|one| one.id.as_str()).collect();
            Err(NoList::Ambiguous(named.to_owned(), ids.join(", ")))
        }
        None => {
            let known: Vec<_> = locations
                .iter()
                .map(|one| one.display_name.as_str())
                .collect();
            let near = closest(named, &known).map(|near| format!(" (did you mean {near:?}?)"));
            Err(NoList::Missing(named.to_owned(), near.unwrap_or_default()))
        }
    }
}
