//! How connections of clients and operators come in: the listening sockets, and behind each a
//! [`Door`] that handles the PROXY protocol and TLS.

mod addresses;
mod door;
mod listeners;
mod paced;
mod peer;
mod places;
mod proxy_header;
mod stream;
mod tls;
mod turned_away;

pub(crate) use addresses::{AddressSlot, Addresses, Rates, TooSoon, lock, network};
pub(crate) use door::{Door, Shut, Socket};
pub(crate) use listeners::{Inherited, Listener, Listeners, SocketFile, Unstarted, threads};
pub(crate) use paced::Paced;
pub(crate) use peer::{Peer, Proxies};
pub(crate) use places::{Place, Places};
pub(crate) use stream::{Layer, Plain, Stream};
pub(crate) use tls::Tls;
pub(crate) use turned_away::{TURN_AWAY_TIMEOUT, next, turn_away, unserved_places};
