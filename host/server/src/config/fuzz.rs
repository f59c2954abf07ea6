//! The fuzz target of `millrace.toml`.

use std::path::PathBuf;

use crate::config::App;

/// Any text is either an app or an error with a text.
#[cfg_attr(not(feature = "fuzz"), expect(unreachable_pub, reason = "tests/fuzz calls it"))]
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match App::parse(PathBuf::from("/nowhere"), text) {
        Ok(app) => {
            for plugin in &app.plugins {
                assert!(plugin.limits.fuel > 0 && plugin.limits.max_instances > 0);
            }
            // A handshake uses it with any origin and host.
            for origin in [text, "https://example.com", "null", ""] {
                let _ = app.socket.check_origin.allows(Some(origin), Some(text), &app.socket.hosts);
            }
        }
        Err(problem) => assert!(!problem.trim().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_pass() {
        millrace_choices::try_seeds("config", config);
    }

    proptest! {
        #[test]
        fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            config(&bytes);
        }
    }
}
