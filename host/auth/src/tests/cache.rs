//! The cache of JWK sets: when it fetches, and what it verifies with meanwhile.

use super::keys::{hmac_key, key_set};
use crate::{CacheSettings, FetchTicket, HmacAlgorithm, JwksCache, KeySet, Lookup};

const SETTINGS: CacheSettings = CacheSettings {
    ttl_ms: 1_000,
    max_age_ms: 10_000,
    refetch_interval_ms: 300,
    retry_ms: 50,
    fetch_timeout_ms: 100,
};

fn set(kids: &[&str]) -> KeySet {
    key_set(kids.iter().map(|kid| hmac_key(HmacAlgorithm::Hs256).with_kid(kid).unwrap()))
}

fn fetch(cache: &mut JwksCache, kid: &str, now_ms: u64) -> FetchTicket {
    match cache.lookup(Some(kid), now_ms) {
        Lookup::Fetch(ticket) => ticket,
        other => panic!("no fetch: {other:?}"),
    }
}

/// What a look-up says, as text: the first id of the keys, or what there is to do.
fn look(cache: &mut JwksCache, kid: &str, now_ms: u64) -> String {
    match cache.lookup(Some(kid), now_ms) {
        Lookup::Use(keys) => format!("use {}", keys.keys()[0].kid().unwrap()),
        Lookup::Fetch(_) => "fetch".to_owned(),
        Lookup::Wait { until_ms } => format!("wait until {until_ms}"),
        Lookup::Unavailable { retry_at_ms } => format!("unavailable until {retry_at_ms}"),
    }
}

/// A cache that has fetched the key `a` at time 0.
fn filled() -> JwksCache {
    let mut cache = JwksCache::new(SETTINGS);
    let ticket = fetch(&mut cache, "a", 0);
    cache.fetched(ticket, set(&["a"]), 0);
    cache
}

#[test]
fn one_fetches_and_the_others_wait() {
    let mut cache = JwksCache::new(SETTINGS);
    let ticket = fetch(&mut cache, "a", 5);
    assert_eq!(look(&mut cache, "a", 6), "wait until 105");
    assert_eq!(look(&mut cache, "b", 7), "wait until 105");
    cache.fetched(ticket, set(&["a"]), 8);
    assert_eq!(look(&mut cache, "a", 9), "use a");
    assert!(matches!(cache.lookup(None, 9), Lookup::Use(_)));
}

#[test]
fn old_keys_are_used_while_new_ones_are_fetched() {
    let mut cache = filled();
    assert_eq!(look(&mut cache, "a", 999), "use a");
    let ticket = fetch(&mut cache, "a", 1_000);
    assert_eq!(look(&mut cache, "a", 1_001), "use a");
    assert_eq!(look(&mut cache, "b", 1_001), "wait until 1100");
    cache.fetched(ticket, set(&["b"]), 1_002);
    assert_eq!(look(&mut cache, "b", 1_003), "use b");
    // The key that was withdrawn is as unknown as any other.
    assert_eq!(look(&mut cache, "a", 1_003), "use b");
}

#[test]
fn old_keys_stay_when_fetching_fails() {
    let mut cache = filled();
    let ticket = fetch(&mut cache, "a", 1_000);
    cache.failed(ticket, 1_010);
    assert_eq!(look(&mut cache, "a", 1_059), "use a");
    let ticket = fetch(&mut cache, "a", 1_060);
    cache.failed(ticket, 9_960);
    assert_eq!(look(&mut cache, "a", 9_999), "use a");
    // For a day, and no longer.
    assert_eq!(look(&mut cache, "a", 10_000), "unavailable until 10010");
    assert_eq!(look(&mut cache, "a", 10_010), "fetch");
}

#[test]
fn without_keys_a_failure_is_told() {
    let mut cache = JwksCache::new(SETTINGS);
    let ticket = fetch(&mut cache, "a", 0);
    cache.failed(ticket, 10);
    assert_eq!(look(&mut cache, "a", 59), "unavailable until 60");
    assert_eq!(look(&mut cache, "a", 60), "fetch");
}

#[test]
fn unknown_ids_cause_one_fetch_in_an_interval() {
    let mut cache = filled();
    for now in 1..300 {
        assert_eq!(look(&mut cache, &format!("x{now}"), now), "use a");
    }
    let ticket = fetch(&mut cache, "b", 300);
    assert_eq!(look(&mut cache, "x", 301), "wait until 400");
    assert_eq!(look(&mut cache, "a", 301), "use a");
    cache.fetched(ticket, set(&["a", "b"]), 310);
    assert_eq!(look(&mut cache, "b", 311), "use a");
    assert_eq!(look(&mut cache, "x", 609), "use a");
    let ticket = fetch(&mut cache, "x", 610);
    cache.failed(ticket, 620);
    assert_eq!(look(&mut cache, "x", 919), "use a");
    assert_eq!(look(&mut cache, "x", 920), "fetch");
}

#[test]
fn a_fetch_that_nobody_reports_is_given_up() {
    let mut cache = JwksCache::new(SETTINGS);
    let lost = fetch(&mut cache, "a", 0);
    assert_eq!(look(&mut cache, "a", 99), "wait until 100");
    assert_eq!(look(&mut cache, "a", 100), "unavailable until 150");
    let ticket = fetch(&mut cache, "a", 150);
    // What it brings late changes nothing.
    cache.fetched(lost, set(&["old"]), 160);
    cache.failed(lost, 160);
    assert_eq!(look(&mut cache, "a", 161), "wait until 250");
    cache.fetched(ticket, set(&["a"]), 170);
    cache.fetched(ticket, set(&["again"]), 171);
    assert_eq!(look(&mut cache, "a", 172), "use a");
}

#[test]
fn a_clock_that_goes_back_breaks_nothing() {
    let mut cache = filled();
    let ticket = fetch(&mut cache, "a", 5_000);
    assert_eq!(look(&mut cache, "a", 0), "use a");
    cache.fetched(ticket, set(&["b"]), 5_001);
    assert_eq!(look(&mut cache, "b", 0), "use b");
    assert_eq!(look(&mut cache, "b", u64::MAX), "fetch");
}
