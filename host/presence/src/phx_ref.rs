//! `phx_ref`: the name of one meta of one moment.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The ref of a meta: 12 bytes, which clients see as 16 characters of URL-safe base64. The first 8
/// are a number that grows with each ref of a shard, the others the salt of its node.
///
/// A ref is unique among those of its topic, as a topic is in one shard of each node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhxRef([u8; 12]);

impl PhxRef {
    /// The number of characters of a ref.
    pub const CHARACTERS: usize = 16;

    /// The ref with this number and this salt.
    #[must_use]
    pub fn new(number: u64, salt: u32) -> Self {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        let [i, j, k, l] = salt.to_be_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    /// The ref of these 12 bytes, as [`PhxRef::to_bytes`] gave them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The ref's 12 bytes, for another node.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        self.0
    }

    /// Appends the 16 characters.
    pub(crate) fn push_to(self, out: &mut String) {
        URL_SAFE_NO_PAD.encode_string(self.0, out);
    }
}

impl fmt::Display for PhxRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PhxRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The refs that a shard gives out.
#[derive(Debug)]
pub(crate) struct Refs {
    /// The number of the last ref.
    last: u64,
    salt: u32,
}

impl Refs {
    pub(crate) fn new(salt: u32) -> Self {
        Self { last: 0, salt }
    }

    /// The next ref. Its number is the time, or one above the last when the clock stands still or
    /// goes back.
    pub(crate) fn next(&mut self, unix_ns: u64) -> PhxRef {
        self.last = unix_ns.max(self.last.wrapping_add(1));
        PhxRef::new(self.last, self.salt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_has_16_characters_that_need_no_escape() {
        for number in [0, 1, u64::MAX, 0xfbff_fefe_fbff_fefe] {
            let text = PhxRef::new(number, 0xffff_fbff).to_string();
            assert_eq!(text.len(), PhxRef::CHARACTERS);
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!(text.chars().all(is_plain), "{text}");
            let mut pushed = String::new();
            PhxRef::new(number, 0xffff_fbff).push_to(&mut pushed);
            assert_eq!(pushed, text);
        }
    }

    #[test]
    fn refs_grow_while_the_clock_stands_or_goes_back() {
        let mut refs = Refs::new(7);
        let given: Vec<PhxRef> = [5, 5, 5, 3, 100, 99].map(|ns| refs.next(ns)).to_vec();
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
        assert_eq!(given[1], PhxRef::new(6, 7));
        assert_eq!(given[4], PhxRef::new(100, 7));
        assert_eq!(PhxRef::from_bytes(given[0].to_bytes()), given[0]);
    }
}
