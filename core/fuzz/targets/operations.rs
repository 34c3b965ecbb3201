//! Any bytes as clients, workers and a kernel that do anything, against the oracle of the simulation: see [`forebay::fuzz::operations`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay::fuzz::operations(data));
