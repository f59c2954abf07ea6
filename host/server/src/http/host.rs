//! The host that a request is for, as its sender says (RFC 9112, section 3.2).

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Version};

use super::{Body, text};

/// The answer to a request whose Host header is missing, doubled or wrong.
pub(crate) type BadHost = Box<hyper::Response<Body>>;

/// The host and port that a request is for; `None` if it names none, as requests of HTTP/1.0 may.
///
/// # Errors
///
/// The response (400) that the client gets.
pub(crate) fn host<B>(request: &Request<B>) -> Result<Option<String>, BadHost> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if request.version() < Version::HTTP_11 => return Ok(None),
        (None, _) => return Err(bad("the request has no Host header; HTTP/1.1 asks for one\n")),
        (Some(_), Some(_)) => return Err(bad("the request has more than one Host header\n")),
    };
    // In a request with a whole URL, the URL names the host.
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str().to_owned()));
    }
    if host.is_empty() {
        return Ok(Some(String::new()));
    }
    match Authority::try_from(host.as_bytes()) {
        Ok(authority) if !authority.as_str().contains('@') => Ok(Some(authority.to_string())),
        _ => Err(bad("the Host header is no host; one such as example.com:4000 is expected\n")),
    }
}

fn bad(why: &str) -> BadHost {
    Box::new(text(StatusCode::BAD_REQUEST, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_one_host() {
        for (version, uri, hosts, expected) in [
            (Version::HTTP_11, "/", &["a.com:1"][..], Some(Some("a.com:1"))),
            (Version::HTTP_11, "/", &["[::1]:1"], Some(Some("[::1]:1"))),
            (Version::HTTP_11, "/", &[""], Some(Some(""))),
            (Version::HTTP_11, "http://b.com/", &["a.com"], Some(Some("b.com"))),
            (Version::HTTP_10, "/", &[], Some(None)),
            (Version::HTTP_11, "/", &[], None),
            (Version::HTTP_11, "http://b.com/", &[], None),
            (Version::HTTP_11, "/", &["a.com", "a.com"], None),
            (Version::HTTP_10, "/", &["a.com", "b.com"], None),
            (Version::HTTP_11, "/", &["a b"], None),
            (Version::HTTP_11, "/", &["a.com/x"], None),
            (Version::HTTP_11, "/", &["me@a.com"], None),
        ] {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let found = host(&request.body(()).unwrap()).ok();
            assert_eq!(found, expected.map(|host| host.map(str::to_owned)), "{uri} {hosts:?}");
        }
    }
}
