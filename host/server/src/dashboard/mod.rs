//! The page at `/dashboard` for operators.
//!
//! ```text
//! registry ──every second──▶ Snapshot ──▶ history ──▶ /dashboard/data.json
//!                                   └──▶ broadcast on millrace:dashboard ──▶ page
//! ```
//!
//! The page speaks Phoenix Channels like any other client, but over a socket and a PubSub of its
//! own: clients of the app cannot join its topic, plugins are not asked and can neither hear nor
//! speak there, and the page can join nothing else.

mod assets;
mod history;
mod pipelines;
mod snapshot;
mod unusual;
mod usual;

pub(crate) use assets::asset;
pub(crate) use history::History;
pub(crate) use snapshot::{MAX_ROWS, PresenceRow, SlowClient, SnapshotBuilder, Sources};

use std::sync::Arc;

use millrace_session::channel::{Callback, ChannelEffect, Completion, Joined, Outcome};
use millrace_wasm::sha256;
use millrace_wire::Payload;

use crate::config::DashboardConfig;
use crate::plugin::NativeChannel;
use crate::secret::Secret;
use crate::token;

/// The topic of the page.
pub(crate) const TOPIC: &str = "millrace:dashboard";
/// The event that a new snapshot is broadcast as.
pub(crate) const EVENT: &str = "snapshot";

/// The name of the cookie of a browser that has given the token.
const COOKIE: &str = "millrace_dashboard";

/// The value of the cookie: not the token itself, which may be known elsewhere and need not fit
/// into a cookie.
fn in_cookie(token: &str) -> String {
    sha256(format!("millrace dashboard {token}").as_bytes()).to_string()
}

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

    /// Whether somebody with this token, or with these cookies, may see the page. A token counts
    /// before cookies; without a configured token everybody may.
    pub(crate) fn admits(&self, token: Option<&str>, cookies: Option<&str>) -> bool {
        let Some(expected) = self.config.token.as_ref().map(Secret::get) else { return true };
        if token.is_some() {
            return token::is_same(&expected, token);
        }
        let cookies = cookies.unwrap_or_default().split(';');
        let mut named = cookies.filter_map(|cookie| cookie.trim().split_once('='));
        let given = named.find(|(name, _)| *name == COOKIE).map(|(_, value)| value);
        token::is_same(&in_cookie(&expected), given)
    }

    /// The cookie for a browser that gave this token; `None` if the token is wrong, or none is
    /// needed. Browsers send it over TLS only, if this request came so.
    pub(crate) fn cookie(&self, token: &str, is_encrypted: bool) -> Option<String> {
        let expected = self.config.token.as_ref()?.get();
        let cookie = || {
            let value = in_cookie(&expected);
            let secure = if is_encrypted { "; Secure" } else { "" };
            // Without a path the cookie is for all below the page, whatever prefix a proxy has put
            // before it.
            format!("{COOKIE}={value}; HttpOnly; SameSite=Strict{secure}")
        };
        token::is_same(&expected, Some(token)).then(cookie)
    }

    /// Whether a token is needed.
    pub(crate) fn has_token(&self) -> bool {
        self.config.token.is_some()
    }

    /// The content of the page, as JSON.
    pub(crate) fn json(&self) -> String {
        self.history.json()
    }
}

/// The channel of the page: clients join it and listen; a message of theirs is refused.
impl NativeChannel for Dashboard {
    fn name(&self) -> &'static str {
        "dashboard"
    }

    fn answer(&self, callback: &Callback) -> Completion {
        match callback {
            Callback::Join { .. } => {
                let response = Some(Payload::Json(self.json().into()));
                let joined = Joined { response, outcome: Outcome::default() };
                Completion::Join(Box::new(Ok(joined)))
            }
            Callback::HandleIn { .. } => {
                let payload = Payload::reason("the dashboard takes no messages");
                let refused = ChannelEffect::Reply { status: "error".into(), payload }.into();
                Completion::Handled(Outcome { effects: vec![refused], assigns: None })
            }
            Callback::HandleOut(_) | Callback::HandleInfo(_) | Callback::Terminate(_) => {
                Completion::Handled(Outcome::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dashboard(token: Option<&str>) -> Dashboard {
        let config = DashboardConfig { enabled: true, token: token.map(Secret::new) };
        Dashboard::new(config, Arc::default())
    }

    #[test]
    fn the_cookie_opens_as_the_token_does() {
        let open = dashboard(None);
        assert!(open.admits(None, None) && open.admits(Some("x"), None));
        assert_eq!(open.cookie("x", false), None);
        let shut = dashboard(Some("a b;\u{e9}"));
        assert_eq!(shut.cookie("a", false), None);
        let cookie = shut.cookie("a b;\u{e9}", false).unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "HttpOnly; SameSite=Strict");
        assert!(!cookie.contains("a b") && cookie.is_ascii(), "{cookie}");
        assert!(shut.admits(None, Some(pair)));
        assert!(shut.admits(None, Some(&format!("x=y; {pair}; z"))));
        for other in [None, Some(""), Some("millrace_dashboard="), Some("x=y")] {
            assert!(!shut.admits(None, other), "{other:?}");
        }
        assert!(!shut.admits(Some("wrong"), Some(pair)), "what is asked for counts");
    }
}
