//! libFuzzer over [`keyrack_fuzz::mask`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyrack_fuzz::mask::mask(data));
