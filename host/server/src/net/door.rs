//! From a socket that was accepted to a stream for HTTP: what a proxy says in front, and TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use super::peer::{Peer, Proxies};
use super::proxy_header;
use super::stream::Stream;
use super::tls::{Tls, TlsError};

/// How those come in who connect to a listener.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Who is trusted to speak for others.
    pub(crate) proxies: Arc<Proxies>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// Without it, TLS is not spoken.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Whether the listener is on loopback.
    pub(crate) is_local: bool,
    /// How long a proxy has for its header.
    pub(crate) patience: Duration,
}

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a connection does not come in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Shut {
    #[error("it is none of server.trusted_proxies, and the listener has proxy_protocol")]
    Stranger,
    #[error("it has no header of the PROXY protocol: {0}")]
    Header(io::Error),
    #[error("its header of the PROXY protocol did not come in time")]
    LateHeader,
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Shut {
    /// One word for metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Stranger | Self::Header(_) | Self::LateHeader => "proxy_header",
            Self::Tls(TlsError::Busy) => "tls_busy",
            Self::Tls(TlsError::TooSoon) => "tls_rate",
            Self::Tls(_) => "tls",
        }
    }
}

/// Whom connections by a Unix socket are of: this machine.
const UNIX_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Door {
    /// Who has connected, as far as that is known before anything is read. Whoever can open
    /// a Unix socket is trusted as a proxy is.
    pub(crate) fn peer(&self, of: Option<SocketAddr>) -> Peer {
        let address = of.unwrap_or(UNIX_PEER);
        let is_proxy = of.is_none_or(|address| self.proxies.trusts(address.ip()));
        let (is_encrypted, is_local) = (self.tls.is_some(), self.is_local);
        Peer { address, is_proxy, is_introduced: false, is_encrypted, is_local }
    }

    /// Whether it has to be told for whom a connection is.
    pub(crate) fn is_asked_for_others(&self, peer: Peer) -> bool {
        self.proxy_protocol || peer.is_proxy
    }

    /// Opens a connection, which takes no time where neither a header nor TLS is spoken.
    pub(crate) async fn open(&self, socket: Socket, peer: Peer) -> Result<(Stream, Peer), Shut> {
        let mut socket = socket;
        let peer = self.introduced(&mut socket, peer).await?;
        self.let_in(socket, peer).await.map(|stream| (stream, peer))
    }

    /// Has it speak TLS, if that is spoken here.
    pub(crate) async fn let_in(&self, socket: Socket, peer: Peer) -> Result<Stream, Shut> {
        Ok(match (socket, &self.tls) {
            (Socket::Tcp(tcp), Some(tls)) => Stream::Tls(tls.accept(tcp, peer).await?),
            (Socket::Tcp(tcp), None) => Stream::Tcp(tcp),
            (Socket::Unix(unix), _) => Stream::Unix(unix),
        })
    }

    /// For whom a proxy has connected, where it has to say so.
    pub(crate) async fn introduced(&self, socket: &mut Socket, peer: Peer) -> Result<Peer, Shut> {
        if !self.proxy_protocol {
            return Ok(peer);
        }
        if !peer.is_proxy {
            return Err(Shut::Stranger);
        }
        let header = async {
            match socket {
                Socket::Tcp(tcp) => proxy_header::read(tcp).await,
                Socket::Unix(unix) => proxy_header::read(unix).await,
            }
        };
        let said = tokio::time::timeout(self.patience, header).await;
        let Some(address) = said.map_err(|_| Shut::LateHeader)?.map_err(Shut::Header)? else {
            // For itself, or for somebody it does not name.
            return Ok(Peer { is_introduced: true, ..peer });
        };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Ok(Peer { address, is_proxy: self.proxies.trusts(address.ip()), ..peer })
    }
}
