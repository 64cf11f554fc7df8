//! libFuzzer over [`keyrack_fuzz::secrets_json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::secrets_json(data));
