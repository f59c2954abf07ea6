//! What goes wrong in a handler.

use std::fmt;

/// A handler's error. The client that waits for a reply gets
/// `{"reason": "<its text>"}` with the status `error`.
///
/// Made from any `std` error by `?`, or by [`Error::msg`] from a text.
#[derive(Debug)]
pub struct Error(Box<dyn std::error::Error + Send + Sync>);

/// A result whose error is an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// An error with a cause.
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }

    /// The cause, if it is of this type: a [`Denied`](crate::Denied), for example.
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

/// The error for an event a channel does not know.
#[must_use]
pub fn unknown_event(event: &str) -> Error {
    Error::msg(format!("unknown event {event:?}"))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// Not `std::error::Error` itself, so that `?` can make one of any that is.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self::new(cause)
    }
}
