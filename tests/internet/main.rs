//! The server on the open internet: its listeners, TLS, proxies in front, secrets that are
//! elsewhere, and what the environment and a service manager tell it.
//!
//! `proxies` and `systemd` start the programs that `examples/deploy` has files for. The files
//! are the published ones, with nothing but ports, paths and certificates put in place.

mod environment;
mod listeners;
mod peers;
mod proxies;
mod proxy;
mod published;
mod secrets;
mod service;
mod site;
mod systemd;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_tests::{App, HttpRequest, TestClient, TestServer, TestSocket, Wire};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A Phoenix client over anything, with more headers of its handshake.
async fn client_over(stream: impl Wire + 'static, headers: &[(&str, &str)]) -> TestClient {
    let url = "ws://localhost/socket/websocket?vsn=2.0.0";
    TestClient::over(TestSocket::over_any(stream, url, headers).await)
}

/// It is served: joins, and is answered.
async fn is_served(client: &mut TestClient) {
    client.join("room:1").await;
    let reference = client.heartbeat().await;
    client.expect_heartbeat(&reference).await;
}

/// The addresses of all clients, as operators see them.
async fn peers(server: &TestServer) -> Vec<String> {
    let listed = HttpRequest::new("GET", "/sockets").send(server.admin()).await.json();
    let peer = |socket: &Value| socket["peer"].as_str().unwrap().to_owned();
    listed["sockets"].as_array().unwrap().iter().map(peer).collect()
}

/// A certificate for `localhost`, and its key.
struct Certificate {
    folder: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { folder: tempfile::tempdir().unwrap() };
        certificate.issue();
        certificate
    }

    /// Puts another in its place.
    fn issue(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let issued = rcgen::generate_simple_self_signed(names).unwrap();
        // Each appears whole, as by those who renew them.
        for (name, text) in
            [("cert.pem", issued.cert.pem()), ("key.pem", issued.signing_key.serialize_pem())]
        {
            let path = self.path(name);
            std::fs::write(path.with_extension("new"), text).unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `[tls]`, with more of it.
    fn config(&self, more: &str) -> String {
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}\n")
    }

    /// Connects, trusting what is in the file at present.
    async fn connect(&self, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?).await
    }

    /// The same over a connection that is there.
    async fn over(&self, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        connect(tcp, &self.path("cert.pem"), &[b"http/1.1"]).await
    }
}

async fn connect(
    tcp: TcpStream,
    certificate: &Path,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// The probe with this configuration in front, where it says.
fn configured(config: &str) -> TestServer {
    App::probe().with(config).listen_as_configured().serve()
}

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
