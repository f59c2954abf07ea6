//! Each proxy in front of a server: clients get through, the server knows them by their
//! own addresses, and the proxy knows whether the server serves.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use millrace_tests::{App, HttpRequest, PATIENCE, TestServer, eventually, free_port};
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::published;
use crate::site::{HOST, Site, Visitor};

const TOPIC: &str = "room:proxied";
const TOKEN: &str = "operators";
/// What haproxy says of a server whose `/ready` says that it drains.
const DRAINS: &str = "Server millrace/one is DOWN, reason: Layer7 wrong status, code: 503";

/// The server of the published `millrace.toml`, which is read with `listen` and the probe's
/// plugin in place of its own, and lets an address have two connections.
fn server(site: &Site, listen: &str) -> TestServer {
    let token = site.file("admin_token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let text = published::read("millrace.toml");
    let (text, _) = text.split_once("[plugins.chat]").unwrap();
    let config = published::with(
        text.to_owned(),
        &[
            ("listen = \"127.0.0.1:4000\"", listen),
            ("max_connections_per_address = 100", "max_connections_per_address = 2"),
            // A comment follows.
            ("[admin] ", "[admin]\nlisten = \"127.0.0.1:0\" "),
            ("/etc/millrace/admin_token", token.to_str().unwrap()),
        ],
    );
    App::probe().with(&config).listen_as_configured().serve()
}

/// The same without the PROXY protocol.
fn plain_server(site: &Site) -> TestServer {
    server(site, "listen = \"127.0.0.1:0\"")
}

async fn nginx(nginx: &Path, site: &Site, to: &str) -> Proxy {
    let (http, https) = (free_port(), free_port());
    let own = |name: &str| site.file(name).to_str().unwrap().to_owned();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|of| format!("{of}_temp_path {};\n", own(of))).concat();
    let text = published::with(
        published::read("nginx.conf"),
        &[
            ("listen 80;", &format!("listen 127.0.0.1:{http};")),
            ("listen [::]:80;", ""),
            ("listen 443 ssl;", &format!("listen 127.0.0.1:{https} ssl;")),
            ("listen [::]:443 ssl;", ""),
            ("server 127.0.0.1:4000;", &format!("server {to};")),
            ("/etc/ssl/chat.example.com/fullchain.pem", &own("chain.pem")),
            ("/etc/ssl/chat.example.com/privkey.pem", &own("key.pem")),
            ("/run/nginx.pid", &own("nginx.pid")),
            ("user www-data;", ""),
            ("/var/log/nginx/error.log", "stderr"),
            ("/var/log/nginx/access.log", "/dev/stdout"),
            ("worker_processes auto;", "worker_processes 1;"),
            // What the machine allows may be less.
            ("worker_rlimit_nofile 200000;", ""),
            ("worker_connections 100000;", "worker_connections 256;"),
            ("http {", &format!("http {{\n{temporary}")),
        ],
    );
    fs::write(site.file("nginx.conf"), text).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-g", "daemon off;", "-e", "stderr", "-c"]).arg(site.file("nginx.conf"));
    let proxy = Proxy::start(&mut command, https, site.file("nginx.log")).await;
    expect_redirect(http, 301).await;
    proxy
}

async fn haproxy(haproxy: &Path, site: &Site, text: String) -> Proxy {
    let https = free_port();
    let bind = format!("bind 127.0.0.1:{https}");
    let text = published::with(
        text,
        &[
            ("bind :443", &bind),
            ("maxconn 100000", "maxconn 256"),
            // Tests run as anybody.
            ("    user haproxy\n    group haproxy\n", ""),
            ("/dev/log local0", "stdout format raw local0"),
        ],
    );
    fs::write(site.file("haproxy.cfg"), text).unwrap();
    let mut command = Command::new(haproxy);
    command.args(["-db", "-f"]).arg(site.file("haproxy.cfg"));
    Proxy::start(&mut command, https, site.file("haproxy.log")).await
}

/// The one that ends TLS.
async fn haproxy_http(program: &Path, site: &Site, to: &str, parts: &[(&str, &str)]) -> Proxy {
    let http = free_port();
    let text = published::with(published::read("haproxy.cfg"), parts);
    let both = site.file("both.pem");
    let parts = [
        ("bind :80", &*format!("bind 127.0.0.1:{http}")),
        ("/etc/haproxy/chat.example.com.pem", both.to_str().unwrap()),
        ("server one 127.0.0.1:4000", &*format!("server one {to}")),
    ];
    let proxy = haproxy(program, site, published::with(text, &parts)).await;
    expect_redirect(http, 302).await;
    proxy
}

async fn caddy(caddy: &Path, site: &Site, to: &str) -> Proxy {
    let https = free_port();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| site.file(name));
    // Not the one that Caddy gets by itself.
    let tls = format!("tls {} {}", chain.display(), key.display());
    let text = published::with(
        published::read("Caddyfile"),
        &[
            ("chat.example.com {", &*format!("https://chat.example.com:{https} {{\n\t{tls}")),
            ("127.0.0.1:4000 {", &*format!("{to} {{")),
        ],
    );
    let global = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n";
    fs::write(site.file("Caddyfile"), format!("{global}{text}")).unwrap();
    let mut command = Command::new(caddy);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(site.file("Caddyfile"));
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, site.folder.path());
    }
    Proxy::start(&mut command, https, site.file("caddy.log")).await
}

/// Who comes without TLS is sent to where it is.
async fn expect_redirect(port: u16, status: u16) {
    let request = HttpRequest::new("GET", "/room").header("Host", HOST);
    let response = request.send(&format!("127.0.0.1:{port}")).await;
    let found = (response.status, response.header("location"));
    assert_eq!(found, (status, Some("https://chat.example.com/room")), "{response:?}");
}

/// The addresses of all clients as operators see them, without ports.
async fn peers(server: &TestServer) -> Vec<String> {
    let request = HttpRequest::new("GET", "/sockets");
    let request = request.header("Authorization", &format!("Bearer {TOKEN}"));
    let response = request.send(server.admin()).await;
    assert_eq!(response.status, 200, "{response:?}");
    let sockets = response.json()["sockets"].as_array().cloned().unwrap();
    let address = |socket: &Value| {
        let peer = socket["peer"].as_str().unwrap();
        peer.rsplit_once(':').map_or(peer, |(address, _)| address).to_owned()
    };
    sockets.iter().map(address).collect()
}

/// Whoever comes through the proxy is served, known by an address of its own, and bounded by
/// it.
async fn expect_clients(proxy: &Proxy, server: &TestServer, site: &Site) {
    let [ada, bob] = [site.visitor(2, proxy.port), site.visitor(3, proxy.port)];
    let mut first = ada.connect(&[]).await;
    first.join(TOPIC).await;
    first.expect_answer(TOPIC, "ping", json!({ "a": 1 }), "ok", json!({ "a": 1 })).await;
    let mut liar = bob.connect(&[("X-Forwarded-For", "203.0.113.9")]).await;
    liar.join(TOPIC).await;
    let large = json!({ "text": "x".repeat(100_000) });
    let shout = first.push(TOPIC, "shout", large.clone()).await;
    first.expect_broadcast(TOPIC, "shout", large.clone()).await;
    first.expect_reply(TOPIC, &shout, "ok", json!({})).await;
    liar.expect_broadcast(TOPIC, "shout", large).await;
    assert_eq!(peers(server).await, ["127.0.0.2", "127.0.0.3"]);

    let mut second = ada.connect(&[]).await;
    second.join(TOPIC).await;
    let origin = format!("https://{HOST}");
    assert_eq!(ada.ask_from(&origin).await, 503, "the third of this address");
    assert_eq!(bob.ask_from(&origin).await, 101, "the second of that one");
    assert_eq!(peers(server).await[..3], ["127.0.0.2", "127.0.0.3", "127.0.0.2"]);
    for client in [&mut first, &mut second] {
        client.expect_nothing().await;
    }
}

/// A page of another site may not connect, one of this may.
async fn expect_origins(visitor: &Visitor) {
    for (origin, status) in [
        ("https://chat.example.com", 101),
        ("https://chat.example.com.evil.example", 403),
        ("https://evil.example", 403),
    ] {
        // An address has places for two, and those before have them for a moment more.
        let ask = async || Some(visitor.ask_from(origin).await).filter(|status| *status != 503);
        assert_eq!(eventually("there is a place", ask).await, status, "{origin}");
    }
}

/// Asks for `/ready` until it is answered with this status and, unless it is 200, not by
/// Millrace.
async fn expect_ready(visitor: &Visitor, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = visitor.ask(HttpRequest::new("GET", "/ready")).await;
        let is_millrace = ["ready\n", "draining\n"].contains(&response.body.as_str());
        if response.status == status && is_millrace == (status == 200) {
            return;
        }
        assert!(Instant::now() < deadline, "{status} is expected, and found: {response:?}");
    }
}

/// Stops the server, which has a call to finish first; the proxy sees meanwhile that it
/// drains.
async fn drain(proxy: &Proxy, server: &TestServer, site: &Site, is_seen: impl Future<Output = ()>) {
    let mut busy = site.visitor(5, proxy.port).connect(&[]).await;
    busy.join(TOPIC).await;
    let slow = busy.push(TOPIC, "slow_ping", json!({ "ms": 5_000 })).await;
    busy.expect_nothing().await;
    server.tell_to_stop();
    is_seen.await;
    assert_eq!(peers(server).await.last().unwrap(), "127.0.0.5", "it still runs");
    busy.expect_reply(TOPIC, &slow, "ok", json!({ "ms": 5_000 })).await;
    assert_eq!(busy.socket.expect_close().await.0, 1012);
    assert_eq!(server.wait().code(), Some(0));
}

/// The proxy itself turns clients away once `/ready` says that the server drains, which
/// still answers then, and when it has gone; and lets them in when it is back.
async fn expect_health(proxy: &Proxy, server: TestServer, site: &Site) {
    let visitor = site.visitor(4, proxy.port);
    expect_ready(&visitor, 200).await;
    let address = server.address().to_owned();
    drain(proxy, &server, site, expect_ready(&visitor, 503)).await;
    expect_ready(&visitor, 503).await;
    let listen = format!("listen = \"{address}\"");
    let again = self::server(site, &listen);
    expect_ready(&visitor, 200).await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_hands_clients_on() {
    let Some(program) = published::program("nginx") else { return };
    let site = Site::new();
    let server = plain_server(&site);
    let proxy = nginx(&program, &site, server.address()).await;
    expect_clients(&proxy, &server, &site).await;
    let visitor = site.visitor(4, proxy.port);
    expect_origins(&visitor).await;
    expect_ready(&visitor, 200).await;
    assert_eq!(server.terminate().code(), Some(0));
    // It does not look by itself.
    expect_ready(&visitor, 502).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_hands_clients_on() {
    let Some(program) = published::program("haproxy") else { return };
    let site = Site::new();
    let server = plain_server(&site);
    let proxy = haproxy_http(&program, &site, server.address(), &[]).await;
    expect_clients(&proxy, &server, &site).await;
    expect_origins(&site.visitor(4, proxy.port)).await;
    expect_health(&proxy, server, &site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_says_who_they_are_by_the_proxy_protocol() {
    let Some(program) = published::program("haproxy") else { return };
    let site = Site::new();
    let listen = published::quoted(&published::read("haproxy.cfg"));
    let server = server(&site, &published::with(listen, &[("127.0.0.1:4000", "127.0.0.1:0")]));
    let parts = [("    server one", "    #server two"), ("    #server one", "    server one")];
    let proxy = haproxy_http(&program, &site, server.address(), &parts).await;
    expect_clients(&proxy, &server, &site).await;
    drain(&proxy, &server, &site, proxy.expect_log(DRAINS)).await;
    expect_ready(&site.visitor(4, proxy.port), 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_passes_tls_on() {
    let Some(program) = published::program("haproxy") else { return };
    let site = Site::new();
    let text = published::read("haproxy-tcp.cfg");
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| site.file(name));
    let config = published::with(
        published::quoted(&text),
        &[
            ("127.0.0.1:4000", "127.0.0.1:0"),
            ("/etc/millrace/fullchain.pem", chain.to_str().unwrap()),
            ("/etc/millrace/privkey.pem", key.to_str().unwrap()),
        ],
    );
    let more = "[socket]\nmax_connections_per_address = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let config = format!("{config}\n{more}token = {TOKEN:?}\n");
    let server = App::probe().with(&config).listen_as_configured().serve();
    let to = format!("server one {}", server.address());
    let text = published::with(text, &[("server one 127.0.0.1:4000", &to)]);
    let proxy = haproxy(&program, &site, text).await;
    expect_clients(&proxy, &server, &site).await;
    expect_origins(&site.visitor(4, proxy.port)).await;
    drain(&proxy, &server, &site, proxy.expect_log(DRAINS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_hands_clients_on() {
    let Some(program) = published::program("caddy") else { return };
    let site = Site::new();
    let server = plain_server(&site);
    let proxy = caddy(&program, &site, server.address()).await;
    expect_clients(&proxy, &server, &site).await;
    expect_origins(&site.visitor(4, proxy.port)).await;
    expect_health(&proxy, server, &site).await;
}

/// A server on loopback is one that everybody reaches, if a proxy hands them on.
#[tokio::test]
async fn what_is_open_behind_a_proxy_is_told() {
    let public = "[server]\npublic_url = \"https://chat.example.com\"\n";
    let server = App::probe().with(&format!("{public}[dashboard]\nenabled = true\n")).serve();
    server.wait_for_log("everybody who reaches https://chat.example.com may look at it", 1);
}
