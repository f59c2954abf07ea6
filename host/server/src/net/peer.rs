//! The peer of a connection: the client itself, or a proxy that asks for the client.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName};

use crate::config::{Network, ServerConfig};

/// The peer of a connection, or the client that a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address. The port is 0 where it is unknown: behind a proxy, and for a Unix socket, whose
    /// clients are on this machine.
    pub(crate) address: SocketAddr,
    /// Whether the peer is trusted to name the client that it asks for.
    pub(crate) is_proxy: bool,
    /// Whether the PROXY protocol has named the client, so that headers are not asked.
    pub(crate) has_proxy_header: bool,
    /// Whether the client uses TLS, here or at its proxy.
    pub(crate) is_encrypted: bool,
    /// Whether the connection came to a loopback address.
    pub(crate) is_local: bool,
}

/// The trusted proxies, and the header in which they name their clients.
#[derive(Debug)]
pub(crate) struct Proxies {
    trusted: Vec<Network>,
    header: HeaderName,
}

/// The header in which a proxy says that its client uses TLS.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED: HeaderName = hyper::header::FORWARDED;

impl Peer {
    /// The IP address.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

impl Proxies {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let header = HeaderName::try_from(&config.forwarded_header);
        // What is no name was refused when the file was read.
        let header = header.unwrap_or(HeaderName::from_static("x-forwarded-for"));
        Self { trusted: config.trusted_proxies.clone(), header }
    }

    /// Whether the address is that of a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// The client that a request is from: the peer itself, unless the peer is a proxy that names
    /// another.
    ///
    /// Each proxy adds at the end the address that has asked it. So the list is believed from its
    /// end on, as long as the address is that of a trusted proxy; what stands before may be written
    /// by anybody.
    pub(crate) fn client(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        if !peer.is_proxy || peer.has_proxy_header {
            return peer;
        }
        let mut client = peer;
        for line in headers.get_all(&self.header).iter().rev() {
            // A client may have put bytes in front that are not text.
            let line = String::from_utf8_lossy(line.as_bytes());
            // If a proxy adds an element that cannot be read, a client has provoked that. The
            // request is then limited by the address of the proxy, without the rights of a proxy.
            client.is_proxy = false;
            let Some(elements) = self.elements(&line) else { return client };
            for element in elements.into_iter().rev() {
                let said = match self.header == FORWARDED {
                    true => parameter(element, "for").and_then(address),
                    false => address(element),
                };
                // `unknown`, or an obfuscated name (RFC 7239, section 6).
                let Some(said) = said else { return client };
                client.address = said;
                if !self.trusts(said.ip()) {
                    return self.encrypted(client, headers);
                }
            }
        }
        self.encrypted(client, headers)
    }

    /// The elements of a line, one for each proxy. `None` if a quote is left open, because the
    /// elements cannot be told apart then: otherwise a client's words could be taken for those of
    /// its proxy.
    fn elements<'a>(&self, line: &'a str) -> Option<Vec<&'a str>> {
        match self.header == FORWARDED {
            true => split(line, ','),
            false => Some(line.split(',').map(str::trim).collect()),
        }
    }

    /// The client, with what its proxy says about TLS.
    fn encrypted(&self, client: Peer, headers: &HeaderMap) -> Peer {
        let last = |name: &HeaderName| headers.get_all(name).iter().next_back()?.to_str().ok();
        let proto = match self.header == FORWARDED {
            true => {
                last(&FORWARDED).and_then(|line| parameter(self.elements(line)?.pop()?, "proto"))
            }
            false => last(&FORWARDED_PROTO).and_then(|line| line.split(',').next_back()),
        };
        let is_https = proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"));
        Peer { is_encrypted: client.is_encrypted || is_https, ..client }
    }
}

/// The parts of a list, trimmed. A separator in quotes does not separate; `None` if a quote is left
/// open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|c: char| {
        let was_escaped = std::mem::replace(&mut escaped, false);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    });
    let parts = parts.map(str::trim).collect();
    (!quoted).then_some(parts)
}

/// The value of a parameter in an element of `Forwarded`, without quotes (RFC 7239, section 4).
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = split(element, ';')?.into_iter().filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

/// Parses an address, with or without a port; IPv6 with or without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(canonical(address));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(address.to_canonical(), 0))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn proxies(header: &str) -> Proxies {
        let trusted = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"];
        Proxies::new(&ServerConfig {
            trusted_proxies: trusted
                .map(|text| serde_json::from_value(text.into()).unwrap())
                .to_vec(),
            forwarded_header: header.to_owned(),
            ..ServerConfig::default()
        })
    }

    fn peer(proxies: &Proxies, address: &str) -> Peer {
        let address: SocketAddr = address.parse().unwrap();
        let is_proxy = proxies.trusts(address.ip());
        Peer { address, is_proxy, has_proxy_header: false, is_encrypted: false, is_local: false }
    }

    fn client(header: &str, from: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        client_of(header, from, &lines).address.to_string()
    }

    fn client_of(header: &str, from: &str, lines: &[&[u8]]) -> Peer {
        let proxies = proxies(header);
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::try_from(header).unwrap();
            headers.append(name, HeaderValue::from_bytes(line).unwrap());
        }
        proxies.client(peer(&proxies, from), &headers)
    }

    #[test]
    fn whatever_a_client_writes_it_is_bounded_by_an_address() {
        let proxy = "10.0.0.1:5";
        for (header, lines, expected) in [
            ("x-forwarded-for", &[&b"\xff, 198.51.100.9"[..]][..], "198.51.100.9:0"),
            ("x-forwarded-for", &[b"6.6.6.6", b"\xff, 198.51.100.9"], "198.51.100.9:0"),
            ("x-forwarded-for", &[b"6.6.6.6", b"\xff"], proxy),
            ("x-forwarded-for", &[b"\xff"], proxy),
            ("forwarded", &[b"for=\xff, for=198.51.100.9"], "198.51.100.9:0"),
            ("forwarded", &[b"for=\"x, for=198.51.100.9"], proxy),
            ("forwarded", &[b"for=6.6.6.6", b"for=\"x"], proxy),
        ] {
            let client = client_of(header, proxy, lines);
            assert_eq!((client.address.to_string().as_str(), client.is_proxy), (expected, false));
        }
        assert!(client_of("x-forwarded-for", proxy, &[]).is_proxy, "it asks for itself");
    }

    #[test]
    fn proxies_are_believed_from_the_end_on() {
        for (from, lines, expected) in [
            ("127.0.0.1:5", &["198.51.100.7"][..], "198.51.100.7:0"),
            ("127.0.0.1:5", &["6.6.6.6, 198.51.100.7"], "198.51.100.7:0"),
            ("127.0.0.1:5", &["6.6.6.6", "198.51.100.7, 10.1.1.1"], "198.51.100.7:0"),
            ("127.0.0.1:5", &["10.2.2.2, 10.1.1.1"], "10.2.2.2:0"),
            ("127.0.0.1:5", &["6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1:0"),
            ("127.0.0.1:5", &["unknown"], "127.0.0.1:5"),
            ("127.0.0.1:5", &[], "127.0.0.1:5"),
            ("127.0.0.1:5", &["198.51.100.7:9"], "198.51.100.7:9"),
            ("127.0.0.1:5", &["[2001:db9::1]:9"], "[2001:db9::1]:9"),
            ("127.0.0.1:5", &["2001:db9::1"], "[2001:db9::1]:0"),
            ("[::ffff:10.0.0.1]:5", &["::ffff:198.51.100.7"], "198.51.100.7:0"),
            ("6.6.6.6:5", &["198.51.100.7"], "6.6.6.6:5"),
        ] {
            assert_eq!(client("x-forwarded-for", from, lines), expected, "{lines:?}");
        }
        assert_eq!(client("x-real-ip", "10.0.0.1:5", &["1.2.3.4"]), "1.2.3.4:0");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_has_it() {
        for (line, expected) in [
            ("for=198.51.100.7;proto=https", "198.51.100.7:0"),
            ("For=\"[2001:db9::1]:4711\"", "[2001:db9::1]:4711"),
            ("by=10.0.0.1; for=\"198.51.100.7:80\" ;host=\"a,b;c\"", "198.51.100.7:80"),
            ("for=6.6.6.6, for=198.51.100.7", "198.51.100.7:0"),
            ("for=198.51.100.7, for=10.0.0.2", "198.51.100.7:0"),
            ("for=6.6.6.6, for=_hidden", "127.0.0.1:5"),
            ("proto=https", "127.0.0.1:5"),
            ("for=6.6.6.6;by=\", for=198.51.100.7", "127.0.0.1:5"),
        ] {
            assert_eq!(client("forwarded", "127.0.0.1:5", &[line]), expected, "{line}");
        }
    }

    #[test]
    fn a_proxy_says_whether_it_was_asked_over_tls() {
        for (header, from, name, line, expected) in [
            ("x-forwarded-for", "10.0.0.1:5", "x-forwarded-proto", "https", true),
            ("x-forwarded-for", "10.0.0.1:5", "x-forwarded-proto", "http, HTTPS", true),
            ("x-forwarded-for", "10.0.0.1:5", "x-forwarded-proto", "https, http", false),
            ("x-forwarded-for", "6.6.6.6:5", "x-forwarded-proto", "https", false),
            ("forwarded", "10.0.0.1:5", "forwarded", "for=1.2.3.4;proto=https", true),
            ("forwarded", "10.0.0.1:5", "x-forwarded-proto", "https", false),
        ] {
            let proxies = proxies(header);
            let name = HeaderName::try_from(name).unwrap();
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(line))]);
            let client = proxies.client(peer(&proxies, from), &headers);
            assert_eq!(client.is_encrypted, expected, "{header} {from} {line}");
        }
    }

    proptest! {
        /// Whatever a client writes in front, the address that its proxy has seen counts.
        #[test]
        fn nobody_is_whom_they_say(said in "[ -~]{0,40}", header in 0..2_usize) {
            let (name, seen) = [
                ("x-forwarded-for", "198.51.100.7"),
                ("forwarded", "for=198.51.100.7"),
            ][header];
            // One line that the proxy has added, and one that it has added to. A quote that is open
            // in the second is the client's: the worst that it does is to hide the client behind
            // its proxy's address.
            prop_assert_eq!(client(name, "10.0.0.1:5", &[&said, seen]), "198.51.100.7:0");
            let joined = format!("{said}, {seen}");
            let found = client(name, "10.0.0.1:5", &[&joined]);
            prop_assert!(found == "198.51.100.7:0" || found == "10.0.0.1:5", "{}", found);
        }
    }
}
