//! Names to addresses, without those a plugin may not connect to.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::addresses::Allowed;

/// The system's resolver, and a look at what it says.
#[derive(Clone)]
pub(super) struct Resolver {
    system: GaiResolver,
    allowed: Arc<Allowed>,
}

/// A host has only addresses that are not allowed.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the host {host:?} has the address {address}, which is not public; \
     [plugins.NAME.http] addresses would allow it"
)]
pub(super) struct Refused {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

impl Resolver {
    pub(super) fn new(allowed: Arc<Allowed>) -> Self {
        Self { system: GaiResolver::new(), allowed }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let (answer, allowed) = (self.system.call(name), Arc::clone(&self.allowed));
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = answer.await?.collect();
            let fine = |address: &&SocketAddr| allowed.contains(address.ip());
            let kept: Vec<SocketAddr> = addresses.iter().filter(fine).copied().collect();
            match (kept.is_empty(), addresses.first()) {
                (true, Some(first)) => {
                    let refused = Refused { host, address: first.ip() };
                    Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, refused))
                }
                _ => Ok(kept.into_iter()),
            }
        })
    }
}
