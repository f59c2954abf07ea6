//! JSON → term, as signing needs it.

use serde_json::{Number, Value};

use super::{MAX_DEPTH, MAX_TERMS, VERSION, tag};

/// What has no place in a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// Deeper than verifying allows.
    TooDeep,
    /// More parts or bytes than verifying allows.
    TooLarge,
}

/// An encoder of one term. What it is told to write is in order: a tuple's header, then its terms.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    terms_left: usize,
}

impl Encoder {
    /// An encoder with nothing but the format's version.
    pub(crate) fn new() -> Self {
        Self { bytes: vec![VERSION], terms_left: MAX_TERMS }
    }

    /// The encoded term.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The header of a tuple; its terms follow.
    pub(crate) fn tuple(&mut self, length: u8) -> Result<(), EncodeError> {
        self.count()?;
        self.bytes.extend([tag::SMALL_TUPLE, length]);
        Ok(())
    }

    /// An atom with a name of 255 bytes at most.
    pub(crate) fn atom(&mut self, name: &str) -> Result<(), EncodeError> {
        self.count()?;
        let length = u8::try_from(name.len()).map_err(|_| EncodeError::TooLarge)?;
        self.bytes.extend([tag::SMALL_UTF8_ATOM, length]);
        self.bytes.extend(name.as_bytes());
        Ok(())
    }

    /// An integer, in the shortest form: as Erlang writes it.
    pub(crate) fn integer(&mut self, integer: i128) -> Result<(), EncodeError> {
        self.count()?;
        if let Ok(small) = u8::try_from(integer) {
            self.bytes.extend([tag::SMALL_INTEGER, small]);
        } else if let Ok(integer) = i32::try_from(integer) {
            self.bytes.push(tag::INTEGER);
            self.bytes.extend(integer.to_be_bytes());
        } else {
            let magnitude = u64::try_from(integer.unsigned_abs());
            let magnitude = magnitude.map_err(|_| EncodeError::TooLarge)?;
            let length = 8_u8.saturating_sub((magnitude.leading_zeros() / 8) as u8);
            self.bytes.extend([tag::SMALL_BIG, length, u8::from(integer < 0)]);
            self.bytes.extend(magnitude.to_le_bytes().into_iter().take(length.into()));
        }
        Ok(())
    }

    /// A JSON value that is so deep within the term: strings are binaries, keys too.
    pub(crate) fn json(&mut self, value: &Value, depth: usize) -> Result<(), EncodeError> {
        if depth > MAX_DEPTH {
            return Err(EncodeError::TooDeep);
        }
        match value {
            Value::Null => self.atom("nil"),
            Value::Bool(true) => self.atom("true"),
            Value::Bool(false) => self.atom("false"),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.binary(text.as_bytes()),
            Value::Array(items) if items.is_empty() => {
                self.count()?;
                self.bytes.push(tag::NIL);
                Ok(())
            }
            Value::Array(items) => {
                self.header(tag::LIST, items.len())?;
                for item in items {
                    self.json(item, depth + 1)?;
                }
                self.bytes.push(tag::NIL);
                Ok(())
            }
            Value::Object(members) => {
                self.header(tag::MAP, members.len())?;
                for (name, value) in members {
                    // A key is a level deeper than its map, too.
                    if depth + 1 > MAX_DEPTH {
                        return Err(EncodeError::TooDeep);
                    }
                    self.binary(name.as_bytes())?;
                    self.json(value, depth + 1)?;
                }
                Ok(())
            }
        }
    }

    fn number(&mut self, number: &Number) -> Result<(), EncodeError> {
        if let Some(integer) = number.as_i128() {
            return self.integer(integer);
        }
        self.count()?;
        self.bytes.push(tag::NEW_FLOAT);
        self.bytes.extend(number.as_f64().unwrap_or_default().to_be_bytes());
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.header(tag::BINARY, bytes.len())?;
        self.bytes.extend(bytes);
        Ok(())
    }

    fn header(&mut self, tag: u8, length: usize) -> Result<(), EncodeError> {
        self.count()?;
        let length = u32::try_from(length).map_err(|_| EncodeError::TooLarge)?;
        self.bytes.push(tag);
        self.bytes.extend(length.to_be_bytes());
        Ok(())
    }

    fn count(&mut self) -> Result<(), EncodeError> {
        self.terms_left = self.terms_left.checked_sub(1).ok_or(EncodeError::TooLarge)?;
        Ok(())
    }
}
