//! Frames of clients, for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace::fuzz::wire(bytes));
