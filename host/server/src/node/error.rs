//! The reasons why a server does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use millrace_wasm::{EngineError, LoadError};

use crate::config::ListenAddress;
use crate::plugin::{RegistryError, TrustError};

/// The reason why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Wasm engine refused its configuration.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The system has no random bytes, without which secrets could be guessed.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// No plugin is configured.
    #[error("there is no plugin to serve; add a [plugins.NAME] to millrace.toml")]
    NoPlugins,
    /// The folder of static files is not there.
    #[error("{0}")]
    Static(String),
    /// The file of a plugin cannot be read.
    #[error("plugin {name:?}: failed to read {path}: {cause}; {advice}")]
    Read {
        /// The name of the plugin.
        name: String,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
        /// The advice for the operator.
        advice: &'static str,
    },
    /// A file is not a plugin that this server can load.
    #[error("plugin {name:?}: {path} {cause}")]
    Load {
        /// The name of the plugin.
        name: String,
        /// The file.
        path: PathBuf,
        /// The reason why it cannot be loaded.
        cause: LoadError,
    },
    /// The operator does not trust a file (`trust`).
    #[error("plugin {name:?}: {path} {cause}")]
    Trust {
        /// The name of the plugin.
        name: String,
        /// The file.
        path: PathBuf,
        /// The rule that the file breaks.
        cause: TrustError,
    },
    /// A version that was made live earlier cannot be read.
    #[error("failed to read {path}: {cause}")]
    Stored {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// Another version of a plugin cannot be made live.
    #[error("plugin {name:?}: {problem}")]
    Swap {
        /// The name of the plugin.
        name: String,
        /// The reason why not.
        problem: String,
    },
    /// The plugins conflict with each other.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A key of `[auth]` cannot be used.
    #[error("{0}")]
    Auth(String),
    /// A pipeline cannot be built.
    #[error("pipelines.{name}{problem}")]
    Pipeline {
        /// The name of the pipeline.
        name: String,
        /// The key, and the problem with it.
        problem: String,
    },
    /// The server cannot listen at an address.
    #[error("failed to listen on {address}: {cause}; {}", advice(address, cause, "--listen"))]
    Listen {
        /// The address.
        address: ListenAddress,
        /// The error of the system.
        cause: io::Error,
    },
    /// More sockets were passed than `listen` has entries.
    #[error(
        "{found} sockets for clients were passed (LISTEN_FDS), and listen has {allowed}; add an \
         entry for each, in their order, or name that of the admin interface `admin` \
         (FileDescriptorName)"
    )]
    Inherited {
        /// The number of sockets that were passed.
        found: usize,
        /// The number of entries of `listen`.
        allowed: usize,
    },
    /// The certificate cannot be used.
    #[error("{0}")]
    Tls(String),
    /// A thread for connections cannot be started.
    #[error("failed to start a thread for connections: {0}")]
    Thread(io::Error),
    /// Without a token, anybody who reaches the admin interface could use it.
    #[error(
        "admin.listen is {0}, which others reach, and there is no admin.token; set one in \
         [admin] or MILLRACE_ADMIN_TOKEN, or listen on 127.0.0.1"
    )]
    AdminToken(SocketAddr),
    /// The server cannot listen at the address of the admin interface.
    #[error(
        "failed to listen on {address} for operators: {cause}; {}",
        advice(&ListenAddress::Tcp(*address), cause, "--admin")
    )]
    ListenAdmin {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        cause: io::Error,
    },
    /// The address of StatsD is wrong.
    #[error("statsd.address is {address:?}: {cause}")]
    Statsd {
        /// The address as it is configured.
        address: String,
        /// The error of the system.
        cause: io::Error,
    },
}

/// The first port that needs no privilege.
const FIRST_FREE_PORT: u16 = 1024;

/// What an operator can do when the server cannot listen at an address.
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
        for (address, cause, expected) in [
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
            assert!(error.contains(expected), "{error}");
        }
        let (address, cause) = (([127, 0, 0, 1], 80).into(), io::ErrorKind::AddrInUse.into());
        let error = StartError::ListenAdmin { address, cause }.to_string();
        assert!(error.ends_with("; choose another with --admin"), "{error}");
    }
}
