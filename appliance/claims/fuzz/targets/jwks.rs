//! See `../properties/jwks.rs`.

#![no_main]

#[path = "../properties/jwks.rs"]
mod jwks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| jwks::check(input));
