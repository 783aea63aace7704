//! See `../properties/saml.rs`.

#![no_main]

#[path = "../properties/one.rs"]
mod one;
#[path = "../properties/saml.rs"]
mod saml;

libfuzzer_sys::fuzz_target!(|input: &[u8]| saml::check(input));
