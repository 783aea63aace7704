//! Where it is looked for what is served at an address.

use weir_abi::{Address, octets, words};

use crate::Tables;

/// The service addresses of [`Tables`].
pub(crate) trait Addresses {
    /// What is served at an address (IPv4 as IPv4-mapped IPv6).
    fn find(&self, address: [u8; 16]) -> Option<&Address>;
}

/// All of them, with as little for the kernel's verifier to walk as can be.
pub(crate) struct Hashed<'a, T>(pub(crate) &'a T);

/// All of them, the first ones without hashing: for what nearly all packets are.
pub(crate) struct Quick<'a, T>(pub(crate) &'a T);

impl<T: Tables> Addresses for Hashed<'_, T> {
    #[inline(always)]
    fn find(&self, address: [u8; 16]) -> Option<&Address> {
        self.0.address(&address)
    }
}

impl<T: Tables> Addresses for Quick<'_, T> {
    #[inline(always)]
    fn find(&self, address: [u8; 16]) -> Option<&Address> {
        // In words, so that the bytes are not laid out in memory for what needs no hash.
        let key = words(address);
        match self.0.first().and_then(|first| first.find(key)) {
            Some(address) => Some(address),
            None => self.0.address(&octets(key)),
        }
    }
}
