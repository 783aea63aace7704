//! See `../properties/soap.rs`.

#![no_main]

#[path = "../properties/one.rs"]
mod one;
#[path = "../properties/soap.rs"]
mod soap;

libfuzzer_sys::fuzz_target!(|input: &[u8]| soap::check(input));
