//! Plain files beside the socket: `[static]`.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_tests::{App, HttpRequest, TestServer};

/// An app with a page, a file from elsewhere, and files nobody may have.
fn serve() -> TestServer {
    let app = App::probe().with(
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
    app.serve()
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
        assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"), "{method}");
    }
}

#[tokio::test]
async fn what_has_no_name_that_a_file_can_have_is_not_found() {
    let server = serve();
    for segment in ["a".repeat(300), "%61".repeat(300), "\u{e9}".repeat(150)] {
        for path in [format!("/{segment}"), format!("/deep/{segment}/x"), format!("/{segment}/")] {
            let response = HttpRequest::new("GET", &path).send(server.address()).await;
            assert_eq!(response.status, 404, "{path}: {response:?}");
        }
    }
    let deep = "/deep".repeat(1_500);
    let response = HttpRequest::new("GET", &deep).send(server.address()).await;
    assert_eq!(response.status, 404, "{response:?}");
    assert!(!server.log().contains("failed to read"), "{}", server.log());
}

#[tokio::test]
async fn a_folder_without_its_slash_leads_to_it_wherever_the_page_is() {
    let server = serve();
    for (path, location) in [
        ("/deep/er", "./er/"),
        ("/deep/er?a=b", "./er/?a=b"),
        ("//deep//er", "./er/"),
        ("/deep/%65r", "./%65r/"),
    ] {
        let response = HttpRequest::new("GET", path).send(server.address()).await;
        assert_eq!((response.status, response.header("location")), (307, Some(location)), "{path}");
    }
}

#[tokio::test]
async fn text_is_said_to_be_utf_8() {
    let server = serve();
    for path in ["/", "/style.css", "/main.mjs", "/empty.txt"] {
        let response = HttpRequest::new("GET", path).send(server.address()).await;
        let media_type = response.header("content-type").unwrap_or_default();
        assert!(media_type.ends_with("; charset=utf-8"), "{path}: {response:?}");
    }
}

#[tokio::test]
async fn a_file_in_the_place_of_another_is_another() {
    let app = App::probe().with("[static]\ndir = \"web\"");
    let file = app.path().join("web/page.html");
    fs::create_dir(file.parent().unwrap()).unwrap();
    let hour = |hours: u64| UNIX_EPOCH + Duration::from_secs(1_000_000_000 + hours * 3600);
    // Beside it, and then renamed onto it, as a deployment does.
    let put = |text: &str, time: SystemTime| {
        let new = file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    put("the second", hour(2));
    let server = app.serve();
    let get = || HttpRequest::new("GET", "/page.html");
    let second = get().send(server.address()).await;
    let header = |name: &str| second.header(name).unwrap().to_owned();
    let (etag, modified) = (header("etag"), header("last-modified"));
    for (name, value) in [("If-None-Match", &etag), ("If-Modified-Since", &modified)] {
        let response = get().header(name, value).send(server.address()).await;
        assert_eq!(response.status, 304, "{response:?}");
        assert_eq!(response.header("etag"), Some(etag.as_str()), "{response:?}");
    }
    let part = get().header("Range", "bytes=4-").header("If-Range", &etag);
    let response = part.send(server.address()).await;
    assert_eq!((response.status, response.body.as_str()), (206, "second"), "{response:?}");
    assert_eq!(response.header("content-range"), Some("bytes 4-9/10"));

    // The withdrawn one is older, and of the same length; then one has the same time, too.
    for (text, time) in [("the first!", hour(1)), ("the third!", hour(2))] {
        put(text, time);
        let mut conditions = vec![("If-None-Match", &etag)];
        if time != hour(2) {
            conditions.push(("If-Modified-Since", &modified));
        }
        for (name, value) in conditions {
            let response = get().header(name, value).send(server.address()).await;
            assert_eq!((response.status, response.body.as_str()), (200, text), "{name}");
        }
        let response = part.send(server.address()).await;
        assert_eq!((response.status, response.body.as_str()), (200, text), "{response:?}");
        let expected = get().header("If-Match", &etag).send(server.address()).await;
        assert_eq!(expected.status, 412, "{expected:?}");
    }
    // A time that no date of HTTP can say.
    put("from before", UNIX_EPOCH - Duration::from_secs(1_000_000));
    let response = get().send(server.address()).await;
    assert_eq!((response.status, response.body.as_str()), (200, "from before"), "{response:?}");
    assert_eq!(response.header("last-modified"), None);
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
        ("Range", "bytes=0-1,4-5", 200, "import '/lib/phoenix.mjs'"),
        ("Range", "lines=0-1", 200, "import '/lib/phoenix.mjs'"),
        ("Range", "bytes=-1000", 206, "import '/lib/phoenix.mjs'"),
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
