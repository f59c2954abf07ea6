//! `[admin]`: the admin interface, through which operators ask the server.

use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::check::no_empty_token;
use super::listen::NO_NAMES;
use super::{OriginPattern, defaults};
use crate::secret::Secret;

/// The expected value of `listen`, for error texts.
const ADDRESS: &str = "an address and a port such as \"127.0.0.1:4001\"";

/// `[admin]`: the admin interface. It exists if the section does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// The address it listens on, which may be none of those for clients.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The secret of operators, sent as `authorization: Bearer …`. It is required unless the
    /// interface listens on loopback.
    pub token: Option<Secret>,
    /// Whether the interface speaks TLS, with the certificate of `[tls]`.
    pub tls: bool,
    /// The pages that may send requests from a browser; by default none may.
    pub allow_origin: Vec<OriginPattern>,
    /// The most connections at the same time; a further one gets 503.
    pub max_connections: usize,
    /// The time in milliseconds within which a connection must send a whole request; otherwise it
    /// is closed.
    pub timeout_ms: u64,
    /// Whether another port will do when that of `listen` is taken, as in `millrace dev`.
    #[serde(skip)]
    pub any_port: bool,
}

/// Reads the address to listen on.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    struct Address;

    impl Visitor<'_> for Address {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(ADDRESS)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketAddr, E> {
            let said = || format!("{text:?} is no address; {ADDRESS} is expected; {NO_NAMES}");
            text.parse().map_err(|_| E::custom(said()))
        }
    }

    deserializer.deserialize_str(Address)
}

impl AdminConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    ///
    /// A value is not allowed; the text begins with the key and says what is.
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, value) in
            [("max_connections", self.max_connections as u64), ("timeout_ms", self.timeout_ms)]
        {
            if value == 0 {
                return Err(format!("admin.{key} is 0; at least 1 is allowed"));
            }
        }
        no_empty_token("admin.token", self.token.as_ref())
    }

    /// Whether anybody who reaches the address may send requests without a token.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        self.token.is_none() && !self.listen.ip().is_loopback()
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: defaults::ADMIN_LISTEN,
            token: None,
            tls: false,
            allow_origin: Vec::new(),
            max_connections: defaults::ADMIN_MAX_CONNECTIONS,
            timeout_ms: defaults::ADMIN_TIMEOUT_MS,
            any_port: false,
        }
    }
}
