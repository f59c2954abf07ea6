//! The page of operators at `/dashboard`, its data, and who may see them.

mod access;
mod browser;
mod pipelines;
mod prefix;

use millrace_tests::{App, TestServer};

/// A server of the slow app with a dashboard.
fn server(dashboard: &str) -> TestServer {
    TestServer::start(App::slow_with(&format!("[dashboard]\nenabled = true\n{dashboard}")))
}
