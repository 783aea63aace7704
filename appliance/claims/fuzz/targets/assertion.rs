//! See `../properties/assertion.rs`.

#![no_main]

#[path = "../properties/assertion.rs"]
mod assertion;

libfuzzer_sys::fuzz_target!(|input: &[u8]| assertion::check(input));
