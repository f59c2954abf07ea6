//! Answers of a dispatcher to the host, for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace::fuzz::dispatcher(bytes));
