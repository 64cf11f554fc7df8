//! libFuzzer over [`keyrack_fuzz::server`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::server(data));
