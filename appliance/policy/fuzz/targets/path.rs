//! See `../properties/path.rs`.

#![no_main]

#[path = "../properties/careless.rs"]
mod careless;
#[path = "../properties/path.rs"]
mod path;

libfuzzer_sys::fuzz_target!(|input: &[u8]| path::check(input));
