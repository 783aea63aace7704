//! See `../properties/metadata.rs`.

#![no_main]

#[path = "../properties/metadata.rs"]
mod metadata;

libfuzzer_sys::fuzz_target!(|input: &[u8]| metadata::check(input));
