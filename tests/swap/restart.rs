//! What a server that starts again has.

use std::fs;
use std::io::Write;

use millrace_tests::{App, TestServer, eventually};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{millrace, outcomes, swap, version};

const TOPIC: &str = "room:restart";

/// A folder that outlives its servers.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::copy(App::probe_plugin().path(), folder.path().join("probe.wasm")).unwrap();
    let config = "[admin]\nlisten = \"127.0.0.1:0\"\n[plugins.probe]\ncomponent = \"probe.wasm\"\n";
    fs::write(folder.path().join("millrace.toml"), config).unwrap();
    folder
}

async fn live(server: &TestServer) -> String {
    let mut client = server.client().await;
    client.join(TOPIC).await;
    version(&mut client, TOPIC).await
}

#[tokio::test]
async fn a_version_that_was_made_live_is_live_after_a_restart() {
    let folder = folder();
    let start = || App::at(folder.path()).serve();
    let server = start();
    swap(&server, App::probe_v2_plugin().path()).await;
    assert!(server.terminate().success());
    let server = start();
    assert_eq!(live(&server).await, "2");
    let history = millrace(&server, &["history", "probe"]).await;
    assert!(history.stdout.contains("live"), "{history:#?}");
    // The one before is the configured one, and still at hand.
    let back = millrace(&server, &["rollback", "probe"]).await;
    assert_eq!((back.code, live(&server).await.as_str()), (Some(0), "1"), "{back:#?}");
    assert!(server.terminate().success());
    let server = start();
    assert_eq!(live(&server).await, "1");
    millrace(&server, &["rollback", "probe"]).await.assert_refused(&["there is no version before"]);
    swap(&server, App::probe_v2_plugin().path()).await;
    drop(server);
    // Another file is configured: the exchange is over.
    fs::copy(App::ping_plugin().path(), folder.path().join("probe.wasm")).unwrap();
    let server = start();
    assert!(server.log().contains("another file is configured"), "{}", server.log());
}

#[tokio::test]
async fn one_that_is_killed_while_it_watches_starts_with_the_last_good_version() {
    let folder = folder();
    let server = App::at(folder.path()).serve();
    let second = App::probe_v2_plugin();
    let words = ["swap", "probe", second.path().to_str().unwrap(), "--watch", "60s"];
    let swapping = millrace(&server, &words);
    let killing = async {
        // It is live, and not good yet.
        let is_live = async || (live(&server).await == "2").then_some(());
        eventually("the second version is live", is_live).await;
        server.kill();
    };
    let (told, ()) = tokio::join!(swapping, killing);
    assert_eq!(told.code, Some(1), "{told:#?}");
    let server = App::at(folder.path()).serve();
    assert_eq!(live(&server).await, "1");
}

#[tokio::test]
async fn a_version_that_cannot_be_kept_is_not_live() {
    let folder = folder();
    // A file where the folder of versions would be: as good as a full disk.
    fs::create_dir(folder.path().join(".millrace")).unwrap();
    fs::write(folder.path().join(".millrace/versions"), "").unwrap();
    let server = App::at(folder.path()).serve();
    let second = App::probe_v2_plugin();
    let words = ["swap", "probe", second.path().to_str().unwrap()];
    millrace(&server, &words).await.assert_refused(&["it cannot be kept in"]);
    assert_eq!(live(&server).await, "1");
}

/// Uploads a component, and kills the server as soon as it says that a step is done.
async fn killed_after(server: TestServer, step: &str, wasm: &[u8]) {
    let mut stream = TcpStream::connect(server.admin()).await.unwrap();
    let (host, length) = (server.admin(), wasm.len());
    let head = format!(
        "POST /plugins/probe/swap HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/wasm\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(wasm).await.unwrap();
    let (mut told, done) = (Vec::new(), format!("\"step\":\"{step}\""));
    while !String::from_utf8_lossy(&told).contains(&done) {
        let read = stream.read_buf(&mut told).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&told));
    }
    server.kill();
}

/// At whatever step: it starts with the version before or with the new one, whole.
#[tokio::test]
async fn one_that_is_killed_during_an_exchange_starts_with_a_whole_version() {
    let folder = folder();
    let second = fs::read(App::probe_v2_plugin().path()).unwrap();
    for step in ["trust", "compile", "warm", "self_test", "migrate", "keep", "swap"] {
        killed_after(App::at(folder.path()).serve(), step, &second).await;
        let server = App::at(folder.path()).serve();
        let after = live(&server).await;
        assert!(["1", "2"].contains(&after.as_str()), "after {step}: {after}");
        // Nothing of it is in the way.
        swap(&server, App::probe_plugin().path()).await;
        assert_eq!(live(&server).await, "1");
        assert!(server.terminate().success());
    }
}

/// A version is live, and the server has ended; the history ends with half a line, as
/// after a crash.
async fn cut_off() -> TempDir {
    let folder = folder();
    let server = App::at(folder.path()).serve();
    swap(&server, App::probe_v2_plugin().path()).await;
    assert!(server.terminate().success());
    let path = folder.path().join(".millrace/versions/history.jsonl");
    let mut history = fs::OpenOptions::new().append(true).open(path).unwrap();
    history.write_all(b"{\"at_ms\":1,\"plugin\":\"probe\",\"from\":\"aa").unwrap();
    folder
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_takes_no_exchange_along() {
    let folder = cut_off().await;
    let server = App::at(folder.path()).serve();
    swap(&server, App::probe_plugin().path()).await;
    swap(&server, App::probe_v2_plugin().path()).await;
    assert!(server.terminate().success());
    let server = App::at(folder.path()).serve();
    assert_eq!(outcomes(&server).await, ["live", "live", "live"]);
    assert_eq!(server.log().matches("cannot be read").count(), 1, "{}", server.log());
    let back = millrace(&server, &["rollback", "probe"]).await;
    assert_eq!((back.code, live(&server).await.as_str()), (Some(0), "1"), "{back:#?}");
}

#[tokio::test]
async fn the_version_before_needs_no_history() {
    let folder = cut_off().await;
    fs::remove_file(folder.path().join(".millrace/versions/history.jsonl")).unwrap();
    let server = App::at(folder.path()).serve();
    let back = millrace(&server, &["rollback", "probe"]).await;
    assert_eq!((back.code, live(&server).await.as_str()), (Some(0), "1"), "{back:#?}");
}

#[tokio::test]
async fn a_kept_version_that_was_changed_is_not_live() {
    let folder = cut_off().await;
    let versions = fs::read_dir(folder.path().join(".millrace/versions/probe")).unwrap();
    let kept = versions.map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.extension().unwrap() == "wasm").collect::<Vec<_>>();
    let [kept] = kept.as_slice() else { panic!("{kept:?}") };
    // Another component, which would do.
    fs::copy(App::probe_bad_plugin().path(), kept).unwrap();
    let server = App::at(folder.path()).serve();
    assert_eq!(live(&server).await, "1");
    let log = server.log();
    assert!(log.contains("it was changed: its SHA-256 is") && log.contains("configured"), "{log}");
}

#[tokio::test]
async fn a_second_server_in_the_folder_serves_and_exchanges_nothing() {
    let folder = folder();
    let first = App::at(folder.path()).serve();
    swap(&first, App::probe_v2_plugin().path()).await;
    let second = App::at(folder.path()).serve();
    assert_eq!(live(&second).await, "2");
    let file = App::probe_plugin();
    let words = ["swap", "probe", file.path().to_str().unwrap()];
    let refused = millrace(&second, &words).await;
    refused.assert_refused(&["another server keeps its versions in", "serve a copy"]);
    assert_eq!(live(&second).await, "2");
    swap(&first, file.path()).await;
    first.kill();
    swap(&second, file.path()).await;
}
