//! The listening sockets of a server, and how each opens its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::admin;
use crate::config::{App, ListenConfig};
use crate::net::{Acceptor, Inherited, Listeners, Proxies, Tls};
use crate::node::StartError;

/// The listening sockets, before anybody is served.
pub(crate) struct BoundListeners {
    pub(super) listeners: Vec<(Listeners, Arc<Acceptor>)>,
    /// The listener for operators.
    pub(super) admin: Option<(TcpListener, SocketAddr, Arc<Acceptor>)>,
    pub(super) acceptor_parts: AcceptorParts,
}

/// The parts that all [`Acceptor`]s share.
pub(super) struct AcceptorParts {
    pub(super) proxies: Arc<Proxies>,
    pub(super) tls: Option<Arc<Tls>>,
    timeout: Duration,
}

impl BoundListeners {
    /// Listens for clients and operators.
    pub(super) async fn open(app: &App, mut inherited: Inherited) -> Result<Self, StartError> {
        let acceptor_parts = AcceptorParts {
            proxies: Arc::new(Proxies::new(&app.server)),
            tls: app.tls.as_ref().map(Tls::new).transpose().map_err(StartError::Tls)?.map(Arc::new),
            timeout: Duration::from_millis(app.socket.handshake_timeout_ms),
        };
        if inherited.len() > app.listen.len() {
            let (found, allowed) = (inherited.len(), app.listen.len());
            return Err(StartError::Inherited { found, allowed });
        }
        let of_admin = inherited.admin.take();
        let listeners = Listeners::bind_all(&app.listen, inherited)
            .map_err(|(address, cause)| StartError::Listen { address, cause })?;
        let listeners = listeners.into_iter().map(|listener| {
            let acceptor = acceptor_parts.acceptor(&listener.bound_config());
            (listener, Arc::new(acceptor))
        });
        let listeners = listeners.collect();
        let admin = match &app.admin {
            Some(config) => {
                let (listener, address) = admin::bind(config, of_admin).await?;
                let mut acceptor = acceptor_parts.acceptor(&address.into());
                // The admin interface has TLS limits of its own: operators get through, whatever
                // clients do.
                acceptor.tls = match (&acceptor_parts.tls, &app.tls) {
                    (Some(tls), Some(of)) if config.tls => Some(Arc::new(tls.with_own_limits(of))),
                    _ => None,
                };
                Some((listener, address, Arc::new(acceptor)))
            }
            None => None,
        };
        Ok(Self { listeners, admin, acceptor_parts })
    }
}

impl AcceptorParts {
    fn acceptor(&self, listener: &ListenConfig) -> Acceptor {
        Acceptor {
            proxies: Arc::clone(&self.proxies),
            proxy_protocol: listener.proxy_protocol,
            tls: self.tls.clone().filter(|_| listener.is_encrypted()),
            // Browsers do not reach a Unix socket.
            is_local: listener.address.port().is_some() && listener.address.is_local(),
            timeout: self.timeout,
        }
    }
}
