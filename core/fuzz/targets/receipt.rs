//! Any bytes as how a worker gives a spool file back: see [`forebay::fuzz::receipt`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::receipt(data));
