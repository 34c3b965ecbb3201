//! Any bytes as what a client sends, through the whole edge: see [`forebay::fuzz::connection`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::connection(data));
