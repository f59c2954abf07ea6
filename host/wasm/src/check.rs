//! The check of a file before it is compiled: whether it is a plugin for this host, and which of
//! its functions differ from the interface in `wit/`, and how.

use wit_parser::decoding::DecodedWasm;
use wit_parser::{Resolve, World, WorldItem};

use super::bindings::TRACKS;
use super::denied::is_denied;
use super::interface::HostInterface;
use super::signature::signature;

/// The exports and imports of a component, as far as the host cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The names of its exported interfaces and functions.
    pub exports: Vec<String>,
    /// The names of its imported interfaces and functions.
    pub imports: Vec<String>,
    /// The imported interfaces that this host does not offer: calls of them trap.
    pub denied: Vec<String>,
    /// The things that its calls may wait for.
    pub waits: Vec<String>,
    /// The reasons why this host cannot run it, each in one line or more; empty if it can.
    pub problems: Vec<String>,
}

/// The package of all interfaces of the host.
const PACKAGE: &str = "millrace:plugin";

/// The interfaces of which a plugin has to export at least one.
const SERVES: [&str; 4] = ["channel", "socket", "worker", "dispatcher"];

/// The functions of the host that a call may wait in: the interface, the function, and what is
/// waited for.
const WAITS: [(&str, &str, &str); 3] = [
    ("clock", "sleep-ms", "time to pass"),
    ("http", "send", "other servers, as far as [plugins.NAME.http] allows them"),
    ("call", "flush", "its effects to be applied"),
];

/// Inspects the bytes of a `.wasm` file.
///
/// # Errors
///
/// The file is no component at all, or has too many functions. What keeps the host from running a
/// component is in [`Inspection::problems`].
pub fn inspect(wasm: &[u8]) -> Result<Inspection, String> {
    refuse_other_files(wasm)?;
    let (resolve, world) = match wit_parser::decoding::decode(wasm) {
        Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
        Ok(DecodedWasm::WitPackage(..)) => {
            return Err("is an encoded WIT package, not a component".to_owned());
        }
        Err(error) => return Err(format!("is no valid component: {}", explained(&error))),
    };
    let host = HostInterface::new()?;
    let Some(world) = resolve.worlds.get(world) else {
        return Err("is a component without a world".to_owned());
    };
    let functions = functions_of(&resolve, world);
    if functions > MAX_FUNCTIONS {
        return Err(format!(
            "has {functions} functions in what it imports and exports, allowed are {MAX_FUNCTIONS}"
        ));
    }
    let plugin = Plugin { resolve: &resolve, world };
    Ok(plugin.inspect(&host))
}

/// The most functions of a component's interfaces, WASI's included: ten times as many as any plugin
/// has had. Each costs the check something.
const MAX_FUNCTIONS: usize = 2_000;

fn functions_of(resolve: &Resolve, world: &World) -> usize {
    let items = world.imports.values().chain(world.exports.values());
    let functions = items.map(|item| match item {
        WorldItem::Interface { id, .. } => {
            resolve.interfaces.get(*id).map_or(0, |interface| interface.functions.len())
        }
        WorldItem::Function(_) | WorldItem::Type { .. } => 1,
    });
    functions.sum()
}

/// As [`inspect`], but all problems are an error, with one or more lines for each.
pub(super) fn check(wasm: &[u8]) -> Result<(), String> {
    let Inspection { problems, .. } = inspect(wasm)?;
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// The text of a parser's error, with advice for what some toolchains build by default.
pub(super) fn explained(error: &dyn std::fmt::Display) -> String {
    let said = format!("{error:#}");
    match said.contains("component model async") {
        true => format!(
            "{said}; asynchronous components are not run, so build it as a synchronous one \
             (componentize-qjs: `--sync`)"
        ),
        false => said,
    }
}

/// An error for files that people hand in by mistake.
fn refuse_other_files(wasm: &[u8]) -> Result<(), String> {
    match wasm {
        [] => Err("is empty".to_owned()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Err("is a core module, not a component; build it for the target wasm32-wasip2"
                .to_owned())
        }
        [b'\0', b'a', b's', b'm', ..] => Ok(()),
        _ => Err("is not WebAssembly: it does not begin with `\\0asm`".to_owned()),
    }
}

/// The component of a plugin, decoded.
struct Plugin<'a> {
    resolve: &'a Resolve,
    world: &'a World,
}

impl Plugin<'_> {
    fn inspect(&self, host: &HostInterface) -> Inspection {
        let mut inspection = Inspection::default();
        for (key, item) in &self.world.imports {
            let name = self.resolve.name_world_key(key);
            self.compare(&name, item, true, host, &mut inspection.problems);
            inspection.waits.extend(self.waits(&name, item));
            if is_denied(&name) {
                inspection.denied.push(name.clone());
            }
            inspection.imports.push(name);
        }
        for (key, item) in &self.world.exports {
            let name = self.resolve.name_world_key(key);
            if name.starts_with(PACKAGE) {
                self.compare(&name, item, false, host, &mut inspection.problems);
            }
            inspection.exports.push(name);
        }
        let serves =
            |name: &String| SERVES.iter().any(|i| name.starts_with(&format!("{PACKAGE}/{i}@")));
        if !inspection.exports.iter().any(serves) {
            let known: Vec<_> =
                SERVES.iter().map(|i| format!("`{PACKAGE}/{i}@{}`", TRACKS[0])).collect();
            inspection.problems.push(format!(
                "exports none of {}, so there is nothing to serve; it exports: {}",
                known.join(", "),
                or_nothing(&inspection.exports)
            ));
        }
        inspection
    }

    /// The things that calls of the plugin may wait for in an imported interface.
    fn waits(&self, name: &str, item: &WorldItem) -> Vec<String> {
        let WorldItem::Interface { id, .. } = item else { return Vec::new() };
        let Some(interface) = self.resolve.interfaces.get(*id) else { return Vec::new() };
        let waits = WAITS.iter().filter(|(of, function, _)| {
            name.starts_with(&format!("{PACKAGE}/{of}@"))
                && interface.functions.contains_key(*function)
        });
        waits.map(|(of, function, what)| format!("{what} ({of}.{function})")).collect()
    }

    /// Adds a problem for each function of an interface that does not fit the host's.
    fn compare(
        &self,
        name: &str,
        item: &WorldItem,
        imports: bool,
        host: &HostInterface,
        problems: &mut Vec<String>,
    ) {
        // WASI is resolved by version ranges; linking has the last word there.
        if name.starts_with("wasi:") {
            return;
        }
        let WorldItem::Interface { id, .. } = item else {
            if imports {
                problems.push(format!("imports `{name}`, which this host does not offer"));
            }
            return;
        };
        let Some(plugins) = self.resolve.interfaces.get(*id) else { return };
        let Some(hosts) = host.interface(name, imports) else {
            problems.push(unknown_interface(name, imports, host));
            return;
        };
        // Only what the host has is written out, so there are no more types than it has.
        for (function, plugin) in &plugins.functions {
            match hosts.functions.get(function) {
                Some(host_f) => {
                    let wanted = signature(self.resolve, plugin);
                    let offered = signature(&host.resolve, host_f);
                    if wanted != offered {
                        problems.push(format!(
                            "function `{function}` of `{name}` differs\n  the host has     \
                             {offered}\n  the plugin wants {wanted}"
                        ));
                    }
                }
                None if imports => problems.push(format!(
                    "imports function `{function}` of `{name}`, which this host does not have"
                )),
                None => {}
            }
        }
        let missing = hosts.functions.keys().filter(|f| !plugins.functions.contains_key(*f));
        for function in missing.filter(|_| !imports) {
            problems.push(format!("exports `{name}` without its function `{function}`"));
        }
    }
}

/// The problem of an interface that the host does not have.
fn unknown_interface(name: &str, imports: bool, host: &HostInterface) -> String {
    let verb = if imports { "imports" } else { "exports" };
    let base = name.split('@').next().unwrap_or(name);
    let known: Vec<String> = host.interfaces(imports).map(|(known, _)| known).collect();
    let own = known.iter().filter(|known| known.split('@').next() == Some(base));
    let own: Vec<_> = own.map(|own| format!("`{own}`")).collect();
    match own.as_slice() {
        [] => format!("{verb} `{name}`, this host has {}", or_nothing(&known)),
        own => {
            let own = own.join(" and ");
            format!("{verb} `{name}`, this host has {own}; build it with a fitting SDK")
        }
    }
}

fn or_nothing(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_named_for_what_they_are() {
        for (bytes, problem) in [
            (b"".as_slice(), "is empty"),
            (b"\0asm\x01\0\0\0", "core module"),
            (b"#!/bin/sh", "not WebAssembly"),
            (b"\0asm\x0d\0\x01\0\xff", "is no valid component"),
        ] {
            let error = inspect(bytes).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_component_for_another_world_has_nothing_to_serve() {
        let inspection = inspect(b"\0asm\x0d\0\x01\0").unwrap();
        let [problem] = inspection.problems.as_slice() else { panic!("{inspection:?}") };
        assert!(problem.contains("exports none of `millrace:plugin/channel@0.2.0`"), "{problem}");
    }

    #[test]
    fn a_function_of_another_type_is_shown_from_both_sides() {
        let component = wat::parse_str(
            r#"(component
                (core module $m
                    (memory (export "memory") 1)
                    (func (export "topics") (result i32) i32.const 0))
                (core instance $i (instantiate $m))
                (func $topics (result (list u32))
                    (canon lift (core func $i "topics") (memory (core memory $i "memory"))))
                (instance $channel (export "topics" (func $topics)))
                (export "millrace:plugin/channel@0.1.0" (instance $channel)))"#,
        );
        let problems = inspect(&component.unwrap()).unwrap().problems;
        let differs = "function `topics` of `millrace:plugin/channel@0.1.0` differs\n  \
                       the host has     func() -> list<string>\n  \
                       the plugin wants func() -> list<u32>";
        assert_eq!(problems.first().map(String::as_str), Some(differs));
        assert!(problems.iter().any(|p| p.contains("without its function `handle-in`")));
    }

    #[test]
    fn an_interface_of_another_version_is_named_with_the_hosts_own() {
        let component = wat::parse_str(
            r#"(component
                (instance $channel)
                (export "millrace:plugin/channel@0.9.0" (instance $channel)))"#,
        );
        let problems = inspect(&component.unwrap()).unwrap().problems;
        let expected = "exports `millrace:plugin/channel@0.9.0`, this host has \
                        `millrace:plugin/channel@0.2.0` and `millrace:plugin/channel@0.1.0`";
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{problems:?}");
    }

    #[test]
    fn no_more_of_a_type_is_written_out_than_the_host_has() {
        let wide = (0..40).map(|_| "(list u8)".to_owned()).collect::<Vec<_>>().join(" ");
        let mut types = format!("(type $t0 (tuple {wide}))");
        for level in 1..4 {
            let same = (0..10).map(|_| format!("$t{}", level - 1)).collect::<Vec<_>>().join(" ");
            types.push_str(&format!(" (type $t{level} (tuple {same}))"));
        }
        let component = wat::parse_str(format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 1)
                    (func (export "topics") (result i32) i32.const 0))
                (core instance $i (instantiate $m))
                {types}
                (func $topics (result $t3)
                    (canon lift (core func $i "topics") (memory (core memory $i "memory"))))
                (instance $channel (export "topics" (func $topics)))
                (export "millrace:plugin/channel@0.1.0" (instance $channel)))"#
        ));
        let problems = inspect(&component.unwrap()).unwrap().problems;
        let first = problems.first().unwrap();
        assert!(first.contains("differs") && first.contains('…'), "{}", first.len());
        assert!(first.len() < 100_000, "{}", first.len());
    }

    #[test]
    fn the_number_of_functions_is_bounded() {
        let exports = (0..=MAX_FUNCTIONS).map(|n| format!("(export \"f{n}\" (func $f))"));
        let exports = exports.collect::<Vec<_>>().join(" ");
        let component = wat::parse_str(format!(
            r#"(component
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (instance $channel {exports})
                (export "a:b/c" (instance $channel)))"#
        ));
        let error = inspect(&component.unwrap()).unwrap_err();
        assert!(error.contains("has 2001 functions") && error.contains("2000"), "{error}");
    }

    #[test]
    fn the_hosts_own_interface_is_valid() {
        let host = HostInterface::new().unwrap();
        let channel = host.interface("millrace:plugin/channel@0.1.0", false).unwrap();
        let topics = channel.functions.get("topics").unwrap();
        assert_eq!(signature(&host.resolve, topics), "func() -> list<string>");
    }
}
