//! Erlang's external term format, as much of it as Phoenix tokens have.
//!
//! Source: "External Term Format" in the documentation of ERTS. Atoms are never interned and
//! functions never made, so a term is data alone.

mod decode;
mod encode;
mod json;
mod term;

pub(crate) use decode::decode;
pub(crate) use encode::{EncodeError, Encoder};
pub(crate) use json::to_json;
pub(crate) use term::Term;

/// The first byte of every encoded term.
const VERSION: u8 = 131;

/// How deep a term is nested at most. What apps sign is a value, or a map of values.
const MAX_DEPTH: usize = 32;

/// The number of terms in a term at most, each byte of a charlist included.
const MAX_TERMS: usize = 4_096;

/// Tags of the format, which both directions have.
mod tag {
    pub(super) const NEW_FLOAT: u8 = 70;
    pub(super) const SMALL_INTEGER: u8 = 97;
    pub(super) const INTEGER: u8 = 98;
    pub(super) const LATIN1_ATOM: u8 = 100;
    pub(super) const SMALL_TUPLE: u8 = 104;
    pub(super) const LARGE_TUPLE: u8 = 105;
    pub(super) const NIL: u8 = 106;
    pub(super) const STRING: u8 = 107;
    pub(super) const LIST: u8 = 108;
    pub(super) const BINARY: u8 = 109;
    pub(super) const SMALL_BIG: u8 = 110;
    pub(super) const SMALL_LATIN1_ATOM: u8 = 115;
    pub(super) const MAP: u8 = 116;
    pub(super) const UTF8_ATOM: u8 = 118;
    pub(super) const SMALL_UTF8_ATOM: u8 = 119;
}
