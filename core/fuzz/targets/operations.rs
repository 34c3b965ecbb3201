//! Any bytes as what clients, workers and the kernel do: see [`forebay::fuzz::operations`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::operations(data));
