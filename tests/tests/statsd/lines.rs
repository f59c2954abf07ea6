//! The datagrams themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::timeout;

use crate::{client, measure, server};

/// The datagrams that wait at a socket, as lines.
async fn lines(socket: &UdpSocket, largest: usize) -> Vec<String> {
    let (mut lines, mut buffer) = (Vec::new(), vec![0; 65_536]);
    // They were sent before the server ended: none comes later.
    while let Ok(Ok(length)) = timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await {
        assert!(length <= largest, "{length} bytes in one datagram");
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
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
        let config = format!("address = \"{host}:{port}\"\ndatagram_bytes = 512\nprefix = \"a.b\"");
        let server = server(&config);
        let mut client = client(&server).await;
        for number in 0..50 {
            measure(&mut client, 1, &format!("metric{number}")).await;
        }
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

#[tokio::test]
async fn a_socket_file_takes_them_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd.sock");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let server = server(&format!("address = \"unix:{}\"", path.display()));
    let mut client = client(&server).await;
    measure(&mut client, 3, "x").await;
    assert_eq!(server.terminate().code(), Some(0));
    let (mut text, mut buffer) = (String::new(), vec![0; 65_536]);
    while let Ok(length) = receiver.try_recv(&mut buffer) {
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        text.push('\n');
    }
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(counters(&lines).get("millrace.plugin.slow.orders"), Some(&6), "{lines:?}");
}

#[tokio::test]
async fn nobody_who_listens_costs_nothing() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let server = server(&format!("address = \"127.0.0.1:{port}\""));
    let mut client = client(&server).await;
    measure(&mut client, 20, "x").await;
    assert_eq!(server.terminate().code(), Some(0));
}
