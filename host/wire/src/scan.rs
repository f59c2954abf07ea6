//! A scanner that reads past JSON values without building them.
//!
//! Every payload is checked once on its way in and once on its way out of a plugin, so this is on
//! the path of every message. It accepts exactly what `serde_json` accepts, with a quarter of the
//! instructions. JSON that many parsers refuse is noted on the way: see [`Flaw`].

use std::borrow::Cow;

use super::DecodeError;

/// A JSON text, and the place in it up to which it has been read.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The first flaw in what was read, until it is taken.
    flaw: Option<Flaw>,
}

/// A part of a text that the grammar of JSON allows, and that stands for no character or number
/// (RFC 8259, sections 6 and 8.2). Parsers treat it differently, and many refuse the whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    kind: FlawKind,
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlawKind {
    /// An escape that is half of a surrogate pair.
    Surrogate,
    /// A number outside the range of 64-bit floats.
    Number,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, flaw: None }
    }

    /// Takes the first flaw in what was read, if there was one; the scanner then has none.
    #[inline]
    pub(super) fn take_flaw(&mut self) -> Option<Flaw> {
        self.flaw.take()
    }

    /// The next byte that is no whitespace; the scanner stays in front of it.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let byte = self.byte();
        // All whitespace is below the space, or is the space.
        if byte.is_some_and(|byte| byte > b' ') { byte } else { self.peek_behind_whitespace() }
    }

    #[cold]
    fn peek_behind_whitespace(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Reads past `byte` if it is the next byte that is no whitespace; whether it was.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Reads past the next value, of any type, and returns its text.
    pub(super) fn value(&mut self) -> Result<&'a str, DecodeError> {
        self.peek();
        let start = self.at;
        match self.skip_value() {
            Ok(()) => Ok(self.text.get(start..self.at).unwrap_or_default()),
            Err(Expected(expected)) => Err(self.expected(expected)),
        }
    }

    /// Reads the next value, which must be a string.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        if !self.eat(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let escaped = self.skip_string().map_err(|Expected(expected)| self.expected(expected))?;
        if escaped {
            let quoted = self.text.get(start - 1..self.at).unwrap_or_default();
            // The only mistake left to find is half of a surrogate pair.
            let text = serde_json::from_str(quoted).map_err(|e| DecodeError(e.to_string()))?;
            return Ok(Cow::Owned(text));
        }
        Ok(Cow::Borrowed(self.text.get(start..self.at - 1).unwrap_or_default()))
    }

    /// An error that says what was expected at this place, and what was found.
    pub(super) fn expected(&self, expected: &str) -> DecodeError {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        DecodeError(format!("expected {expected} at byte {}, found {found}", self.at))
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_value(&mut self) -> Result<(), Expected> {
        let mut open = Containers::default();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.skip_string()?;
                }
                Some(b'{') => {
                    self.at += 1;
                    if !self.eat(b'}') {
                        open.push(true);
                        self.skip_key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if !self.eat(b']') {
                        open.push(false);
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                Some(b't') => self.skip_word("true")?,
                Some(b'f') => self.skip_word("false")?,
                Some(b'n') => self.skip_word("null")?,
                _ => return Err(Expected("a JSON value")),
            }
            // After a value comes the next one of its container, or the container's end.
            loop {
                let Some(in_object) = open.last() else { return Ok(()) };
                match (self.peek(), in_object) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.skip_key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, true) => return Err(Expected("',' or '}'")),
                    (_, false) => return Err(Expected("',' or ']'")),
                }
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Expected> {
        if !self.eat(b'"') {
            return Err(Expected("a key in quotes"));
        }
        self.skip_string()?;
        if self.eat(b':') { Ok(()) } else { Err(Expected("':'")) }
    }

    /// Reads past a string whose opening quote was read; whether it has escapes.
    fn skip_string(&mut self) -> Result<bool, Expected> {
        self.skip_plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(false);
        }
        self.skip_escaped_string().map(|()| true)
    }

    /// The rest of [`Self::skip_string`], from the first escape on.
    #[inline(never)]
    fn skip_escaped_string(&mut self) -> Result<(), Expected> {
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.skip_escape()?;
                }
                _ => return Err(Expected("'\"' at the end of a string")),
            }
            self.skip_plain();
        }
    }

    /// Reads up to the first byte that does not stand for itself in a string.
    #[inline]
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let special = special(u64::from_le_bytes(*word));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.byte().is_some_and(is_plain) {
            self.at += 1;
        }
    }

    fn skip_escape(&mut self) -> Result<(), Expected> {
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.byte().and_then(|digit| char::from(digit).to_digit(16));
                    let Some(digit) = digit else { return Err(Expected("a hexadecimal digit")) };
                    unit = unit << 4 | digit;
                    self.at += 1;
                }
                if SURROGATES.contains(&unit) {
                    self.skip_pair(unit);
                }
            }
            _ => return Err(Expected("an escape")),
        }
        Ok(())
    }

    /// Reads past the second half of a surrogate pair whose first half, `unit`, was read; notes a
    /// flaw if there is no such half.
    #[cold]
    fn skip_pair(&mut self, unit: u32) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let next = rest.strip_prefix("\\u").and_then(|digits| digits.get(..4));
        let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let next = next.filter(is_hex).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if unit < LOW_SURROGATE && next.is_some_and(|next| (LOW_SURROGATE..0xe000).contains(&next))
        {
            self.at += ESCAPE_BYTES;
        } else {
            self.note(FlawKind::Surrogate, self.at - ESCAPE_BYTES);
        }
    }

    fn note(&mut self, kind: FlawKind, at: usize) {
        self.flaw.get_or_insert(Flaw { kind, at });
    }

    fn skip_number(&mut self) -> Result<(), Expected> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        // A zero stands alone.
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.skip_digits()?;
            self.check_range(start);
        } else if self.at - start > MAX_FINITE_DIGITS {
            self.check_range(start);
        }
        Ok(())
    }

    /// Notes a flaw if the number from `start` to here is outside the range of 64-bit floats.
    #[cold]
    fn check_range(&mut self, start: usize) {
        let number = self.text.get(start..self.at).and_then(|text| text.parse::<f64>().ok());
        if number.is_none_or(f64::is_infinite) {
            self.note(FlawKind::Number, start);
        }
    }

    fn skip_digits(&mut self) -> Result<(), Expected> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Expected("a digit")) } else { Ok(()) }
    }

    fn skip_word(&mut self, word: &str) -> Result<(), Expected> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(Expected("a JSON value"));
        }
        self.at += word.len();
        Ok(())
    }
}

/// Code units that are only half of a character: first the high surrogates, then the low ones.
const SURROGATES: std::ops::Range<u32> = 0xd800..0xe000;
const LOW_SURROGATE: u32 = 0xdc00;
/// The size of an escape in bytes: `\u` and four digits.
const ESCAPE_BYTES: usize = 6;
/// A number with at most as many digits is always in the range of a 64-bit float.
const MAX_FINITE_DIGITS: usize = 308;

impl Flaw {
    /// What is wrong with `text`, in which the flaw was found, and what would be right.
    pub(super) fn describe(self, text: &str) -> String {
        let Self { kind, at } = self;
        match kind {
            FlawKind::Surrogate => {
                let found = text.get(at..at + ESCAPE_BYTES).unwrap_or_default();
                format!("{found} at byte {at} is half of a surrogate pair; escape both, or neither")
            }
            FlawKind::Number => format!(
                "the number at byte {at} is beyond {:e}, the largest of a 64-bit float; write it \
                 as a string",
                f64::MAX
            ),
        }
    }
}

/// What was expected at the scanner's place.
struct Expected(&'static str);

/// The containers that are open, one bit each: 1 for an object, 0 for an array.
#[derive(Default)]
struct Containers {
    /// The innermost `depth % 64` containers, or 64 of them.
    bits: u64,
    depth: usize,
    /// The other containers, 64 in each element.
    outer: Vec<u64>,
}

impl Containers {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}

/// How many bytes of a text stand for themselves inside a JSON string: those before the first
/// quote, backslash or control character. Eight bytes are looked at together.
pub(super) fn plain_prefix(text: &str) -> usize {
    let mut scanner = Scanner::new(text);
    scanner.skip_plain();
    scanner.at
}

/// Finds the bytes of a word that do not stand for themselves in a JSON string. 0 if there are
/// none; otherwise the lowest bit that is set is the highest bit of the first such byte.
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // A byte below another one, both less than 0x80, borrows from its high bit when that is
    // subtracted from it.
    let quotes = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
    let backslashes = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    let controls = word.wrapping_sub(ONES * 0x20);
    (quotes | backslashes | controls) & !word & HIGHS
}

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
