//! `https://chat.example.com`: its certificate, and clients that come to it from addresses of
//! their own.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use millrace_tests::{HttpRequest, HttpResponse, TestClient, TestSocket};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The name that the files of `examples/deploy` have.
pub(crate) const HOST: &str = "chat.example.com";

/// The site's certificate, and a folder for what else there is.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    tls: TlsConnector,
}

/// Somebody with an address of this machine.
pub(crate) struct Visitor {
    address: SocketAddr,
    site: SocketAddr,
    tls: TlsConnector,
}

impl Site {
    /// Chain, key and both in one file are `chain.pem`, `key.pem` and `both.pem`.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("millrace-site-").unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new([HOST.to_owned()]).unwrap();
        let chain = names.signed_by(&key, &authority).unwrap().pem();
        let key = key.serialize_pem();
        for (file, text) in
            [("chain.pem", &chain), ("key.pem", &key), ("both.pem", &format!("{chain}{key}"))]
        {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let mut trusted = RootCertStore::empty();
        trusted.add(authority.der().clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        // As browsers do for a WebSocket.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { folder, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// A file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Somebody at 127.0.0.`number`, who finds the site at a port of 127.0.0.1.
    pub(crate) fn visitor(&self, number: u8, port: u16) -> Visitor {
        let address = SocketAddr::from(([127, 0, 0, number], 0));
        Visitor { address, site: SocketAddr::from(([127, 0, 0, 1], port)), tls: self.tls.clone() }
    }
}

impl Visitor {
    /// Opens a connection.
    async fn reach(&self) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(self.address).unwrap();
        let tcp = socket.connect(self.site).await.unwrap();
        self.tls.connect(ServerName::try_from(HOST).unwrap(), tcp).await.unwrap()
    }

    /// Asks the site.
    pub(crate) async fn ask(&self, request: HttpRequest) -> HttpResponse {
        request.header("Host", HOST).send_over(self.reach().await).await
    }

    /// Asks for a WebSocket from a page of `origin`.
    pub(crate) async fn ask_from(&self, origin: &str) -> u16 {
        let upgrade = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
        self.ask(upgrade.header("Origin", origin)).await.status
    }

    /// A page of the site that connects, with more headers.
    pub(crate) async fn connect(&self, headers: &[(&str, &str)]) -> TestClient {
        let url = format!("ws://{HOST}/socket/websocket?vsn=2.0.0");
        let origin = format!("https://{HOST}");
        let headers = [&[("Origin", origin.as_str())], headers].concat();
        TestClient::over(TestSocket::over_any(self.reach().await, &url, &headers).await)
    }
}
