//! The hosts that plugins may send requests to.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A host and its ports, as the configuration lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// The name in lower case, without the `*.`.
    name: String,
    /// Whether the pattern means all hosts below the name, and not the name itself.
    below: bool,
    ports: Ports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// The scheme's own port: 80 for `http`, 443 for `https`.
    Default,
    One(u16),
    Any,
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let problem = || {
            format!(
                "{text:?} is no host; one such as \"api.example.com\", \"*.example.com\" or \
                 \"localhost:8080\" is expected"
            )
        };
        // An IPv6 address has colons of its own, inside its brackets.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let ports = match port {
            None => Ports::Default,
            Some("*") => Ports::Any,
            Some(port) => Ports::One(port.parse().map_err(|_| problem())?),
        };
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let fine = match bare {
            Some(address) => !below && address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !name.is_empty() && name.chars().all(plain),
        };
        if !fine {
            return Err(problem());
        }
        Ok(Self { name: normal(name), below, ports })
    }

    /// Whether a request to this host and port is allowed; `scheme_port` is the scheme's own port.
    pub(super) fn allows(&self, host: &str, port: u16, scheme_port: u16) -> bool {
        let host = normal(host);
        let name_fits = match host.strip_suffix(&self.name) {
            Some("") => !self.below,
            Some(rest) => self.below && rest.len() > 1 && rest.ends_with('.'),
            None => false,
        };
        let port_fits = match self.ports {
            Ports::Default => port == scheme_port,
            Ports::One(one) => port == one,
            Ports::Any => true,
        };
        name_fits && port_fits
    }
}

/// The normal form of a name: in lower case, and without the dot of the root at its end.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, below, ports } = self;
        write!(f, "{}{name}", if *below { "*." } else { "" })?;
        match ports {
            Ports::Default => Ok(()),
            Ports::One(port) => write!(f, ":{port}"),
            Ports::Any => f.write_str(":*"),
        }
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_allows_its_host_and_ports() {
        for (pattern, host, port, scheme_port, allowed) in [
            ("a.com", "a.com", 443, 443, true),
            ("a.com", "A.com.", 80, 80, true),
            ("a.com", "a.com", 8080, 80, false),
            ("a.com", "a.com", 80, 443, false),
            ("a.com", "b.a.com", 443, 443, false),
            ("a.com", "xa.com", 443, 443, false),
            ("*.a.com", "b.a.com", 443, 443, true),
            ("*.a.com", "c.b.a.com", 443, 443, true),
            ("*.a.com", "a.com", 443, 443, false),
            ("*.a.com", ".a.com", 443, 443, false),
            ("*.a.com", "ba.com", 443, 443, false),
            ("a.com:8080", "a.com", 8080, 80, true),
            ("a.com:8080", "a.com", 80, 80, false),
            ("a.com:*", "a.com", 1, 80, true),
            ("[::1]", "[::1]", 80, 80, true),
            ("[::1]:81", "[::1]", 81, 80, true),
            ("127.0.0.1:9", "127.0.0.1", 9, 80, true),
        ] {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(parsed.allows(host, port, scheme_port), allowed, "{pattern} {host}:{port}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "*", "*.", "a b", "http://a", "a:b", "a:", "a/b", "[::1", "*.[::1]", "a*b"]
        {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
