//! The listening sockets of a server, and how each opens its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::admin;
use crate::config::{App, ListenConfig};
use crate::net::{Door, Inherited, Listeners, Proxies, Tls};
use crate::node::StartError;

/// The listening sockets, before anybody is served.
pub(crate) struct Entrance {
    pub(super) listeners: Vec<(Listeners, Arc<Door>)>,
    /// The listener for operators.
    pub(super) admin: Option<(TcpListener, SocketAddr, Arc<Door>)>,
    pub(super) doors: Doors,
}

/// The parts that all [`Door`]s share.
pub(super) struct Doors {
    pub(super) proxies: Arc<Proxies>,
    pub(super) tls: Option<Arc<Tls>>,
    patience: Duration,
}

impl Entrance {
    /// Listens for clients and operators.
    pub(super) async fn open(app: &App, mut inherited: Inherited) -> Result<Self, StartError> {
        let doors = Doors {
            proxies: Arc::new(Proxies::new(&app.server)),
            tls: app.tls.as_ref().map(Tls::new).transpose().map_err(StartError::Tls)?.map(Arc::new),
            patience: Duration::from_millis(app.socket.handshake_timeout_ms),
        };
        if inherited.len() > app.listen.len() {
            let (found, allowed) = (inherited.len(), app.listen.len());
            return Err(StartError::Inherited { found, allowed });
        }
        let of_admin = inherited.admin.take();
        let listeners = Listeners::bind_all(&app.listen, inherited)
            .map_err(|(address, cause)| StartError::Listen { address, cause })?;
        let listeners = listeners.into_iter().map(|listener| {
            let door = doors.door(&listener.found());
            (listener, Arc::new(door))
        });
        let listeners = listeners.collect();
        let admin = match &app.admin {
            Some(config) => {
                let (listener, address) = admin::bind(config, of_admin).await?;
                let mut door = doors.door(&address.into());
                // The admin interface has TLS limits of its own: operators get through, whatever
                // clients do.
                door.tls = match (&doors.tls, &app.tls) {
                    (Some(tls), Some(of)) if config.tls => Some(Arc::new(tls.apart(of))),
                    _ => None,
                };
                Some((listener, address, Arc::new(door)))
            }
            None => None,
        };
        Ok(Self { listeners, admin, doors })
    }
}

impl Doors {
    fn door(&self, listener: &ListenConfig) -> Door {
        Door {
            proxies: Arc::clone(&self.proxies),
            proxy_protocol: listener.proxy_protocol,
            tls: self.tls.clone().filter(|_| listener.is_encrypted()),
            // Browsers do not reach a Unix socket.
            is_local: listener.address.port().is_some() && listener.address.is_local(),
            patience: self.patience,
        }
    }
}
