//! TLS of the listeners: one certificate, which can be exchanged while they serve.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::addresses::Rates;
use super::peer::Peer;
use super::places::Places;
use crate::config::TlsConfig;
use crate::small_file;

/// The state that all listeners with TLS share.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<rustls::ServerConfig>,
    certificate: Arc<Certificate>,
    /// The places of handshakes that are under way.
    handshakes: Places,
    /// The places of handshakes with proxies, among them their health checks.
    proxy_handshakes: Places,
    /// The rate at which handshakes may begin.
    rates: Rates,
    timeout: Duration,
}

/// The certificate, as its files were when they were last read without an error.
#[derive(Debug)]
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<Read>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Read {
    certified: Arc<CertifiedKey>,
    /// The SHA-256 of both files.
    digest: [u8; 32],
}

/// The reason why a TLS handshake has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// As many handshakes are under way as are allowed.
    #[error("there are as many handshakes as there may be (tls.max_handshakes)")]
    Busy,
    /// Too many handshakes have begun in this second.
    #[error(
        "there are more handshakes than there may be in a second (tls.max_handshakes_per_second)"
    )]
    RateLimited,
    /// The handshake took too long.
    #[error("the handshake did not end in time (tls.handshake_timeout_ms)")]
    Late,
    /// The client speaks HTTP without TLS.
    #[error("the client speaks HTTP without TLS")]
    Plain,
    /// The client or the connection has failed.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// The divisor for one address: it may have one in so many of all handshakes.
const ADDRESS_DIVISOR: usize = 8;
/// The most bytes of a file: a larger one is neither a certificate nor a key.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The only protocol that is offered over TLS.
const ALPN: &[u8] = b"http/1.1";
/// The first byte of a TLS connection: a record of type handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

impl Tls {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    ///
    /// Text that says which file is wrong, and what to do.
    pub(crate) fn new(config: &TlsConfig) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let certificate = Arc::new(Certificate::read(config, &provider)?);
        let failed = |error: rustls::Error| format!("TLS cannot be set up: {error}");
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(failed)?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificate>::clone(&certificate);
        let mut server = builder.with_no_client_auth().with_cert_resolver(resolver);
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Session tickets save CPU time when clients come back.
        server.ticketer = ring::Ticketer::new().map_err(failed)?;
        Ok(Self::of(Arc::new(server), certificate, config))
    }

    /// The same certificate for another kind of listener, with places and rates of its own.
    pub(crate) fn with_own_limits(&self, config: &TlsConfig) -> Self {
        Self::of(Arc::clone(&self.config), Arc::clone(&self.certificate), config)
    }

    fn of(
        server: Arc<rustls::ServerConfig>,
        certificate: Arc<Certificate>,
        config: &TlsConfig,
    ) -> Self {
        let TlsConfig { max_handshakes, max_handshakes_per_second, .. } = *config;
        Self {
            config: server,
            certificate,
            handshakes: Places::new(max_handshakes, max_handshakes.div_ceil(ADDRESS_DIVISOR)),
            proxy_handshakes: Places::new(max_handshakes, max_handshakes),
            rates: Rates::new(max_handshakes_per_second, None),
            timeout: Duration::from_millis(config.handshake_timeout_ms),
        }
    }

    /// Reads the files again. Returns whether the certificate has changed.
    pub(crate) fn reread(&self) -> Result<bool, String> {
        self.certificate.reread()
    }

    /// Does the TLS handshake with a peer.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        of: Peer,
    ) -> Result<Box<TlsStream<TcpStream>>, TlsError> {
        let place = match of.is_proxy {
            false => self.handshakes.take(of.ip()),
            true => self.proxy_handshakes.take_for_many(),
        };
        let _place = place.ok_or(TlsError::Busy)?;
        let handshake = async {
            let mut first = [0];
            if socket.peek(&mut first).await? > 0 && first != [HANDSHAKE_RECORD] {
                let is_http = first.first().is_some_and(u8::is_ascii_uppercase);
                if is_http {
                    super::turned_away::answer_without_tls(socket).await?;
                    return Err(TlsError::Plain);
                }
            }
            let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
            // The expensive part begins here, after the client has sent its hello.
            if !of.is_proxy {
                self.rates.take(of.ip(), Instant::now()).map_err(|_| TlsError::RateLimited)?;
            }
            Ok(hello.into_stream(Arc::clone(&self.config)).await?)
        };
        let stream = tokio::time::timeout(self.timeout, handshake);
        Ok(Box::new(stream.await.map_err(|_| TlsError::Late)??))
    }
}

impl Certificate {
    fn read(config: &TlsConfig, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let TlsConfig { certificate, key, .. } = config.clone();
        let read = Read::new(&certificate, &key, provider)?;
        let provider = Arc::clone(provider);
        Ok(Self { certificate, key, current: ArcSwap::from_pointee(read), provider })
    }

    fn reread(&self) -> Result<bool, String> {
        let read = Read::new(&self.certificate, &self.key, &self.provider)?;
        if read.digest == self.current.load().digest {
            return Ok(false);
        }
        self.current.store(Arc::new(read));
        Ok(true)
    }
}

impl Read {
    fn new(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Self, String> {
        let problem = |name: &str, path: &Path, why: &dyn std::fmt::Display| {
            format!("tls.{name} is {}, {why}", path.display())
        };
        let bytes = |name, path: &Path| {
            small_file::read(path, MAX_FILE_BYTES).map_err(|error| {
                let advice = advice(error.kind());
                problem(name, path, &format!("which cannot be read: {error}; {advice}"))
            })
        };
        let (chain_pem, key_pem) = (bytes("certificate", certificate)?, bytes("key", key)?);
        let chain = CertificateDer::pem_slice_iter(&chain_pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| {
            problem("certificate", certificate, &format!("which is no PEM: {error}"))
        })?;
        if chain.is_empty() {
            let why = "which has no certificate; PEM with BEGIN CERTIFICATE is expected";
            return Err(problem("certificate", certificate, &why));
        }
        let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                let why = "which has no private key; PEM with BEGIN PRIVATE KEY is expected";
                problem("key", key, &why)
            }
            error => problem("key", key, &format!("which is no PEM: {error}")),
        })?;
        let certified = CertifiedKey::from_der(chain, private, provider);
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let of = certificate.display();
                let why = format!("which is not the key of {of}; copy both of the same renewal");
                problem("key", key, &why)
            }
            error => problem("key", key, &format!("which cannot be used: {error}")),
        })?;
        let mut digest = Sha256::new_with_prefix(&chain_pem);
        digest.update(&key_pem);
        Ok(Self { certified: Arc::new(certified), digest: digest.finalize().into() })
    }
}

/// What an operator can do about a file that cannot be read.
fn advice(unread: io::ErrorKind) -> &'static str {
    match unread {
        io::ErrorKind::PermissionDenied => "let the server's user read it",
        _ => "put it there, or name another file",
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().certified))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn files() -> (TempDir, TlsConfig) {
        let folder = tempfile::tempdir().unwrap();
        let config = TlsConfig {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            handshake_timeout_ms: 1_000,
            max_handshakes: 8,
            max_handshakes_per_second: 0,
        };
        issue(&config);
        (folder, config)
    }

    fn issue(config: &TlsConfig) {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&config.certificate, issued.cert.pem()).unwrap();
        fs::write(&config.key, issued.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_certificate_is_exchanged_when_it_fits_its_key() {
        let (_folder, config) = files();
        let tls = Tls::new(&config).unwrap();
        assert_eq!(tls.reread(), Ok(false));
        let before = fs::read(&config.key).unwrap();
        issue(&config);
        let after = fs::read(&config.key).unwrap();
        // Whoever renews them writes one file after the other.
        fs::write(&config.key, before).unwrap();
        let error = tls.reread().unwrap_err();
        assert!(error.contains("which is not the key of"), "{error}");
        assert!(error.ends_with("cert.pem; copy both of the same renewal"), "{error}");
        fs::write(&config.key, after).unwrap();
        assert_eq!((tls.reread(), tls.reread()), (Ok(true), Ok(false)));
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        let (_folder, config) = files();
        let key = fs::read(&config.key).unwrap();
        for (path, text, problem) in [
            (&config.key, None, "key.pem, which cannot be read: No such file"),
            (&config.key, Some(""), "key.pem, which has no private key; PEM with"),
            (&config.certificate, Some("x"), "cert.pem, which has no certificate; PEM with"),
        ] {
            let _ = fs::remove_file(path);
            if let Some(text) = text {
                fs::write(path, text).unwrap();
            }
            let error = Tls::new(&config).unwrap_err();
            assert!(error.contains(problem), "{error}");
            fs::write(&config.key, &key).unwrap();
        }
        fs::remove_file(&config.certificate).unwrap();
        let error = Tls::new(&config).unwrap_err();
        assert!(error.ends_with("; put it there, or name another file"), "{error}");
        assert_eq!(advice(io::ErrorKind::PermissionDenied), "let the server's user read it");
    }
}
