//! See `../properties/graph_page.rs`.

#![no_main]

#[path = "../properties/graph_page.rs"]
mod graph_page;

libfuzzer_sys::fuzz_target!(|input: &[u8]| graph_page::check(input));
