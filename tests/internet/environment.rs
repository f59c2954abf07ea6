//! What variables of the environment say.

use millrace_tests::{App, HttpRequest, free_port, run_in};
use tokio::net::UdpSocket;

use super::*;

#[tokio::test]
async fn each_key_has_a_variable() {
    let statsd = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let app = App::probe()
        .with("[socket]\nmax_channels = 7\n")
        .environment("MILLRACE_LISTEN", "127.0.0.1:0")
        .environment("MILLRACE_ADMIN", "127.0.0.1:0")
        .environment("MILLRACE_ADMIN_TOKEN", "t")
        .environment("MILLRACE_STATSD", &statsd.local_addr().unwrap().to_string())
        .environment("MILLRACE_STATSD_INTERVAL_MS", "20")
        .environment("MILLRACE_SOCKET_PATH", "/live")
        .environment("MILLRACE_SOCKET_MAX_FRAME_BYTES", "")
        .environment("MILLRACE_LOG", "json")
        .environment("RUST_LOG", "")
        .environment("MILLRACE_SOKET_PATH", "/typo");
    let server = app.listen_as_configured().serve();
    let upgrade = HttpRequest::upgrade("/live/websocket?vsn=2.0.0");
    assert_eq!(upgrade.send(server.address()).await.status, 101);
    assert_eq!(HttpRequest::new("GET", "/plugins").send(server.admin()).await.status, 401);
    let mut datagram = [0; 2000];
    let received = statsd.recv(&mut datagram).await.unwrap();
    assert!(datagram[..received].starts_with(b"millrace."));
    server.wait_for_log("MILLRACE_SOKET_PATH is no key of millrace.toml", 1);
    assert!(server.log().lines().all(|line| line.starts_with('{')), "{}", server.log());
}

#[tokio::test]
async fn a_platform_says_the_port() {
    let port = free_port();
    let app =
        App::probe().with("listen = \"127.0.0.1:1\"\n").environment("PORT", &port.to_string());
    let server = app.listen_as_configured().serve();
    assert_eq!(server.address(), format!("0.0.0.0:{port}"));
    assert_eq!(HttpRequest::new("GET", "/ready").send(server.address()).await.status, 200);
}

#[tokio::test]
async fn a_variable_that_makes_no_sense_is_named() {
    let app = App::probe();
    let serve = ["serve", app.path().to_str().unwrap()];
    for (name, value, problem) in [
        ("PORT", "http", "PORT is \"http\"; a port from 0 to 65535"),
        ("MILLRACE_LISTEN", "4000", "MILLRACE_LISTEN is \"4000\": listen: \"4000\" is no address"),
        ("MILLRACE_SOCKET_MAX_CHANNELS", "x", "MILLRACE_SOCKET_MAX_CHANNELS is \"x\": "),
    ] {
        run_in(&[(name, value)], serve).await.assert_refused(&[problem]);
    }
    let run = run_in(&[("MILLRACE_LOG", "xml")], serve).await;
    assert_eq!(run.code, Some(2));
    run.assert_says(&["MILLRACE_LOG is \"xml\"; text and json are allowed"]);
    // What makes no sense of a log is told, and another one taken.
    let bad = [("RUST_LOG", "millrace=loud"), ("MILLRACE_LISTEN", "x")];
    run_in(&bad, serve)
        .await
        .assert_refused(&["RUST_LOG is \"millrace=loud\", which cannot be read"]);
}

#[tokio::test]
async fn empty_variables_are_none_for_commands_too() {
    let run = run_in(&[("MILLRACE_ADMIN", ""), ("MILLRACE_ADMIN_TOKEN", "")], ["plugins"]).await;
    run.assert_refused(&["failed to reach http://127.0.0.1:4001"]);
}

#[tokio::test]
async fn versions_and_code_are_kept_where_the_operator_says() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, cache) = (folder.path().join("kept"), folder.path().join("cache"));
    let app = App::probe()
        .with(ADMIN)
        .environment("MILLRACE_LISTEN", "127.0.0.1:0")
        .environment("MILLRACE_SWAP_DIR", kept.to_str().unwrap())
        .environment("MILLRACE_CACHE_DIR", cache.to_str().unwrap());
    let (own, next) = (app.path().join(".millrace"), App::probe_v2_plugin());
    let server = app.listen_as_configured().serve();
    let files = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
    assert_eq!(files(&cache), 1);
    let swap = ["swap", "probe", next.path().to_str().unwrap(), "--admin", server.admin()];
    let run = millrace_tests::run(swap).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(kept.join("versions/probe/live.json").is_file() && !own.exists());
    assert_eq!(files(&cache), 2);
    // Shipped with an image: what was compiled before is found there.
    let shipped = folder.path().join("shipped");
    let variables = [("MILLRACE_CACHE_DIR", shipped.to_str().unwrap())];
    let run = run_in(&variables, ["compile", next.path().to_str().unwrap()]).await;
    assert_eq!((run.code, files(&shipped)), (Some(0), 1), "{run:?}");
}
