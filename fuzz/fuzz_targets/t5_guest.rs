#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ferriscsi_fuzz::t5_guest(input));
