//! The datagrams themselves.

use millrace_tests::{App, free_port};
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::timeout;

use crate::{TOPIC, client, measure};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test sends behind all that the server has sent.
const END: &[u8] = b"end";

/// The datagrams that wait at a socket, as lines.
async fn lines(socket: &UdpSocket, largest: usize) -> Vec<String> {
    // The server has ended: what it sent is in the socket's queue, and this behind it.
    let sender = UdpSocket::bind((socket.local_addr().unwrap().ip(), 0)).await.unwrap();
    sender.send_to(END, socket.local_addr().unwrap()).await.unwrap();
    let (mut lines, mut buffer) = (Vec::new(), vec![0; 65_536]);
    loop {
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        if &buffer[..length] == END {
            return lines;
        }
        assert!(length <= largest, "{length} bytes in one datagram");
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
}

/// What counters add up to.
fn counters(lines: &[String]) -> BTreeMap<&str, i64> {
    let mut counters = BTreeMap::new();
    for line in lines {
        let (name, rest) = line.split_once(':').unwrap();
        if let Some((count, "c")) = rest.split_once('|') {
            *counters.entry(name).or_default() += count.parse::<i64>().unwrap();
        }
    }
    counters
}

#[tokio::test]
async fn lines_are_packed_into_datagrams_of_a_given_size() {
    for host in ["127.0.0.1", "[::1]"] {
        let receiver = UdpSocket::bind(format!("{host}:0")).await.unwrap();
        let port = receiver.local_addr().unwrap().port();
        let address = format!("{host}:{port}");
        let config = "[statsd]\ndatagram_bytes = 512\nprefix = \"a.b\"";
        let server = App::slow().statsd(&address).with(config).serve();
        let mut client = client(&server).await;
        for number in 0..50 {
            measure(&mut client, 1, &format!("metric{number}")).await;
        }
        drop(client);
        assert_eq!(server.terminate().code(), Some(0));
        let lines = lines(&receiver, 512).await;
        let counters = counters(&lines);
        assert_eq!(counters.get("a.b.plugin.slow.orders"), Some(&100), "{host}: {lines:?}");
        for number in 0..50 {
            let name = format!("a.b.plugin.slow.metric{number}");
            assert_eq!(counters.get(name.as_str()), Some(&1), "{host}");
        }
        assert!(lines.contains(&"a.b.plugin.slow.level:-3|g".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_takes_them_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd.sock");
    let receiver = UnixDatagram::bind(&path).unwrap();
    // Few datagrams wait in such a socket: it is read meanwhile.
    let reading = tokio::spawn(async move {
        let (mut text, mut buffer) = (String::new(), vec![0; 65_536]);
        loop {
            let length = receiver.recv(&mut buffer).await.unwrap();
            if &buffer[..length] == END {
                return text;
            }
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            text.push('\n');
        }
    });
    let server = App::slow().statsd(&format!("unix:{}", path.display())).serve();
    let mut client = client(&server).await;
    measure(&mut client, 3, "x").await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    UnixDatagram::unbound().unwrap().send_to(END, &path).await.unwrap();
    let text = timeout(PATIENCE, reading).await.unwrap().unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(counters(&lines).get("millrace.plugin.slow.orders"), Some(&6), "{lines:?}");
}

/// Every line of one metric, byte for byte.
#[tokio::test]
async fn the_other_dialect_has_tags_and_more_types() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = receiver.local_addr().unwrap().port();
    let dialect = "[statsd]\ndialect = \"dogstatsd\"";
    let server = App::slow().statsd(&format!("127.0.0.1:{port}")).with(dialect).serve();
    let mut client = client(&server).await;
    measure(&mut client, 1, "odd:name|c").await;
    client.push(TOPIC, "crash", json!({})).await;
    client.expect_crashed(TOPIC).await;
    assert_eq!(server.terminate().code(), Some(0));
    let lines = lines(&receiver, 1432).await;
    for expected in [
        "millrace.plugin.slow.orders:2|c",
        "millrace.plugin.slow.odd_name_c:1|c",
        "millrace.plugin.slow.level:0|g",
        "millrace.plugin.slow.level:-3|g",
        "millrace.plugin.slow.work:1.488|ms",
        "millrace.plugin.slow.size:6.976|h",
        "millrace.plugin.slow.users:ada|s",
        "millrace.wasm.fault:1|c|#plugin:slow,cause:trap",
        "millrace.channel.open:0|g|#channel:slow:*",
        "millrace.socket.close:1|c|#code:1012,reason:restarting",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
    }
    let of = |name: &str| lines.iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    let handled = of("millrace.channel.in:");
    assert_eq!(handled.len(), 2, "{handled:?}");
    assert!(handled.iter().any(|l| l.ends_with("|ms|#channel:slow:*,event:measure")));
    assert!(handled.iter().any(|l| l.ends_with("|ms|#channel:slow:*,event:crash")));
    let fuel = of("millrace.wasm.fuel:");
    assert!(!fuel.is_empty() && fuel.iter().all(|l| l.contains("|d|#plugin:slow,version:")));
}

#[tokio::test]
async fn what_is_lost_is_counted_and_said_as_soon_as_somebody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd.sock");
    let server = App::slow().statsd(&format!("unix:{}", path.display())).serve();
    let mut client = client(&server).await;
    // Time for some reports to nobody.
    client.expect_answer(TOPIC, "wait", json!({ "ms": 300 }), "ok", json!({})).await;
    let receiver = UnixDatagram::bind(&path).unwrap();
    let told = async {
        let (mut text, mut buffer) = (String::new(), vec![0; 65_536]);
        while !text.contains("millrace.statsd.lost:") {
            let length = receiver.recv(&mut buffer).await.unwrap();
            text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        }
        text
    };
    let text = timeout(PATIENCE, told).await.unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(counters(&lines)["millrace.statsd.lost"] > 0, "{lines:?}");
}

#[tokio::test]
async fn nobody_who_listens_costs_nothing() {
    let server = App::slow().statsd(&format!("127.0.0.1:{}", free_port())).serve();
    let mut client = client(&server).await;
    measure(&mut client, 20, "x").await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
}
