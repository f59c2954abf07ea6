//! Under which names clients reach the server.

use crate::config::{CheckOrigin, HostName, SocketConfig, host_of, is_loopback_name};

/// The names that are known to lead here.
#[derive(Debug)]
pub(crate) struct Hosts {
    known: Vec<HostName>,
    origins: CheckOrigin,
}

impl Hosts {
    pub(crate) fn new(config: &SocketConfig) -> Self {
        Self { known: config.hosts.clone(), origins: config.check_origin.clone() }
    }

    /// Whether a request for this host, with or without a port, may be meant for the server;
    /// `is_local` if it came by way of a loopback address, where nobody else's pages get to
    /// but by a name that was made to lead there.
    ///
    /// A page of any site can have its name lead to 127.0.0.1 and then ask as if this were
    /// its own server; but it cannot choose another `Host`, nor leave it out.
    pub(crate) fn has(&self, host: Option<&str>, is_local: bool) -> bool {
        let Some(host) = host.filter(|_| is_local).map(host_of) else { return true };
        is_loopback_name(host)
            || self.known.iter().any(|known| known.matches(host))
            || self.origins.names(host)
    }

    /// Whether a page may connect to the host of its request.
    pub(crate) fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        self.origins.allows(origin, host, &self.known)
    }
}
