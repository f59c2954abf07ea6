//! The interface in `wit/v0.1` as Rust types.
//!
//! `Borrowing` lets calls pass slices of frames and assigns without a copy on the host's side.
//! Imports are linked by hand, in [`super::imports`]. Interfaces that a plugin may leave out are
//! looked up one by one in [`super::component`], so the world `everything` is never required whole.

wasmtime::component::bindgen!({
    world: "everything",
    path: "../../wit/v0.1",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});
