//! The grants of the plugin: what the server allows it to do.

#[cfg(target_arch = "wasm32")]
use std::cell::OnceCell;

use crate::Result;
#[cfg(target_arch = "wasm32")]
use crate::bindings::millrace::plugin::grants;
use crate::bindings::millrace::plugin::grants::Need;

/// An error: the server does not allow something to the plugin. The text says what that is, and
/// which configuration key allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(String);

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Denied {}

/// Asks the server whether something is allowed, if it forbids anything at all.
#[cfg(target_arch = "wasm32")]
pub(crate) fn check(need: &Need) -> Result<()> {
    thread_local! {
        /// Whether the server forbids anything, which does not change during the life of the
        /// instance.
        static ARE_LIMITED: OnceCell<bool> = const { OnceCell::new() };
    }
    match ARE_LIMITED.with(|known| *known.get_or_init(grants::are_limited)) {
        true => Ok(grants::check(need).map_err(Denied)?),
        false => Ok(()),
    }
}

/// Allows everything: in a plugin's own tests there is no server.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn check(_: &Need) -> Result<()> {
    Ok(())
}
