//! See `../properties/answer.rs`.

#![no_main]

#[path = "../properties/answer.rs"]
mod answer;

libfuzzer_sys::fuzz_target!(|input: &[u8]| answer::check(input));
