//! See `../properties/entra_error.rs`.

#![no_main]

#[path = "../properties/entra_error.rs"]
mod entra_error;

libfuzzer_sys::fuzz_target!(|input: &[u8]| entra_error::check(input));
