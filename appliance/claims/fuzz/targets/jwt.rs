//! See `../properties/jwt.rs`.

#![no_main]

#[path = "../properties/jwt.rs"]
mod jwt;

libfuzzer_sys::fuzz_target!(|input: &[u8]| jwt::check(input));
