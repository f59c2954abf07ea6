//! The request of an operator, taken apart.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Problem, Route};
use crate::node::Node;
use crate::swap::Swapper;

/// A request for a route, with its body.
#[derive(Debug)]
pub(super) struct AdminRequest {
    pub(super) node: Arc<Node>,
    pub(super) swapper: Swapper,
    /// The values of the parameters (`{…}`) in the path of the route, by name.
    pub(super) parameters: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
    body: Bytes,
    route: &'static Route,
}

/// The body that a request has to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) media_type: &'static str,
    pub(super) max_bytes: usize,
    /// An example of a right body, to show to whoever sent another.
    pub(super) example: &'static str,
    pub(super) schema: fn() -> Value,
}

/// The most bytes of a body in JSON.
pub(super) const MAX_JSON_BYTES: usize = 64 * 1024;

impl AdminRequest {
    /// Checks the query, and reads the body.
    ///
    /// # Errors
    ///
    /// The problem for an unknown query parameter, or for a body of the wrong type or size.
    pub(super) async fn read(
        swapper: Swapper,
        route: &'static Route,
        parameters: Vec<(&'static str, String)>,
        request: Request<Incoming>,
    ) -> Result<Self, Problem> {
        let query = request.uri().query().unwrap_or_default();
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for (name, _) in &query {
            if !route.query.iter().any(|known| known.name == name) {
                let allowed = route.query.iter().map(|known| known.name.to_owned()).collect();
                let found = format!("the query parameter {name:?} is not known here");
                return Err(Problem::invalid(found).allowed(allowed));
            }
        }
        let body = match &route.body {
            None => Bytes::new(),
            Some(content) => content.read(request).await?,
        };
        let node = Arc::clone(swapper.node());
        Ok(Self { node, swapper, parameters, query, body, route })
    }

    /// The value of the parameter `{name}` in the path; empty if there is none.
    pub(super) fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The value of a query parameter, if it is given.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter that has to be a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.query(name) else { return Ok(None) };
        let invalid =
            || Problem::invalid(format!("{name} is {text:?}; a whole number is expected"));
        text.parse().map(Some).map_err(|_| invalid())
    }

    /// The number of items that the answer may have: the query parameter `max`, and no more than
    /// `most`.
    pub(super) fn max(&self, most: usize) -> Result<usize, Problem> {
        let wanted = self.number("max")?.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        Ok(wanted.unwrap_or(most).min(most))
    }

    /// The bytes of the body; empty if the route takes none.
    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let example = self.route.body.map_or("", |content| content.example);
            Problem::invalid(format!("the body is no {example}: {error}"))
        })
    }
}

impl Content {
    async fn read(&self, request: Request<Incoming>) -> Result<Bytes, Problem> {
        let Self { media_type, max_bytes, .. } = *self;
        self.check_type(request.headers())?;
        let too_large = || {
            let problem = format!("the body has more than {max_bytes} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, problem))
        };
        // Not read at all: who waits to be told to go on need not send it.
        if request.body().size_hint().lower() > max_bytes as u64 {
            return too_large();
        }
        match Limited::new(request.into_body(), max_bytes).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => too_large(),
            Err(_) => {
                Err(Problem::invalid(format!("the body broke off; {media_type} is expected")))
            }
        }
    }

    /// Checks the media type. A page can send neither JSON nor a plugin to another origin without
    /// asking first, and is told then that it may not.
    fn check_type(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let found =
            headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let found = found.as_deref().unwrap_or("missing");
        let essence = found.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(self.media_type) {
            return Ok(());
        }
        let text = format!("content-type is {found}; {} is expected", self.media_type);
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
            .allowed(vec![self.media_type.to_owned()]))
    }
}
