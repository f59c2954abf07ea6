//! `examples/notifications`: its page in Chromium. `host/server/tests/kit` has its pipeline
//! without a server.

mod browser;
