//! Where clients connect from: an address per class and family, and the user id whose programs get that address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The user id of the first class; the others follow. Above what distributions hand out, below the ids of containers.
const FIRST_UID: u32 = 64_100;
/// The user id that weir-proxy runs under.
pub const PROXY_UID: u32 = 64_150;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a client's address is to Weir.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Egress of managed devices.
    Managed,
    /// Exempt by decision of an administrator.
    Bypass,
    /// A trusted relay, such as Exchange Online.
    Relay,
    /// Refused.
    Blocked,
    /// On no list.
    Unmanaged,
    /// Exempt by decision of an administrator, but for browsers only (`scope = "web"`).
    Web,
}

/// What the lab knows of a class.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The class.
    pub class: Class,
    /// Programs that run under this user id connect from the addresses below.
    pub uid: u32,
    /// The client's IPv4 address.
    pub v4: Ipv4Addr,
    /// The client's IPv6 address.
    pub v6: Ipv6Addr,
    /// What the class's list holds; nothing for [`Class::Unmanaged`].
    pub prefixes: &'static [&'static str],
}

impl Family {
    /// Both, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

impl From<Family> for u8 {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }
}

impl TryFrom<u8> for Family {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            4 => Ok(Self::V4),
            6 => Ok(Self::V6),
            other => Err(format!("there is no family {other}: say 4 or 6")),
        }
    }
}

impl std::str::FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u8>()
            .map_err(|_| "say 4 or 6".to_owned())
            .and_then(Self::try_from)
    }
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] = [
        Self::Managed,
        Self::Bypass,
        Self::Relay,
        Self::Blocked,
        Self::Unmanaged,
        Self::Web,
    ];

    /// The word for it in the lab.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Bypass => "bypass",
            Self::Relay => "relay",
            Self::Blocked => "blocked",
            Self::Unmanaged => "unmanaged",
            Self::Web => "web",
        }
    }

    /// Weir's word for it, as in configuration and counters: the kernel does not know what a browser is.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Web => "bypass",
            other => other.name(),
        }
    }

    /// Addresses, user id and prefixes of the class.
    pub const fn source(self) -> Source {
        let (number, host, v6, prefixes): (u32, u8, u16, &[&str]) = match self {
            Self::Managed => (0, 10, 0xa1, &["203.0.113.0/27", "2001:db8:a1::/48"]),
            Self::Bypass => (1, 40, 0xa2, &["203.0.113.32/27", "2001:db8:a2::/48"]),
            Self::Relay => (2, 70, 0xa3, &["203.0.113.64/27", "2001:db8:a3::/48"]),
            Self::Blocked => (3, 100, 0xa4, &["203.0.113.96/27", "2001:db8:a4::/48"]),
            Self::Unmanaged => (4, 200, 0xa9, &[]),
            Self::Web => (5, 130, 0xa5, &["203.0.113.128/27", "2001:db8:a5::/48"]),
        };
        Source {
            class: self,
            uid: FIRST_UID + number,
            v4: Ipv4Addr::new(203, 0, 113, host),
            v6: Ipv6Addr::new(0x2001, 0xdb8, v6, 0, 0, 0, 0, 0x10),
            prefixes,
        }
    }
}

impl Source {
    /// The client's address of that family.
    pub const fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4),
            Family::V6 => IpAddr::V6(self.v6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_addresses_and_a_user_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for class in Class::ALL {
            let source = class.source();
            assert!(seen.insert(source.v4.to_string()));
            assert!(seen.insert(source.v6.to_string()));
            assert!(seen.insert(source.uid.to_string()));
            assert_ne!(source.uid, PROXY_UID);
        }
    }
}
