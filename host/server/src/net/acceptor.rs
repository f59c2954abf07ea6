//! The way from an accepted socket to a stream for HTTP: the PROXY protocol's header, and TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use super::peer::{Peer, Proxies};
use super::proxy_header;
use super::stream::Stream;
use super::tls::{Tls, TlsError};

/// How a listener opens its connections.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    /// The proxies that are trusted to name the client they connect for.
    pub(crate) proxies: Arc<Proxies>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// The TLS of the listener; without it, connections are plain.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Whether the listener is on loopback.
    pub(crate) is_local: bool,
    /// The time that a proxy has for its header.
    pub(crate) timeout: Duration,
}

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The reason why a connection is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error("it is none of server.trusted_proxies, and the listener has proxy_protocol")]
    UntrustedProxy,
    #[error("it has no header of the PROXY protocol: {0}")]
    Header(io::Error),
    #[error("its header of the PROXY protocol did not come in time")]
    HeaderTimeout,
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AcceptError {
    /// The reason in one word, for metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::UntrustedProxy | Self::Header(_) | Self::HeaderTimeout => "proxy_header",
            Self::Tls(TlsError::Busy) => "tls_busy",
            Self::Tls(TlsError::RateLimited) => "tls_rate",
            Self::Tls(_) => "tls",
        }
    }
}

/// The address that clients of a Unix socket get: this machine's.
const UNIX_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Acceptor {
    /// The peer, as far as it is known before anything is read. Whoever can open a Unix socket is
    /// trusted like a proxy.
    pub(crate) fn peer(&self, of: Option<SocketAddr>) -> Peer {
        let address = of.unwrap_or(UNIX_PEER);
        let is_proxy = of.is_none_or(|address| self.proxies.trusts(address.ip()));
        let (is_encrypted, is_local) = (self.tls.is_some(), self.is_local);
        Peer { address, is_proxy, has_proxy_header: false, is_encrypted, is_local }
    }

    /// Whether the peer asks for other clients, so that limits for one address do not apply to it.
    pub(crate) fn speaks_for_others(&self, peer: Peer) -> bool {
        self.proxy_protocol || peer.is_proxy
    }

    /// Reads the header of the PROXY protocol and does the TLS handshake, where the listener has
    /// them; otherwise this takes no time.
    pub(crate) async fn open(
        &self,
        socket: Socket,
        peer: Peer,
    ) -> Result<(Stream, Peer), AcceptError> {
        let mut socket = socket;
        let peer = self.read_proxy_header(&mut socket, peer).await?;
        self.start_tls(socket, peer).await.map(|stream| (stream, peer))
    }

    /// Does the TLS handshake, if the listener has TLS.
    pub(crate) async fn start_tls(
        &self,
        socket: Socket,
        peer: Peer,
    ) -> Result<Stream, AcceptError> {
        Ok(match (socket, &self.tls) {
            (Socket::Tcp(tcp), Some(tls)) => Stream::Tls(tls.accept(tcp, peer).await?),
            (Socket::Tcp(tcp), None) => Stream::Tcp(tcp),
            (Socket::Unix(unix), _) => Stream::Unix(unix),
        })
    }

    /// Reads the client's address from the header of the PROXY protocol, if the listener has it.
    pub(crate) async fn read_proxy_header(
        &self,
        socket: &mut Socket,
        peer: Peer,
    ) -> Result<Peer, AcceptError> {
        if !self.proxy_protocol {
            return Ok(peer);
        }
        if !peer.is_proxy {
            return Err(AcceptError::UntrustedProxy);
        }
        let header = async {
            match socket {
                Socket::Tcp(tcp) => proxy_header::read(tcp).await,
                Socket::Unix(unix) => proxy_header::read(unix).await,
            }
        };
        let said = tokio::time::timeout(self.timeout, header).await;
        let Some(address) =
            said.map_err(|_| AcceptError::HeaderTimeout)?.map_err(AcceptError::Header)?
        else {
            // The proxy connects for itself, or for a client that it does not name.
            return Ok(Peer { has_proxy_header: true, ..peer });
        };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Ok(Peer { address, is_proxy: self.proxies.trusts(address.ip()), ..peer })
    }
}
