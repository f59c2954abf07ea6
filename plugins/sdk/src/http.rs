//! Requests to other servers.
//!
//! ```no_run
//! use millrace_plugin::http;
//! use millrace_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let response = http::get("https://api.example.com/rates").send()?;
//! let rates: serde_json::Value = response.json()?;
//! # Ok(())
//! # }
//! ```
//!
//! A plugin may send to the hosts that `[plugins.NAME.http]` of `millrace.toml` lists; without it,
//! to none. A call that waits for a response holds no thread of the server: messages for other
//! channels are handled meanwhile, those for this channel wait.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::millrace::plugin::http as wit;
use crate::host::clock::whole_ms;
use crate::{Error, Result};

/// A request to another server.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `send`"]
pub struct HttpRequest(wit::Request);

/// A response, of any status.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status, such as 200.
    pub status: u16,
    /// The headers in the order in which they came, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came; it is not decompressed.
    pub body: Vec<u8>,
}

/// The reason why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The configuration does not allow the host or its address.
    Denied(String),
    /// The request is wrong; the text says what was found, and what is allowed.
    Invalid(String),
    /// The connection could not be made, or it broke.
    Unreachable(String),
    /// The response did not come in time.
    Timeout,
    /// The body has more bytes than this limit (`http.max_response_bytes`).
    TooLarge(u64),
    /// Too many requests of the plugin are under way (`http.max_concurrent`).
    Overloaded,
}

/// Makes a request with the method `GET`.
pub fn get(url: impl Into<String>) -> HttpRequest {
    request("GET", url)
}

/// Makes a request with the method `POST`, and no body yet.
pub fn post(url: impl Into<String>) -> HttpRequest {
    request("POST", url)
}

/// Makes a request with any method.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> HttpRequest {
    HttpRequest(wit::Request {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: None,
    })
}

impl HttpRequest {
    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// Sets the body to the JSON of a value, and the header `content-type`.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(Error::new)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Sets the time to wait for the whole response; `http.timeout_ms` is the most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout_ms = Some(u32::try_from(whole_ms(timeout)).unwrap_or(u32::MAX));
        self
    }

    /// Sends the request and waits for the response. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// There is no response. A response with any status, such as 500, is not an error.
    pub fn send(self) -> Result<HttpResponse, HttpError> {
        match wit::send(&self.0) {
            Ok(wit::Response { status, headers, body }) => {
                Ok(HttpResponse { status, headers, body })
            }
            Err(error) => Err(match error {
                wit::Error::Denied(text) => HttpError::Denied(text),
                wit::Error::Invalid(text) => HttpError::Invalid(text),
                wit::Error::Unreachable(text) => HttpError::Unreachable(text),
                wit::Error::Timeout => HttpError::Timeout,
                wit::Error::TooLarge(allowed) => HttpError::TooLarge(allowed),
                wit::Error::Overloaded => HttpError::Overloaded,
            }),
        }
    }
}

impl HttpResponse {
    /// The first value of a header; the case of its name does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the status is a success, from 200 to 299.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// Reads the body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(Error::new)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) | Self::Invalid(text) => f.write_str(text),
            Self::Unreachable(text) => write!(f, "unreachable: {text}"),
            Self::Timeout => f.write_str("not answered in time"),
            Self::TooLarge(allowed) => {
                write!(f, "the response has more than {allowed} bytes (http.max_response_bytes)")
            }
            Self::Overloaded => {
                f.write_str("too many requests are under way (http.max_concurrent)")
            }
        }
    }
}

impl std::error::Error for HttpError {}
