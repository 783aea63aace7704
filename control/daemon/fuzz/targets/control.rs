//! See `../properties/control.rs`.

#![no_main]

#[path = "../properties/control.rs"]
mod control;

libfuzzer_sys::fuzz_target!(|input: &[u8]| control::check(input));
