//! `check_origin`: which pages may open a socket, with the rules of Phoenix.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::host::{HostName, host_and_port, host_of, normal};

/// The pages that may connect. A request without an `Origin` header, which browsers always send,
/// may always connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOrigin {
    /// `true`: the pages of the host that the request is for, and of `socket.hosts`.
    SameHost,
    /// `false`: all pages.
    Any,
    /// A list: the pages that match one of its entries.
    List(Vec<OriginPattern>),
}

/// One entry of the list: `https://example.com`, `//example.com:888` or `//*.example.com`. A part
/// that is left out matches anything; `*.example.com` matches `example.com` itself and all hosts
/// below it, at any depth. Pages without a host have the origin `file://`, or `null` if the browser
/// keeps their origin private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    /// A scheme without a host.
    Hostless(String),
    Host {
        scheme: Option<String>,
        host: HostName,
        port: Option<u16>,
    },
}

/// An `Origin` header (RFC 6454, section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin<'a> {
    Null,
    Of { scheme: &'a str, host: &'a str, port: Option<u16> },
}

impl<'a> Origin<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        if header == "null" {
            return Some(Self::Null);
        }
        let (scheme, rest) = header.split_once("://")?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(is_scheme) {
            return None;
        }
        // Browsers send no path here, but some apps do.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = host_and_port(authority)?;
        let is_host = !host.contains(['@', ' ', '\\']);
        is_host.then_some(Self::Of { scheme, host, port })
    }
}

impl CheckOrigin {
    /// Whether a page of `origin` may connect to the host in the `Host` header, or to one of the
    /// `known` hosts, which are names of this server too.
    #[must_use]
    pub fn allows(&self, origin: Option<&str>, host: Option<&str>, known: &[HostName]) -> bool {
        let Some(origin) = origin else { return true };
        match (self, Origin::parse(origin)) {
            (Self::Any, _) => true,
            (Self::SameHost, Some(Origin::Of { host: name, .. })) if !name.is_empty() => {
                host.is_some_and(|host| normal(host_of(host)) == normal(name))
                    || known.iter().any(|known| known.matches(name))
            }
            (Self::List(patterns), Some(origin)) => {
                patterns.iter().any(|pattern| pattern.matches(&origin))
            }
            (Self::SameHost | Self::List(_), _) => false,
        }
    }

    /// Whether the operator has named this host, with any scheme and port.
    pub(crate) fn names(&self, host: &str) -> bool {
        let is_named = |pattern: &OriginPattern| match &pattern.0 {
            Kind::Host { host: named, .. } => named.matches(host),
            Kind::Null | Kind::Hostless(_) => false,
        };
        match self {
            Self::Any => true,
            Self::SameHost => false,
            Self::List(patterns) => patterns.iter().any(is_named),
        }
    }
}

impl OriginPattern {
    /// Reads one entry of the list. The error says what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let error = |problem: &str| {
            format!(
                "origin {text:?} is none of \"https://example.com\", \"//example.com:888\", \
                 \"//*.example.com\", \"file://\" and \"null\"{problem}"
            )
        };
        if text == "null" {
            return Ok(Self(Kind::Null));
        }
        let (scheme, rest) = match text.split_once("//") {
            Some(("", rest)) => (None, rest),
            Some((scheme, rest)) => {
                let scheme = scheme.strip_suffix(':').filter(|scheme| !scheme.is_empty());
                (Some(scheme.ok_or_else(|| error(""))?.to_ascii_lowercase()), rest)
            }
            None => return Err(error("")),
        };
        match scheme {
            Some(scheme) if rest.is_empty() => return Ok(Self(Kind::Hostless(scheme))),
            _ => {}
        }
        let (host, port) = host_and_port(rest).ok_or_else(|| error(": its port is no number"))?;
        let host = HostName::parse(host).map_err(|problem| error(&format!(": {problem}")))?;
        Ok(Self(Kind::Host { scheme, host, port }))
    }

    /// Whether the value of an `Origin` header matches this entry.
    pub(crate) fn matches_header(&self, origin: &str) -> bool {
        Origin::parse(origin).is_some_and(|origin| self.matches(&origin))
    }

    fn matches(&self, origin: &Origin<'_>) -> bool {
        match (&self.0, origin) {
            (Kind::Null, Origin::Null) => true,
            (Kind::Hostless(expected), Origin::Of { scheme, host: "", .. }) => {
                expected.eq_ignore_ascii_case(scheme)
            }
            (
                Kind::Host { scheme: expected, host: name, port: at },
                Origin::Of { scheme, host, port },
            ) => {
                let port = port.or_else(|| default_port(scheme));
                name.matches(host)
                    && expected.as_deref().is_none_or(|one| one.eq_ignore_ascii_case(scheme))
                    && at.is_none_or(|at| port == Some(at))
            }
            (Kind::Null | Kind::Hostless(_) | Kind::Host { .. }, _) => false,
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
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
            (&list("null"), Some("null"), true),
            (&list("null"), Some("file://"), false),
            (&list("file://"), Some("file://"), true),
            (&list("file://"), Some("file:///index.html"), true),
            (&list("file://"), Some("null"), false),
            (&list("file://"), Some("file://host"), false),
            (&list("capacitor://localhost"), Some("capacitor://localhost"), true),
            (&list("capacitor://localhost"), Some("http://localhost"), false),
            (&list("chrome-extension://abc"), Some("chrome-extension://abc"), true),
            (&list("http://[::1]:4000"), Some("http://[::1]:4000"), true),
            (&list("http://[0:0::1]"), Some("http://[::1]:1"), true),
            (&list("http://[::1]:4000"), Some("http://[::1]"), false),
            (&same, Some("file://"), false),
            (&same, Some("http://me.example@evil.example"), false),
            (&same, Some("me.example"), false),
            (&same, Some("http://me.example:port"), false),
        ] {
            let allowed = check.allows(origin, Some("ME.example:4000"), &[]);
            assert_eq!(allowed, expected, "{check:?} {origin:?}");
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
        for bad in [
            "example.com",
            "//",
            "//a.com:port",
            "//a.*.com",
            "https//a.com",
            "://a.com",
            "https://a.com/",
            "https://b\u{fc}cher.example",
            "https://[::1",
            "NULL",
        ] {
            let error = OriginPattern::parse(bad).unwrap_err();
            assert!(error.contains("\"https://example.com\""), "{bad}: {error}");
        }
    }

    #[test]
    fn a_page_may_be_of_a_host_that_is_known_to_lead_here() {
        let known = [HostName::parse("chat.example").unwrap()];
        let allows = |check: &CheckOrigin, origin| check.allows(Some(origin), None, &known);
        assert!(allows(&CheckOrigin::SameHost, "https://chat.example:8443"));
        assert!(!allows(&CheckOrigin::SameHost, "https://evil.example"));
        let list = CheckOrigin::List(vec![OriginPattern::parse("null").unwrap()]);
        assert!(!allows(&list, "https://chat.example"));
    }
}
