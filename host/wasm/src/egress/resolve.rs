//! The resolver: finds the addresses of a host, without those that a plugin may not connect to.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::addresses::AddressPolicy;

/// The system's resolver, with a check of the addresses that it finds.
#[derive(Clone)]
pub(super) struct Resolver {
    system: GaiResolver,
    allowed: Arc<AddressPolicy>,
}

impl Resolver {
    pub(super) fn new(allowed: Arc<AddressPolicy>) -> Self {
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
            let (mut permitted, mut refused) = (Vec::new(), None);
            for address in addresses {
                match allowed.check(&host, address.ip()) {
                    Ok(()) => permitted.push(address),
                    Err(why) => refused = refused.or(Some(why)),
                }
            }
            match refused.filter(|_| permitted.is_empty()) {
                Some(why) => Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, why)),
                None => Ok(permitted.into_iter()),
            }
        })
    }
}
