//! The StatsD line protocol: `name:value|type[|@rate][|#label:value,…]`. Sources:
//! `docs/metric_types.md` of statsd/statsd, and the DogStatsD pages of Datadog.

use std::fmt::Write;

use serde::Deserialize;

/// The dialect of StatsD that the receiving server understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The types `c`, `g`, `ms` (for all distributions) and `s`; labels become parts of the name,
    /// in their order: `channel.in.room__.ping`.
    #[default]
    Etsy,
    /// Labels as tags, and the types `h` and `d` too.
    Dogstatsd,
}

/// A label and its value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// The value of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A number to add to a counter.
    Count(i64),
    /// The new value of a gauge.
    Gauge(f64),
    /// One of several values, which stands for `1 / rate` of them: its type, the value, the rate.
    Sample(Sampled, f64, f64),
    /// A member of a set, which counts once.
    Member(&'a str),
}

/// The type of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampled {
    /// A duration in milliseconds: `ms`.
    Timing,
    /// A value that the server measures: `d`.
    Distribution,
    /// A value that a plugin measures: `h`.
    Histogram,
}

/// Appends a line. A gauge below zero takes two, the first of which sets it to 0: StatsD reads a
/// value with a sign as a difference to the value before.
pub(super) fn write(
    out: &mut String,
    dialect: Dialect,
    prefix: &str,
    name: &str,
    labels: &[Label<'_>],
    value: Value<'_>,
) {
    if let Value::Gauge(below) = value
        && below < 0.0
    {
        write(out, dialect, prefix, name, labels, Value::Gauge(0.0));
        out.push('\n');
    }
    push_escaped(out, prefix, ".");
    if !prefix.is_empty() {
        out.push('.');
    }
    push_escaped(out, name, ".");
    if dialect == Dialect::Etsy {
        for (_, value) in labels {
            out.push('.');
            // A dot would look like another label.
            push_escaped(out, value, "");
        }
    }
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Count(count) => write!(out, ":{count}|c"),
        Value::Gauge(gauge) => write!(out, ":{gauge}|g"),
        Value::Sample(sampled, sample, rate) => {
            let letters = sampled.letters(dialect);
            let written = write!(out, ":{sample}|{letters}");
            if rate < 1.0 { written.and_then(|()| write!(out, "|@{rate}")) } else { written }
        }
        Value::Member(member) => {
            out.push(':');
            push_escaped(out, member, ".:/*");
            out.push_str("|s");
            Ok(())
        }
    };
    if dialect == Dialect::Dogstatsd {
        for (number, (label, value)) in labels.iter().enumerate() {
            out.push_str(if number == 0 { "|#" } else { "," });
            push_escaped(out, label, ".");
            out.push(':');
            push_escaped(out, value, ".:/*");
        }
    }
}

impl Sampled {
    fn letters(self, dialect: Dialect) -> &'static str {
        match (dialect, self) {
            (Dialect::Etsy, _) | (Dialect::Dogstatsd, Self::Timing) => "ms",
            (Dialect::Dogstatsd, Self::Distribution) => "d",
            (Dialect::Dogstatsd, Self::Histogram) => "h",
        }
    }
}

/// Appends a name or value that may come from users. Characters that have a meaning in a line, or
/// in the files and URLs made of it, become `_`. Letters, digits, `-`, `_` and the characters in
/// `allowed` stay.
fn push_escaped(out: &mut String, text: &str, allowed: &str) {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || allowed.contains(c);
    out.extend(text.chars().map(|c| if plain(c) { c } else { '_' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(dialect: Dialect, labels: &[Label<'_>], value: Value<'_>) -> String {
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
            (Value::Sample(Sampled::Timing, 0.25, 1.0), "millrace.a.b:0.25|ms"),
            (Value::Sample(Sampled::Histogram, 7.0, 0.001), "millrace.a.b:7|ms|@0.001"),
            (Value::Sample(Sampled::Distribution, 7.0, 1.0), "millrace.a.b:7|ms"),
            (Value::Member("a|b"), "millrace.a.b:a_b|s"),
        ] {
            assert_eq!(line(Dialect::Etsy, &[], value), expected);
        }
        for (sampled, expected) in [
            (Sampled::Timing, "millrace.a.b:7|ms|@0.5"),
            (Sampled::Histogram, "millrace.a.b:7|h|@0.5"),
            (Sampled::Distribution, "millrace.a.b:7|d|@0.5"),
        ] {
            assert_eq!(line(Dialect::Dogstatsd, &[], Value::Sample(sampled, 7.0, 0.5)), expected);
        }
    }

    #[test]
    fn labels_are_parts_of_the_name_or_tags() {
        let labels = [("channel", "room:*"), ("event", "new.msg")];
        let value = Value::Count(1);
        assert_eq!(line(Dialect::Etsy, &labels, value), "millrace.a.b.room__.new_msg:1|c");
        assert_eq!(
            line(Dialect::Dogstatsd, &labels, value),
            "millrace.a.b:1|c|#channel:room:*,event:new.msg"
        );
    }

    #[test]
    fn users_cannot_forge_other_metrics() {
        let labels = [("event", "x|c\ny:1|g,#é")];
        let value = Value::Count(1);
        assert_eq!(line(Dialect::Etsy, &labels, value), "millrace.a.b.x_c_y_1_g___:1|c");
        assert_eq!(
            line(Dialect::Dogstatsd, &labels, value),
            "millrace.a.b:1|c|#event:x_c_y:1_g___"
        );
    }
}
