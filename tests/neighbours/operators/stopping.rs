//! What does not stop a server, and what does not keep it from stopping.

use std::fs;
use std::process::Command;

use millrace_tests::{App, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_hangup_stops_no_server() {
    let server = App::probe().serve();
    let mut client = server.client().await;
    client.join("room:a").await;
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    for times in 1..=2 {
        kill_process(pid, Signal::HUP).unwrap();
        server.wait_for_log("SIGHUP: the certificate and secrets", times);
        client.expect_nothing_from("room:a").await;
    }
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
}

/// Reading a pipe that nobody writes to blocks a thread for as long as it likes.
#[tokio::test]
async fn a_thread_that_blocks_does_not_hold_up_the_stop() {
    let app = App::probe().with("[drain]\ntimeout_ms = 1000\n[static]\ndir = \"web\"");
    fs::create_dir(app.path().join("web")).unwrap();
    let pipe = app.path().join("web/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let server = app.serve();
    let mut asking = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"GET /pipe HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        asking.push(stream);
    }
    server.client().await.join("room:a").await;
    let stopped = tokio::task::spawn_blocking(move || server.terminate().code());
    assert_eq!(timeout(PATIENCE, stopped).await.unwrap().unwrap(), Some(0));
}
