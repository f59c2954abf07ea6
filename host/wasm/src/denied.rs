//! Interfaces of WASI that plugins may import and this host does not offer. They are linked, so
//! that plugins load whose toolchain puts them into every component; a call of them traps and says
//! so.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType, Val};
use wasmtime::{Engine, StoreContextMut};

use super::Fault;
use super::fault::FaultKind;
use super::host::State;

/// The packages of WASI 0.2 that are linked, with nothing granted.
const OFFERED: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// Whether a plugin may import an interface of this name whose functions trap.
pub(super) fn is_denied(interface: &str) -> bool {
    let Some((package, _)) = interface.strip_prefix("wasi:").and_then(|n| n.split_once('/')) else {
        return false;
    };
    !OFFERED.contains(&package)
}

/// A linker for a component that imports denied interfaces: all that is offered, and functions that
/// trap. `None` if it imports none.
pub(super) fn linker_for(
    component: &Component,
    engine: &Engine,
    offered: &Linker<State>,
) -> wasmtime::Result<Option<Linker<State>>> {
    let component = component.component_type();
    if !component.imports(engine).any(|(name, _)| is_denied(name)) {
        return Ok(None);
    }
    let mut linker = offered.clone();
    // The resources of the interfaces so far, which later interfaces may use.
    let mut resources = Vec::new();
    for (name, import) in component.imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) if is_denied(name) => {
                    let fault = call_of(name, item);
                    let trap = move |_: StoreContextMut<'_, State>, _, _: &[Val], _: &mut [Val]| {
                        Err(fault.clone().into())
                    };
                    linker.instance(name)?.func_new(item, trap)?;
                }
                ComponentItem::Resource(resource) if !resources.contains(&resource) => {
                    resources.push(resource);
                    if is_denied(name) {
                        let denied = ResourceType::host::<Denied>();
                        linker.instance(name)?.resource(item, denied, |_, _| Ok(()))?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(Some(linker))
}

/// The type of the resources of denied interfaces, of which there is never a value.
struct Denied;

/// The fault of a call of a denied function.
fn call_of(interface: &str, function: &str) -> Fault {
    let instead = match interface.starts_with("wasi:http/") {
        true => "; requests are sent with `millrace:plugin/http`",
        false => "",
    };
    let message = format!(
        "the plugin called `{function}` of `{interface}`, which this server does not offer{instead}"
    );
    Fault { kind: FaultKind::Trap, message, backtrace: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_with_nothing_granted_is_not_denied() {
        for (interface, denied) in [
            ("wasi:http/types@0.2.10", true),
            ("wasi:keyvalue/store@0.2.0-draft2", true),
            ("wasi:io/streams@0.2.10", false),
            ("millrace:plugin/http@0.1.0", false),
            ("wasi:http", false),
        ] {
            assert_eq!(is_denied(interface), denied, "{interface}");
        }
    }
}
