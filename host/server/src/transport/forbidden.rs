//! The reasons why a page or client may not connect, for the log and for the client.

use std::net::SocketAddr;

use tracing::info;

use millrace_telemetry::LogLimiter;

/// The limits of log lines that any stranger can cause.
static ORIGINS: LogLimiter = LogLimiter::one_a_second();
static VERSIONS: LogLimiter = LogLimiter::one_a_second();
/// The most bytes of an origin or host that are shown.
const MAX_ORIGIN_BYTES: usize = 200;
/// The most characters of a version that are shown.
const MAX_VERSION_CHARS: usize = 40;

/// Logs that a page of another origin was refused, with both names and what to set; returns the
/// text for the client.
pub(super) fn wrong_origin(peer: SocketAddr, origin: &str, host: &str) -> String {
    let (origin, host) = (cut(origin), cut(host));
    if let Some(line) = ORIGINS.pass() {
        let left_out = line.left_out();
        info!(
            %peer, origin, host, left_out,
            "refused a page of this origin, which is not of the host it asks; a proxy in front has \
             to pass Host on (nginx: proxy_set_header Host $host), or list the page's host in \
             socket.hosts or its origin in socket.check_origin"
        );
    }
    format!("pages of {origin:?} may not connect; list it in socket.check_origin\n")
}

/// Logs that a protocol version was refused; returns the text for the client.
pub(super) fn wrong_version(peer: SocketAddr, params: &[(String, String)]) -> String {
    if let Some(line) = VERSIONS.pass() {
        let left_out = line.left_out();
        info!(%peer, left_out, "refused a client whose vsn is neither 1.0.x nor 2.0.x");
    }
    let found = match params.iter().rev().find(|(name, _)| name == "vsn") {
        Some((_, vsn)) => format!("{:?}", vsn.chars().take(MAX_VERSION_CHARS).collect::<String>()),
        None => "a list".to_owned(),
    };
    format!("vsn is {found}; 1.0.x and 2.0.x are spoken\n")
}

/// The beginning of a header that is shown.
pub(super) fn cut(header: &str) -> &str {
    // A header that can be read as text is ASCII, so it can be cut anywhere.
    header.get(..MAX_ORIGIN_BYTES).unwrap_or(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_connect_is_told_what_was_found() {
        let peer = ([127, 0, 0, 1], 1).into();
        let text = wrong_origin(peer, &format!("https://{}", "x".repeat(999)), "here");
        assert!(text.len() < 300 && text.ends_with("list it in socket.check_origin\n"), "{text}");
        for (name, value, text) in [
            ("vsn", "3.0.0", "vsn is \"3.0.0\"; 1.0.x and 2.0.x are spoken\n"),
            ("vsn", "é\n", "vsn is \"é\\n\"; 1.0.x and 2.0.x are spoken\n"),
            ("vsn[]", "2.0.0", "vsn is a list; 1.0.x and 2.0.x are spoken\n"),
        ] {
            assert_eq!(wrong_version(peer, &[(name.to_owned(), value.to_owned())]), text);
        }
        assert!(wrong_version(peer, &[("vsn".to_owned(), "9".repeat(999))]).len() < 100);
    }
}
