//! Any bytes as choices.

/// Bytes that are taken from the front, and zeros for ever after them: so every input
/// ends, and a shorter one means the same with less.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `0..count`; 0 if there is none.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()).checked_rem(count).unwrap_or(0)
    }

    pub(crate) fn one_of<T: Copy + Default>(&mut self, values: &[T]) -> T {
        let at = self.below(values.len());
        values.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn number(&mut self) -> u64 {
        (0..self.below(9)).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// As many bytes as the first one says, which are mostly few.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let wanted = match self.byte() {
            few @ 0..=251 => usize::from(few),
            many => usize::from(many - 251) * 256,
        };
        let (bytes, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// A text as long as the names that plugins may give: see `wasm::budget`.
    pub(crate) fn name(&mut self) -> String {
        let mut text = self.text();
        text.truncate(text.floor_char_boundary(255));
        text
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
