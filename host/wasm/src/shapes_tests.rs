//! Tests of components in the shapes that toolchains give them, made small.

use std::collections::BTreeMap;

use millrace_telemetry::Metrics;
use wasmtime::ResourceLimiterAsync as _;

use super::*;
use crate::egress::EgressConfig;
use crate::{EngineLimits, Fault};

/// An instance of a component, on an engine for one instance, as `check` has and a server with
/// `max_instances = 1`.
async fn instance(wat: &str) -> Result<Instance, Fault> {
    instance_within(PluginLimits::default(), wat).await
}

async fn instance_within(limits: PluginLimits, wat: &str) -> Result<Instance, Fault> {
    let PluginLimits { max_memory_bytes, max_stack_bytes, .. } = limits;
    let engine_limits = EngineLimits { max_instances: 1, max_memory_bytes, max_stack_bytes };
    let engine = Engine::new(engine_limits, None).unwrap();
    let wasm = wat::parse_str(wat).unwrap();
    let compiled = Compiled::from_binary(&engine.wasmtime, &wasm).unwrap();
    let (name, http) = ("shape".to_owned(), EgressConfig::default());
    let settings = Settings::new(name, BTreeMap::new(), http, Metrics::none());
    let Loading(component) = engine.linked(&compiled, &wasm, Arc::new(settings), limits).unwrap();
    Instance::new(&component, None).await
}

/// Python has some 20 core instances, QuickJS without WASI more than 2 memories.
#[tokio::test]
async fn a_component_may_have_many_instances_memories_and_tables() {
    let modules = "(core instance (instantiate $m))".repeat(30);
    let wat = format!(
        "(component (core module $m (memory 1) (table 10 funcref) (table 10 funcref)) {modules})"
    );
    instance(&wat).await.unwrap();
}

/// Large programs have tens of thousands of functions that are called by pointer.
#[tokio::test]
async fn a_table_may_have_all_the_entries_that_the_limit_says() {
    let component = |entries: usize| {
        format!(
            "(component (core module $m (table {entries} funcref))
                (core instance (instantiate $m)))"
        )
    };
    instance(&component(100_000)).await.unwrap();
    let wasm = wat::parse_str(component(100_001)).unwrap();
    let limits = PluginLimits::default();
    let PluginLimits { max_memory_bytes, max_stack_bytes, .. } = limits;
    let engine_limits = EngineLimits { max_instances: 1, max_memory_bytes, max_stack_bytes };
    let engine = Engine::new(engine_limits, None).unwrap();
    let error = Compiled::from_binary(&engine.wasmtime, &wasm).err().unwrap();
    assert!(format!("{error:#}").contains("exceeds the limit of 100000"), "{error:#}");
}

/// Zig's default stack has 16 MiB, Python begins with more than 8.
#[tokio::test]
async fn an_instance_that_begins_large_is_kept_until_it_grows() {
    let component = "(component (core module $m (memory 320)) (core instance (instantiate $m)))";
    let mut large = instance(component).await.unwrap();
    assert!(large.is_reusable());
    let limiter = &mut large.store.data_mut().limiter;
    let (began, more) = (limiter.used_bytes(), 9 << 20);
    assert!(limiter.memory_growing(began, began + more, None).await.unwrap());
    assert!(!large.is_reusable());
}

/// ComponentizeJS makes such components by default.
#[tokio::test]
async fn what_the_host_does_not_offer_of_wasi_is_linked_and_traps() {
    let component = |call: &str| {
        format!(
            r#"(component
                (import "wasi:io/error@0.2.0" (instance $io (export "error" (type (sub resource)))))
                (alias export $io "error" (type $error))
                (import "wasi:http/types@0.2.10" (instance $http
                    (alias outer 1 $error (type $outer))
                    (export "io-error" (type (eq $outer)))
                    (export "fields" (type (sub resource)))
                    (export "send" (func))))
                (core func $send (canon lower (func $http "send")))
                (core module $m (import "" "send" (func $send)) (func $start {call}) (start $start))
                (core instance (instantiate $m (with "" (instance (export "send" (func $send)))))))"#
        )
    };
    instance(&component("")).await.unwrap();
    let fault = instance(&component("call $send")).await.err().unwrap();
    let expected = "called `send` of `wasi:http/types@0.2.10`, which this server does not offer";
    assert!(fault.message.contains(expected), "{fault}");
}

/// Interpreters recurse as deep as the programs they run.
#[tokio::test]
async fn a_stack_may_be_larger_than_it_is_by_default() {
    let component = "(component
        (core module $m
            (func $f (param i32)
                (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1))))))
            (func $start (call $f (i32.const 20000)))
            (start $start))
        (core instance (instantiate $m)))";
    let fault = instance(component).await.err().unwrap();
    assert!(fault.message.contains("limits.max_stack_bytes"), "{fault}");
    let limits = PluginLimits { max_stack_bytes: 8 << 20, ..Default::default() };
    instance_within(limits, component).await.unwrap();
}
