//! Why a server did not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use millrace_wasm::{EngineError, LoadError};

use crate::config::ListenAddress;
use crate::plugin::{RegistryError, TrustError};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Wasm engine refused its configuration.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Without random bytes, what must not be guessed could be.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// There is nothing to serve.
    #[error("there is no plugin to serve; add a [plugins.NAME] to millrace.toml")]
    NoPlugins,
    /// What is to be served over plain HTTP is not there.
    #[error("{0}")]
    Static(String),
    /// A plugin's file cannot be read.
    #[error("plugin {name:?}: failed to read {path}: {cause}; {advice}")]
    Read {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// A file is no plugin for this server.
    #[error("plugin {name:?}: {path} {cause}")]
    Load {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why not.
        cause: LoadError,
    },
    /// A file is not one that the operator trusts.
    #[error("plugin {name:?}: {path} {cause}")]
    Trust {
        /// The plugin.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why not.
        cause: TrustError,
    },
    /// A version that was made live cannot be read.
    #[error("failed to read {path}: {cause}")]
    Stored {
        /// Its file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Another version cannot be live.
    #[error("plugin {name:?}: {problem}")]
    Swap {
        /// The plugin.
        name: String,
        /// Why not.
        problem: String,
    },
    /// The plugins do not go together.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A pipeline cannot be built.
    #[error("pipelines.{name}{problem}")]
    Pipeline {
        /// The pipeline.
        name: String,
        /// The key, and what is wrong with it.
        problem: String,
    },
    /// The address cannot be listened on.
    #[error("failed to listen on {address}: {cause}; {}", advice(address, cause, "--listen"))]
    Listen {
        /// The address.
        address: ListenAddress,
        /// Why not.
        cause: io::Error,
    },
    /// More sockets were passed than there are entries for.
    #[error(
        "{found} sockets for clients were passed (LISTEN_FDS), and listen has {allowed}; add an \
         entry for each, in their order, or name that of the admin interface `admin` \
         (FileDescriptorName)"
    )]
    Inherited {
        /// How many were passed.
        found: usize,
        /// Entries of `listen`.
        allowed: usize,
    },
    /// The certificate cannot be read.
    #[error("{0}")]
    Tls(String),
    /// There can be no thread for connections.
    #[error("failed to start a thread for connections: {0}")]
    Thread(io::Error),
    /// Anybody could do anything.
    #[error(
        "admin.listen is {0}, which others reach, and there is no admin.token; set one in \
         [admin] or MILLRACE_ADMIN_TOKEN, or listen on 127.0.0.1"
    )]
    AdminToken(SocketAddr),
    /// The admin interface's address cannot be listened on.
    #[error(
        "failed to listen on {address} for operators: {cause}; {}",
        advice(&ListenAddress::Tcp(*address), cause, "--admin")
    )]
    ListenAdmin {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// Measurements cannot be sent to what is no address.
    #[error("statsd.address is {address:?}: {cause}")]
    Statsd {
        /// The address.
        address: String,
        /// Why not.
        cause: io::Error,
    },
}

/// The first port that anybody may have.
const FIRST_FREE_PORT: u16 = 1024;

/// What to do when an address cannot be listened on.
fn advice(address: &ListenAddress, cause: &io::Error, option: &str) -> String {
    match (address, cause.kind()) {
        (ListenAddress::Unix(path), io::ErrorKind::NotFound) => {
            let folder = path.parent().unwrap_or(path).display();
            format!("make the folder {folder}, or choose another path")
        }
        (ListenAddress::Tcp(tcp), io::ErrorKind::PermissionDenied)
            if tcp.port() < FIRST_FREE_PORT =>
        {
            format!(
                "ports below {FIRST_FREE_PORT} need CAP_NET_BIND_SERVICE or a socket of systemd; or \
                 choose another with {option}"
            )
        }
        _ => format!("choose another with {option}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_an_address_depends_on_what_is_wrong() {
        for (address, cause, told) in [
            (
                "127.0.0.1:80",
                io::ErrorKind::PermissionDenied,
                "CAP_NET_BIND_SERVICE or a socket of",
            ),
            ("127.0.0.1:80", io::ErrorKind::AddrInUse, "; choose another with --listen"),
            ("unix:/nodir/s.sock", io::ErrorKind::NotFound, "; make the folder /nodir, or choose"),
            ("unix:/nodir/s.sock", io::ErrorKind::AddrInUse, "; choose another with --listen"),
        ] {
            let (address, cause) = (ListenAddress::parse(address).unwrap(), cause.into());
            let error = StartError::Listen { address, cause }.to_string();
            assert!(error.contains(told), "{error}");
        }
        let (address, cause) = (([127, 0, 0, 1], 80).into(), io::ErrorKind::AddrInUse.into());
        let error = StartError::ListenAdmin { address, cause }.to_string();
        assert!(error.ends_with("; choose another with --admin"), "{error}");
    }
}
