//! The StatsD line protocol: `name:value|type[|@rate][|#label:value,…]`.

use std::fmt::Write;

use serde::Deserialize;

/// What the server at the other end understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The types `c`, `g` and `ms`; labels become parts of the name, in their
    /// order: `channel.in.room_*.ping`.
    #[default]
    Etsy,
    /// Labels as tags.
    Dogstatsd,
}

/// A label and its value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// One value of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// Added to a counter.
    Count(i64),
    /// What a gauge is set to.
    Gauge(f64),
    /// One of a distribution of durations in milliseconds, which stands for
    /// `1 / rate` of them.
    Ms(f64, f64),
}

/// Appends a line; two when a gauge is below zero, as a sign would make it a
/// difference to the value before.
pub(super) fn write(
    out: &mut String,
    dialect: Dialect,
    prefix: &str,
    name: &str,
    labels: &[Label<'_>],
    value: Value,
) {
    if let Value::Gauge(below) = value
        && below < 0.0
    {
        write(out, dialect, prefix, name, labels, Value::Gauge(0.0));
        out.push('\n');
    }
    push_escaped(out, prefix, true);
    if !prefix.is_empty() {
        out.push('.');
    }
    push_escaped(out, name, true);
    if dialect == Dialect::Etsy {
        for (_, value) in labels {
            out.push('.');
            // A dot would look like another label.
            push_escaped(out, value, false);
        }
    }
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Count(count) => write!(out, ":{count}|c"),
        Value::Gauge(gauge) => write!(out, ":{gauge}|g"),
        Value::Ms(ms, rate) if rate < 1.0 => write!(out, ":{ms}|ms|@{rate}"),
        Value::Ms(ms, _) => write!(out, ":{ms}|ms"),
    };
    if dialect == Dialect::Dogstatsd {
        for (number, (label, value)) in labels.iter().enumerate() {
            out.push_str(if number == 0 { "|#" } else { "," });
            push_escaped(out, label, true);
            out.push(':');
            push_escaped(out, value, true);
        }
    }
}

/// Names and values come from users: what means something in a line, or to the
/// files and URLs they end up in, becomes `_`.
fn push_escaped(out: &mut String, text: &str, dots: bool) {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*') || (dots && c == '.');
    out.extend(text.chars().map(|c| if plain(c) { c } else { '_' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(dialect: Dialect, labels: &[Label<'_>], value: Value) -> String {
        let mut out = String::new();
        write(&mut out, dialect, "millrace", "a.b", labels, value);
        out
    }

    #[test]
    fn every_type_has_its_form() {
        for (value, expected) in [
            (Value::Count(3), "millrace.a.b:3|c"),
            (Value::Count(-3), "millrace.a.b:-3|c"),
            (Value::Gauge(1.5), "millrace.a.b:1.5|g"),
            (Value::Gauge(-2.0), "millrace.a.b:0|g\nmillrace.a.b:-2|g"),
            (Value::Ms(0.25, 1.0), "millrace.a.b:0.25|ms"),
            (Value::Ms(7.0, 0.001), "millrace.a.b:7|ms|@0.001"),
        ] {
            assert_eq!(line(Dialect::Etsy, &[], value), expected);
        }
    }

    #[test]
    fn labels_are_parts_of_the_name_or_tags() {
        let labels = [("channel", "room:*"), ("event", "new.msg")];
        let value = Value::Count(1);
        assert_eq!(line(Dialect::Etsy, &labels, value), "millrace.a.b.room_*.new_msg:1|c");
        assert_eq!(
            line(Dialect::Dogstatsd, &labels, value),
            "millrace.a.b:1|c|#channel:room_*,event:new.msg"
        );
    }

    #[test]
    fn users_cannot_forge_other_metrics() {
        let labels = [("event", "x|c\ny:1|g,#é")];
        let value = Value::Count(1);
        assert_eq!(line(Dialect::Etsy, &labels, value), "millrace.a.b.x_c_y_1_g___:1|c");
        assert_eq!(
            line(Dialect::Dogstatsd, &labels, value),
            "millrace.a.b:1|c|#event:x_c_y_1_g___"
        );
    }
}
