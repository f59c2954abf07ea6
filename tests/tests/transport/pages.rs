//! Plain files beside the socket: `[static]`.

use std::fs;

use millrace_tests::{App, HttpRequest, TestServer};

/// An app with a page, a file from elsewhere, and files nobody may have.
fn serve() -> TestServer {
    let app = App::probe_with(
        r#"
        [static]
        dir = "web"
        [static.files]
        "/lib/phoenix.mjs" = "node_modules/phoenix/phoenix.mjs"
        "/gone.txt" = "gone.txt"
        "#,
    );
    for (file, text) in [
        ("web/index.html", "<!doctype html><title>Probe</title>"),
        ("web/main.mjs", "import '/lib/phoenix.mjs'"),
        ("web/style.css", "body {}"),
        ("web/deep/er/index.html", "deeper"),
        ("web/empty.txt", ""),
        ("node_modules/phoenix/phoenix.mjs", "export {}"),
        ("secret.txt", "secret"),
    ] {
        let path = app.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    TestServer::start(app)
}

#[tokio::test]
async fn files_are_served_with_their_type() {
    let server = serve();
    for (path, media_type, body) in [
        ("/", "text/html", "<!doctype html><title>Probe</title>"),
        ("/index.html", "text/html", "<!doctype html><title>Probe</title>"),
        ("/?room=lobby", "text/html", "<!doctype html><title>Probe</title>"),
        ("/main.mjs", "javascript", "import '/lib/phoenix.mjs'"),
        ("/style.css", "text/css", "body {}"),
        ("/deep/er/", "text/html", "deeper"),
        ("/empty.txt", "text/plain", ""),
        ("/lib/phoenix.mjs", "javascript", "export {}"),
    ] {
        let response = HttpRequest::new("GET", path).send(server.address()).await;
        assert_eq!((response.status, response.body.as_str()), (200, body), "{path}: {response:?}");
        let found = response.header("content-type").unwrap_or_default();
        assert!(found.contains(media_type), "{path}: {response:?}");
    }
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let server = serve();
    for path in [
        "/secret.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/deep/../../secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..\\secret.txt",
        "//secret.txt",
        "/lib/../../secret.txt",
        "/millrace.toml",
        "/../millrace.toml",
        "/lib/other.mjs",
        "/gone.txt",
        "/%00",
        "/main.mjs%00.html",
    ] {
        let response = HttpRequest::new("GET", path).send(server.address()).await;
        let refused = matches!(response.status, 400 | 403 | 404);
        assert!(refused && !response.body.contains("secret"), "{path}: {response:?}");
    }
}

#[tokio::test]
async fn files_can_only_be_read() {
    let server = serve();
    for method in ["POST", "PUT", "DELETE"] {
        let request = HttpRequest::new(method, "/").header("Content-Length", "0");
        let response = request.send(server.address()).await;
        assert_eq!(response.status, 405, "{method}: {response:?}");
    }
}

#[tokio::test]
async fn the_socket_is_where_it_is_without_a_page_as_well() {
    let server = serve();
    server.client().await.join("room:page").await;
}

#[tokio::test]
async fn ranges_conditions_and_heads_are_answered() {
    let server = serve();
    let whole = HttpRequest::new("GET", "/main.mjs").send(server.address()).await;
    let modified = whole.header("last-modified").unwrap();
    for (name, value, status, body) in [
        ("Range", "bytes=0-5", 206, "import"),
        ("Range", "bytes=900-", 416, ""),
        ("If-Modified-Since", modified, 304, ""),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 412, ""),
    ] {
        let request = HttpRequest::new("GET", "/main.mjs").header(name, value);
        let response = request.send(server.address()).await;
        assert_eq!(response.status, status, "{name}: {response:?}");
        assert!(response.body == body || status >= 400, "{name}: {response:?}");
    }
    let head = HttpRequest::new("HEAD", "/main.mjs").send(server.address()).await;
    let length = whole.body.len().to_string();
    assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
}

#[tokio::test]
async fn answers_say_what_browsers_may_make_of_them() {
    let server = serve();
    let page = HttpRequest::new("GET", "/").send(server.address()).await;
    let text = HttpRequest::new("GET", "/nothing").send(server.address()).await;
    for response in [&page, &text] {
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{response:?}");
    }
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    assert_eq!(
        (page.header("x-frame-options"), page.header("content-security-policy")),
        (None, None)
    );
    assert_eq!(text.header("x-frame-options"), Some("DENY"));
    assert_eq!(
        text.header("content-security-policy"),
        Some("default-src 'none'; frame-ancestors 'none'")
    );
}
