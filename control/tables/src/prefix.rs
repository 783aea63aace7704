//! One prefix as people write it.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

use crate::explain::explain;

/// A prefix, and what was changed to make it one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The prefix, without host bits; an IPv4-mapped one is folded to IPv4.
    pub prefix: IpNet,
    /// Host bits were set in the text and have been cleared.
    pub host_bits: bool,
    /// The text was IPv4-mapped IPv6.
    pub mapped: bool,
}

/// Why a text is no prefix, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PrefixError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// The part of the text that is meant, in bytes.
    pub at: Range<usize>,
}

/// Longest text that can be a prefix, in bytes: eight groups of IPv6, the last two as IPv4, a length.
const LONGEST: usize = 49;

/// Reads one prefix (`203.0.113.0/24`) or address (`203.0.113.5`, which is its own prefix).
///
/// Host bits are cleared and IPv4-mapped IPv6 (RFC 4291, 2.5.5.2) is folded to IPv4; [`Entry`] says
/// so. Anything else that is not exactly an address, a slash and a length is refused.
pub fn parse_prefix(text: &str) -> Result<Entry, PrefixError> {
    read(text).ok_or_else(|| explain(text))
}

/// [`parse_prefix`] without the explanation.
pub(crate) fn read(text: &str) -> Option<Entry> {
    if text.len() > LONGEST {
        return None;
    }
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = length
        .map_or(Some(bits), parse_length)
        .filter(|length| *length <= bits)?;
    let written = IpNet::new(address, length).ok()?;
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if mapped && length < 96 {
        return None;
    }
    Some(Entry {
        prefix: fold(written),
        host_bits: written.trunc() != written,
        mapped,
    })
}

/// Digits only, no sign, no leading zero.
pub(crate) fn parse_length(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    (plain && !leading_zero)
        .then(|| digits.parse().ok())
        .flatten()
}

/// An IPv4-mapped prefix as the IPv4 prefix that it stands for; others without host bits.
pub(crate) fn fold(prefix: IpNet) -> IpNet {
    match prefix {
        IpNet::V6(net) if net.prefix_len() >= 96 => match net.network().to_ipv4_mapped() {
            Some(address) => IpNet::V4(Ipv4Net::new_assert(address, net.prefix_len() - 96)),
            None => IpNet::V6(net.trunc()),
        },
        other => other.trunc(),
    }
}
