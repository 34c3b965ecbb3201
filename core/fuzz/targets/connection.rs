//! Any bytes as what clients send, through the whole edge, against a second reader: see [`forebay::fuzz::connection`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::connection(data));
