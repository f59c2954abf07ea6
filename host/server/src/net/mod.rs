//! How connections of clients and operators come in: the listening sockets, and behind each an
//! [`Acceptor`] that handles the PROXY protocol and TLS.

mod acceptor;
mod addresses;
mod listeners;
mod on_flush;
mod paced;
mod peer;
mod places;
mod proxy_header;
mod stream;
mod tls;
mod turned_away;

pub(crate) use acceptor::{AcceptError, Acceptor, Socket};
pub(crate) use addresses::{AddressSlot, Addresses, RateLimited, Rates, lock, network};
pub(crate) use listeners::{
    Inherited, Listener, Listeners, SocketFile, UnregisteredListener, threads,
};
pub(crate) use on_flush::{AwaitsWrite, OnFlush};
pub(crate) use paced::Paced;
pub(crate) use peer::{Peer, Proxies};
pub(crate) use places::{Place, Places};
pub(crate) use stream::{Layer, Plain, Stream};
pub(crate) use tls::Tls;
pub(crate) use turned_away::{TURN_AWAY_TIMEOUT, accept_next, turn_away, unserved_places};
