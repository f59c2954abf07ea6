//! Budgets of connects and joins are spent by what can succeed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use millrace_tests::{App, HttpRequest, TestClient, TestServer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

const NO_UPGRADE: &str = "GET /socket/websocket HTTP/1.1\r\nHost: localhost\r\n\r\n";
const UPGRADE: &str = "GET /socket/websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Sends requests on one connection of a local address; all that is answered.
async fn answers(server: SocketAddr, from: [u8; 4], request: &str, times: usize) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    // The server may close the connection before it has read all.
    let _ = stream.write_all(request.repeat(times).as_bytes()).await;
    let mut answers = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        answers.extend_from_slice(&piece[..read]);
        if answers.windows(12).any(|word| word == b"HTTP/1.1 101") {
            break;
        }
    }
    String::from_utf8_lossy(&answers).into_owned()
}

/// Does something again and again until it is told to stop.
fn attack<F: Future<Output = ()> + 'static>(
    once: impl Fn() -> F + 'static,
) -> (Arc<AtomicBool>, Arc<AtomicUsize>, JoinHandle<()>) {
    let (over, times) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let (is_over, turns) = (Arc::clone(&over), Arc::clone(&times));
    let attack = tokio::task::spawn_local(async move {
        while !is_over.load(Ordering::Relaxed) {
            once().await;
            turns.fetch_add(1, Ordering::Relaxed);
        }
    });
    (over, times, attack)
}

#[tokio::test]
async fn requests_that_are_no_handshake_turn_nobody_away() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let server = App::probe().with("[socket]\nmax_connects_per_second = 200").serve();
            let address: SocketAddr = server.address().parse().unwrap();
            let once = move || async move {
                answers(address, [127, 0, 0, 1], NO_UPGRADE, 1000).await;
            };
            let (over, times, attack) = attack(once);
            while times.load(Ordering::Relaxed) < 20 {
                tokio::task::yield_now().await;
            }
            for number in 0..150 {
                let answer = HttpRequest::upgrade("/socket/websocket").send(server.address()).await;
                assert_eq!(answer.status, 101, "bystander {number}: {answer:?}");
            }
            over.store(true, Ordering::Relaxed);
            attack.await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_connection_whose_handshakes_are_refused_is_closed() {
    let server = TestServer::shared();
    let address = server.address().parse().unwrap();
    let elsewhere = NO_UPGRADE.replace("localhost", "elsewhere.example");
    for (request, status) in [(NO_UPGRADE, "HTTP/1.1 426"), (&elsewhere, "HTTP/1.1 403")] {
        let answers = answers(address, [127, 0, 0, 1], request, 1000).await;
        assert_eq!(answers.matches(status).count(), 10, "{answers}");
        let (_, last) = answers.rsplit_once(status).unwrap();
        assert!(last.to_ascii_lowercase().contains("connection: close"), "{last}");
    }
}

/// However many handshakes come from one address, others come in.
#[tokio::test]
async fn connects_of_one_address_leave_room_for_those_of_others() {
    let server = App::probe()
        .with("[socket]\nmax_connects_per_second = 200\nmax_connects_per_second_per_address = 100")
        .serve();
    let address: SocketAddr = server.address().parse().unwrap();
    let all = (0..300).map(|_| answers(address, [127, 0, 0, 2], UPGRADE, 1));
    let all = futures_util::future::join_all(all).await;
    let turned_away = all.iter().filter(|answer| answer.starts_with("HTTP/1.1 503")).count();
    for number in 0..90 {
        let answer = HttpRequest::upgrade("/socket/websocket").send(server.address()).await;
        assert_eq!(answer.status, 101, "bystander {number}: {answer:?}");
    }
    assert!(turned_away > 0);
}

/// Joins so many topics, each of which has to be answered with `ok`.
async fn join_all(client: &mut TestClient, topics: usize) {
    for number in 0..topics {
        client.join(&format!("room:bystander{number}")).await;
    }
}

#[tokio::test]
async fn joins_of_what_nobody_serves_turn_nobody_away() {
    let server = App::probe().with("[socket]\nmax_joins_per_second = 500").serve();
    let mut attackers = Vec::new();
    for _ in 0..5 {
        attackers.push(server.client().await);
    }
    let mut bystander = server.client().await;
    for attacker in &mut attackers {
        for _ in 0..1000 {
            attacker.send_join("nope", json!({})).await;
        }
    }
    for attacker in &mut attackers {
        for _ in 0..1000 {
            let answer = attacker.socket.recv_json().await;
            assert_eq!(answer[4]["response"]["reason"], "unmatched topic", "{answer}");
        }
    }
    join_all(&mut bystander, 100).await;
}

#[tokio::test]
async fn one_connection_takes_no_more_than_its_share_of_the_joins() {
    let server = App::probe().with("[socket]\nmax_joins_per_second = 1000").serve();
    let (mut attacker, mut bystander) = (server.client().await, server.client().await);
    for _ in 0..1500 {
        attacker.send_join("room:again", json!({})).await;
        attacker.push("room:again", "phx_leave", json!({})).await;
    }
    join_all(&mut bystander, 100).await;
}
