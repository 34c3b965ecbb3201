//! Any bytes as fields about framing: see [`forebay::fuzz::framing`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::framing(data));
