//! libFuzzer over [`keyrack_fuzz::json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::json(data));
