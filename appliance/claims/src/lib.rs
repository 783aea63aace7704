//! From the bytes of a token to what it says, and whether that can be believed: pure, without I/O or clock.
//!
//! In: a token as it travels, the keys that its issuer publishes ([`Keys`]), and what is expected of it
//! ([`Expected`]). Out: [`Claims`], or why there are none to believe ([`Refused`]). What is read is what
//! was signed: the verified bytes and the bytes that claims are taken from are one node of one document,
//! parsed once.
//!
//! It must never change a token (it works on a copy), fetch anything that a token names, take a key from a
//! token, or spend more on a hostile one than on an honest one of the same size.

pub mod carrier;
mod claims;
mod json;
pub mod jwks;
pub mod jwt;
mod keys;
pub mod mapping;
pub mod metadata;
mod public_key;
mod refused;
pub mod rollover;
pub mod saml;

pub use claims::{Claims, Expected, Form, Token};
pub use keys::{Certificate, Fingerprint, KeyError, Keys, Trust, Warning};
pub use refused::Refused;
