//! `listen`: the listeners for clients.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de::Error as _};

use super::{AdminConfig, defaults};

/// One entry of `listen`: a listener for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The address to listen on.
    pub address: ListenAddress,
    /// Whether the listener speaks TLS. Without a value it does over TCP if there is `[tls]`.
    pub tls: Option<bool>,
    /// Whether each connection begins with a header of the PROXY protocol, which only
    /// `server.trusted_proxies` may send.
    pub proxy_protocol: bool,
    /// The file mode of a Unix socket, which says who may open it.
    pub mode: u32,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// All of `listen`: one entry, or a list of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenList(pub(super) Vec<ListenConfig>);

/// The prefix of a Unix socket's path.
const UNIX: &str = "unix:";
/// The expected forms of an address, for error texts.
const FORMS: &str = "an address and a port such as \"127.0.0.1:4000\" or \"[::]:4000\", or \
                     \"unix:/run/millrace.sock\"";

/// The hint that names are not allowed as addresses, for error texts.
pub(super) const NO_NAMES: &str = "names such as localhost are not looked up";

/// Checks that no two listeners have the same address.
pub(super) fn check_once(
    listen: &[ListenConfig],
    admin: Option<&AdminConfig>,
) -> Result<(), String> {
    // Port 0 makes the system choose another port each time.
    let is_fixed = |address: &ListenAddress| address.port() != Some(0);
    for (at, ListenConfig { address, .. }) in listen.iter().enumerate() {
        let mut before = listen.iter().take(at);
        if is_fixed(address) && before.any(|other| other.address == *address) {
            return Err(format!("listen has {address} twice; once is enough"));
        }
    }
    let Some(admin) = admin.map(|admin| ListenAddress::Tcp(admin.listen)) else { return Ok(()) };
    if is_fixed(&admin) && listen.iter().any(|other| other.address == admin) {
        return Err(format!(
            "admin.listen is {admin}, and listen has it, too; choose another port"
        ));
    }
    Ok(())
}

impl ListenAddress {
    /// Reads an address. The error says what was found and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX).filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let no_address = |_| format!("{text:?} is no address; {FORMS} is expected; {NO_NAMES}");
        Ok(Self::Tcp(text.parse().map_err(no_address)?))
    }

    /// The port; `None` for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether only this machine can reach the address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl From<ListenAddress> for ListenConfig {
    fn from(address: ListenAddress) -> Self {
        Self { address, tls: None, proxy_protocol: false, mode: defaults::UNIX_SOCKET_MODE }
    }
}

impl From<SocketAddr> for ListenConfig {
    fn from(address: SocketAddr) -> Self {
        ListenAddress::Tcp(address).into()
    }
}

impl ListenConfig {
    /// A listener at this address with all other settings at their defaults.
    pub(super) fn plain(address: ListenAddress, has_tls: bool) -> Self {
        let tls = Some(has_tls && address.port().is_some());
        Self { tls, ..address.into() }
    }

    /// Checks what the types cannot, sets the default of `tls`, and makes the path of a Unix socket
    /// one below `folder`.
    pub(super) fn resolve(
        &mut self,
        folder: &Path,
        has_tls: bool,
        has_proxies: bool,
    ) -> Result<(), String> {
        let Self { address, tls, proxy_protocol, .. } = self;
        match (&mut *address, *tls) {
            (ListenAddress::Unix(path), Some(true)) => {
                return Err(format!(
                    "listen has {UNIX}{} with tls = true; a Unix socket does not leave the machine, \
                     leave tls out",
                    path.display()
                ));
            }
            (ListenAddress::Unix(path), _) => *path = folder.join(&*path),
            (ListenAddress::Tcp(_), Some(true)) if !has_tls => {
                return Err(format!(
                    "listen has {address} with tls = true, and there is no [tls]; add it, with \
                     certificate and key"
                ));
            }
            (ListenAddress::Tcp(_), _) if *proxy_protocol && !has_proxies => {
                return Err(format!(
                    "listen has {address} with proxy_protocol = true, and server.trusted_proxies is \
                     empty: nobody could connect; list the addresses of the proxies there"
                ));
            }
            (ListenAddress::Tcp(_), _) => {}
        }
        self.tls = Some(self.address.port().is_some() && self.tls.unwrap_or(has_tls));
        Ok(())
    }

    /// The listener's URL. Browsers cannot reach a Unix socket, whose address is returned instead.
    #[must_use]
    pub fn url(&self) -> String {
        match (&self.address, self.is_encrypted()) {
            (ListenAddress::Unix(_), _) => self.address.to_string(),
            (ListenAddress::Tcp(address), false) => format!("http://{address}"),
            (ListenAddress::Tcp(address), true) => format!("https://{address}"),
        }
    }

    /// Whether the listener speaks TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls == Some(true)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// An entry that is a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    address: ListenAddress,
    tls: Option<bool>,
    #[serde(default)]
    proxy_protocol: bool,
    #[serde(default, deserialize_with = "mode")]
    mode: Option<u32>,
}

/// Reads a file mode in octal digits, as `chmod` takes it.
fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(Some(mode)),
        _ => Err(D::Error::custom(format!("mode is {text:?}; one such as \"660\" is expected"))),
    }
}

impl<'de> Deserialize<'de> for ListenConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;

        impl<'de> Visitor<'de> for Entry {
            type Value = ListenConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{FORMS}, or a table with it as `address`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ListenConfig, E> {
                ListenAddress::parse(text).map(ListenConfig::from).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ListenConfig, A::Error> {
                let Table { address, tls, proxy_protocol, mode } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                let mode = mode.unwrap_or(defaults::UNIX_SOCKET_MODE);
                Ok(ListenConfig { address, tls, proxy_protocol, mode })
            }
        }

        deserializer.deserialize_any(Entry)
    }
}

impl<'de> Deserialize<'de> for ListenList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = ListenList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{FORMS}, a table with it as `address`, or a list of such")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ListenList, E> {
                let address = ListenAddress::parse(text).map_err(E::custom)?;
                Ok(ListenList(vec![address.into()]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ListenList, A::Error> {
                let entry = ListenConfig::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ListenList(vec![entry]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ListenList, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    entries.push(entry);
                }
                match entries.is_empty() {
                    true => {
                        Err(A::Error::custom("listen is empty; at least one address is expected"))
                    }
                    false => Ok(ListenList(entries)),
                }
            }
        }

        deserializer.deserialize_any(List)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::App;

    fn load(text: &str) -> Result<App, String> {
        App::parse("/app".into(), text)
    }

    #[test]
    fn listeners_are_one_or_several() {
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"";
        let proxies = "[server]\ntrusted_proxies = [\"10.0.0.0/8\"]";
        for (text, expected) in [
            ("", "127.0.0.1:4000 false"),
            ("listen = \"[::]:1\"", "[::]:1 false"),
            ("listen = \"unix:x.sock\"", "unix:/app/x.sock false"),
            (&format!("listen = \"0.0.0.0:1\"\n{tls}"), "0.0.0.0:1 true"),
            (
                &format!("listen = {{ address = \"0.0.0.0:1\", tls = false }}\n{tls}"),
                "0.0.0.0:1 false",
            ),
            (
                &format!(
                    "listen = [\"unix:/x\", {{ address = \"[::1]:2\", proxy_protocol = true }}]\n{proxies}\n{tls}"
                ),
                "unix:/x false, [::1]:2 true proxy",
            ),
            (
                "listen = [\"[::1]:0\", \"[::1]:0\"]\n[admin]\nlisten = \"[::1]:0\"",
                "[::1]:0 false, [::1]:0 false",
            ),
        ] {
            let app = load(text).unwrap();
            let found = app.listen.iter().map(|one| {
                let proxy = if one.proxy_protocol { " proxy" } else { "" };
                format!("{} {}{proxy}", one.address, one.is_encrypted())
            });
            assert_eq!(found.collect::<Vec<_>>().join(", "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_listener_is_said() {
        for (text, problem) in [
            ("listen = \"here\"", "\"here\" is no address; an address and a port such as"),
            ("listen = \"localhost:1\"", "is expected; names such as localhost are not looked up"),
            ("listen = [\"[::1]:1\", \"[::1]:1\"]", "listen has [::1]:1 twice; once is enough"),
            ("listen = [\"unix:x\", \"unix:/app/x\"]", "listen has unix:/app/x twice"),
            (
                "listen = \"127.0.0.1:4001\"\n[admin]\ntls = false",
                "admin.listen is 127.0.0.1:4001, and listen has it, too; choose another port",
            ),
            ("listen = \"unix:\"", "\"unix:\" is no address"),
            ("listen = []", "listen is empty"),
            ("listen = 4000", "an address and a port such as"),
            ("listen = { address = \":1\" }", "\":1\" is no address"),
            ("listen = { address = \"unix:/x\", mode = \"999\" }", "mode is \"999\"; one such as"),
            ("listen = { address = \"[::]:1\", tsl = true }", "listen.tsl is no key"),
            ("listen = { address = \"[::]:1\", tls = true }", "there is no [tls]; add it"),
            ("listen = { address = \"unix:/x\", tls = true }", "leave tls out"),
            (
                "listen = { address = \"[::]:1\", proxy_protocol = true }",
                "server.trusted_proxies is empty",
            ),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
