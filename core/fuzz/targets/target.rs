//! Any bytes as request targets: see [`forebay::fuzz::target`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::target(data));
