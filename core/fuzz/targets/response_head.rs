//! Any bytes as heads of applications' responses: see [`forebay::fuzz::response_head`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::response_head(data));
