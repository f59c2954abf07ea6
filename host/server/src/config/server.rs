//! `[server]` and `[tls]`: how clients reach the server, also through proxies.

use std::path::PathBuf;

use hyper::Uri;
use hyper::header::HeaderName;
use serde::Deserialize;

use super::{HostName, Network, defaults, host_of};

/// `[server]`: how clients reach the server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The URL under which clients reach the server. Its host counts as one of `socket.hosts`.
    pub public_url: Option<String>,
    /// The addresses of proxies whose `forwarded_header` is believed. Whoever connects to a Unix
    /// socket is believed, too.
    pub trusted_proxies: Vec<Network>,
    /// The header in which proxies name the client: `forwarded` (RFC 7239), or one with a list of
    /// addresses, to whose end each proxy adds one.
    pub forwarded_header: String,
    /// The time in milliseconds between two checks of the files of certificates and secrets.
    pub reread_ms: u64,
}

/// `[tls]`: the certificate of the listeners that speak TLS, versions 1.2 and 1.3.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The PEM file of the certificate, and of those that it was issued by.
    pub certificate: PathBuf,
    /// The PEM file of the private key.
    pub key: PathBuf,
    /// The time in milliseconds within which a handshake must end; otherwise its connection is
    /// closed.
    #[serde(default = "default_handshake_timeout")]
    pub handshake_timeout_ms: u64,
    /// The most handshakes at the same time, of which one address may have an eighth; a further
    /// connection is closed.
    #[serde(default = "default_handshakes")]
    pub max_handshakes: usize,
    /// The most handshakes of the server per second, of which one address may have half, except for
    /// this machine's own; a further connection is closed. 0 means no limit.
    #[serde(default = "default_handshakes_per_second")]
    pub max_handshakes_per_second: u32,
}

fn default_handshake_timeout() -> u64 {
    defaults::TLS_HANDSHAKE_TIMEOUT_MS
}

fn default_handshakes_per_second() -> u32 {
    defaults::TLS_MAX_HANDSHAKES_PER_SECOND
}

fn default_handshakes() -> usize {
    defaults::TLS_MAX_HANDSHAKES
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            trusted_proxies: Vec::new(),
            forwarded_header: defaults::FORWARDED_HEADER.to_owned(),
            reread_ms: defaults::REREAD_MS,
        }
    }
}

impl ServerConfig {
    /// Checks what the types cannot; an error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(url) = &self.public_url {
            self.public_host().map_err(|problem| {
                format!(
                    "public_url is {url:?}, {problem}; one such as \"https://chat.example.com\" is \
                     expected"
                )
            })?;
        }
        if HeaderName::try_from(&self.forwarded_header).is_err() {
            let found = &self.forwarded_header;
            return Err(format!(
                "forwarded_header is {found:?}; a header's name such as \"x-forwarded-for\" is \
                 expected"
            ));
        }
        match self.reread_ms {
            10..=3_600_000 => Ok(()),
            found => Err(format!("reread_ms is {found}; 10 to 3600000 are allowed")),
        }
    }

    /// The host of `public_url`; the error says what is wrong with the URL.
    pub(super) fn public_host(&self) -> Result<Option<HostName>, &'static str> {
        let Some(url) = &self.public_url else { return Ok(None) };
        let url: Uri = url.parse().map_err(|_| "which is no URL")?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err("whose scheme is neither https nor http");
        }
        if url.path() != "/" || url.query().is_some() {
            return Err("which has a path; a server has a whole host");
        }
        let authority = url.authority().ok_or("which has no host")?;
        HostName::parse(host_of(authority.as_str())).map(Some)
    }
}

impl TlsConfig {
    /// Checks what the types cannot; an error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.handshake_timeout_ms == 0 {
            return Err("handshake_timeout_ms is 0; at least 1 is allowed".to_owned());
        }
        if self.max_handshakes == 0 {
            return Err("max_handshakes is 0; at least 1 is allowed".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::App;

    fn load(text: &str) -> Result<App, String> {
        App::parse("/app".into(), text)
    }

    #[test]
    fn the_public_host_is_known() {
        let app = load("[server]\npublic_url = \"https://chat.example.com:8443\"").unwrap();
        assert!(app.socket.hosts.iter().any(|host| host.matches("chat.example.com")));
    }

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_allowed() {
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"";
        for (text, problem) in [
            ("[server]\npublic_url = \"chat.example.com\"", "whose scheme is neither"),
            ("[server]\npublic_url = \"https://a.com/x\"", "which has a path"),
            ("[server]\ntrusted_proxies = [\"10/8\"]", "\"10/8\" is no address; one such as"),
            ("[server]\nforwarded_header = \"a b\"", "server.forwarded_header is \"a b\""),
            ("[server]\nreread_ms = 0", "server.reread_ms is 0; 10 to"),
            ("[tls]\nkey = \"k\"", "tls.certificate is missing"),
            (&format!("{tls}\nmax_handshakes = 0"), "tls.max_handshakes is 0"),
            (&format!("{tls}\nhandshake_timeout_ms = 0"), "tls.handshake_timeout_ms is 0"),
            ("[admin]\ntls = true", "admin.tls is true, and there is no [tls]"),
            (
                "[cache]\nmax = 1",
                "cache.max is no key; did you mean max_bytes? Allowed are `dir` or",
            ),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
