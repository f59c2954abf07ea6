//! The fields of a log event as text.
//!
//! An event is one line. Only the field `details`, which the server itself writes (a backtrace, the
//! output of a tool), adds lines below it, each of them indented. In all other text, and within
//! those lines, control characters are escaped: a topic with a line break in it cannot begin a
//! line, and no text can control a terminal.

use std::fmt::{self, Debug, Write};

use tracing::field::Field;
use tracing_subscriber::fmt::format::Writer;

/// The field that is written below the line.
const DETAILS: &str = "details";

/// Writes one field.
pub(super) fn write(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(Escaping { out: writer, line_break: None }, "{value:?}"),
        DETAILS => {
            const BREAK: &str = "\n    ";
            writer.write_str(BREAK)?;
            write!(Escaping { out: writer, line_break: Some(BREAK) }, "{value:?}")
        }
        name => {
            let name = name.strip_prefix("r#").unwrap_or(name);
            match writer.has_ansi_escapes() {
                true => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
                false => write!(writer, "{name}=")?,
            }
            write!(Escaping { out: writer, line_break: None }, "{value:?}")
        }
    }
}

/// A writer that passes text on with control characters escaped.
struct Escaping<'a, W> {
    out: &'a mut W,
    /// The text that replaces a line break; without one it is escaped as others are.
    line_break: Option<&'static str>,
}

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_dangerous) {
            let (before, from) = rest.split_at(at);
            self.out.write_str(before)?;
            let mut chars = from.chars();
            match (chars.next(), self.line_break) {
                (Some('\n'), Some(line_break)) => self.out.write_str(line_break)?,
                (Some(char), _) => write!(self.out, "{}", char.escape_default())?,
                (None, _) => {}
            }
            rest = chars.as_str();
        }
        self.out.write_str(rest)
    }
}

/// Whether a character could look like the end of a line, or hide what a text is: control
/// characters, the separators of Unicode, and characters that change the direction of text.
fn is_dangerous(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, line_break: Option<&'static str>) -> String {
        let mut out = String::new();
        write!(Escaping { out: &mut out, line_break }, "{text}").unwrap();
        out
    }

    #[test]
    fn control_characters_are_escaped() {
        for (text, expected) in [
            ("room:é\t", r"room:é\t"),
            ("room:x\n2026 INFO forged\r\n", r"room:x\n2026 INFO forged\r\n"),
            ("\u{1b}[31mred\u{7f}\u{9b}", r"\u{1b}[31mred\u{7f}\u{9b}"),
            ("a\u{2028}b\u{202e}c\0", r"a\u{2028}b\u{202e}c\u{0}"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(escaped(text, None), expected);
        }
    }

    #[test]
    fn lines_of_details_are_indented() {
        assert_eq!(escaped("at a\nat b\r\nc", Some("\n  ")), "at a\n  at b\\r\n  c");
    }
}
