//! Keys of `millrace.toml` that are set by environment variables.
//!
//! `MILLRACE_SECTION_KEY` sets `section.key`, for each key of each section with a fixed name;
//! `MILLRACE_LISTEN` sets `listen`. A value is read as a string, and where a string is not allowed
//! as TOML: `true`, `5`, `["a"]`. A variable that is empty counts as not set.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;
use toml::{Table, Value};
use tracing::{info, warn};

use super::file::ConfigFile;
use super::wording;

/// The variables of the environment that concern this program, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    /// The address on which the port of `PORT` is opened; without one, `PORT` is ignored.
    port_host: Option<Ipv4Addr>,
    /// Whether there is an admin interface in any case, as in `millrace dev`.
    has_admin: bool,
}

/// The prefix of all variables' names but `PORT`.
const PREFIX: &str = "MILLRACE_";
/// The variable with the port to listen on, which container platforms set.
const PORT: &str = "PORT";
const LISTEN: &str = "listen";
/// The sections of the file with a fixed name.
const SECTIONS: [&str; 18] = [
    "admin",
    "auth",
    "cache",
    "compile",
    "dashboard",
    "drain",
    "limits",
    "longpoll",
    "memory",
    "metrics",
    "presence",
    "server",
    "socket",
    "static",
    "statsd",
    "swap",
    "tls",
    "trust",
];
/// Variables with a shorter name: the name, the section, the key.
const ALIASES: [(&str, &str, &str); 2] =
    [("ADMIN", "admin", "listen"), ("STATSD", "statsd", "address")];
/// Optional sections, each with the key that makes it exist. A variable for another of its keys is
/// not enough: a token that an operator has set for the commands must not open an interface.
const OPTIONAL_SECTIONS: [(&str, &str); 2] = [("admin", "listen"), ("statsd", "address")];
/// Variables that the commands read themselves.
const READ_BY_COMMANDS: [&str; 2] = ["LOG", "DEV_SECRET"];
/// Parts of the variables that Kubernetes and Docker's links set for a service with this program's
/// name.
const SERVICE_PARTS: [&str; 2] = ["_SERVICE_HOST", "_SERVICE_PORT"];
/// The same for its ports: `MILLRACE_PORT_4000_TCP_ADDR`.
const PORT_PARTS: [&str; 2] = ["_TCP", "_UDP"];

impl Environment {
    /// The environment of the process, for `millrace dev` or for a server in use.
    pub(crate) fn of_process(is_dev: bool) -> Self {
        let port_host = if is_dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        // A variable that is not UTF-8 sets no key.
        let all = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self { port_host: Some(port_host), has_admin: is_dev, ..Self::of(all) }
    }

    fn of(all: impl Iterator<Item = (String, String)>) -> Self {
        let is_ours = |name: &str| name.starts_with(PREFIX) || name == PORT;
        let variables = all.filter(|(name, value)| is_ours(name) && !value.is_empty()).collect();
        Self { variables, port_host: None, has_admin: false }
    }

    /// Whether a variable is set and not empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Sets the keys in `file`. The error names the variable that is wrong.
    pub(super) fn apply(&self, file: &mut Table) -> Result<(), String> {
        self.listen(file)?;
        let mut set = Vec::new();
        for (variable, text) in &self.variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            let Some((section, key)) = key(name) else {
                warn_of_unknown(variable, text, "there is no such section");
                continue;
            };
            let is_address = OPTIONAL_SECTIONS.contains(&(section, &*key)) && section == "admin";
            let text = if is_address { full_address(text) } else { text.clone() };
            match value(section, &key, &text) {
                Parsed::Value(value) => set.push((variable, section, key, value)),
                Parsed::NoKey(problem) => warn_of_unknown(variable, &text, &problem),
                Parsed::Wrong(problem) => return Err(format!("{variable} is {text:?}: {problem}")),
            }
        }
        for (section, key) in OPTIONAL_SECTIONS {
            let is_given = file.contains_key(section)
                || set.iter().any(|(_, found, name, _)| *found == section && name == key);
            set.retain(|(variable, found, name, _)| {
                let stays = *found != section || is_given || self.has_admin && section == "admin";
                // An operator may have set a token for the commands.
                if !stays && name != "token" {
                    warn!(
                        "{variable} sets nothing, as there is no [{section}]; set {section}.{key}"
                    );
                }
                stays
            });
        }
        for (variable, section, key, value) in set {
            info!("{section}.{key} is set by {variable}");
            let section = file.entry(section).or_insert_with(|| Value::Table(Table::new()));
            // If the section is something else, reading the file will say so.
            if let Value::Table(section) = section {
                section.insert(key, value);
            }
        }
        Ok(())
    }

    /// Sets `listen` from `MILLRACE_LISTEN`, or else from `PORT`.
    fn listen(&self, file: &mut Table) -> Result<(), String> {
        if let Some(text) = self.variables.get("MILLRACE_LISTEN") {
            let value =
                match text_or_toml(&full_address(text), |value| try_file(&[(LISTEN, value)])) {
                    Ok(value) => value,
                    Err(problem) => return Err(format!("MILLRACE_LISTEN is {text:?}: {problem}")),
                };
            info!("{LISTEN} is set by MILLRACE_LISTEN");
            file.insert(LISTEN.to_owned(), value);
        } else if let (Some(text), Some(host)) = (self.variables.get(PORT), self.port_host) {
            let port = text.parse::<u16>().map_err(|_| {
                format!("{PORT} is {text:?}; a port from 0 to 65535 is expected, or none")
            })?;
            let address = SocketAddr::from((host, port)).to_string();
            info!("{LISTEN} is {address}, as {PORT} is set");
            file.insert(LISTEN.to_owned(), Value::String(address));
        }
        Ok(())
    }
}

/// The full form of an address, written as in the options of the commands: `:4000` is on loopback,
/// and that of the admin interface may be a URL.
fn full_address(text: &str) -> String {
    let text = text.strip_prefix("http://").map_or(text, |rest| rest.trim_end_matches('/'));
    if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() }
}

/// The section and the key that a variable's name means.
fn key(name: &str) -> Option<(&'static str, String)> {
    if let Some((_, section, key)) = ALIASES.iter().find(|(short, ..)| *short == name) {
        return Some((section, (*key).to_owned()));
    }
    let (section, key) = name.split_once('_')?;
    let section = SECTIONS.iter().find(|known| known.eq_ignore_ascii_case(section))?;
    let is_plain = key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    is_plain.then(|| (*section, key.to_ascii_lowercase()))
}

/// Warns of a variable that sets nothing, and may have been meant to.
fn warn_of_unknown(variable: &str, text: &str, problem: &str) {
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
    if name != "LISTEN" && !READ_BY_COMMANDS.contains(&name) && !is_set_for_service(variable, text)
    {
        warn!(
            "{variable} is no key of millrace.toml, and sets nothing: {problem}; the name is \
             MILLRACE_SECTION_KEY, and MILLRACE_LISTEN or PORT says where to listen"
        );
    }
}

/// Whether Kubernetes or Docker has set the variable, as it does for each service.
fn is_set_for_service(variable: &str, text: &str) -> bool {
    let is_of_a_port = |part: &str| {
        let before = variable.split(part).next().unwrap_or_default();
        let port = before.rsplit_once("_PORT_").map_or("", |(_, port)| port);
        before != variable && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    SERVICE_PARTS.iter().any(|part| variable.contains(part))
        || PORT_PARTS.into_iter().any(is_of_a_port)
        || text.starts_with("tcp://")
        || text.starts_with("udp://")
}

/// The result of reading a variable's text as the value of a key.
enum Parsed {
    Value(Value),
    /// There is no such key; the text lists the keys that exist.
    NoKey(String),
    /// The value is not allowed; the text says why.
    Wrong(String),
}

fn value(section: &'static str, key: &str, text: &str) -> Parsed {
    let in_section = |value| Value::Table(Table::from_iter([(key.to_owned(), value)]));
    match text_or_toml(text, |value| try_file(&[(section, in_section(value))])) {
        Ok(value) => Parsed::Value(value),
        Err(problem) if problem.starts_with(&format!("{section}.{key} is no key")) => {
            Parsed::NoKey(problem)
        }
        Err(problem) => Parsed::Wrong(problem),
    }
}

/// The text as a string, or else as TOML, whichever is allowed. The error is that of the string,
/// unless no string is allowed there.
fn text_or_toml(
    text: &str,
    is_allowed: impl Fn(Value) -> Result<(), String>,
) -> Result<Value, String> {
    // A text that looks like a list or a table is read as one even where a string is allowed, as
    // for a secret.
    if text.starts_with(['[', '{'])
        && let Some(value) = as_toml(text)
    {
        return is_allowed(value.clone()).map(|()| value);
    }
    let plain = Value::String(text.to_owned());
    let problem = match is_allowed(plain.clone()) {
        Ok(()) => return Ok(plain),
        Err(problem) => problem,
    };
    let Some(value) = as_toml(text) else { return Err(problem) };
    match is_allowed(value.clone()) {
        Ok(()) => Ok(value),
        // No string at all is allowed for this key.
        Err(of_value) if problem.contains(" is the string ") => Err(of_value),
        Err(_) => Err(problem),
    }
}

fn as_toml(text: &str) -> Option<Value> {
    let mut table: Table = toml::from_str(&format!("value = {text}")).ok()?;
    table.remove("value").filter(|_| table.is_empty())
}

/// Whether a file with only these entries can be read; the error says why not.
fn try_file(entries: &[(&str, Value)]) -> Result<(), String> {
    let entries = entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let file = ConfigFile::deserialize(Table::from_iter(entries));
    match file {
        Ok(_) => Ok(()),
        // The file may have the other keys of the section.
        Err(error) if error.to_string().contains("missing field") => Ok(()),
        Err(error) => Err(wording::explain_below("", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::App;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<App, String> {
        let pairs = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let environment =
            Environment { port_host: Some(Ipv4Addr::UNSPECIFIED), ..Environment::of(pairs) };
        App::parse_with("/app".into(), file, &environment)
    }

    #[test]
    fn a_variable_is_a_key() {
        let app = load(
            "[socket]\nmax_channels = 5\nmax_pending = 7",
            &[
                ("MILLRACE_SOCKET_MAX_CHANNELS", "6"),
                ("MILLRACE_SOCKET_CHECK_ORIGIN", "false"),
                ("MILLRACE_SOCKET_HOSTS", "[\"a.com\", \"b.com\"]"),
                ("MILLRACE_STATSD", "10.0.0.1:8125"),
                ("MILLRACE_STATSD_PREFIX", "5"),
                ("MILLRACE_ADMIN", "http://:5001/"),
                ("MILLRACE_ADMIN_TOKEN", "123"),
                ("MILLRACE_TLS_CERTIFICATE", "c"),
                ("MILLRACE_TLS_KEY", "k"),
                ("MILLRACE_SOCKET_PATH", ""),
                ("MILLRACE_LISTEN", "[\"[::]:1\", { address = \"[::]:2\", tls = false }]"),
                ("MILLRACE_SERVICE_HOST", "10.0.0.1"),
                ("MILLRACE_ADMIN_PORT_4000_TCP", "tcp://10.0.0.1:4000"),
                ("PORT", "80"),
            ],
        )
        .unwrap();
        assert_eq!((app.socket.max_channels, app.socket.max_pending), (6, 7));
        assert_eq!(app.socket.check_origin, crate::config::CheckOrigin::Any);
        assert_eq!((app.socket.hosts.len(), app.socket.path.as_str()), (2, "/socket"));
        let statsd = app.statsd.unwrap();
        assert_eq!((statsd.address.as_str(), statsd.prefix.as_str()), ("10.0.0.1:8125", "5"));
        let admin = app.admin.unwrap();
        assert_eq!(admin.listen.to_string(), "127.0.0.1:5001");
        assert_eq!(admin.token.unwrap().get().as_str(), "123");
        let listen: Vec<_> =
            app.listen.iter().map(|one| (one.address.to_string(), one.is_encrypted())).collect();
        assert_eq!(listen, [("[::]:1".to_owned(), true), ("[::]:2".to_owned(), false)]);
    }

    #[test]
    fn the_port_of_a_platform_is_that_of_all_addresses() {
        let app = load("listen = \"127.0.0.1:1\"", &[("PORT", "8080")]).unwrap();
        assert_eq!(app.listen[0].address.to_string(), "0.0.0.0:8080");
        assert_eq!(
            load("", &[("PORT", "")]).unwrap().listen[0].address.to_string(),
            "127.0.0.1:4000"
        );
    }

    #[test]
    fn a_token_alone_opens_nothing() {
        let app = load("", &[("MILLRACE_ADMIN_TOKEN", "x"), ("MILLRACE_STATSD_PREFIX", "x")]);
        let app = app.unwrap();
        assert!(app.admin.is_none() && app.statsd.is_none());
    }

    #[test]
    fn a_secret_may_be_elsewhere_here_too() {
        let token = "{ file = \"/run/secrets/token\" }";
        let variables = [("MILLRACE_ADMIN", "[::1]:1"), ("MILLRACE_ADMIN_TOKEN", token)];
        let app = load("", &variables).unwrap();
        assert_eq!(app.secrets_in_files().len(), 1);
    }

    #[test]
    fn a_section_below_another_is_a_table() {
        let table = "{ salt = \"s\", secrets = [{ env = \"SECRET_KEY_BASE\" }] }";
        let variables = [("MILLRACE_AUTH_PHOENIX_TOKEN", table), ("MILLRACE_AUTH_PARAM", "token")];
        let auth = load("", &variables).unwrap().auth.unwrap();
        assert_eq!((auth.param.as_deref(), auth.jwt.is_none()), (Some("token"), true));
        assert_eq!(auth.phoenix_token.unwrap().salt, "s");
        // A key without a way to verify tokens lets nobody in by mistake.
        let error = load("", &[("MILLRACE_AUTH_REQUIRED", "false")]).unwrap_err();
        assert!(error.contains("auth has no keys"), "{error}");
    }

    #[test]
    fn what_a_platform_tells_of_services_is_left_alone() {
        for (name, text, expected) in [
            ("MILLRACE_SERVICE_HOST", "10.0.0.1", true),
            ("MILLRACE_SERVICE_PORT_HTTP", "4000", true),
            ("MILLRACE_PORT", "tcp://10.0.0.1:4000", true),
            ("MILLRACE_ADMIN_PORT_4000_TCP_PROTO", "tcp", true),
            ("MILLRACE_PORT", "4100", false),
            ("MILLRACE_SOCKET_TCP_NODELAY", "true", false),
            ("MILLRACE_SOCKET_PORT_X_TCP", "1", false),
        ] {
            assert_eq!(is_set_for_service(name, text), expected, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_variable() {
        for (name, value, problem) in [
            ("MILLRACE_SOCKET_MAX_CHANNELS", "many", "MILLRACE_SOCKET_MAX_CHANNELS is \"many\": "),
            ("MILLRACE_SOCKET_MAX_CHANNELS", "-5", "is -5; a whole number"),
            ("MILLRACE_SOCKET_CHECK_ORIGIN", "a.com", "MILLRACE_SOCKET_CHECK_ORIGIN is \"a.com\""),
            ("MILLRACE_LISTEN", "here", "MILLRACE_LISTEN is \"here\": listen: \"here\" is no"),
            ("MILLRACE_ADMIN", "https://a:1", "MILLRACE_ADMIN is \"https://a:1\""),
            ("MILLRACE_SOCKET_MAX_CONNECTIONS", "0", "socket.max_connections is 0"),
            ("PORT", "http", "PORT is \"http\"; a port"),
        ] {
            let error = load("", &[(name, value)]).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn every_section_with_a_name_of_its_own_is_known() {
        // The error for a key that does not exist lists the keys that do.
        let error = load("no_such = 1", &[]).unwrap_err();
        let (_, fields) = error.split_once("allowed are").unwrap();
        for field in fields.split('`').skip(1).step_by(2) {
            let is_known =
                SECTIONS.contains(&field) || ["listen", "plugins", "pipelines"].contains(&field);
            assert!(is_known, "{field}");
        }
    }
}
