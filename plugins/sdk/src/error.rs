//! The error of a handler.

use std::fmt;

/// The error of a handler. The client that waits for a reply gets `{"reason": "<the text>"}` with
/// the status `error`.
///
/// Any `std` error becomes one by `?`, a text by [`Error::msg`].
#[derive(Debug)]
pub struct Error(Box<dyn std::error::Error + Send + Sync>);

/// A result whose error is an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error with a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// Makes an error with a cause.
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }

    /// The cause, if it is of this type: a [`Denied`](crate::Denied), for example.
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

/// The error for an event that a channel does not know.
#[must_use]
pub fn unknown_event(event: &str) -> Error {
    Error::msg(format!("unknown event {event:?}"))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// This type is not `std::error::Error` itself, so that `?` can convert every type that is.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self::new(cause)
    }
}
