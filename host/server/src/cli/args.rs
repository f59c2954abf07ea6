//! The arguments of commands that serve.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use millrace_telemetry::Dialect;

use super::admin;
use crate::config::{AdminConfig, App, ConfigError, Environment, ListenAddress, Secret};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The app's folder, its millrace.toml, or a plugin's .wasm file.
    #[arg(value_name = "DIR|FILE")]
    pub(super) app: PathBuf,
    /// Where to listen, instead of `listen` in millrace.toml (default:
    /// 127.0.0.1:4000) and of MILLRACE_LISTEN and PORT. `:PORT` listens on 127.0.0.1;
    /// port 0 lets the system choose, and the choice is printed; `unix:PATH` is a Unix
    /// socket. Can be given more than once.
    #[arg(long, value_name = "ADDR", value_parser = listen_at)]
    listen: Vec<ListenAddress>,
    /// Where operators ask, instead of `admin.listen` in millrace.toml and
    /// MILLRACE_ADMIN (default there: 127.0.0.1:4001; without any, nowhere). Port 0 lets
    /// the system choose, and the choice is printed.
    #[arg(long, value_name = "ADDR", value_parser = admin::listen_for_operators)]
    admin: Option<SocketAddr>,
    /// What operators have to know, instead of `admin.token` and MILLRACE_ADMIN_TOKEN.
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Where measurements go, instead of `statsd.address` in millrace.toml and
    /// MILLRACE_STATSD: `HOST:PORT` over UDP, or `unix:PATH`.
    #[arg(long, value_name = "HOST:PORT")]
    statsd: Option<String>,
    /// What the StatsD server understands, instead of `statsd.dialect`.
    #[arg(long, value_enum, value_name = "DIALECT", requires = "statsd")]
    statsd_dialect: Option<Dialect>,
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    /// Look for changes so often, instead of when the system tells of them: it does not
    /// in mounts of Docker and in network file systems.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(super) poll_ms: Option<u64>,
}

impl ServeArgs {
    /// The app for `millrace dev`, which always has the admin interface.
    pub(super) fn load_for_dev(&self) -> Result<App, ConfigError> {
        let environment = Environment::of_process(true);
        let mut app = self.load_with(&environment)?;
        let admin = app.admin.get_or_insert_default();
        // A second app beside the first has the same default port, and takes another one.
        admin.any_port = self.admin.is_none() && !environment.has("MILLRACE_ADMIN");
        self.set_token(admin);
        Ok(app)
    }

    pub(super) fn load(&self) -> Result<App, ConfigError> {
        self.load_with(&Environment::of_process(false))
    }

    fn load_with(&self, environment: &Environment) -> Result<App, ConfigError> {
        let mut app = App::load_with(&self.app, environment)?;
        if let Some(admin) = self.admin {
            app.admin.get_or_insert_default().listen = admin;
        }
        app.admin.iter_mut().for_each(|admin| self.set_token(admin));
        if !self.listen.is_empty() {
            app.listen_at(&self.listen);
        }
        if let Some(address) = &self.statsd {
            let statsd = app.statsd.get_or_insert_default();
            statsd.address.clone_from(address);
            if let Some(dialect) = self.statsd_dialect {
                statsd.dialect = dialect;
            }
        }
        Ok(app)
    }

    fn set_token(&self, admin: &mut AdminConfig) {
        if let Some(token) = self.admin_token.as_ref().filter(|token| !token.is_empty()) {
            admin.token = Some(Secret::new(token.as_str()));
        }
    }
}

/// Reads an address to listen on for clients.
fn listen_at(text: &str) -> Result<ListenAddress, String> {
    if !text.starts_with("unix:") {
        return listen_address(text).map(ListenAddress::Tcp);
    }
    match ListenAddress::parse(text)? {
        // A relative path begins where the command was given, and not in the app's folder.
        ListenAddress::Unix(path) => {
            let path = std::path::absolute(path).map_err(|error| error.to_string())?;
            Ok(ListenAddress::Unix(path))
        }
        tcp @ ListenAddress::Tcp(_) => Ok(tcp),
    }
}

/// Reads a TCP address; `:PORT` is on 127.0.0.1.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    full.parse().map_err(|_| {
        "an address and a port such as 127.0.0.1:4000, [::1]:4000 or :0 is expected".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(listen_address(":0"), Ok(([127, 0, 0, 1], 0).into()));
        assert!(listen_address("localhost").unwrap_err().contains("127.0.0.1:4000"));
    }
}
