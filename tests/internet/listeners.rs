//! Several listeners, Unix sockets, IPv6.

use std::os::unix::fs::PermissionsExt;

use millrace_tests::{App, HttpRequest, run};
use tokio::net::UnixStream;

use super::*;

#[tokio::test]
async fn clients_come_by_any_listener_and_meet() {
    let certificate = Certificate::new();
    let listen = "listen = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", tls = false }, \
                  { address = \"unix:web.sock\", mode = \"600\" }]\n";
    let app = App::probe().with(&format!("{listen}{}{ADMIN}", certificate.config("")));
    let socket = app.path().join("web.sock");
    let server = app.listen_as_configured().serve();
    let (plain, unix) = (server.next_address(), server.next_address());
    assert_eq!(unix, socket.to_str().unwrap());
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = certificate.connect(server.address()).await.unwrap();
    let mut by_tls = client_over(stream, &[]).await;
    let mut by_tcp = TestClient::connect(&plain).await;
    let mut by_unix = client_over(UnixStream::connect(&socket).await.unwrap(), &[]).await;
    for client in [&mut by_tls, &mut by_tcp, &mut by_unix] {
        client.join("room:1").await;
    }
    let payload = serde_json::json!({ "from": "unix", "text": "x".repeat(100_000) });
    let reference = by_unix.push("room:1", "shout_others", payload.clone()).await;
    by_unix.expect_reply("room:1", &reference, "ok", serde_json::json!({})).await;
    for client in [&mut by_tls, &mut by_tcp] {
        client.expect_broadcast("room:1", "shout_others", payload.clone()).await;
    }
    // Who comes by the Unix socket is of this machine.
    assert!(peers(&server).await.contains(&"127.0.0.1:0".to_owned()));
    drop((by_tls, by_tcp, by_unix));
    assert!(server.terminate().success());
    assert!(!socket.exists(), "it goes with its server");
}

#[tokio::test]
async fn the_socket_of_a_server_that_was_killed_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("web.sock");
    let listen = format!("listen = \"unix:{}\"\n", socket.display());
    let server = configured(&listen);
    let second = App::probe().with(&listen);
    let run = run(["serve", second.path().to_str().unwrap()]).await;
    run.assert_refused(&["failed to listen on unix:", "web.sock"]);
    server.kill();
    assert!(socket.exists());
    let server = second.listen_as_configured().serve();
    let health = HttpRequest::new("GET", "/ready");
    let answer = health.send_over(UnixStream::connect(&socket).await.unwrap()).await;
    assert_eq!(answer.status, 200);
    let told = format!("; /ready at unix:{} tells when clients are served", socket.display());
    assert!(server.log().contains(&told), "{}", server.log());
}

#[tokio::test]
async fn all_of_ipv6_is_all_of_ipv4() {
    let server = configured("listen = \"[::]:0\"\n");
    let port = server.address().rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "[::1]"] {
        is_served(&mut TestClient::connect(&format!("{host}:{port}")).await).await;
    }
}

#[tokio::test]
async fn a_listener_that_is_not_to_be_had_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = std::net::TcpListener::bind(taken).unwrap();
    let app = App::probe().with(&format!("listen = [\"127.0.0.1:0\", \"{taken}\"]\n"));
    let run = run(["serve", app.path().to_str().unwrap()]).await;
    run.assert_refused(&["failed to listen on", &taken.to_string()]);
    drop(held);
}
