//! A plugin that traps as soon as it is instantiated.

use millrace_plugin::prelude::*;

struct Faulty;

impl Channel for Faulty {
    const TOPICS: &'static [&'static str] = &["room:*"];
    type Assigns = ();
}

/// A constructor, which runs before anything else in the instance.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "the only way to run code when a module is instantiated")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

#[cfg(target_arch = "wasm32")]
extern "C" fn at_start() {
    panic!("the faulty plugin was told to trap at its start");
}

millrace_plugin::export!(Faulty);
