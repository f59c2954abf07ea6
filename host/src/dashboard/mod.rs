//! The page at `/dashboard`: what an operator looks at.
//!
//! ```text
//! registry ──every second──▶ Snapshot ──▶ history ──▶ /dashboard/data.json
//!                                   └──▶ broadcast on millrace:dashboard ──▶ page
//! ```
//!
//! The page speaks Phoenix Channels like any other client, but over a socket of
//! its own: clients of the app cannot join its topic, plugins are not asked, and
//! it can join nothing else.

mod assets;
mod history;
mod pipelines;
mod snapshot;

pub(crate) use assets::asset;
pub(crate) use history::History;
pub(crate) use snapshot::{Sources, Viewer};

use std::sync::Arc;

use crate::channel::{Callback, Completion, Effect, Joined, Outcome};
use crate::config::DashboardConfig;
use crate::token;
use crate::wire::Payload;

/// The topic of the page.
pub(crate) const TOPIC: &str = "millrace:dashboard";
/// What a new snapshot is broadcast as.
pub(crate) const EVENT: &str = "snapshot";

/// The page's server side.
#[derive(Debug)]
pub(crate) struct Dashboard {
    config: DashboardConfig,
    history: Arc<History>,
}

impl Dashboard {
    pub(crate) fn new(config: DashboardConfig, history: Arc<History>) -> Self {
        Self { config, history }
    }

    /// Whether somebody with this token may look.
    pub(crate) fn admits(&self, token: Option<&str>) -> bool {
        token::admits(self.config.token.as_deref(), token)
    }

    /// What there is to see, as JSON.
    pub(crate) fn json(&self) -> String {
        self.history.json()
    }

    /// The channel of the page: it listens, and has nothing to say.
    pub(crate) fn answer(self: &Arc<Self>, callback: &Callback) -> Completion {
        match callback {
            Callback::Join { .. } => {
                let response = Some(Payload::Json(self.json().into()));
                let joined = Joined { response, outcome: Outcome::default() };
                Completion::Join(Box::new(Ok(joined)))
            }
            Callback::HandleIn { .. } => {
                let payload = Payload::reason("the dashboard takes no messages");
                let refused = Effect::Reply { status: "error".into(), payload };
                Completion::Handled(Outcome { effects: vec![refused], assigns: None })
            }
            Callback::HandleOut(_) | Callback::HandleInfo(_) | Callback::Terminate(_) => {
                Completion::Handled(Outcome::default())
            }
        }
    }
}
