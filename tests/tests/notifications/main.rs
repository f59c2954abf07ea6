//! `examples/notifications`: its page in Chromium. `host/tests/kit` has its pipeline
//! without a server.

mod browser;
