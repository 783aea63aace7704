//! A list as it is handed to the compiler.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_abi::Class;

/// Largest number of prefixes in one list file and in all lists together.
///
/// Compiled, a prefix costs at most 48 bytes of IPv4 or 80 bytes of IPv6 tables in user space
/// ([`crate::Lists::memory`] says how many it is), so this bounds the memory of both daemons.
pub const MAX_PREFIXES: usize = 4_000_000;

/// A named set of prefixes with a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Name, as it stands in configuration, log and `weir explain`.
    pub name: String,
    /// Class of the sources on it.
    pub class: Class,
    /// Whom the list exempts.
    pub scope: Scope,
    /// Whether an administrator of this appliance wrote it.
    pub origin: Origin,
    /// The prefixes, in any order; they may overlap.
    pub prefixes: Vec<IpNet>,
}

/// Whom a list exempts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every client.
    #[default]
    All,
    /// Browsers only; native apps are judged as if the source were unmanaged.
    Web,
}

/// Where a list comes from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The configuration, or a file beside it.
    #[default]
    Local,
    /// Fetched from somewhere; can never open what a local list blocks.
    Remote,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::All, Self::Web];

    /// The word used in configuration, command line and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Web => "web",
        }
    }
}

impl Origin {
    /// The word used in command line and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}
