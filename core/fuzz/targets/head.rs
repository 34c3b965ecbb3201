//! Any bytes as request heads: see [`forebay::fuzz::head`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::head(data));
