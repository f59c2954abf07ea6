//! What comes in, how fast, what waits for slow clients, and how it all ends:
//! the bounds around a socket. The app is the probe.

mod admission;
mod draining;
mod given_back;
mod rates;
mod slow_readers;
