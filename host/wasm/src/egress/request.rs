//! Requests of plugins and their responses.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Uri};

use super::addresses::AddressPolicy;
use super::{EgressConfig, EgressError};

/// A request as the plugin gives it, before it is checked.
#[derive(Debug)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, of `max_request_bytes` at most.
    pub body: Vec<u8>,
    /// When to give up, if earlier than `timeout_ms`.
    pub timeout: Option<Duration>,
}

/// The response that the plugin gets.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, of `max_response_bytes` at most.
    pub body: Bytes,
}

/// Headers that concern the connection (RFC 9110, section 7.6.1, and some more); the host sets them
/// itself.
const CONNECTION_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Request {
    /// Checks the request, and converts it.
    ///
    /// # Errors
    ///
    /// `Denied` if the configuration does not allow it, `Invalid` if it is not valid.
    pub(super) fn checked(
        self,
        config: &EgressConfig,
        allowed: &AddressPolicy,
    ) -> Result<hyper::Request<Full<Bytes>>, EgressError> {
        let uri = self.uri()?;
        allow(&uri, config, allowed)?;
        let method = match Method::from_bytes(self.method.as_bytes()) {
            // CONNECT would make a tunnel, which could lead anywhere.
            Ok(Method::CONNECT) | Err(_) => {
                return Err(invalid("method", &self.method, "one such as GET is expected"));
            }
            Ok(method) => method,
        };
        let (found, max) = (self.body.len(), config.max_request_bytes);
        if found > max {
            return Err(EgressError::Invalid(format!(
                "the body has {found} bytes, allowed are {max} (http.max_request_bytes)"
            )));
        }
        let mut request = hyper::Request::new(Full::new(Bytes::from(self.body)));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers(&self.headers)?;
        Ok(request)
    }

    /// The port that the request goes to; `None` if its URL is not valid.
    pub(super) fn port(&self) -> Option<u16> {
        self.uri().ok().map(|uri| uri.port_u16().unwrap_or(scheme_port(&uri)))
    }

    fn uri(&self) -> Result<Uri, EgressError> {
        let expected = "an absolute http or https URL without user and password is expected";
        let wrong = || invalid("url", &self.url, expected);
        let uri: Uri = self.url.parse().map_err(|_| wrong())?;
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        let plain = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
        let named = uri.host().is_some_and(|host| !host.is_empty());
        if http && plain && named { Ok(uri) } else { Err(wrong()) }
    }
}

fn scheme_port(uri: &Uri) -> u16 {
    if uri.scheme_str() == Some("https") { 443 } else { 80 }
}

fn allow(uri: &Uri, config: &EgressConfig, allowed: &AddressPolicy) -> Result<(), EgressError> {
    let host = uri.host().unwrap_or_default();
    let scheme_port = scheme_port(uri);
    let port = uri.port_u16().unwrap_or(scheme_port);
    if !config.hosts.iter().any(|pattern| pattern.allows(host, port, scheme_port)) {
        let hosts: Vec<String> = config.hosts.iter().map(ToString::to_string).collect();
        let hosts = if hosts.is_empty() { "none".to_owned() } else { hosts.join(", ") };
        return Err(EgressError::Denied(format!(
            "the host {host:?} with port {port} is not allowed; allowed are: {hosts} \
             (plugins.{}.http.hosts)",
            allowed.plugin
        )));
    }
    // An address is not resolved, so it is checked here.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(address) = bare.parse::<IpAddr>() else { return Ok(()) };
    allowed.check(host, address).map_err(|refused| EgressError::Denied(refused.to_string()))
}

/// The most headers of a request: more than servers accept.
const MAX_HEADERS: usize = 100;
/// The most bytes of their names and values together: half of what servers usually accept.
const MAX_HEADER_BYTES: usize = 16 * 1024;

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, EgressError> {
    let too_many = |what: &str, found: usize, allowed: usize| {
        EgressError::Invalid(format!("there are {found} {what} of headers, allowed are {allowed}"))
    };
    if pairs.len() > MAX_HEADERS {
        return Err(too_many("fields", pairs.len(), MAX_HEADERS));
    }
    let bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        return Err(too_many("bytes", bytes, MAX_HEADER_BYTES));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let found = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid("header", name, "letters, digits and `-` are expected"))?;
        if CONNECTION_HEADERS.contains(&found.as_str()) {
            return Err(invalid("header", name, "it belongs to the connection"));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| invalid("header", name, "its value has control characters"))?;
        // `append` would panic at the map's own limit.
        headers
            .try_append(found, value)
            .map_err(|_| too_many("fields", pairs.len(), MAX_HEADERS))?;
    }
    Ok(headers)
}

fn invalid(what: &str, found: &str, expected: &str) -> EgressError {
    EgressError::Invalid(format!("the {what} is {found:?}; {expected}"))
}

impl Response {
    pub(super) fn new(head: &Parts, body: Bytes) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
        Self { status: head.status.as_u16(), headers, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edit: impl FnOnce(&mut Request)) -> Result<hyper::Request<Full<Bytes>>, EgressError> {
        let mut request = Request {
            method: "GET".to_owned(),
            url: "https://a.com/x?y".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        };
        edit(&mut request);
        let text = "hosts = [\"a.com\", \"127.0.0.1:*\", \"[::1]:*\"]\nmax_request_bytes = 3";
        request.checked(&toml::from_str(text).unwrap(), &AddressPolicy::new("room", Vec::new()))
    }

    #[test]
    fn a_good_request_goes_out_as_it_is() {
        let request = check(|r| r.headers.push(("X-A".to_owned(), "b".to_owned()))).unwrap();
        assert_eq!(request.uri(), "https://a.com/x?y");
        assert_eq!(request.headers()["x-a"], "b");
    }

    #[test]
    fn what_is_no_request_is_said() {
        for (edit, problem) in [
            ((|r| r.method = "G T".to_owned()) as fn(&mut Request), "the method is \"G T\""),
            (|r| r.method = "CONNECT".to_owned(), "the method is \"CONNECT\""),
            (|r| r.url = "/x".to_owned(), "the url is \"/x\""),
            (|r| r.url = "ftp://a.com/".to_owned(), "the url is"),
            (|r| r.url = "http://u:p@a.com/".to_owned(), "without user and password"),
            (|r| r.url = "http://a b/".to_owned(), "the url is"),
            (|r| r.body = vec![0; 4], "the body has 4 bytes, allowed are 3"),
            (|r| r.headers.push(("a b".to_owned(), String::new())), "the header is \"a b\""),
            (|r| r.headers.push(("a".to_owned(), "b\r\nc: d".to_owned())), "control characters"),
            (
                |r| r.headers = (0..101).map(|n| (format!("x-{n}"), String::new())).collect(),
                "there are 101 fields of headers, allowed are 100",
            ),
            (
                |r| r.headers.push(("x-a".to_owned(), "b".repeat(16 * 1024))),
                "there are 16387 bytes of headers, allowed are 16384",
            ),
            (|r| r.headers.push(("Host".to_owned(), "b.com".to_owned())), "belongs to"),
            (|r| r.headers.push(("content-length".to_owned(), "9".to_owned())), "belongs to"),
        ] {
            match check(edit) {
                Err(EgressError::Invalid(text)) => assert!(text.contains(problem), "{text}"),
                other => panic!("{problem}: {other:?}"),
            }
        }
    }

    #[test]
    fn hosts_and_addresses_that_are_not_listed_are_denied() {
        for (url, problem) in [
            ("http://b.com/", "\"b.com\" with port 80 is not allowed; allowed are: a.com"),
            ("http://a.com:8080/", "\"a.com\" with port 8080 is not allowed"),
            (
                "http://127.0.0.1/",
                "has the address 127.0.0.1, which is not public; plugins.room.http.addresses would",
            ),
            ("http://[::1]/", "has the address ::1, which is not public"),
            (
                "http://[::ffff:127.0.0.1]/",
                "is not allowed; allowed are: a.com, 127.0.0.1:*, [::1]:* (plugins.room.http.hosts)",
            ),
        ] {
            match check(|r| r.url = url.to_owned()) {
                Err(EgressError::Denied(text)) => assert!(text.contains(problem), "{text}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
