//! Whose client a connection is.

/// Whose client a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Realm {
    /// Of the app: it joins what plugins serve.
    #[default]
    App,
    /// The page for operators: it joins that page's topic.
    Dashboard,
}

impl Realm {
    /// As how many of the app's clients a connection is counted: operators who look at
    /// what is counted are no part of it.
    #[must_use]
    pub fn clients(self) -> i64 {
        match self {
            Self::App => 1,
            Self::Dashboard => 0,
        }
    }
}
