//! The addresses that plugins may connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// An address, or a network written as `ADDRESS/PREFIX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// The addresses that a plugin may connect to: public ones, and those that its configuration lists.
#[derive(Clone, Debug)]
pub(super) struct AddressPolicy {
    /// The plugin's name.
    pub(super) plugin: Arc<str>,
    listed: Vec<Network>,
    /// Whether this machine's own addresses are refused, even if they are listed.
    denies_own: bool,
}

/// The error for a host that has only addresses that are not allowed.
#[derive(Clone, Debug)]
pub(super) struct AddressDenied {
    plugin: Arc<str>,
    host: String,
    address: IpAddr,
    why: &'static str,
    /// The key of the plugin's configuration that would allow the address.
    key: &'static str,
}

impl std::fmt::Display for AddressDenied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { plugin, host, address, why, key } = self;
        write!(
            f,
            "the host {host:?} has the address {address}, which is {why}; plugins.{plugin}.http.{key} \
             would allow it"
        )
    }
}

impl std::error::Error for AddressDenied {}

impl Network {
    /// Whether an address is in the network; `::ffff:10.0.0.1` counts as 10.0.0.1.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl AddressPolicy {
    pub(super) fn new(plugin: &str, listed: Vec<Network>) -> Self {
        Self { plugin: plugin.into(), listed, denies_own: false }
    }

    /// The same policy, but for a port that the server itself listens on: this machine's own
    /// addresses are refused.
    pub(super) fn without_own(&self) -> Self {
        Self { denies_own: true, ..self.clone() }
    }

    /// Checks whether the plugin may connect to an address of a host.
    pub(super) fn check(&self, host: &str, address: IpAddr) -> Result<(), AddressDenied> {
        // `::ffff:127.0.0.1` counts as 127.0.0.1.
        let canonical = address.to_canonical();
        let is_listed = || self.listed.iter().any(|network| network.contains(canonical));
        let (why, key) = if !is_public(canonical) && !is_listed() {
            ("not public", "addresses")
        } else if self.denies_own && is_own_address(canonical) {
            ("this machine's, and the port is the server's own", "own_listeners")
        } else {
            return Ok(());
        };
        let (plugin, host) = (Arc::clone(&self.plugin), host.to_owned());
        Err(AddressDenied { plugin, host, address, why, key })
    }
}

/// Whether an address is this machine's own: only such an address can be bound.
fn is_own_address(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}

/// The IPv4 networks without public hosts, from the registry of special-purpose addresses of IANA.
const SPECIAL_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    // The address of Azure's platform services, which is not in the registry.
    v4([168, 63, 129, 16], 32),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 31, 196, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// The only IPv6 network with public addresses.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// The networks in [`GLOBAL_V6`] without public hosts, or whose addresses contain IPv4 addresses of
/// other machines (6to4, Teredo).
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0], 23),
    v6([0x2001, 0xdb8, 0], 32),
    v6([0x2002, 0, 0], 16),
    v6([0x3fff, 0, 0], 20),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c]: [u16; 3], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Whether an address can belong to a host of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            let special = SPECIAL_V6.iter().any(|network| network.contains(&address));
            GLOBAL_V6.contains(&address) && !special
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let single = || text.parse::<IpAddr>().map(IpNet::from).ok();
        text.parse::<IpNet>().ok().or_else(single).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no address; one such as \"127.0.0.1\", or a network such as \
                 \"10.0.0.0/8\", is expected"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(listed: &[&str], address: &str) -> bool {
        let listed = listed.iter().map(|n| Network(n.parse().unwrap())).collect();
        AddressPolicy::new("room", listed).check("a.com", address.parse().unwrap()).is_ok()
    }

    #[test]
    fn the_servers_own_listeners_are_left_out_whatever_is_listed() {
        let all = vec![Network("0.0.0.0/0".parse().unwrap()), Network("::/0".parse().unwrap())];
        let allowed = AddressPolicy::new("room", all);
        for here in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0"] {
            let here = here.parse().unwrap();
            assert!(allowed.check("a.com", here).is_ok(), "{here}");
            let refused = allowed.without_own().check("a.com", here).unwrap_err().to_string();
            assert!(
                refused.contains("plugins.room.http.own_listeners would allow it"),
                "{refused}"
            );
        }
        assert!(allowed.without_own().check("a.com", "192.0.2.1".parse().unwrap()).is_ok());
    }

    #[test]
    fn only_public_addresses_are_allowed_by_default() {
        for public in
            ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]
        {
            assert!(contains(&[], public), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!contains(&[], special), "{special}");
        }
    }

    #[test]
    fn listed_networks_are_allowed_too() {
        assert!(contains(&["127.0.0.0/8"], "127.0.0.1"));
        assert!(contains(&["127.0.0.0/8"], "::ffff:127.0.0.1"));
        assert!(contains(&["fd00::/8"], "fd12::1"));
        assert!(!contains(&["127.0.0.0/8"], "10.0.0.1"));
        assert!(!contains(&["127.0.0.0/8"], "::1"));
    }
}
