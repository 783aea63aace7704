//! See `../properties/form.rs`.

#![no_main]

#[path = "../properties/form.rs"]
mod form;
#[path = "../properties/one.rs"]
mod one;

libfuzzer_sys::fuzz_target!(|input: &[u8]| form::check(input));
