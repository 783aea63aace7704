//! See `../properties/toml.rs`.

#![no_main]

#[path = "../properties/toml.rs"]
mod toml;

libfuzzer_sys::fuzz_target!(|input: &[u8]| toml::check(input));
