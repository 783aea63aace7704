//! One question as it is put: from its beginning or from a link, how urgent, and for how long.

use std::time::Duration;

use super::Ask;

/// How long a question may take, with all the waiting that Graph asks for.
const WITHIN: Duration = Duration::from_mins(10);

/// A question as it is put.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub(super) ask: &'a Ask,
    pub(super) at: At<'a>,
    pub(super) priority: Priority,
    pub(super) within: Duration,
}

/// Where a question is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At<'a> {
    /// At its beginning.
    Start,
    /// At the link to the next page.
    Next(&'a str),
    /// At the link to what changed since; only properties that changed are asked for.
    Delta(&'a str),
}

/// What Graph may let others go before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Work in the background.
    #[default]
    Low,
    /// Somebody waits for it, or for the first reading of all.
    Normal,
}

impl<'a> Call<'a> {
    /// From its beginning.
    pub fn start(ask: &'a Ask) -> Self {
        Self::at(ask, At::Start)
    }

    /// From somewhere.
    pub fn at(ask: &'a Ask, at: At<'a>) -> Self {
        Self {
            ask,
            at,
            priority: Priority::Low,
            within: WITHIN,
        }
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// How long it may take, with all the waiting that Graph asks for.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

impl Priority {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
        }
    }
}
