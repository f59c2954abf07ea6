//! systemd and containers: units that systemd reads without a complaint, sockets that it
//! holds, and settings that are ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use millrace_tests::{App, BUILD_PATIENCE, HttpRequest, TestClient, binary, free_port, run};
use serde_json::json;
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::published;

const TOPIC: &str = "room:managed";
const UNITS: [&str; 2] = ["millrace.service", "millrace.socket"];
/// Files of the folder that set environment variables.
const SETTING: [&str; 4] = ["millrace.service", "Dockerfile", "compose.yaml", "kubernetes.yaml"];

/// The units as they are, but for the program's path.
fn units() -> TempDir {
    let folder = TempDir::with_prefix("millrace-units-").unwrap();
    let program = binary().to_str().unwrap();
    for unit in UNITS {
        let mut text = published::read(unit);
        if unit.ends_with(".service") {
            text = published::with(text, &[("/usr/local/bin/millrace", program)]);
        }
        fs::write(folder.path().join(unit), text).unwrap();
    }
    folder
}

fn analyze(program: &Path, arguments: &[&str], folder: &Path, units: &[&str]) -> Output {
    let units = units.iter().map(|unit| folder.join(unit));
    Command::new(program).args(arguments).args(units).output().unwrap()
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let Some(program) = published::program("systemd-analyze") else { return };
    let folder = units();
    let found = analyze(&program, &["verify", "--man=no"], folder.path(), &UNITS);
    // It ends with success after a complaint about a key.
    let said = [found.stdout, found.stderr].concat();
    assert!(found.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_service_is_as_closed_as_one_on_the_internet_can_be() {
    let Some(program) = published::program("systemd-analyze") else { return };
    let folder = units();
    // In tenths; from 0 to 10, where 9.6 is a unit without a word about it.
    let arguments = ["security", "--offline=true", "--threshold=20"];
    let found = analyze(&program, &arguments, folder.path(), &UNITS[..1]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
}

/// `systemd-socket-activate` holds the socket as a socket unit does, and starts the server
/// when somebody connects.
#[tokio::test]
async fn a_socket_of_systemd_is_the_one_that_is_served() {
    let Some(program) = published::program("systemd-socket-activate") else { return };
    let folder = TempDir::new().unwrap();
    // Taken, and so it would be in vain to listen there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen = \"{}\"", taken.local_addr().unwrap());
    let app = App::probe().with(&listen);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.args(["-l", &address, "--"]).arg(binary()).arg("serve").arg(app.path());
    // Whoever looks whether it listens has it start the server.
    let _held = Proxy::start(&mut command, port, folder.path().join("log")).await;
    let ready = async || HttpRequest::new("GET", "/ready").send(&address).await.status;
    // Who comes first waits, and is then told that plugins are loaded.
    let deadline = Instant::now() + BUILD_PATIENCE;
    while ready().await != 200 {
        assert!(Instant::now() < deadline, "its plugins are not loaded");
    }
    let mut client = TestClient::connect(&address).await;
    client.join(TOPIC).await;
    client.expect_answer(TOPIC, "ping", json!({ "a": 1 }), "ok", json!({ "a": 1 })).await;
}

/// The names of variables that a text has.
fn variables(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(move |c| !is_of_name(c)));
    words.filter(|word| word.starts_with("MILLRACE_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_the_files_set_in_the_environment_are_keys() {
    let folder = TempDir::new().unwrap();
    let in_folder = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let all: BTreeSet<_> =
        SETTING.iter().flat_map(|file| variables(&published::read(file))).collect();
    let mut app = App::probe();
    for name in &all {
        let value = match name.as_str() {
            // The option of the command line comes first.
            "MILLRACE_LISTEN" => "127.0.0.1:0".to_owned(),
            "MILLRACE_SWAP_DIR" => in_folder("versions"),
            "MILLRACE_CACHE_DIR" => in_folder("cache"),
            "MILLRACE_SERVER_PUBLIC_URL" => "https://chat.example.com".to_owned(),
            "MILLRACE_SERVER_TRUSTED_PROXIES" => "[\"172.16.0.0/12\"]".to_owned(),
            other => panic!("{other} has no value here"),
        };
        app = app.environment(name, &value);
    }
    assert_eq!(all.len(), 5, "{all:?}");
    let server = app.serve();
    // Behind what is said of variables.
    server.wait_for_log("clients know it as https://chat.example.com", 1);
    for name in &all {
        assert!(server.log().contains(&format!("is set by {name}\n")), "{name} is no key");
    }
    let cached = fs::read_dir(in_folder("cache")).unwrap().count();
    assert_eq!(cached, 1, "the compiled code of the probe");
}

/// As the Dockerfile has it: what was compiled before is found, and nothing is compiled.
#[tokio::test]
async fn code_that_an_image_brings_is_found() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("cache");
    let plugin = App::probe_plugin();
    let compiled = Command::new(binary())
        .arg("compile")
        .arg(plugin.path())
        .env("MILLRACE_CACHE_DIR", &cache)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{compiled:?}");
    // Too short to compile anything.
    let app = App::probe()
        .with("[compile]\ntimeout_ms = 1")
        .environment("MILLRACE_CACHE_DIR", cache.to_str().unwrap());
    let server = app.serve();
    server.client().await.join(TOPIC).await;
    let config = format!("[cache]\ndir = {:?}\n[compile]\ntimeout_ms = 1", folder.path().join("x"));
    let without = App::probe().with(&config);
    let listen = ["--listen", "127.0.0.1:0"].map(Path::new);
    let found = run([Path::new("serve"), without.path()].iter().chain(&listen)).await;
    found.assert_refused(&["compile.timeout_ms"]);
}

/// The health check of the Dockerfile, in a shell of this machine.
#[tokio::test]
async fn the_check_of_the_image_says_whether_clients_are_served() {
    let text = published::read("Dockerfile").replace("\\\n", "");
    let (_, check) = text.split_once("HEALTHCHECK").unwrap();
    let (_, check) = check.lines().next().unwrap().split_once("CMD").unwrap();
    let check: Vec<String> = serde_json::from_str(check.trim()).unwrap();
    let server = App::probe().serve();
    let port = server.address().rsplit(':').next().unwrap();
    let here = format!("/{port} ");
    let check: Vec<_> = check.iter().map(|part| part.replace("/4000 ", &here)).collect();
    assert!(check.iter().any(|part| part.contains(&here)), "{check:?}");
    let is_healthy = || {
        let found = Command::new(&check[0]).args(&check[1..]).output().unwrap();
        found.status.success()
    };
    assert!(is_healthy());
    assert_eq!(server.terminate().code(), Some(0));
    assert!(!is_healthy());
}
