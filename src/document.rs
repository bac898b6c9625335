//! Data for programs: JSON and YAML that read back to the same text, whatever it is, and hold nothing that a terminal obeys
//! or that a reader does not see. Such characters are written as each language's own escapes, on a terminal and elsewhere.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use crate::core::invisible::marked;

/// Of maps with names for keys, and plain values: nothing in them can fail to serialise.
pub(crate) fn json<T: Serialize + ?Sized>(content: &T) -> String {
    with_escapes(&serde_json::to_string_pretty(content).unwrap_or_default())
}

/// The same as YAML, in kubectl's layout.
pub(crate) fn yaml<T: Serialize + ?Sized>(content: &T) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Yaml::default());
    if content.serialize(&mut serializer).is_err() {
        return String::new();
    }
    // A scalar is one line, and ends with neither: this is before what begins on the next one.
    String::from_utf8(text).unwrap_or_default().replace(": \n", ":\n") + "\n"
}

/// JSON in which such characters are escaped: they are nowhere but in texts.
pub(crate) fn with_escapes(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for (character, is_hostile) in marked(json) {
        if is_hostile && character != '\n' {
            push_units(character, &mut escaped);
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// `\u202e`, and two of them beyond U+FFFF.
pub(crate) fn push_units(character: char, text: &mut String) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a String does not fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// Makes YAML of what `serde_json` writes: lists and maps in lines of their own, texts plain or in double quotes.
#[derive(Default)]
struct Yaml {
    open: Vec<Open>,
    /// The text that is being read.
    text: String,
}

/// A list or a map that has begun.
struct Open {
    is_list: bool,
    is_empty: bool,
    /// Where its lines begin.
    column: usize,
    /// Its first line goes on the one that is there.
    is_inline: bool,
}

impl Yaml {
    fn begin(&mut self, is_list: bool) {
        let (column, is_inline) = match self.open.last() {
            None => (0, true),
            Some(Open { is_list: false, column, .. }) if is_list => (*column, false),
            Some(Open { is_list, column, .. }) => (column + 2, *is_list),
        };
        self.open.push(Open { is_list, is_empty: true, column, is_inline });
    }

    fn end<W: Write + ?Sized>(&mut self, writer: &mut W, empty: &str) -> io::Result<()> {
        match self.open.pop() {
            Some(open) if open.is_empty => writer.write_all(empty.as_bytes()),
            _ => Ok(()),
        }
    }

    fn line<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        let is_first = std::mem::replace(&mut open.is_empty, false);
        if is_first && open.is_inline { Ok(()) } else { write!(writer, "\n{:1$}", "", open.column) }
    }
}

impl Formatter for Yaml {
    fn begin_array<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin(true);
        Ok(())
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, "[]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, _: bool) -> io::Result<()> {
        self.line(writer)?;
        writer.write_all(b"- ")
    }

    fn begin_object<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin(false);
        Ok(())
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, "{}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, _: bool) -> io::Result<()> {
        self.line(writer)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn begin_string<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.text.clear();
        Ok(())
    }

    fn write_string_fragment<W: Write + ?Sized>(&mut self, _: &mut W, fragment: &str) -> io::Result<()> {
        self.text.push_str(fragment);
        Ok(())
    }

    fn write_char_escape<W: Write + ?Sized>(&mut self, _: &mut W, escape: CharEscape) -> io::Result<()> {
        self.text.push(match escape {
            CharEscape::Quote => '"',
            CharEscape::ReverseSolidus => '\\',
            CharEscape::Solidus => '/',
            CharEscape::Backspace => '\u{8}',
            CharEscape::FormFeed => '\u{c}',
            CharEscape::LineFeed => '\n',
            CharEscape::CarriageReturn => '\r',
            CharEscape::Tab => '\t',
            CharEscape::AsciiControl(byte) => char::from(byte),
        });
        Ok(())
    }

    fn end_string<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        let text = if is_plain(&self.text) { &self.text } else { &quoted(&self.text) };
        writer.write_all(text.as_bytes())
    }

    /// YAML 1.1 takes `1e16` for a text.
    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let mut json = Vec::new();
        CompactFormatter.write_f64(&mut json, value)?;
        let json = String::from_utf8(json).unwrap_or_default();
        let Some((mantissa, exponent)) = json.split_once('e') else {
            return writer.write_all(json.as_bytes());
        };
        let point = if mantissa.contains('.') { "" } else { ".0" };
        let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
        write!(writer, "{mantissa}{point}e{sign}{exponent}")
    }
}

/// Whether every reader of YAML takes it for this text without quotes: words that begin with a letter, and are no value of
/// YAML 1.1.
fn is_plain(text: &str) -> bool {
    const VALUES: [&str; 9] = ["y", "yes", "n", "no", "true", "false", "on", "off", "null"];
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.ends_with(' ')
        && text.chars().all(|character| character.is_ascii_alphanumeric() || " ./_-+()@;".contains(character))
        && !VALUES.iter().any(|value| value.eq_ignore_ascii_case(text))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for (character, is_hostile) in marked(text) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\u{10000}'.. if is_hostile => {
                // Writing to a String does not fail.
                let _ = write!(quoted, "\\U{:08x}", u32::from(character));
            }
            _ if is_hostile => push_units(character, &mut quoted),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
