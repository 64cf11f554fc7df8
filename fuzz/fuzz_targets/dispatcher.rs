//! libFuzzer over [`keyrack_fuzz::dispatcher`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::dispatcher(data));
