//! libFuzzer over [`keyrack_fuzz::words`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::words(data));
