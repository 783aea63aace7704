//! Whether a list may change like this by itself: a pure decision.
//!
//! What counts is address space, not lines: one line can open half of the Internet. IPv4 is counted in
//! addresses, IPv6 in /64 networks, and each family is judged by itself.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// What a list may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most prefixes.
    pub prefixes: usize,
    /// Shortest IPv4 prefix.
    pub widest_v4: u8,
    /// Shortest IPv6 prefix.
    pub widest_v6: u8,
    /// Share of the address space that may come or go at once, in percent of what was there.
    pub share: u8,
    /// Changes of so many prefixes are never held for what goes: a short list changes by large shares.
    pub few: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prefixes: 20_000,
            widest_v4: 8,
            widest_v6: 20,
            share: 30,
            few: 4,
        }
    }
}

/// IPv4 addresses that may always come at once: one /20.
const LITTLE_V4: u128 = 1 << 12;
/// The same of IPv6, in /64 networks: one /44.
const LITTLE_V6: u128 = 1 << 20;

/// What is to be done with a new state of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is what is in force.
    Same,
    /// It may be put in force.
    Fine(Difference),
    /// It waits for a person.
    Held(Difference, Vec<Why>),
}

/// How two states differ, prefix by prefix as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// They come.
    pub added: Vec<IpNet>,
    /// They go.
    pub removed: Vec<IpNet>,
}

/// Why a person has to look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Much goes.
    #[error("{percent} % of its {family} addresses would go")]
    Lost {
        /// IPv4 or IPv6.
        family: Family,
        /// Of what was there.
        percent: u64,
    },
    /// Much comes.
    #[error("its {family} addresses would grow by {percent} %")]
    Grown {
        /// IPv4 or IPv6.
        family: Family,
        /// Of what was there; of nothing, everything.
        percent: u64,
    },
}

/// Why a state can never be put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing is in it.
    #[error("it holds no prefix")]
    Empty,
    /// Too many.
    #[error("it holds {0} prefixes, {1} are allowed (`most`)")]
    TooMany(usize, usize),
    /// One is too wide.
    #[error(
        "{0} is wider than /{1}, which is the widest that is allowed (`widest_v4`, `widest_v6`)"
    )]
    TooWide(IpNet, u8),
    /// Addresses that no client can have.
    #[error("{0} are addresses that no client can have")]
    NoClient(IpNet),
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Whether a state can be put in force at all.
pub fn admit(new: &[IpNet], limits: &Limits) -> Result<(), Refused> {
    if new.is_empty() {
        return Err(Refused::Empty);
    }
    if new.len() > limits.prefixes {
        return Err(Refused::TooMany(new.len(), limits.prefixes));
    }
    for prefix in new {
        let widest = match prefix {
            IpNet::V4(_) => limits.widest_v4,
            IpNet::V6(_) => limits.widest_v6,
        };
        if prefix.prefix_len() < widest {
            return Err(Refused::TooWide(*prefix, widest));
        }
        if never_a_client(prefix) {
            return Err(Refused::NoClient(*prefix));
        }
    }
    Ok(())
}

/// Judges a state that was [admitted](admit). The first state of a list is fine: whoever wrote the
/// configuration asked for it.
pub fn judge(known: Option<&[IpNet]>, new: &[IpNet], limits: &Limits) -> Judged {
    let before: BTreeSet<_> = known.unwrap_or_default().iter().map(IpNet::trunc).collect();
    let after: BTreeSet<_> = new.iter().map(IpNet::trunc).collect();
    let difference = Difference {
        added: after.difference(&before).copied().collect(),
        removed: before.difference(&after).copied().collect(),
    };
    if known.is_some() && difference == Difference::default() {
        return Judged::Same;
    }
    if known.is_none() {
        return Judged::Fine(difference);
    }
    let whys: Vec<_> = [
        (Family::V4, LITTLE_V4, v4(&before), v4(&after)),
        (Family::V6, LITTLE_V6, v6(&before), v6(&after)),
    ]
    .into_iter()
    .flat_map(|(family, little, before, after)| {
        let had = space(&before);
        let (lost, gained) = (missing(&before, &after), missing(&after, &before));
        let beyond = |part: u128| part * 100 > had * u128::from(limits.share);
        let percent = |part: u128| {
            u64::try_from((part * 100).checked_div(had).unwrap_or(100)).unwrap_or(u64::MAX)
        };
        let loses = beyond(lost) && difference.removed.len() > limits.few;
        let grows = beyond(gained) && gained > little;
        [
            loses.then(|| Why::Lost {
                family,
                percent: percent(lost),
            }),
            grows.then(|| Why::Grown {
                family,
                percent: percent(gained),
            }),
        ]
    })
    .flatten()
    .collect();
    if whys.is_empty() {
        Judged::Fine(difference)
    } else {
        Judged::Held(difference, whys)
    }
}

/// A run of the space of a family: first and last.
type Run = (u128, u128);

/// IPv4 in addresses, in order and without overlap.
fn v4(prefixes: &BTreeSet<IpNet>) -> Vec<Run> {
    let nets = prefixes.iter().filter_map(|prefix| match prefix {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    });
    let nets = Ipv4Net::aggregate(&nets.collect::<Vec<_>>());
    let run = |net: &Ipv4Net| {
        (
            number(net.network().to_bits()),
            number(net.broadcast().to_bits()),
        )
    };
    nets.iter().map(run).collect()
}

/// IPv6 in /64 networks, in order and without overlap.
fn v6(prefixes: &BTreeSet<IpNet>) -> Vec<Run> {
    let nets = prefixes.iter().filter_map(|prefix| match prefix {
        IpNet::V4(_) => None,
        IpNet::V6(net) if net.prefix_len() <= 64 => Some(*net),
        IpNet::V6(net) => Ipv6Net::new(net.addr(), 64).ok().map(|net| net.trunc()),
    });
    let nets = Ipv6Net::aggregate(&nets.collect::<Vec<_>>());
    let run = |net: &Ipv6Net| {
        (
            net.network().to_bits() >> 64,
            net.broadcast().to_bits() >> 64,
        )
    };
    nets.iter().map(run).collect()
}

fn number(address: u32) -> u128 {
    u128::from(address)
}

fn space(runs: &[Run]) -> u128 {
    runs.iter().map(|(first, last)| last - first + 1).sum()
}

/// How much of `runs` is not in `others`.
fn missing(runs: &[Run], others: &[Run]) -> u128 {
    let mut others = others.iter().peekable();
    let mut covered = 0;
    for &(first, last) in runs {
        while others.next_if(|other| other.1 < first).is_some() {}
        // One of the others may reach into the next run too: it is not passed by.
        let mut ahead = others.clone();
        while let Some(other) = ahead.next_if(|other| other.0 <= last) {
            covered += last.min(other.1) - first.max(other.0) + 1;
        }
    }
    space(runs) - covered
}

fn never_a_client(prefix: &IpNet) -> bool {
    const NEVER: [&str; 7] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/96",
        "fe80::/10",
        "ff00::/8",
    ];
    NEVER.iter().any(|never| {
        let never: IpNet = never.parse().expect("a prefix");
        never.contains(prefix) || prefix.contains(&never)
    })
}
