//! The decision who may connect.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
pub use crate::bindings::socket::exports::millrace::plugin::socket::{Identity, Request};

/// Decides who may connect, before the WebSocket is open.
///
/// ```
/// # use millrace_plugin::prelude::*;
/// struct Token;
///
/// impl Connect for Token {
///     type Assigns = ();
///
///     fn connect(request: &Request) -> Result<Result<Connected<()>, Refused>> {
///         Ok(match request.param("token") {
///             Some("secret") => Ok(Connected { user_id: Some("ada".to_owned()), assigns: () }),
///             _ => Err(Refused { status: 403, reason: "a token is expected\n".to_owned() }),
///         })
///     }
/// }
///
/// millrace_plugin::export_connect!(Token);
/// # fn main() {}
/// ```
pub trait Connect {
    /// The assigns that every channel of the connection starts with, of all plugins, if it can read
    /// them as its own `Assigns`. Other channels start with their default, and can read these in
    /// `join` by [`Socket::connected`](crate::Socket::connected).
    type Assigns: Serialize + DeserializeOwned + Default;

    /// Decides whether a client may connect. An error refuses with the status 403, and is logged.
    fn connect(request: &Request) -> Result<Result<Connected<Self::Assigns>, Refused>>;
}

/// An accepted connection.
#[derive(Clone, Debug, Default)]
pub struct Connected<A> {
    /// The id of the user for the life of the connection. `None` leaves the one of the token that
    /// `[auth]` has verified, if there is one.
    pub user_id: Option<String>,
    /// The assigns that channels start with.
    pub assigns: A,
}

/// A refused connection.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The HTTP status, from 400 to 599.
    pub status: u16,
    /// The body of the response.
    pub reason: String,
}

impl Request {
    /// The last value of a parameter in the URL's query.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        last(&self.params, name)
    }

    /// The last value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        last(&self.headers, name)
    }
}

impl Identity {
    /// The claims of the token.
    ///
    /// # Errors
    ///
    /// They cannot be read as a `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.claims)?)
    }
}

fn last<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
