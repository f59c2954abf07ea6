//! `examples/notifications`: its page in Chromium, and its pipeline without a
//! server.

mod browser;
