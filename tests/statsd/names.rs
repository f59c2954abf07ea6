//! Servers that are known by a name.

use millrace_tests::{App, PATIENCE, run};
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::{client, measure};

/// The app of slow handlers, which reports every few milliseconds.
fn app() -> App {
    App::slow().with("[statsd]\ninterval_ms = 50\n")
}

#[tokio::test]
async fn a_name_that_nobody_has_keeps_no_server_from_starting() {
    let server = app().arguments(&["--statsd", "nobody.invalid:8125"]).serve();
    let mut client = client(&server).await;
    measure(&mut client, 3, "x").await;
    let told = "measurements do not reach statsd.address \"nobody.invalid:8125\"";
    server.wait_for_log(told, 1);
    client.expect_answer("slow:a", "ping", json!({}), "ok", json!({})).await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let log = server.log();
    assert_eq!(log.matches(told).count(), 1, "{log}");
}

#[tokio::test]
async fn a_name_leads_to_whichever_of_its_addresses_is_listened_at() {
    // Where it has one of each family, the other one comes first.
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap();
    let server = App::slow().statsd(&format!("localhost:{}", address.port())).serve();
    let mut client = client(&server).await;
    measure(&mut client, 1, "x").await;
    let arrived = async {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = receiver.recv(&mut buffer).await.unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains("plugin.slow.orders:2|c") {
                break;
            }
        }
    };
    timeout(PATIENCE, arrived).await.expect("measurements arrive");
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let told = format!("measurements go to {address}");
    assert!(server.log().contains(&told), "{}", server.log());
}

#[tokio::test]
async fn what_is_no_address_is_refused_at_the_start() {
    let app = app();
    let path = app.path().to_str().unwrap();
    let serve = ["serve", path, "--listen", "127.0.0.1:0", "--statsd", "localhost"];
    run(serve).await.assert_refused(&["localhost", "HOST:PORT or unix:PATH"]);
}
