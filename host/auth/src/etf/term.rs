//! A decoded term.

/// A term of Erlang, as far as data goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term<'a> {
    /// An integer whose magnitude has 64 bits.
    Integer(i128),
    /// A finite float.
    Float(f64),
    /// A binary: any bytes.
    Binary(&'a [u8]),
    /// An atom, by its name.
    Atom(String),
    /// A proper list.
    List(Vec<Term<'a>>),
    /// A tuple.
    Tuple(Vec<Term<'a>>),
    /// Pairs of keys and values, in the order of the bytes.
    Map(Vec<(Term<'a>, Term<'a>)>),
}

impl Term<'_> {
    /// Whether the term is the atom of this name.
    pub(crate) fn is_atom(&self, name: &str) -> bool {
        matches!(self, Self::Atom(found) if found == name)
    }
}
