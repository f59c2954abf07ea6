//! Bodies of requests that hand over events, for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace::fuzz::ingest(bytes));
