//! Ports for those who cannot take any that is free.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where Linux keeps from which port on it gives ports to those who ask for any.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// A port that is free and stays so: below those that are given to others who ask for any
/// port, and another one at each call.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    const LOWEST: u16 = 10_000;
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string(RANGE).unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|port| port.parse().ok());
    let ports = end.unwrap_or(32_768_u16).saturating_sub(LOWEST).max(1);
    // Test binaries that run at the same time begin at different ports.
    let begin = u16::try_from(std::process::id() * 61 % u32::from(ports)).unwrap_or_default();
    let candidates = (0..ports).map(|_| {
        let call = u32::from(begin) + u32::from(CALLS.fetch_add(1, Ordering::Relaxed));
        LOWEST + u16::try_from(call % u32::from(ports)).unwrap_or_default()
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    candidates.into_iter().find(is_free).expect("a port that is free")
}
