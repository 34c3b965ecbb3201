//! Any bytes as chunked content: see [`forebay::fuzz::chunked`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::chunked(data));
