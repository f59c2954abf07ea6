//! The two kinds of clients: those of the app, and operators with the dashboard open.

/// The kind of client that a connection is, which decides about the topics that it may join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Realm {
    /// A client of the app, which joins topics that plugins serve.
    #[default]
    App,
    /// The page for operators (`/dashboard`), which joins the topic of that page.
    Dashboard,
}

impl Realm {
    /// The number that a connection adds to the count of clients: 1, or 0 for an operator,
    /// who looks at that count and is no part of it.
    #[must_use]
    pub fn clients(self) -> i64 {
        match self {
            Self::App => 1,
            Self::Dashboard => 0,
        }
    }
}
