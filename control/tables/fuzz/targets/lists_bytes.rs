//! See `../properties/lists_bytes.rs`.

#![no_main]

#[path = "../properties/lists_bytes.rs"]
mod lists_bytes;

libfuzzer_sys::fuzz_target!(|input: &[u8]| lists_bytes::check(input));
