//! Names of hosts, as the configuration and browsers write them.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Deserializer, de::Error as _};

/// A host. With `*.` in front it also means all hosts below it, at any depth, as in Phoenix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// The name as [`normal`] writes it.
    name: String,
    has_subdomains: bool,
}

impl HostName {
    /// Reads `example.com`, `*.example.com`, `10.0.0.1` or `[::1]`. The error says what is wrong
    /// with the text.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, has_subdomains) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if !name.is_ascii() {
            return Err("its host is not in ASCII, as browsers write it: `xn--…`");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let address = bracketed(name).map(|inner| inner.parse::<Ipv6Addr>().is_ok());
        match address {
            Some(true) if !has_subdomains => {}
            None if !name.is_empty() && name.chars().all(plain) => {}
            _ => return Err("its host is no name and no address"),
        }
        Ok(Self { name: normal(name), has_subdomains })
    }

    /// Whether the pattern means this host. An IPv6 address has brackets.
    pub(crate) fn matches(&self, host: &str) -> bool {
        let host = normal(host);
        let is_below = || host.strip_suffix(&self.name).is_some_and(|left| left.ends_with('.'));
        host == self.name || self.has_subdomains && is_below()
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|problem| {
            D::Error::custom(format!(
                "{text:?} is no host: {problem}; one such as \"example.com\", \"*.example.com\" \
                 or \"[::1]\" is expected, without a port"
            ))
        })
    }
}

/// The host and the port of a URL, an `Origin` or a `Host`. `None` if the port is not valid.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    // An IPv6 address has colons of its own, inside its brackets.
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            Some((host, Some(port.parse().ok().filter(|_| is_number)?)))
        }
        _ => Some((text, None)),
    }
}

/// The host of a `Host` header, without the port.
pub(crate) fn host_of(header: &str) -> &str {
    match header.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => header,
    }
}

/// Whether a name or address (IPv6 in brackets) is this machine's own: `localhost`, a name below it
/// (RFC 6761, section 6.3), or a loopback address.
pub(crate) fn is_loopback_name(host: &str) -> bool {
    let address = bracketed(host).unwrap_or(host).parse::<IpAddr>();
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.strip_suffix(".localhost").is_some_and(|below| !below.is_empty())
        || address.is_ok_and(|address| address.is_loopback())
}

/// The normal form of a host, equal for equal hosts: names in lower case, IPv6 addresses as
/// browsers write them.
pub(super) fn normal(host: &str) -> String {
    match bracketed(host).and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.to_ascii_lowercase(),
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in
            ["localhost", "LocalHost", "app.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "::1"]
        {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in [
            "",
            "localhost.",
            ".localhost",
            "localhost.evil.com",
            "evil.com",
            "evillocalhost",
            "0.0.0.0",
            "[::]",
        ] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }

    #[test]
    fn a_host_is_the_same_however_it_is_written() {
        for (pattern, host, expected) in [
            ("a.com", "A.com", true),
            ("a.com", "b.a.com", false),
            ("*.a.com", "x.b.a.com", true),
            ("*.a.com", "a.com", true),
            ("*.a.com", "ba.com", false),
            ("[0:0::1]", "[::1]", true),
            ("[FE80::1]", "[fe80::1]", true),
            ("10.0.0.1", "10.0.0.1", true),
        ] {
            let parsed = HostName::parse(pattern).unwrap();
            assert_eq!(parsed.matches(host), expected, "{pattern} {host}");
        }
        for bad in ["", "*.", "a b", "a/b", "[::1", "[x]", "*.[::1]", "b\u{fc}cher.example", "a:1"]
        {
            assert!(HostName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_is_behind_the_host() {
        for (text, expected) in [
            ("a.com", Some(("a.com", None))),
            ("a.com:80", Some(("a.com", Some(80)))),
            ("[::1]", Some(("[::1]", None))),
            ("[::1]:80", Some(("[::1]", Some(80)))),
            ("a.com:", None),
            ("a.com:+1", None),
            ("a.com:65536", None),
        ] {
            assert_eq!(host_and_port(text), expected, "{text}");
        }
        for (header, host) in [("a.com:4000", "a.com"), ("[::1]:1", "[::1]"), ("[::1]", "[::1]")] {
            assert_eq!(host_of(header), host);
        }
    }
}
