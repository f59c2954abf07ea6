//! What keeps a version from going live; the running one is untouched each time.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_tests::{App, HttpRequest, TestServer};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{count, millrace, outcomes, swap, version};

const TOPIC: &str = "room:refused";

/// Tries a file; what it is refused with.
async fn refused(server: &TestServer, name: &str, content: &[u8], problems: &[&str]) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, content).unwrap();
    let run = millrace(server, &["swap", "probe", file.to_str().unwrap()]).await;
    run.assert_refused(problems);
}

#[tokio::test]
async fn a_version_that_cannot_run_is_refused_and_says_why() {
    let server = App::probe().admin().with("[swap]\nmax_upload_bytes = 5000000\n").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    count(&mut client, TOPIC, 1).await;
    let whole = fs::read(App::probe_v2_plugin().path()).unwrap();
    let faulty = fs::read(App::faulty().path().join(".millrace/faulty.wasm")).unwrap();
    let fair = fs::read(App::jobs_app().path().join(".millrace/fair.wasm")).unwrap();
    refused(&server, "text.wasm", b"nothing good", &["is not WebAssembly"]).await;
    refused(&server, "half.wasm", &whole[..whole.len() / 2], &["the file is no valid component"])
        .await;
    refused(&server, "trap.wasm", &faulty, &["failed in its first call", "told to trap"]).await;
    refused(&server, "large.wasm", &vec![0; 5_000_001], &["swap.max_upload_bytes"]).await;
    refused(&server, "fair.wasm", &fair, &["does not export `channel`"]).await;
    let canary = ["swap", "probe", "--canary", "5%"];
    let folder = TempDir::new().unwrap();
    let other = folder.path().join("jobs.wasm");
    fs::copy(App::jobs_app().path().join(".millrace/jobs.wasm"), &other).unwrap();
    let words = [&canary[..], &[other.to_str().unwrap()]].concat();
    millrace(&server, &words).await.assert_refused(&["it does not serve \"room:refused\""]);
    let unknown = millrace(&server, &["swap", "nobody", other.to_str().unwrap()]).await;
    unknown.assert_refused(&["there is no plugin \"nobody\"; there are: probe"]);
    // None of that was noticed.
    count(&mut client, TOPIC, 2).await;
    assert_eq!(version(&mut client, TOPIC).await, "1");
    assert_eq!(outcomes(&server).await, ["refused"; 6]);
}

#[tokio::test]
async fn a_version_that_does_not_serve_a_topic_that_clients_are_on_is_refused() {
    let server = App::probe().admin().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let other = fs::read(App::slow_plugin().path()).unwrap();
    let problem = "it does not serve \"room:refused\", which a client has joined; it serves slow:*";
    refused(&server, "slow.wasm", &other, &[problem, "another plugin?"]).await;
    count(&mut client, TOPIC, 1).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_none() {
    let server = App::probe().admin().serve();
    let wasm = fs::read(App::probe_v2_plugin().path()).unwrap();
    let mut stream = TcpStream::connect(server.admin()).await.unwrap();
    let head = format!(
        "POST /plugins/probe/swap HTTP/1.1\r\nhost: {}\r\ncontent-type: application/wasm\r\n\
         content-length: {}\r\n\r\n",
        server.admin(),
        wasm.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&wasm[..wasm.len() / 2]).await.unwrap();
    drop(stream);
    let mut client = server.client().await;
    client.join(TOPIC).await;
    assert_eq!(version(&mut client, TOPIC).await, "1");
    // Nothing of it is in the way.
    swap(&server, App::probe_v2_plugin().path()).await;
    assert_eq!(version(&mut client, TOPIC).await, "2");
    assert_eq!(outcomes(&server).await, ["live"]);
}

#[tokio::test]
async fn a_version_whose_migration_fails_may_be_rejected_before_it_is_live() {
    let server = App::probe().admin().with("[limits]\non_migrate = \"reject\"\n").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    swap(&server, App::probe_v2_plugin().path()).await;
    count(&mut client, TOPIC, 1).await;
    // The first version cannot read what the second one counts.
    let first = App::probe_plugin();
    let words = ["swap", "probe", first.path().to_str().unwrap()];
    millrace(&server, &words).await.assert_refused(&["1 of 1 channels tried failed; room:refused"]);
    count(&mut client, TOPIC, 2).await;
}

#[tokio::test]
async fn only_pinned_components_are_trusted() {
    let (first, second) = (App::probe_plugin(), App::probe_v2_plugin());
    let folder = TempDir::new().unwrap();
    fs::copy(first.path(), folder.path().join("probe.wasm")).unwrap();
    let component = folder.path().join("probe.wasm");
    let app = |pin: &str| {
        App::written(&format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n[plugins.probe]\ncomponent = {component:?}\n\
             sha256 = [{pin:?}]\n"
        ))
    };
    let wrong = app(&"ab".repeat(32));
    let serve = ["serve", wrong.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let refused = millrace_tests::run(serve).await;
    refused.assert_refused(&["has the SHA-256 ", "abab allowed (plugins.probe.sha256)"]);
    let found = refused.stderr.split("has the SHA-256 ").nth(1).unwrap();
    let pin: String = found.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(pin.len(), 64, "{refused:#?}");
    let server = app(&pin).serve();
    let words = ["swap", "probe", second.path().to_str().unwrap()];
    millrace(&server, &words).await.assert_refused(&["has the SHA-256", &pin]);
}

#[tokio::test]
async fn only_signed_components_are_trusted_if_keys_are_set() {
    let key = "tMsvOCrH6fkdk4hKS3NcSq6gFcI3cJ7WUpXqjqjMEwA=";
    let app = App::probe().with(&format!("[trust]\nkeys = [{key:?}]\n"));
    let serve = ["serve", app.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
    millrace_tests::run(serve).await.assert_refused(&["is not signed", "openssl pkeyutl"]);
    let app = App::probe().with("[trust]\nkeys = [\"x\"]\n");
    let serve = ["serve", app.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
    millrace_tests::run(serve).await.assert_refused(&["\"x\" is no key; the base64 of"]);
}

#[tokio::test]
async fn there_are_only_so_many_uploads() {
    let server = App::probe().admin().with("[swap]\nmax_uploads_per_minute = 1\n").serve();
    swap(&server, App::probe_v2_plugin().path()).await;
    let second = App::probe_v2_plugin();
    let words = ["swap", "probe", second.path().to_str().unwrap()];
    millrace(&server, &words).await.assert_refused(&["swap.max_uploads_per_minute"]);
    let upload = HttpRequest::new("POST", "/plugins/probe/swap").body("application/wasm", "x");
    let response = upload.send(server.admin()).await;
    assert_eq!(response.status, 429, "{response:?}");
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{response:?}");
}

/// What cannot be done is told apart from what is done later, and from what is wrong.
#[tokio::test]
async fn the_status_of_a_refusal_says_what_to_do() {
    let server = App::probe().admin().with("[swap]\nmax_upload_bytes = 5000000\n").serve();
    let post = |path: &str| HttpRequest::new("POST", &format!("/plugins/probe/{path}"));
    let large = post("swap").body("application/wasm", &" ".repeat(5_000_001));
    for (request, status, words) in [
        (large, 413, "has 5000001 bytes; 5000000 are allowed (swap.max_upload_bytes)"),
        (post("swap?canary=0%25").body("application/wasm", "x"), 400, "is no share"),
        (post("promote"), 409, "there is no canary to promote"),
        (post("rollback"), 409, "there is no version before"),
    ] {
        let response = request.send(server.admin()).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.body.contains(words), "{response:?}");
        assert_eq!(response.header("retry-after"), None, "{response:?}");
    }
}

/// One whose signature is beside it goes live; one that was changed since does not.
#[tokio::test]
async fn a_signed_component_is_trusted_as_long_as_nobody_changes_it() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let folder = TempDir::new().unwrap();
    let signed = |name: &str, wasm: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, wasm).unwrap();
        fs::write(folder.path().join(format!("{name}.sig")), pair.sign(wasm).as_ref()).unwrap();
        path
    };
    let component = signed("probe.wasm", &fs::read(App::probe_plugin().path()).unwrap());
    let second = fs::read(App::probe_v2_plugin().path()).unwrap();
    let next = signed("next.wasm", &second);
    let key = BASE64.encode(pair.public_key().as_ref());
    let server = App::written(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[trust]\nkeys = [{key:?}]\n\
         [plugins.probe]\ncomponent = {component:?}\n"
    ))
    .serve();
    swap(&server, &next).await;
    let mut client = server.client().await;
    client.join(TOPIC).await;
    assert_eq!(version(&mut client, TOPIC).await, "2");
    let changed = [&second[..], &[0, 2, 1, b'x']].concat();
    fs::write(&next, changed).unwrap();
    let words = ["swap", "probe", next.to_str().unwrap()];
    millrace(&server, &words).await.assert_refused(&["a signature of none of trust.keys"]);
    assert_eq!(version(&mut client, TOPIC).await, "2");
}

#[tokio::test]
async fn a_version_that_serves_what_another_plugin_serves_is_refused() {
    let ping = App::ping_plugin();
    let server = App::slow().plugin("probe", "tests/apps/probe").admin().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let swap = millrace(&server, &["swap", "slow", ping.path().to_str().unwrap()]).await;
    swap.assert_refused(&["\"probe\"", "\"slow\"", "\"room:*\"", "give one of them another"]);
    assert_eq!(version(&mut client, TOPIC).await, "1");
    client.join("slow:a").await;
}
