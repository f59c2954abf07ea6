//! Texts as a `millrace.toml`, for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace::fuzz::config(bytes));
