//! libFuzzer over [`keyrack_fuzz::key_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::key_file(data));
