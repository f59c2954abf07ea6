//! The names under which clients reach the server.

use crate::config::{CheckOrigin, HostName, SocketConfig, host_of, is_loopback_name};

/// The host names that are known to lead to this server.
#[derive(Debug)]
pub(crate) struct Hosts {
    known: Vec<HostName>,
    origins: CheckOrigin,
}

impl Hosts {
    pub(crate) fn new(config: &SocketConfig) -> Self {
        Self { known: config.hosts.clone(), origins: config.check_origin.clone() }
    }

    /// Whether a request for this host, with or without a port, may be meant for this server. Only
    /// requests to a loopback address (`is_local`) are checked: pages of other sites get there only
    /// by DNS rebinding.
    ///
    /// With DNS rebinding, a page of any site has its name lead to 127.0.0.1, and then asks as if
    /// this were its own server. But it can neither choose another `Host` nor leave it out.
    pub(crate) fn accepts(&self, host: Option<&str>, is_local: bool) -> bool {
        let Some(host) = host.filter(|_| is_local).map(host_of) else { return true };
        is_loopback_name(host)
            || self.known.iter().any(|known| known.matches(host))
            || self.origins.names(host)
    }

    /// Whether a page of this origin may connect to the host of its request
    /// (`socket.check_origin`).
    pub(crate) fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        self.origins.allows(origin, host, &self.known)
    }
}
