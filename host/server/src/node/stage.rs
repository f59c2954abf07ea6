//! The stage of a server's life: starting, ready or draining.

/// The stage of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The server loads its plugins: nobody can be served yet.
    Starting,
    /// The server serves clients.
    Ready,
    /// The server serves those who are connected, and nobody else.
    Draining,
}

impl Stage {
    /// The word that `/ready` answers with.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}
