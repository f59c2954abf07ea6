//! Memory goes back to the system when those it was for have gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_tests::{App, TestClient, TestServer};

/// As large as a message may be, nearly.
const LARGE: usize = 9_900_000;
const CLIENTS: usize = 12;
/// What the server may have more than at rest, of the hundred megabytes that it took.
const MAY_STAY: u64 = 8 << 20;
/// Some times as long as it takes, and less than the ten seconds after which a runtime's idle
/// threads end, which gives memory back by chance.
const SOON: Duration = Duration::from_secs(7);

/// A line of `/proc/PID/status`, in bytes.
fn status(server: &TestServer, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Has this echoed some times. As text: to look into it would take longer than the echo, and
/// so keep the server busy that is to have nothing to do.
async fn echo(mut client: TestClient, topic: String, text: Arc<str>) {
    client.join(&topic).await;
    let join_ref = client.join_ref(&topic);
    for number in 0..3 {
        let frame = format!(r#"["{join_ref}","e{number}","{topic}","ping",{{"text":"{text}"}}]"#);
        client.socket.send_text(frame).await;
        let answer = client.socket.recv_text().await;
        let (head, _) = answer.split_at(answer.len().min(100));
        assert!(head.contains(&format!(r#""e{number}""#)) && head.contains(r#""ok""#), "{head}");
        assert!(answer.len() > text.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_large_messages_took_is_given_back() {
    let server = App::probe().serve();
    // With whatever the first message brings about.
    echo(server.client().await, "room:first".to_owned(), "".into()).await;
    let at_rest = status(&server, "VmRSS:");
    let text: Arc<str> = "x".repeat(LARGE).into();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let client = server.client().await;
        clients.spawn(echo(client, format!("room:{number}"), Arc::clone(&text)));
    }
    clients.join_all().await;
    let grown = status(&server, "VmHWM:").saturating_sub(at_rest);
    assert!(grown > 6 * MAY_STAY, "it took {grown} bytes, of which nobody could say what stays");

    let until = Instant::now() + SOON;
    loop {
        let more = status(&server, "VmRSS:").saturating_sub(at_rest);
        if more < MAY_STAY {
            return;
        }
        assert!(Instant::now() < until, "{more} of {grown} bytes stay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
