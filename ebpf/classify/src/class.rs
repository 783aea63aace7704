//! The standing of an address: its class, and the classes that it held lately.

use weir_abi::{EXACT, Standing, Step, V4_LEVELS, V6_LEVELS, v6_slot};

use crate::Sources;

/// The standing of an IPv4 address (machine's byte order): one look, or a few in a /24 of several
/// ranges.
#[inline(always)]
pub fn standing_v4(sources: &impl Sources, address: u32) -> Standing {
    standing_v4_within(sources, sources.v4_block(address), address)
}

/// The same, with the byte for the address' /24.
#[inline(always)]
pub(crate) fn standing_v4_within(sources: &impl Sources, block: u8, address: u32) -> Standing {
    if block & EXACT == 0 {
        return Standing::from_u8(block);
    }
    let root = sources.v4_root(address);
    let Some(mut index) = root.node() else {
        return root.standing();
    };
    for _ in 0..V4_LEVELS {
        let Some(node) = sources.v4_node(index) else {
            break;
        };
        match node.step((address & 0xffff) as u16) {
            Step::Found(standing) => return standing,
            Step::Child(child) => index = child,
        }
    }
    Standing::default()
}

/// The standing of an IPv6 address: that of the range that holds it.
#[inline(always)]
pub fn standing_v6(sources: &impl Sources, address: &[u8; 16]) -> Standing {
    let a = address;
    let address = [
        u64::from_be_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_be_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ];
    let root = sources.v6_root(v6_slot(address[0]));
    let Some(mut index) = root.node() else {
        return root.standing();
    };
    for _ in 0..V6_LEVELS {
        let Some(node) = sources.v6_node(index) else {
            break;
        };
        match node.step(address) {
            Step::Found(standing) => return standing,
            Step::Child(child) => index = child,
        }
    }
    Standing::default()
}
