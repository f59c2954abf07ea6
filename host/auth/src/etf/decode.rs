//! Bytes → term, within bounds.

use super::{MAX_DEPTH, MAX_TERMS, Term, VERSION, tag};
use crate::Refusal;

/// Decodes one term, which is all of the bytes.
///
/// # Errors
///
/// The bytes are cut short or go on, the term is deeper or has more parts than is allowed, or has
/// what is no data: references, processes, functions, bit strings; or it is compressed, which
/// tokens never are.
pub(crate) fn decode(bytes: &[u8]) -> Result<Term<'_>, Refusal> {
    let mut reader = Reader { rest: bytes, terms_left: MAX_TERMS };
    if reader.byte()? != VERSION {
        return Err(Refusal::Malformed("no external term"));
    }
    let term = reader.term(0)?;
    if reader.rest.is_empty() { Ok(term) } else { Err(Refusal::Malformed("bytes after the term")) }
}

struct Reader<'a> {
    rest: &'a [u8],
    terms_left: usize,
}

impl<'a> Reader<'a> {
    fn term(&mut self, depth: usize) -> Result<Term<'a>, Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::Malformed("a term that is nested too deep"));
        }
        self.count(1)?;
        match self.byte()? {
            tag::SMALL_INTEGER => Ok(Term::Integer(self.byte()?.into())),
            tag::INTEGER => Ok(Term::Integer(i32::from_be_bytes(self.array()?).into())),
            tag::SMALL_BIG => self.big(),
            tag::NEW_FLOAT => self.float(),
            tag::BINARY => {
                let length = self.length_4()?;
                self.take(length).map(Term::Binary)
            }
            tag::LATIN1_ATOM => {
                let length = self.length_2()?;
                self.latin1_atom(length)
            }
            tag::SMALL_LATIN1_ATOM => {
                let length = self.byte()?.into();
                self.latin1_atom(length)
            }
            tag::UTF8_ATOM => {
                let length = self.length_2()?;
                self.utf8_atom(length)
            }
            tag::SMALL_UTF8_ATOM => {
                let length = self.byte()?.into();
                self.utf8_atom(length)
            }
            tag::NIL => Ok(Term::List(Vec::new())),
            tag::STRING => self.charlist(),
            tag::LIST => self.list(depth),
            tag::SMALL_TUPLE => {
                let length = self.byte()?.into();
                self.terms(length, depth).map(Term::Tuple)
            }
            tag::LARGE_TUPLE => {
                let length = self.length_4()?;
                self.terms(length, depth).map(Term::Tuple)
            }
            tag::MAP => self.map(depth),
            _ => Err(Refusal::UnsupportedData("a term that is no plain data, or compressed")),
        }
    }

    /// An integer of up to eight bytes, the lowest first; Erlang uses no more for 64 bits.
    fn big(&mut self) -> Result<Term<'a>, Refusal> {
        let length = self.byte()?.into();
        let is_negative = match self.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Refusal::Malformed("the sign of an integer")),
        };
        let bytes = self.take(length)?;
        if length > 8 {
            return Err(Refusal::UnsupportedData("an integer of more than 64 bits"));
        }
        let magnitude = bytes.iter().rev().fold(0_i128, |sum, byte| (sum << 8) | i128::from(*byte));
        Ok(Term::Integer(if is_negative { -magnitude } else { magnitude }))
    }

    fn float(&mut self) -> Result<Term<'a>, Refusal> {
        let float = f64::from_be_bytes(self.array()?);
        if float.is_finite() {
            Ok(Term::Float(float))
        } else {
            Err(Refusal::Malformed("a float that is not finite"))
        }
    }

    fn latin1_atom(&mut self, length: usize) -> Result<Term<'a>, Refusal> {
        let name = self.take(length)?;
        Ok(Term::Atom(name.iter().copied().map(char::from).collect()))
    }

    fn utf8_atom(&mut self, length: usize) -> Result<Term<'a>, Refusal> {
        let name = std::str::from_utf8(self.take(length)?);
        name.map(|name| Term::Atom(name.to_owned()))
            .map_err(|_| Refusal::Malformed("an atom that is no UTF-8"))
    }

    /// A list of small integers, which Erlang packs as bytes.
    fn charlist(&mut self) -> Result<Term<'a>, Refusal> {
        let length = self.length_2()?;
        let bytes = self.take(length)?;
        self.count(length)?;
        Ok(Term::List(bytes.iter().map(|byte| Term::Integer((*byte).into())).collect()))
    }

    fn list(&mut self, depth: usize) -> Result<Term<'a>, Refusal> {
        let length = self.length_4()?;
        let items = self.terms(length, depth)?;
        if self.byte()? == tag::NIL {
            Ok(Term::List(items))
        } else {
            Err(Refusal::UnsupportedData("an improper list"))
        }
    }

    fn map(&mut self, depth: usize) -> Result<Term<'a>, Refusal> {
        let length = self.length_4()?;
        self.check_fits(length)?;
        let mut pairs = Vec::new();
        for _ in 0..length {
            pairs.push((self.term(depth + 1)?, self.term(depth + 1)?));
        }
        Ok(Term::Map(pairs))
    }

    fn terms(&mut self, length: usize, depth: usize) -> Result<Vec<Term<'a>>, Refusal> {
        self.check_fits(length)?;
        let mut terms = Vec::new();
        for _ in 0..length {
            terms.push(self.term(depth + 1)?);
        }
        Ok(terms)
    }

    /// Refuses a length before anything is done for it: each term has a byte at least.
    const fn check_fits(&self, length: usize) -> Result<(), Refusal> {
        if length > self.rest.len() {
            Err(Refusal::Malformed("a term that is cut short"))
        } else {
            Ok(())
        }
    }

    fn count(&mut self, terms: usize) -> Result<(), Refusal> {
        self.terms_left = self
            .terms_left
            .checked_sub(terms)
            .ok_or(Refusal::Malformed("a term of too many parts"))?;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Refusal::Malformed("a term that is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Refusal::Malformed("a term that is cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        self.array().map(|[byte]| byte)
    }

    fn length_2(&mut self) -> Result<usize, Refusal> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn length_4(&mut self) -> Result<usize, Refusal> {
        let length = u32::from_be_bytes(self.array()?);
        usize::try_from(length).map_err(|_| Refusal::Malformed("a term that is cut short"))
    }
}
