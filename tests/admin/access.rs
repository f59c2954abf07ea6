//! Who may ask.

use millrace_tests::{App, HttpRequest, run};

use super::assert_problem;

#[tokio::test]
async fn clients_find_nothing_of_it_where_they_connect() {
    let server = App::slow().admin().serve();
    for path in ["/plugins", "/sockets", "/snapshot", "/openapi.json", "/pipelines", "/disconnect"]
    {
        for method in ["GET", "POST", "DELETE"] {
            let response = HttpRequest::new(method, path).send(server.address()).await;
            assert!(matches!(response.status, 404 | 405), "{method} {path}: {response:?}");
        }
    }
}

#[tokio::test]
async fn a_token_keeps_others_out() {
    let server = App::slow().admin().with("[admin]\ntoken = \"secret\"").serve();
    for (authorization, status) in [
        (None, 401),
        (Some("Bearer "), 401),
        (Some("Bearer secrets"), 401),
        (Some("Basic secret"), 401),
        (Some("Bearer secret"), 200),
        (Some("bearer secret"), 200),
        (Some("BEARER  secret"), 200),
    ] {
        for path in ["/plugins", "/health", "/openapi.json"] {
            let mut request = HttpRequest::new("GET", path);
            if let Some(authorization) = authorization {
                request = request.header("Authorization", authorization);
            }
            let response = request.send(server.admin()).await;
            assert_eq!(response.status, status, "{authorization:?}: {response:?}");
            if status == 401 {
                assert_problem(&response, 401, &["Bearer", "MILLRACE_ADMIN_TOKEN"]);
                assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"millrace\""));
            }
        }
    }
    // Whoever does not know it learns nothing of what there is.
    let response = HttpRequest::new("GET", "/nothing").send(server.admin()).await;
    assert_eq!(response.status, 401);
}

#[tokio::test]
async fn off_loopback_it_does_not_start_without_a_token() {
    let app = App::probe();
    let path = app.path().to_str().unwrap();
    let serve = ["serve", path, "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"];
    run(serve).await.assert_refused(&["0.0.0.0:0", "admin.token", "127.0.0.1"]);

    let arguments = ["--admin", "0.0.0.0:0", "--admin-token", "secret"];
    let server = app.arguments(&arguments).serve();
    let at = server.admin().replace("0.0.0.0", "127.0.0.1");
    // It has many names there; the token is what counts.
    let request = HttpRequest::new("GET", "/plugins").header("Host", "millrace.example");
    assert_eq!(request.send(&at).await.status, 401);
    let request = request.header("Authorization", "Bearer secret");
    assert_eq!(request.send(&at).await.status, 200);
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_refused() {
    let server = App::slow().admin().serve();
    let (_, port) = server.admin().rsplit_once(':').unwrap();
    let named = async |host: &str| {
        HttpRequest::new("GET", "/plugins").header("Host", host).send(server.admin()).await
    };
    for host in
        ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:4001", &format!("127.0.0.1:{port}")]
    {
        assert_eq!(named(host).await.status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.evil.example"]
    {
        assert_problem(&named(host).await, 403, &["localhost", "Host"]);
    }
}

#[tokio::test]
async fn pages_may_ask_if_they_are_listed() {
    let server = App::slow()
        .admin()
        .with("[admin]\nallow_origin = [\"https://ops.example\"]\ntoken = \"secret\"")
        .serve();
    let from = |origin: &str| {
        let request = HttpRequest::new("GET", "/plugins").header("Origin", origin);
        request.header("Authorization", "Bearer secret")
    };
    let own = format!("http://{}", server.admin());
    for origin in ["https://evil.example", "null", "http://ops.example", own.as_str()] {
        for request in [from(origin), from(origin).method("OPTIONS")] {
            let response = request.send(server.admin()).await;
            assert_problem(&response, 403, &[origin, "admin.allow_origin"]);
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    }
    let ops = "https://ops.example";
    let response = from(ops).send(server.admin()).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("access-control-allow-origin"), Some(ops));
    // A browser asks first, and does not give the token then.
    let preflight = from(ops).method("OPTIONS").without("Authorization").send(server.admin()).await;
    assert_eq!(preflight.status, 204, "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), Some(ops));
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
    // The page is told what is wrong with its token.
    let response = from(ops).without("Authorization").send(server.admin()).await;
    assert_problem(&response, 401, &["token"]);
    assert_eq!(response.header("access-control-allow-origin"), Some(ops));
}

#[tokio::test]
async fn development_has_it_at_any_port_that_is_free() {
    // One of them finds the default port taken, whoever else has it.
    let servers = [0, 1].map(|_| App::probe_plugin().dev());
    assert_ne!(servers[0].admin(), servers[1].admin());
    for server in &servers {
        let response = HttpRequest::new("GET", "/plugins").send(server.admin()).await;
        assert_eq!(response.json()[0]["name"], "probe");
    }
    servers[1].wait_for_log("127.0.0.1:4001 is taken; the admin interface gets another port", 1);
}
