//! Reading a TOML document with spans: every wrong type, unknown key and unknown value becomes a
//! diagnostic at its place, and reading goes on.

use std::cell::RefCell;
use std::ops::Range;

use time::Date;
use time::format_description::well_known::Iso8601;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use weir_tables::Severity;

use crate::diagnostic::Diagnostic;
use crate::schema::{self, Section};
use crate::source::{Place, Source};

/// Bytes of the file.
pub(crate) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// What is being read, and what has been said about it.
pub(crate) struct Context<'a> {
    pub(crate) source: &'a Source<'a>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            diagnostics: RefCell::default(),
        }
    }

    pub(crate) fn error(&self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.say(Severity::Error, span, message, help);
    }

    /// An error on a line that is not shown, because it holds a secret.
    pub(crate) fn error_of_secret(
        &self,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.place(span);
        self.push(Diagnostic {
            excerpt: None,
            ..Diagnostic::at(Severity::Error, &place, message, help)
        });
    }

    pub(crate) fn warning(&self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.say(Severity::Warning, span, message, help);
    }

    pub(crate) fn note(&self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.say(Severity::Note, span, message, help);
    }

    /// An error of the file as a whole.
    pub(crate) fn error_of_file(&self, message: impl Into<String>, help: impl Into<String>) {
        let place = self.source.whole();
        self.push(Diagnostic::at(Severity::Error, &place, message, help));
    }

    pub(crate) fn has_errors(&self) -> bool {
        let diagnostics = self.diagnostics.borrow();
        diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether anything was said of this place already.
    pub(crate) fn has_said_at(&self, span: &Span) -> bool {
        let place = self.place(span);
        let diagnostics = self.diagnostics.borrow();
        diagnostics
            .iter()
            .any(|other| (other.line, other.column) == (place.line, place.column))
    }

    /// Whether an error was said to be there already.
    pub(crate) fn has_error_at(&self, span: &Span) -> bool {
        let place = self.place(span);
        self.diagnostics.borrow().iter().any(|other| {
            other.severity == Severity::Error
                && (other.line, other.column) == (place.line, place.column)
        })
    }

    pub(crate) fn place(&self, span: &Span) -> Place {
        self.source.place(span)
    }

    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    fn say(
        &self,
        severity: Severity,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::at(severity, &self.place(span), message, help));
    }
}

/// A table of the document whose keys are known.
pub(crate) struct Table<'c> {
    context: &'c Context<'c>,
    entries: &'c DeTable<'c>,
    section: &'static Section,
    /// Its header.
    pub(crate) span: Span,
}

impl<'c> Table<'c> {
    /// Says at once which keys are unknown.
    pub(crate) fn new(
        context: &'c Context<'c>,
        entries: &'c DeTable<'c>,
        section: &'static Section,
        span: Span,
    ) -> Self {
        for key in entries.keys() {
            let name: &str = key.get_ref();
            if !section.keys.contains(&name) {
                let message = format!("unknown key `{name}` in {}", section.title);
                context.error(&key.span(), message, schema::unknown_key(section, name));
            }
        }
        Self {
            context,
            entries,
            section,
            span,
        }
    }

    /// Where the key stands; the header when it is absent.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.entries
            .get_key_value(key)
            .map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// Where the value of the key stands; the header when it is absent.
    pub(crate) fn value_span(&self, key: &str) -> Span {
        self.entries
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        let value = self
            .entries
            .get(key)
            .and_then(|value| value.get_ref().as_array());
        value.is_some_and(|items| items.is_empty())
    }

    /// Says that the key is missing, and with which words to write it; unless it is there, misspelt.
    pub(crate) fn missing(&self, key: &str, help: impl Into<String>) {
        if self.is_misspelt(key) {
            return;
        }
        let message = format!("{} has no `{key}`", self.section.title);
        self.context.error(&self.span, message, help);
    }

    /// Whether an unknown key was probably meant to be this one.
    pub(crate) fn is_misspelt(&self, key: &str) -> bool {
        self.entries.keys().any(|other| {
            let other: &str = other.get_ref();
            !self.section.keys.contains(&other)
                && schema::meant_key(self.section, other) == Some(key)
        })
    }

    pub(crate) fn string(&self, key: &str) -> Option<At<String>> {
        let value = self.entries.get(key)?;
        self.read_string(key, value)
    }

    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.entries.get(key)?;
        let read = value.get_ref().as_bool();
        if read.is_none() {
            let help = match value.get_ref().as_str() {
                Some(word @ ("true" | "false")) => {
                    format!("write `{key} = {word}`, without quotes")
                }
                _ => format!("write `{key} = true` or `{key} = false`"),
            };
            self.wrong_type(key, value, "true or false", help);
        }
        read
    }

    /// A whole number in any of TOML's notations.
    pub(crate) fn integer(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<At<i64>> {
        let value = self.entries.get(key)?;
        self.read_integer(key, value, range)
    }

    pub(crate) fn integers(
        &self,
        key: &str,
        range: &std::ops::RangeInclusive<i64>,
    ) -> Option<Vec<At<i64>>> {
        let value = self.entries.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            let written = &self.context.source.text[value.span()];
            self.wrong_type(
                key,
                value,
                "a list of numbers",
                format!("write `{key} = [{written}]`"),
            );
            return None;
        };
        Some(
            items
                .iter()
                .filter_map(|item| self.read_integer(key, item, range.clone()))
                .collect(),
        )
    }

    /// A day: as TOML writes one, or the same in quotes.
    pub(crate) fn date(&self, key: &str) -> Option<At<Date>> {
        let value = self.entries.get(key)?;
        let written = match value.get_ref() {
            DeValue::Datetime(written) => written.to_string(),
            DeValue::String(written) => written.to_string(),
            _ => {
                self.wrong_type(key, value, "a date", format!("write `{key} = 2027-01-31`"));
                return None;
            }
        };
        let span = value.span();
        if let Ok(value) = Date::parse(&written, &Iso8601::DATE) {
            return Some(At { value, span });
        }
        self.context.error(
            &span,
            format!("`{written}` is no day"),
            format!("write year, month and day: `{key} = 2027-01-31`"),
        );
        None
    }

    pub(crate) fn is_string(&self, key: &str) -> bool {
        let value = self.entries.get(key);
        value.is_some_and(|value| value.get_ref().as_str().is_some())
    }

    pub(crate) fn strings(&self, key: &str) -> Option<Vec<At<String>>> {
        let value = self.entries.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            let help = match value.get_ref().as_str() {
                Some(text) => format!("write `{key} = [{text:?}]`"),
                None => format!("write `{key} = [\"...\"]`"),
            };
            self.wrong_type(key, value, "a list of strings", help);
            return None;
        };
        Some(
            items
                .iter()
                .filter_map(|item| self.read_string(key, item))
                .collect(),
        )
    }

    /// One string or a list of them.
    pub(crate) fn one_or_more(&self, key: &str) -> Option<Vec<At<String>>> {
        let value = self.entries.get(key)?;
        match value.get_ref() {
            DeValue::Array(_) => self.strings(key),
            _ => self.read_string(key, value).map(|one| vec![one]),
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, key: &str, known: &[(&str, T)]) -> Option<At<T>> {
        let At { value, span } = self.string(key)?;
        if let Some((_, meaning)) = known.iter().find(|(word, _)| *word == value) {
            return Some(At {
                value: *meaning,
                span,
            });
        }
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let message = format!("unknown value `{value}` for `{key}`");
        self.context
            .error(&span, message, schema::unknown_word(&value, &words));
        None
    }

    pub(crate) fn table(&self, key: &str, section: &'static Section) -> Option<Table<'c>> {
        let value = self.entries.get(key)?;
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table::new(
                self.context,
                entries,
                section,
                self.header(key, value),
            )),
            DeValue::Array(_) => {
                let help = format!("write {} once, in single brackets", section.title);
                self.wrong_type(key, value, "one table", help);
                None
            }
            _ => {
                self.wrong_type(key, value, "a table", format!("write {}", section.title));
                None
            }
        }
    }

    /// An array of tables: `[[key]]`.
    pub(crate) fn tables(&self, key: &str, section: &'static Section) -> Vec<Table<'c>> {
        let Some(value) = self.entries.get(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            let help = format!("write `[[{key}]]` in double brackets: there may be several");
            self.wrong_type(key, value, "a list of tables", help);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            if let DeValue::Table(entries) = item.get_ref() {
                let header = self.header(key, item);
                tables.push(Table::new(self.context, entries, section, header));
            } else {
                self.wrong_type(key, item, "a table", format!("write `[[{key}]]`"));
            }
        }
        tables
    }

    /// The names in a table whose keys the administrator chose.
    pub(crate) fn names(&self, key: &str) -> impl Iterator<Item = String> {
        let entries = self
            .entries
            .get(key)
            .and_then(|value| value.get_ref().as_table());
        entries
            .into_iter()
            .flat_map(|entries| entries.keys().map(|name| name.get_ref().to_string()))
    }

    /// One string or a list of them, by names that the administrator chose.
    pub(crate) fn lists_by_name(
        &self,
        key: &str,
        title: &str,
    ) -> Vec<(At<String>, Vec<At<String>>)> {
        let Some(value) = self.entries.get(key) else {
            return Vec::new();
        };
        let Some(entries) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table", format!("write `{title}`"));
            return Vec::new();
        };
        let table = Table {
            context: self.context,
            entries,
            section: self.section,
            span: self.header(key, value),
        };
        (entries.keys())
            .filter_map(|name| {
                let items = table.one_or_more(name.get_ref())?;
                let name = At {
                    value: name.get_ref().to_string(),
                    span: name.span(),
                };
                Some((name, items))
            })
            .collect()
    }

    /// Tables by a name that the administrator chose: `[key.NAME]`.
    pub(crate) fn named_tables(
        &self,
        key: &str,
        section: &'static Section,
    ) -> Vec<(At<String>, Table<'c>)> {
        let Some(value) = self.entries.get(key) else {
            return Vec::new();
        };
        let Some(entries) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "tables", format!("write `[{key}.NAME]`"));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            if let DeValue::Table(entries) = value.get_ref() {
                let header = self.header(name.get_ref(), value);
                let name = At {
                    value: name.get_ref().to_string(),
                    span: name.span(),
                };
                tables.push((name, Table::new(self.context, entries, section, header)));
            } else {
                let name: &str = name.get_ref();
                let help = format!("write `[{key}.{name}]` in single brackets");
                self.wrong_type(name, value, "a table", help);
            }
        }
        tables
    }

    /// The header of a table, also where the table is written inline or by dotted keys.
    fn header(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Span {
        let span = value.span();
        if self.context.source.text[span.clone()].starts_with(['[', '{']) {
            return span;
        }
        self.key_span(key)
    }

    fn read_string(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<At<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(At {
                value: text.to_string(),
                span: value.span(),
            }),
            DeValue::Array(_) | DeValue::Table(_) => {
                self.wrong_type(key, value, "a string", "write one string in quotes");
                None
            }
            _ => {
                let written = &self.context.source.text[value.span()];
                self.wrong_type(key, value, "a string", format!("write `\"{written}\"`"));
                None
            }
        }
    }

    fn read_integer(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<At<i64>> {
        let (low, high) = (range.start(), range.end());
        let Some(written) = value.get_ref().as_integer() else {
            let help = match value.get_ref().as_str().map(str::parse::<i64>) {
                Some(Ok(number)) => format!("write `{number}`, without quotes"),
                _ => format!("write a number from {low} to {high}"),
            };
            self.wrong_type(key, value, "a number", help);
            return None;
        };
        let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
        let Some(number) = number.filter(|number| range.contains(number)) else {
            let shown = &self.context.source.text[value.span()];
            let message = format!("`{shown}` is not possible for `{key}`");
            self.context.error(
                &value.span(),
                message,
                format!("write a number from {low} to {high}"),
            );
            return None;
        };
        Some(At {
            value: number,
            span: value.span(),
        })
    }

    fn wrong_type(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        wanted: &str,
        help: impl Into<String>,
    ) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{key}` must be {wanted}, this is {found}");
        self.context.error(&value.span(), message, help);
    }
}
