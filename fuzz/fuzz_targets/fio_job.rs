#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ferriscsi_fuzz::fio_job(input));
