//! A row as every format writes it.

use std::borrow::Cow;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What an export has lines of.
pub trait Row {
    /// Names of the cells, in their order.
    const COLUMNS: &'static [&'static str];

    /// The cells, one for each column.
    fn cells(&self) -> Vec<Cell<'_>>;
}

/// Something that may not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// Nobody knows.
    Unknown,
    /// It is not there.
    No,
    /// It is this.
    Is(T),
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nobody knows.
    Unknown,
    /// A text; empty when there is none.
    Text(Cow<'a, str>),
    /// Yes or no.
    Flag(bool),
    /// Several texts, or none.
    List(Vec<Cow<'a, str>>),
}

impl<'a> Cell<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A text that was made for the row.
    pub fn made(text: &(impl ToString + ?Sized)) -> Self {
        Self::Text(Cow::Owned(text.to_string()))
    }

    /// A text; none is known not to be there.
    pub fn maybe(text: Option<&impl ToString>) -> Self {
        text.map_or(Self::text(""), Self::made)
    }

    /// A text that may not be known.
    pub fn known(text: &Known<impl ToString>) -> Self {
        match text {
            Known::Unknown => Self::Unknown,
            Known::No => Self::text(""),
            Known::Is(text) => Self::made(text),
        }
    }

    /// Yes, no, or nobody knows.
    pub fn flag(flag: Option<bool>) -> Self {
        flag.map_or(Self::Unknown, Self::Flag)
    }

    /// Several texts; nobody knows which where there is no list.
    pub fn list(list: Option<&'a [String]>) -> Self {
        list.map_or(Self::Unknown, |list| {
            Self::List(
                list.iter()
                    .map(|text| Cow::Borrowed(text.as_str()))
                    .collect(),
            )
        })
    }
}

impl<T> Known<T> {
    /// Of what is known.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Unknown => Known::Unknown,
            Self::No => Known::No,
            Self::Is(it) => Known::Is(of(it)),
        }
    }

    /// By reference.
    pub const fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Unknown => Known::Unknown,
            Self::No => Known::No,
            Self::Is(it) => Known::Is(it),
        }
    }
}

impl<T> From<Option<T>> for Known<T> {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::No, Self::Is)
    }
}

/// A time as it is written everywhere: UTC, RFC 3339.
pub(super) fn written(time: OffsetDateTime) -> String {
    let utc = time.checked_to_offset(time::UtcOffset::UTC);
    let utc = utc.unwrap_or(time);
    utc.format(&Rfc3339).unwrap_or_else(|_| utc.to_string())
}
