//! The standing of a connection: that of an operator, who has given the token, or that of a
//! stranger.
//!
//! If there is a token, each connection begins as a stranger's. Strangers have few places and
//! little time, apart from the operators', so that whoever does not know the token keeps nobody out
//! who does.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::AdminConfig;
use crate::net::{Place, Places};

/// The most connections that have not given the token yet; those of operators have it in their
/// first packet.
const MAX_STRANGERS: usize = 64;
/// The most of these of one address: an operator may start several tools at once.
const STRANGERS_OF_ADDRESS: usize = 8;
/// The time after which a stranger's connection is closed.
pub(super) const STRANGER_TIMEOUT: Duration = Duration::from_secs(5);

/// The places for connections.
#[derive(Debug)]
pub(super) struct Lobby {
    /// The permits for operators (`admin.max_connections`).
    operators: Arc<Semaphore>,
    /// The places for strangers; `None` without a token: the listener is on loopback then, and
    /// everybody is an operator.
    strangers: Option<Places>,
}

/// The standing of one connection.
#[derive(Debug)]
pub(super) struct Standing {
    operators: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Debug)]
enum Held {
    Stranger { _place: Place },
    Operator { _permit: OwnedSemaphorePermit },
}

impl Lobby {
    pub(super) fn new(config: &AdminConfig) -> Self {
        let operators = Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS));
        let strangers = || Places::new(MAX_STRANGERS, STRANGERS_OF_ADDRESS);
        let strangers = config.token.is_some().then(strangers);
        Self { operators: Arc::new(operators), strangers }
    }

    /// Takes a place for a connection; `None` if there is none left.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Standing> {
        let held = match &self.strangers {
            Some(strangers) => Held::Stranger { _place: strangers.take(address)? },
            None => Held::Operator { _permit: permit(&self.operators)? },
        };
        Some(Standing { operators: Arc::clone(&self.operators), held: Mutex::new(held) })
    }
}

impl Standing {
    /// Makes it an operator's, as it has given the token; false if operators have all their places.
    pub(super) fn admit(&self) -> bool {
        let mut held = self.held();
        if let Held::Operator { .. } = *held {
            return true;
        }
        match permit(&self.operators) {
            Some(permit) => {
                *held = Held::Operator { _permit: permit };
                true
            }
            None => false,
        }
    }

    /// Waits until a stranger's time is over; for ever if it is an operator's by then.
    pub(super) async fn is_over(&self) {
        tokio::time::sleep(STRANGER_TIMEOUT).await;
        let is_operators = matches!(*self.held(), Held::Operator { .. });
        if is_operators {
            std::future::pending::<()>().await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn permit(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).try_acquire_owned().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn lobby(token: Option<&str>) -> Lobby {
        let token = token.map(Secret::new);
        Lobby::new(&AdminConfig { token, max_connections: 1, ..AdminConfig::default() })
    }

    #[test]
    fn strangers_take_no_place_of_an_operator() {
        let lobby = lobby(Some("secret"));
        let enter = |address: &str| lobby.enter(address.parse().unwrap());
        let strangers: Vec<_> = (0..STRANGERS_OF_ADDRESS).map(|_| enter("10.0.0.1")).collect();
        assert!(strangers.iter().all(Option::is_some) && enter("10.0.0.1").is_none());
        let (first, second) = (enter("10.0.0.2").unwrap(), enter("10.0.0.2").unwrap());
        assert!(first.admit() && first.admit());
        assert!(!second.admit(), "there is one place");
        drop(first);
        assert!(second.admit());
    }

    #[test]
    fn without_a_token_everybody_is_an_operator() {
        let lobby = lobby(None);
        let first = lobby.enter("127.0.0.1".parse().unwrap()).unwrap();
        assert!(first.admit());
        assert!(lobby.enter("127.0.0.1".parse().unwrap()).is_none());
    }
}
