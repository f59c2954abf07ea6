//! Histories of a session, for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace::fuzz::session(bytes));
