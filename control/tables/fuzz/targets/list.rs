//! See `../properties/list.rs`.

#![no_main]

#[path = "../properties/list.rs"]
mod list;

libfuzzer_sys::fuzz_target!(|input: &[u8]| list::check(input));
