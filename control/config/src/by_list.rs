//! Compiled lists and a table of countries, as policy asks them.

use std::net::IpAddr;

use weir_policy::{Classified, Classify, Countries, Country};
use weir_tables::{Lists, Scope};

/// Compiled lists and a table of countries, as policy asks them.
#[derive(Clone, Copy, Debug)]
pub struct ByList<'a> {
    /// The lists.
    pub lists: &'a Lists,
    /// The countries of addresses, when they are known.
    pub countries: Option<&'a Countries>,
}

impl Classify for ByList<'_> {
    fn classify(&self, source: IpAddr) -> Classified {
        let found = self.lists.find(source);
        Classified {
            class: found.class,
            web_only: found.scope == Scope::Web,
            list: found.list.map(str::to_owned),
        }
    }

    fn country(&self, source: IpAddr) -> Option<Country> {
        self.countries?.find(source)
    }
}
