//! The types of functions as texts, to be compared.

use std::fmt::Write;

use wit_parser::{Function, Resolve, Type, TypeDefKind};

/// The number of parts of a function's type that are written out; the host's own have a hundred.
const MAX_PARTS: usize = 5_000;

/// The type of a function with every named type written out, so that two texts are equal exactly if
/// the functions fit each other. A type that is too long is cut off with `…`, which no type of the
/// host has.
pub(super) fn signature(resolve: &Resolve, function: &Function) -> String {
    let mut writer = Writer { resolve, parts: MAX_PARTS };
    let mut out = String::from("func(");
    for (at, param) in function.params.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = write!(out, "{comma}{}: {}", param.name, writer.written_out(&param.ty));
    }
    out.push(')');
    if let Some(result) = &function.result {
        let _ = write!(out, " -> {}", writer.written_out(result));
    }
    out
}

struct Writer<'a> {
    resolve: &'a Resolve,
    /// The number of parts that may still be written.
    parts: usize,
}

impl Writer<'_> {
    fn written_out(&mut self, ty: &Type) -> String {
        let Some(left) = self.parts.checked_sub(1) else { return "…".to_owned() };
        self.parts = left;
        let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
        let Some(def) = self.resolve.types.get(*id) else { return "?".to_owned() };
        match &def.kind {
            TypeDefKind::Type(ty) => self.written_out(ty),
            TypeDefKind::List(ty) => format!("list<{}>", self.written_out(ty)),
            TypeDefKind::Option(ty) => format!("option<{}>", self.written_out(ty)),
            TypeDefKind::Result(result) => {
                let ok = self.optional(result.ok.as_ref());
                format!("result<{ok}, {}>", self.optional(result.err.as_ref()))
            }
            TypeDefKind::Tuple(tuple) => {
                let types = self.list(&tuple.types, |writer, ty| writer.written_out(ty));
                format!("tuple<{types}>")
            }
            TypeDefKind::Record(record) => {
                let fields = self.list(&record.fields, |writer, field| {
                    format!("{}: {}", field.name, writer.written_out(&field.ty))
                });
                format!("record {{ {fields} }}")
            }
            TypeDefKind::Variant(variant) => {
                let cases = self.list(&variant.cases, |writer, case| match &case.ty {
                    Some(ty) => format!("{}({})", case.name, writer.written_out(ty)),
                    None => case.name.clone(),
                });
                format!("variant {{ {cases} }}")
            }
            TypeDefKind::Flags(flags) => {
                let names = self.list(&flags.flags, |_, flag| flag.name.clone());
                format!("flags {{ {names} }}")
            }
            TypeDefKind::Enum(cases) => {
                let names = self.list(&cases.cases, |_, case| case.name.clone());
                format!("enum {{ {names} }}")
            }
            other => other.as_str().to_owned(),
        }
    }

    fn optional(&mut self, ty: Option<&Type>) -> String {
        ty.map_or_else(|| "_".to_owned(), |ty| self.written_out(ty))
    }

    /// Writes a list of parts, as many as may still be written.
    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T) -> String) -> String {
        let mut out = String::new();
        for (at, item) in items.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            if self.parts == 0 {
                out.push_str(comma);
                out.push('…');
                break;
            }
            self.parts -= 1;
            let _ = write!(out, "{comma}{}", write(self, item));
        }
        out
    }
}
