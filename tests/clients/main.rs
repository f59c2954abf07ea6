//! Clients that are not ours, as they are released: the oracle that the protocol
//! was understood.

mod phoenix_channels_client;
mod phoenix_js;
mod phyllo;
