//! Any bytes as choices, and where such bytes are kept.

use std::fs;
use std::path::Path;

/// Bytes that are taken from the front, and zeros for ever after them: so every input
/// ends, and a shorter one means the same with less.
#[derive(Clone, Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Choices made of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 when none is left.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `0..count`; 0 if there is none.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()).checked_rem(count).unwrap_or(0)
    }

    /// One of some values; the default one if there is none.
    pub fn one_of<T: Copy + Default>(&mut self, values: &[T]) -> T {
        let at = self.below(values.len());
        values.get(at).copied().unwrap_or_default()
    }

    /// Yes or no.
    pub fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number of up to eight bytes, mostly small.
    pub fn number(&mut self) -> u64 {
        (0..self.below(9)).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// As many bytes as the first one says, which are mostly few.
    pub fn bytes(&mut self) -> &'a [u8] {
        let wanted = match self.byte() {
            few @ 0..=251 => usize::from(few),
            many => usize::from(many - 251) * 256,
        };
        let (bytes, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A text, whatever the bytes are.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// A text as long as the names that plugins may give: see `wasm::budget`.
    pub fn name(&mut self) -> String {
        let mut text = self.text();
        text.truncate(text.floor_char_boundary(255));
        text
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Gives a function each seed of the fuzz target of this name: inputs that were found to
/// be worth trying.
///
/// # Panics
///
/// When the function does, and when there are no seeds.
pub fn try_seeds(target: &str, function: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut tried = 0;
    for seed in fs::read_dir(&seeds).expect("a folder of seeds") {
        function(&fs::read(seed.expect("a seed").path()).expect("a seed"));
        tried += 1;
    }
    assert!(tried > 0, "{target} has no seeds");
}
