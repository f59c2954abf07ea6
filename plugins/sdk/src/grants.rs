//! What the server lets the plugin do.

#[cfg(target_arch = "wasm32")]
use std::cell::OnceCell;

use crate::Result;
#[cfg(target_arch = "wasm32")]
use crate::bindings::millrace::plugin::grants;
use crate::bindings::millrace::plugin::grants::Need;

/// The server does not let the plugin do what it asked for; what that was, and the
/// key of the configuration that grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(String);

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Denied {}

/// Asks the server, if it withholds anything at all.
#[cfg(target_arch = "wasm32")]
pub(crate) fn check(need: &Need) -> Result<()> {
    thread_local! {
        /// The same for as long as the instance lives.
        static ARE_LIMITED: OnceCell<bool> = const { OnceCell::new() };
    }
    match ARE_LIMITED.with(|known| *known.get_or_init(grants::are_limited)) {
        true => Ok(grants::check(need).map_err(Denied)?),
        false => Ok(()),
    }
}

/// In a plugin's own tests there is no server.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn check(_: &Need) -> Result<()> {
    Ok(())
}
