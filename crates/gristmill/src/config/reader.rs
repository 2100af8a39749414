//! A typed reader over a parsed TOML file that keeps line numbers, goes on after an error, and knows
//! which keys were asked for: all others are unknown.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Findings, Place};

/// How much of a wrong value an error repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// The text of one file and what is found in it.
pub(super) struct SourceFile<'a> {
    path: PathBuf,
    line_ends: Vec<usize>,
    findings: &'a RefCell<Findings>,
}

impl<'a> SourceFile<'a> {
    pub(super) fn new(path: &Path, text: &str, findings: &'a RefCell<Findings>) -> SourceFile<'a> {
        let line_ends =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        SourceFile { path: path.to_owned(), line_ends, findings }
    }

    /// Parses the text. What is no TOML is all reported at once, and nothing is read from it.
    pub(super) fn parse<'t>(&self, text: &'t str) -> Option<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let message = error.message().trim().replace('\n', "; ");
            self.error(error.span().as_ref(), format!("not valid TOML: {message}"));
        }
        errors.is_empty().then(|| table.into_inner())
    }

    fn place(&self, span: Option<&Range<usize>>) -> Place {
        let line = span.map(|span| self.line_ends.partition_point(|end| *end < span.start) + 1);
        Place { file: self.path.clone(), line }
    }

    fn error(&self, span: Option<&Range<usize>>, what: impl Into<String>) {
        self.findings.borrow_mut().error(self.place(span), what);
    }
}

/// One table of a file, such as a `[[project]]`.
pub(super) struct Section<'a> {
    file: &'a SourceFile<'a>,
    title: &'static str,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(super) fn top(file: &'a SourceFile<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        Section { file, title: "the file", span: 0..0, table, known: Vec::new() }
    }

    /// Where the table begins.
    pub(super) fn place(&self) -> Place {
        self.file.place(Some(&self.span))
    }

    /// Reports something about the table as a whole.
    pub(super) fn error(&self, what: impl Into<String>) {
        self.file.error(Some(&self.span), what);
    }

    /// The value of the key, where there is one. The key counts as known from here on.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Field { file: self.file, name: key, value })
    }

    /// The value of a key that must be there.
    pub(super) fn need(&mut self, key: &'static str, example: &str) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            self.error(format!("{} has no `{key}`; add one, such as `{key} = {example}`", self.title));
        }
        field
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(mut self) {
        self.known.sort_unstable();
        // What one key means may depend on another, which is then asked for twice.
        self.known.dedup();
        let mut unknown: Vec<_> =
            self.table.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            let name = key.get_ref().as_ref();
            let near = nearest(name, self.known.iter().copied())
                .map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
            let what = format!(
                "unknown key `{}` in {}{near} Known keys: {}",
                shown(name),
                self.title,
                self.known.join(", ")
            );
            self.file.error(Some(&key.span()), what);
        }
    }
}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > 2 * SHOWN_CHARS_MAX {
        return None;
    }
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// A text as an error may show it: cut, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A key and its value. The methods that read it report what is wrong and give `None`.
#[derive(Clone)]
pub(super) struct Field<'a> {
    file: &'a SourceFile<'a>,
    name: &'static str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Field<'a> {
    pub(super) fn place(&self) -> Place {
        self.file.place(Some(&self.value.span()))
    }

    /// Reports that the value is wrong, without repeating it: it may be a secret.
    pub(super) fn error(&self, what: impl Into<String>) {
        self.file.error(Some(&self.value.span()), what);
    }

    /// Reports something odd that does no harm yet.
    pub(super) fn warn(&self, what: impl Into<String>) {
        self.file.findings.borrow_mut().warn(self.place(), what);
    }

    /// Reports that the value is not what it should be.
    pub(super) fn wrong(&self, expected: impl Display) {
        let is = match self.value.get_ref() {
            DeValue::String(text) => format!("\"{}\"", shown(text)),
            DeValue::Integer(number) => shown(number.as_str()),
            DeValue::Float(number) => shown(number.as_str()),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.error(format!("`{}` is {is}; expected {expected}", self.name));
    }

    /// The value without reporting, where it is a text.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// Whether the value is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        let text = self.as_text();
        if text.is_none() {
            self.wrong(expected);
        }
        text
    }

    /// A text that `read` understands.
    pub(super) fn text_as<T>(&self, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.as_text().and_then(read);
        if value.is_none() {
            self.wrong(expected);
        }
        value
    }

    /// A text that parses, with the type's own error where it does not.
    pub(super) fn parsed<T: std::str::FromStr<Err: Display>>(&self, expected: &str) -> Option<T> {
        match self.text(expected)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(format!("`{}`: {error}", self.name));
                None
            }
        }
    }

    pub(super) fn bool(&self) -> Option<bool> {
        let value = self.value.get_ref().as_bool();
        if value.is_none() {
            self.wrong("true or false");
        }
        value
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, bounds: RangeInclusive<i64>) -> Option<i64> {
        let number = self.as_integer().filter(|number| bounds.contains(number));
        if number.is_none() {
            self.wrong(format!("a whole number from {} to {}", bounds.start(), bounds.end()));
        }
        number
    }

    /// The value without reporting, where it is a whole number.
    pub(super) fn as_integer(&self) -> Option<i64> {
        let number = self.value.get_ref().as_integer()?;
        i64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    /// The values of a list.
    pub(super) fn list(&self, expected: &str) -> Option<Vec<Field<'a>>> {
        let Some(array) = self.value.get_ref().as_array() else {
            self.wrong(expected);
            return None;
        };
        Some(array.iter().map(|value| Field { file: self.file, name: self.name, value }).collect())
    }

    /// The value as a table to read further.
    pub(super) fn section(&self, title: &'static str, expected: &str) -> Option<Section<'a>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong(expected);
            return None;
        };
        Some(Section { file: self.file, title, span: self.value.span(), table, known: Vec::new() })
    }
}
