//! The class of an address.

use weir_abi::{CLASS_BITS, Class, EXACT, V6_LENGTHS, V6Key};

use crate::Tables;

/// The class of an IPv4 address (machine's byte order): one look, or two in a /24 of several classes.
#[inline(always)]
pub fn class_v4(tables: &impl Tables, address: u32) -> Class {
    let byte = tables.v4_block(address);
    if byte & EXACT != 0
        && let Some(class) = tables.v4_exact(address)
    {
        return Class::from_u8(class);
    }
    Class::from_u8(byte & CLASS_BITS)
}

/// The class of an IPv6 address: the longest of the prefixes that hold it.
#[inline(always)]
pub fn class_v6(tables: &impl Tables, address: &[u8; 16]) -> Class {
    let address = words(address);
    let Some(lengths) = tables.v6_lengths() else {
        return Class::Unmanaged;
    };
    for i in 0..V6_LENGTHS {
        if i >= lengths.count as usize {
            break;
        }
        let V6Key {
            length,
            words: mask,
        } = lengths.masks[i];
        let key = V6Key {
            length,
            words: [
                address[0] & mask[0],
                address[1] & mask[1],
                address[2] & mask[2],
                address[3] & mask[3],
            ],
        };
        if let Some(class) = tables.v6_prefix(&key) {
            return Class::from_u8(class);
        }
    }
    Class::Unmanaged
}

#[inline(always)]
fn words(address: &[u8; 16]) -> [u32; 4] {
    let a = address;
    [
        u32::from_be_bytes([a[0], a[1], a[2], a[3]]),
        u32::from_be_bytes([a[4], a[5], a[6], a[7]]),
        u32::from_be_bytes([a[8], a[9], a[10], a[11]]),
        u32::from_be_bytes([a[12], a[13], a[14], a[15]]),
    ]
}
