//! libFuzzer over [`keyrack_fuzz::age_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::age_file(data));
