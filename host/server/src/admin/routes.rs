//! The routes of the admin interface: which function answers which request.

use std::pin::Pin;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;

use super::{
    AdminRequest, Content, Problem, health, openapi, pipelines, plugins, snapshot, sockets, swaps,
};
use crate::http::{self, Body};
use crate::swap::Swapper;

/// A request that can be made: its method, path, parameters, and the function that answers it.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// The path; segments in braces stand for any value: `/plugins/{name}`.
    pub(super) path: &'static str,
    /// The name: the `operationId` in OpenAPI, and in metrics and logs.
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Query],
    pub(super) body: Option<Content>,
    /// The schema of an answer with status 200.
    pub(super) answer: fn() -> Value,
    pub(super) run: fn(AdminRequest) -> Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// A query parameter; none is required.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: fn() -> Value,
}

/// The answer to a request, or the problem.
pub(super) type Answer = Result<Response<Body>, Problem>;

/// The routes, by resource.
static ROUTES: &[&[Route]] = &[
    health::ROUTES,
    snapshot::ROUTES,
    plugins::ROUTES,
    swaps::ROUTES,
    pipelines::ROUTES,
    sockets::ROUTES,
    openapi::ROUTES,
];

/// All routes.
pub(super) fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().flat_map(|routes| routes.iter())
}

/// An answer that is ready, as the `run` of a route returns it.
pub(super) fn ready(answer: Answer) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    Box::pin(std::future::ready(answer))
}

/// The answer with JSON and status 200.
#[expect(clippy::unnecessary_wraps, reason = "the end of most handlers")]
pub(super) fn answer(value: &Value) -> Answer {
    let mut response = http::text(StatusCode::OK, &format!("{value}\n"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

/// The route of a request, and the values of the parameters in its path.
pub(super) type Found = (&'static Route, Vec<(&'static str, String)>);

/// Finds the route of a request.
///
/// # Errors
///
/// The problem with status 404 if nothing is at this path, or 405 if only other methods are
/// allowed.
pub(super) fn find(method: &Method, path: &str) -> Result<Found, Problem> {
    let mut fitting = all().filter_map(|route| Some((route, parameters(route.path, path)?)));
    // The answer to HEAD is that to GET; it goes out without its body.
    let method_of = if *method == Method::HEAD { &Method::GET } else { method };
    if let Some(found) = fitting.find(|(route, _)| route.method == *method_of) {
        return Ok(found);
    }
    let methods = methods(path);
    if methods.is_empty() {
        let problem = Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"));
        return Err(problem.advice("GET /openapi.json says what there is"));
    }
    let methods: Vec<_> = methods.iter().map(Method::to_string).collect();
    let text = format!("{method} is not allowed at {path}; {} is", methods.join(" or "));
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, text).allowed(methods))
}

/// The methods that are allowed at a path.
pub(super) fn methods(path: &str) -> Vec<Method> {
    let fitting = all().filter(|route| parameters(route.path, path).is_some());
    fitting.map(|route| route.method.clone()).collect()
}

/// Reads the request, within the time `timeout`, and answers it.
pub(super) async fn run(
    (route, parameters): Found,
    request: Request<Incoming>,
    swapper: &Swapper,
    timeout: Duration,
) -> Response<Body> {
    let reading = AdminRequest::read(swapper.clone(), route, parameters, request);
    let request = tokio::time::timeout(timeout, reading).await.unwrap_or_else(|_| {
        let text = format!("the body did not come within {} ms", timeout.as_millis());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, text).advice("see admin.timeout_ms"))
    });
    let answered = match request {
        Ok(request) => (route.run)(request).await,
        Err(problem) => Err(problem),
    };
    answered.unwrap_or_else(|problem| problem.response())
}

/// The values of the parameters of a pattern; `None` if the path does not fit.
fn parameters(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut found = Vec::new();
    let (mut expected, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(found),
            (Some(expected), Some(given)) => match name(expected) {
                Some(name) if !given.is_empty() => found.push((name, given.to_owned())),
                None if expected == given => {}
                Some(_) | None => return None,
            },
            (Some(_), None) | (None, Some(_)) => return None,
        }
    }
}

/// The name of a parameter, if the segment is in braces.
pub(super) fn name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn paths_fit_segment_by_segment() {
        let found = |pattern, path| parameters(pattern, path).map(|all| format!("{all:?}"));
        assert_eq!(found("/a", "/a"), Some("[]".to_owned()));
        assert_eq!(found("/a/{n}/b", "/a/x/b"), Some("[(\"n\", \"x\")]".to_owned()));
        for path in ["/", "/a/", "/a/x", "/a//b", "/a/x/b/", "/a/x/b/c", "a/x/b"] {
            assert_eq!(found("/a/{n}/b", path), None, "{path}");
        }
    }

    #[test]
    fn routes_are_told_apart() {
        let (mut names, mut paths) = (HashSet::new(), HashSet::new());
        for route in all() {
            assert!(names.insert(route.name), "{route:?}");
            assert!(paths.insert((&route.method, route.path)), "{route:?}");
            let (found, _) = find(&route.method, route.path).ok().unwrap();
            assert_eq!(found.name, route.name);
        }
    }
}
