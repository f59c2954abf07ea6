//! Values that a plugin returns, for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace::fuzz::guest(bytes));
