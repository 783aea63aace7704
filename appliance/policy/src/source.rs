//! The effective source: which address policy judges, and its class.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use weir_abi::Class;

use crate::{Country, Head};

/// The header in which Exchange Online and other relays name the client behind them.
pub(crate) const FORWARDED_CLIENT: &str = "x-ms-forwarded-client-ip";

/// What the lists say of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classified {
    /// Its class.
    pub class: Class,
    /// Whether the list says `scope = "web"`: it exempts browsers only.
    pub web_only: bool,
    /// The list that gave the class.
    pub list: Option<String>,
}

/// Looks addresses up in the lists.
pub trait Classify {
    /// Class of an address; on no list is [`Class::Unmanaged`].
    fn classify(&self, source: IpAddr) -> Classified;

    /// Country of an address; nothing when nobody knows it.
    fn country(&self, _source: IpAddr) -> Option<Country> {
        None
    }
}

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// TCP peer, or what a configured hop said by PROXY protocol. IPv4-mapped IPv6 is folded.
    pub peer: IpAddr,
    /// Whether the peer is a trusted relay.
    pub relayed: bool,
    /// The address that policy judges; `None` when a relay does not say who stands behind it.
    pub effective: Option<IpAddr>,
    /// Class of the effective source; unmanaged when that is not known.
    pub class: Class,
    /// Whether the list that gave the class exempts browsers only.
    pub web_only: bool,
    /// List that gave the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
}

impl Source {
    /// The effective source of a request (DESIGN 6.2): the peer; behind a relay, the right-most address
    /// of `X-MS-Forwarded-Client-IP` that is not itself a relay. What stands further left may have been
    /// written by the client. When there is no such address, or something unreadable is met on the way
    /// to it, the effective source is not known and counts as unmanaged.
    pub fn of(head: &Head<'_>, peer: IpAddr, lists: &dyn Classify) -> Self {
        let direct = Self::direct(peer, lists);
        if direct.class != Class::Relay {
            return direct;
        }
        let mut effective = None;
        for said in forwarded_from_right(head) {
            let Some(address) = said else { break };
            let found = lists.classify(address);
            if found.class != Class::Relay {
                effective = Some((address, found));
                break;
            }
        }
        let (effective, found) = effective.map_or((None, Classified::default()), |(ip, found)| {
            (Some(ip), found)
        });
        Self {
            peer: direct.peer,
            relayed: true,
            effective,
            class: found.class,
            web_only: found.web_only,
            list: found.list,
        }
    }

    /// The source of a connection whose requests are not seen.
    pub fn direct(peer: IpAddr, lists: &dyn Classify) -> Self {
        let peer = peer.to_canonical();
        let found = lists.classify(peer);
        Self {
            peer,
            relayed: false,
            effective: Some(peer),
            class: found.class,
            web_only: found.web_only,
            list: found.list,
        }
    }

    /// The class by which a request is judged: a list that exempts browsers only counts as unmanaged
    /// for everyone else. What it blocks it blocks for all.
    pub fn class_for(&self, browser: bool) -> Class {
        let exempts = matches!(self.class, Class::Managed | Class::Bypass);
        if self.web_only && exempts && !browser {
            Class::Unmanaged
        } else {
            self.class
        }
    }
}

/// The addresses of `X-MS-Forwarded-Client-IP`, right-most first, over all its header lines;
/// `None` stands for an element that is no address.
pub(crate) fn forwarded_from_right<'a>(
    head: &Head<'a>,
) -> impl Iterator<Item = Option<IpAddr>> + use<'a> {
    let lines: Vec<&[u8]> = head.values(FORWARDED_CLIENT).collect();
    lines
        .into_iter()
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','))
        .map(|element| parse_address(element.trim_ascii()))
}

/// One address in its plain form: no port, no zone, no brackets, no octal or hexadecimal IPv4.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text
        .parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .or_else(|_| text.parse::<Ipv6Addr>().map(IpAddr::V6))
        .ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Lists;

    impl Classify for Lists {
        fn classify(&self, source: IpAddr) -> Classified {
            let (class, list) = match source.to_string() {
                text if text.starts_with("203.0.113.") => (Class::Managed, "hq"),
                text if text.starts_with("40.") => (Class::Relay, "exchange-online"),
                text if text == "2001:db8:e::1" => (Class::Relay, "exchange-online"),
                text if text.starts_with("192.0.2.") => (Class::Blocked, "bad"),
                _ => return Classified::default(),
            };
            Classified {
                class,
                web_only: false,
                list: Some(list.to_owned()),
            }
        }
    }

    fn source(peer: &str, lines: &[&str]) -> Source {
        let headers: Vec<(&str, &[u8])> = lines
            .iter()
            .map(|line| ("X-MS-Forwarded-Client-IP", line.as_bytes()))
            .collect();
        let head = Head {
            method: "POST",
            host: "sts",
            path: "/",
            query: None,
            headers: &headers,
        };
        Source::of(&head, peer.parse().expect("an address"), &Lists)
    }

    #[test]
    fn a_peer_that_is_no_relay_is_judged_itself_whatever_it_says() {
        let found = source("198.51.100.7", &["203.0.113.5"]);
        assert_eq!((found.class, found.relayed), (Class::Unmanaged, false));
        assert_eq!(
            found.effective,
            Some("198.51.100.7".parse().expect("an address"))
        );
        assert_eq!(source("::ffff:203.0.113.9", &[]).class, Class::Managed);
    }

    #[test]
    fn behind_a_relay_the_right_most_address_that_is_no_relay_counts() {
        for (lines, class) in [
            (&["203.0.113.5"][..], Class::Managed),
            (&["203.0.113.5, 198.51.100.1"], Class::Unmanaged),
            (&["198.51.100.1, 203.0.113.5"], Class::Managed),
            (
                &["198.51.100.1,203.0.113.5,40.1.1.1 , 2001:db8:e::1"],
                Class::Managed,
            ),
            (&["garbage, 203.0.113.5"], Class::Managed),
            (&["203.0.113.5", "192.0.2.1"], Class::Blocked),
            (&["192.0.2.1", "203.0.113.5"], Class::Managed),
            (&["::ffff:203.0.113.5"], Class::Managed),
            (&["::FFFF:cb00:7105"], Class::Managed),
        ] {
            let found = source("40.92.0.1", lines);
            assert_eq!((found.class, found.relayed), (class, true), "{lines:?}");
        }
    }

    #[test]
    fn a_relay_that_does_not_say_who_stands_behind_it_is_unmanaged() {
        for lines in [
            &[][..],
            &[""],
            &["40.1.1.1, 40.2.2.2"],
            &["203.0.113.5:443"],
            &["203.0.113.5, "],
            &["203.0.113.5, garbage"],
            &["203.0.113.5%eth0"],
            &["[2001:db8::1]"],
            &["fe80::1%1"],
            &["0313.0.0161.05"],
            &["0xcb007105"],
            &["3405803781"],
            &["203.0.113"],
            &["203.0.113.05"],
            &["203.0.113.5;x"],
        ] {
            let found = source("40.92.0.1", lines);
            assert_eq!(
                (found.class, found.effective),
                (Class::Unmanaged, None),
                "{lines:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_left_of_an_untrusted_address_changes_nothing(left in "[ -~]{0,60}") {
            let line = format!("{left}, 198.51.100.9");
            let found = source("40.92.0.1", &[&line]);
            prop_assert_eq!(found.effective, Some("198.51.100.9".parse().expect("an address")));
        }
    }
}
