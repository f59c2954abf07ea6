//! Deciding who may connect.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
pub use crate::bindings::socket::exports::millrace::plugin::socket::Request;

/// Decides who may connect, before the WebSocket is open.
pub trait Connect {
    /// What every channel of the connection starts with, of all plugins, if its own
    /// `Assigns` can be read from it; one of another shape starts with its default, and
    /// its `join` may ask for [`Socket::connected`](crate::Socket::connected).
    type Assigns: Serialize + DeserializeOwned + Default;

    /// Somebody wants to connect. An error refuses with status 403 and is
    /// logged.
    fn connect(request: &Request) -> Result<Result<Connected<Self::Assigns>, Refused>>;
}

/// An accepted connection.
#[derive(Clone, Debug, Default)]
pub struct Connected<A> {
    /// Names the user for the life of the connection.
    pub user_id: Option<String>,
    /// What channels start with.
    pub assigns: A,
}

/// A refused one.
#[derive(Clone, Debug)]
pub struct Refused {
    /// An HTTP status from 400 to 599.
    pub status: u16,
    /// The body of the response.
    pub reason: String,
}

impl Request {
    /// The last value of a parameter.
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

fn last<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
