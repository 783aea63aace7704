//! See `../properties/hello.rs`.

#![no_main]

#[path = "../properties/hello.rs"]
mod hello;
#[path = "../../src/hello.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hello::check(input));
