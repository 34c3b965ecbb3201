//! Any bytes as applications' responses, through the whole edge: see [`forebay::fuzz::response`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::response(data));
