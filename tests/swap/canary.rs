//! A version on trial with a share of the connections.

use millrace_tests::{App, TestClient, TestServer};
use serde_json::{Value, json};

use super::{millrace, outcomes, version};

const TOPIC: &str = "room:canary";
const CLIENTS: usize = 100;

async fn joined(server: &TestServer) -> Vec<TestClient> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.client().await;
        client.join(TOPIC).await;
        clients.push(client);
    }
    clients
}

async fn versions(clients: &mut [TestClient]) -> Vec<String> {
    let mut versions = Vec::new();
    for client in clients {
        versions.push(version(client, TOPIC).await);
    }
    versions
}

#[tokio::test]
async fn a_canary_serves_its_share_always_the_same_until_it_is_promoted() {
    let server = App::probe().admin().serve();
    let mut clients = joined(&server).await;
    let second = App::probe_v2_plugin();
    let words = ["swap", "probe", second.path().to_str().unwrap(), "--canary", "30%"];
    let told = millrace(&server, &words).await;
    assert_eq!(told.code, Some(0), "{told:#?}");
    assert!(told.stdout.contains("a canary for 30%"), "{told:#?}");
    let first = versions(&mut clients).await;
    let share = first.iter().filter(|version| *version == "2").count();
    // Thirty by chance: seven standard deviations on either side.
    assert!((5..=62).contains(&share), "{share} of {CLIENTS}");
    assert_eq!(versions(&mut clients).await, first, "always the same");
    // One at a time.
    millrace(&server, &words).await.assert_refused(&["is a canary for 30%", "promote it or"]);
    let promoted = millrace(&server, &["promote", "probe"]).await;
    assert_eq!(promoted.code, Some(0), "{promoted:#?}");
    assert_eq!(versions(&mut clients).await, ["2"; CLIENTS]);
    millrace(&server, &["promote", "probe"]).await.assert_refused(&["there is no canary"]);
    assert_eq!(outcomes(&server).await, ["live", "refused", "canary"]);
}

/// The clients ping until it is over; only those of the canary's share saw it.
#[tokio::test]
async fn a_canary_that_fails_is_rolled_back_and_touched_only_its_share() {
    let server = App::probe().admin().serve();
    let mut clients = joined(&server).await;
    let bad = App::probe_bad_plugin();
    let words =
        ["swap", "probe", bad.path().to_str().unwrap(), "--canary", "20%", "--watch", "60s"];
    let swapping = millrace(&server, &words);
    tokio::pin!(swapping);
    let mut crashed = vec![false; CLIENTS];
    let told = loop {
        tokio::select! {
            told = &mut swapping => break told,
            () = ping_all(&mut clients, &mut crashed) => {}
        }
    };
    told.assert_refused(&["rolled back"]);
    assert!(told.stdout.contains("5 % are allowed (swap.max_fault_rate)"), "{told:#?}");
    let touched = crashed.iter().filter(|crashed| **crashed).count();
    assert!((1..=50).contains(&touched), "{touched} of {CLIENTS}");
    assert_eq!(outcomes(&server).await, ["rolled_back"]);
    let mut late = server.client().await;
    late.join(TOPIC).await;
    assert_eq!(version(&mut late, TOPIC).await, "1");
}

#[tokio::test]
async fn a_live_version_that_fails_is_rolled_back() {
    let server = App::probe().admin().serve();
    let mut clients = joined(&server).await;
    let bad = App::probe_bad_plugin();
    let words = ["swap", "probe", bad.path().to_str().unwrap(), "--watch", "60s"];
    let swapping = millrace(&server, &words);
    tokio::pin!(swapping);
    let mut crashed = vec![false; CLIENTS];
    let told = loop {
        tokio::select! {
            told = &mut swapping => break told,
            () = ping_all(&mut clients, &mut crashed) => {}
        }
    };
    told.assert_refused(&["rolled back"]);
    let mut late = server.client().await;
    late.join(TOPIC).await;
    assert_eq!(version(&mut late, TOPIC).await, "1");
}

#[tokio::test]
async fn a_canary_that_does_well_is_promoted() {
    let server = App::probe().admin().serve();
    let second = App::probe_v2_plugin();
    let words = ["swap", "probe", second.path().to_str().unwrap(), "--canary", "5%"];
    let watched = [&words[..], &["--watch", "200ms"]].concat();
    let told = millrace(&server, &watched).await;
    assert_eq!(told.code, Some(0), "{told:#?}");
    let mut client = server.client().await;
    client.join(TOPIC).await;
    assert_eq!(version(&mut client, TOPIC).await, "2");
}

/// One ping of each client that has not crashed; notes those that do.
async fn ping_all(clients: &mut [TestClient], crashed: &mut [bool]) {
    // When all have crashed there is nothing to wait for, and others have to get on.
    tokio::task::yield_now().await;
    for (client, crashed) in clients.iter_mut().zip(crashed) {
        if *crashed {
            continue;
        }
        let reference = client.push(TOPIC, "ping", json!({})).await;
        loop {
            let message: Value = client.socket.recv_json().await;
            match message[3].as_str() {
                Some("phx_error") => {
                    *crashed = true;
                    break;
                }
                // Of a round that was given up half way.
                Some("phx_reply") if message[1] != json!(reference) => {}
                Some("phx_reply") => break,
                _ => panic!("{message}"),
            }
        }
    }
}

/// Errors are no faults, but an operator may have them count.
#[tokio::test]
async fn a_version_that_answers_with_too_many_errors_is_rolled_back() {
    let server = App::probe().admin().with("[swap]\nmax_error_rate = 0.5\n").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let second = App::probe_v2_plugin();
    let words = ["swap", "probe", second.path().to_str().unwrap(), "--watch", "60s"];
    let swapping = millrace(&server, &words);
    let failing = async {
        loop {
            client.expect_answer(TOPIC, "fail", json!({}), "error", json!({})).await;
        }
    };
    let told = tokio::select! {
        told = swapping => told,
        () = failing => unreachable!("it goes on"),
    };
    told.assert_refused(&["rolled back"]);
    assert_eq!(outcomes(&server).await, ["rolled_back"]);
    let mut client = server.client().await;
    client.join(TOPIC).await;
    assert_eq!(version(&mut client, TOPIC).await, "1");
}
