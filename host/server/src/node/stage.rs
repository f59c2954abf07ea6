//! What a server is doing: loading its plugins, serving, or stopping.

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It loads its plugins: nobody can be served yet.
    Starting,
    /// It serves.
    Ready,
    /// It serves those who are there, and nobody else.
    Draining,
}

impl Stage {
    /// What `/ready` says.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}
