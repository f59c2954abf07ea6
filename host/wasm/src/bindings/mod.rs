//! The interface in `wit/` as Rust types: that of the open track, which the host speaks, and in
//! [`v0_1`] the one before it.
//!
//! `Borrowing` lets calls pass slices of frames and assigns without a copy on the host's side.
//! Imports are linked by hand, in [`super::imports`]. Interfaces that a plugin may leave out are
//! looked up one by one in [`super::exports`], so the world `everything` is never required whole.

pub(super) mod v0_1;

wasmtime::component::bindgen!({
    world: "everything",
    path: "../../wit/v0.2",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

/// The packages of the interfaces that plugins are built against, the open one first.
pub(super) const TRACKS: [&str; 2] = ["0.2.0", "0.1.0"];
