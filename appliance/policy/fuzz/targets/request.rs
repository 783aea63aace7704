//! See `../properties/request.rs`.

#![no_main]

#[path = "../properties/careless.rs"]
mod careless;
#[path = "../properties/request.rs"]
mod request;

libfuzzer_sys::fuzz_target!(|input: &[u8]| request::check(input));
