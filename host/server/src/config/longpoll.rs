//! `[longpoll]`: sessions of clients that cannot have a WebSocket.

use std::time::Duration;

use serde::Deserialize;

use super::defaults;

/// `[longpoll]`: long-polling, at `PATH/longpoll` of `socket.path`. The limits of `[socket]` hold
/// for its sessions, too.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LongPollConfig {
    /// Whether clients may use it.
    pub enabled: bool,
    /// The time in milliseconds that a poll waits for messages. A session ends one and a half times
    /// as long after its last poll.
    pub window_ms: u64,
    /// The most bytes of a request's body; a larger one gets 413.
    pub max_body_bytes: usize,
    /// The most messages of a request; a body with more lines gets 413, and none of them is taken.
    pub max_lines: usize,
}

/// The longest window in milliseconds: phoenix.js gives a poll up after 20 seconds.
const MAX_WINDOW_MS: u64 = 15_000;

impl Default for LongPollConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window_ms: defaults::LONG_POLL_WINDOW_MS,
            max_body_bytes: defaults::LONG_POLL_BODY_BYTES,
            max_lines: defaults::LONG_POLL_LINES,
        }
    }
}

impl LongPollConfig {
    /// Checks what the types cannot; an error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(10..=MAX_WINDOW_MS).contains(&self.window_ms) {
            let found = self.window_ms;
            return Err(format!("window_ms is {found}; 10 to {MAX_WINDOW_MS} are allowed"));
        }
        for (key, value) in [("max_body_bytes", self.max_body_bytes), ("max_lines", self.max_lines)]
        {
            if value == 0 {
                return Err(format!("{key} is 0; at least 1 is allowed"));
            }
        }
        Ok(())
    }

    /// The time that a poll waits for messages.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// The time after its last poll at which a session ends.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.window() * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use crate::config::App;

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_allowed() {
        for (line, problem) in [
            ("window_ms = 20000", "longpoll.window_ms is 20000; 10 to 15000 are allowed"),
            ("max_lines = 0", "longpoll.max_lines is 0; at least 1"),
            ("max_body_bytes = 0", "longpoll.max_body_bytes is 0; at least 1"),
            ("window = 1", "longpoll.window is no key"),
        ] {
            let error = App::parse("/app".into(), &format!("[longpoll]\n{line}")).unwrap_err();
            assert!(error.contains(problem), "{line}: {error}");
        }
        let app = App::parse("/app".into(), "[longpoll]\nwindow_ms = 1000").unwrap();
        assert_eq!(app.socket.longpoll.idle_timeout().as_millis(), 1500);
    }
}
