//! Which pages may open a socket: `check_origin`, with the rules of Phoenix.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Which pages may connect. A request without an `Origin` header, which no
/// browser sends, always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOrigin {
    /// `true`: those of the host the request is for.
    SameHost,
    /// `false`: all.
    Any,
    /// Those that match one of the list.
    List(Vec<OriginPattern>),
}

/// One entry of the list: `https://example.com`, `//example.com:888` or
/// `//*.example.com`. What is left out matches anything; `*.example.com` matches
/// `example.com` itself and any depth below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: Option<String>,
    host: String,
    subdomains: bool,
    port: Option<u16>,
}

impl CheckOrigin {
    /// Whether a page of `origin` may connect to the host in the `Host` header.
    #[must_use]
    pub fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let parsed = origin.parse::<Uri>().ok();
        let Some((origin, name)) = parsed.as_ref().and_then(|uri| uri.host().map(|h| (uri, h)))
        else {
            return matches!(self, Self::Any);
        };
        match self {
            Self::Any => true,
            Self::SameHost => host.is_some_and(|host| host_of(host).eq_ignore_ascii_case(name)),
            Self::List(patterns) => patterns.iter().any(|pattern| pattern.matches(origin, name)),
        }
    }

    /// Whether the operator has named a host, with any scheme and port.
    pub(crate) fn names(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::SameHost => false,
            Self::List(patterns) => patterns.iter().any(|pattern| pattern.is_of(host)),
        }
    }
}

impl OriginPattern {
    /// Reads one entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "origin {text:?} is none of \"https://example.com\", \"//example.com:888\" and \
                 \"//*.example.com\""
            )
        };
        let (scheme, rest) = match text.split_once("//") {
            Some(("", rest)) => (None, rest),
            Some((scheme, rest)) => (Some(scheme.strip_suffix(':').ok_or_else(error)?), rest),
            None => return Err(error()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| error())?)),
            None => (rest, None),
        };
        let (host, subdomains) = match host.strip_prefix("*.") {
            Some(host) => (host, true),
            None => (host, false),
        };
        if host.is_empty() || host.contains(['/', '*', '@', '?']) {
            return Err(error());
        }
        let scheme = scheme.map(str::to_owned);
        Ok(Self { scheme, host: host.to_ascii_lowercase(), subdomains, port })
    }

    /// Whether it is one of a page's `Origin` header.
    pub(crate) fn matches_header(&self, origin: &str) -> bool {
        let origin = origin.parse::<Uri>().ok();
        origin.as_ref().is_some_and(|o| o.host().is_some_and(|host| self.matches(o, host)))
    }

    fn is_of(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let below = || host.strip_suffix(&self.host).is_some_and(|left| left.ends_with('.'));
        host == self.host || self.subdomains && below()
    }

    fn matches(&self, origin: &Uri, host: &str) -> bool {
        let port = origin.port_u16().or_else(|| default_port(origin.scheme_str()));
        self.is_of(host)
            && self.scheme.as_deref().is_none_or(|s| origin.scheme_str() == Some(s))
            && self.port.is_none_or(|p| port == Some(p))
    }
}

fn default_port(scheme: Option<&str>) -> Option<u16> {
    match scheme {
        Some("http" | "ws") => Some(80),
        Some("https" | "wss") => Some(443),
        _ => None,
    }
}

/// The host of a `Host` header, without the port.
pub(crate) fn host_of(header: &str) -> &str {
    match header.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => header,
    }
}

/// Whether a name or address, IPv6 in brackets, is this machine's own.
pub(crate) fn is_loopback_name(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = address.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

impl<'de> Deserialize<'de> for OriginPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for CheckOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = CheckOrigin;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a list of origins such as \"https://example.com\"")
            }

            fn visit_bool<E: Error>(self, same_host: bool) -> Result<CheckOrigin, E> {
                Ok(if same_host { CheckOrigin::SameHost } else { CheckOrigin::Any })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<CheckOrigin, A::Error> {
                let mut patterns = Vec::new();
                while let Some(pattern) = seq.next_element()? {
                    patterns.push(pattern);
                }
                Ok(CheckOrigin::List(patterns))
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_of_phoenix() {
        let list = |pattern: &str| CheckOrigin::List(vec![OriginPattern::parse(pattern).unwrap()]);
        let same = CheckOrigin::SameHost;
        for (check, origin, expected) in [
            (&same, Some("http://me.example:4000"), true),
            (&same, Some("https://me.example"), true),
            (&same, Some("http://evil.example"), false),
            (&same, Some("null"), false),
            (&same, None, true),
            (&CheckOrigin::Any, Some("http://evil.example"), true),
            (&list("https://a.com"), Some("https://a.com"), true),
            (&list("https://a.com"), Some("http://a.com"), false),
            (&list("//a.com"), Some("http://a.com:99"), true),
            (&list("//a.com:888"), Some("http://a.com:888"), true),
            (&list("//a.com:888"), Some("http://a.com"), false),
            (&list("//a.com:443"), Some("https://a.com"), true),
            (&list("//*.a.com"), Some("http://x.y.a.com"), true),
            (&list("//*.a.com"), Some("http://a.com"), true),
            (&list("//*.a.com"), Some("http://evil-a.com"), false),
        ] {
            let allowed = check.allows(origin, Some("ME.example:4000"));
            assert_eq!(allowed, expected, "{check:?} {origin:?}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "[::1]", "::1"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in ["", "localhost.", "localhost.evil.com", "evil.com", "0.0.0.0", "[::]"] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }

    #[test]
    fn a_list_names_hosts() {
        let list = CheckOrigin::List(vec![OriginPattern::parse("https://*.a.com:8443").unwrap()]);
        for (check, host, expected) in [
            (&CheckOrigin::SameHost, "a.com", false),
            (&CheckOrigin::Any, "a.com", true),
            (&list, "A.com", true),
            (&list, "x.a.com", true),
            (&list, "b.com", false),
        ] {
            assert_eq!(check.names(host), expected, "{check:?} {host}");
        }
    }

    #[test]
    fn bad_entries_are_refused() {
        for bad in ["example.com", "//", "//a.com:port", "//a.*.com", "https//a.com"] {
            assert!(OriginPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
