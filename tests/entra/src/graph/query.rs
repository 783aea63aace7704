//! System query options, and which properties are selected.

use super::error::Refusal;
use crate::world::object::{Kind, Mask};

/// A query, decoded, in order.
#[derive(Debug, Clone, Default)]
pub struct Query {
    raw: String,
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes it.
    pub fn parse(raw: &str) -> Self {
        let pairs = url::form_urlencoded::parse(raw.as_bytes());
        Self {
            raw: raw.to_owned(),
            pairs: pairs.into_owned().collect(),
        }
    }

    /// The value of an option.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter();
        let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// `$top`, if it is a number.
    pub fn top(&self) -> Option<usize> {
        self.get("$top")?.parse().ok()
    }

    /// `$top`, checked, or the usual size of a page.
    pub fn page(&self, usual: usize, most: usize) -> Result<usize, Refusal> {
        match self.get("$top") {
            None => Ok(usual),
            Some(text) => match text.parse() {
                Ok(top) if (1..=most).contains(&top) => Ok(top),
                _ => Err(Refusal::bad(format!(
                    "Invalid page size specified: '{text}'. Must be between 1 and {most} inclusive."
                ))),
            },
        }
    }

    /// The query of the page after this one.
    pub fn next(&self, token: &str) -> String {
        let kept = self.raw.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !pair.is_empty() && !name.ends_with("skiptoken")
        });
        let mut next: Vec<&str> = kept.collect();
        let skip = format!("$skiptoken={token}");
        next.push(&skip);
        next.join("&")
    }

    /// Refuses these options.
    pub fn refuse(&self, options: &[&str]) -> Result<(), Refusal> {
        match options.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(Refusal::unsupported(format!(
                "The query option '{name}' is not supported for this resource."
            ))),
            None => Ok(()),
        }
    }
}

/// `id`, which every kind has.
pub const ID: Mask = 1 << 63;
/// `deletedDateTime`, which every kind has.
pub const DELETED: Mask = 1 << 62;
/// `members`, which can be selected in a delta round alone.
pub const MEMBERS: Mask = 1 << 61;

/// The properties that are asked for of objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// Those of the kind's table, and the bits above.
    pub mask: Mask,
    /// Whether they were named.
    pub named: bool,
}

impl Selected {
    /// What `$select` names, or what is usual.
    pub fn of(kind: Kind, select: Option<&str>) -> Result<Self, Refusal> {
        let names = select.unwrap_or_default().split(',').map(str::trim);
        let mut names = names.filter(|name| !name.is_empty()).peekable();
        if names.peek().is_none() {
            let more = match kind {
                Kind::Group => ID | DELETED | MEMBERS,
                _ => ID,
            };
            return Ok(Self {
                mask: kind.standard() | more,
                named: false,
            });
        }
        let mut mask = 0;
        for name in names {
            mask |= bit(kind, name).ok_or_else(|| {
                Refusal::bad(format!(
                    "Could not find a property named '{name}' on type '{}'.",
                    &kind.odata()[1..]
                ))
            })?;
        }
        Ok(Self { mask, named: true })
    }

    /// The same for objects of any kind: a name that a kind does not have is nothing to it.
    pub fn lenient(kind: Kind, select: Option<&str>) -> Self {
        match select {
            None => Self::of(kind, None).expect("nothing is named"),
            Some(names) => Self {
                mask: names
                    .split(',')
                    .filter_map(|name| bit(kind, name.trim()))
                    .fold(0, |mask, bit| mask | bit),
                named: true,
            },
        }
    }

    /// Whether a bit is among them.
    pub fn shows(self, bit: Mask) -> bool {
        self.mask & bit != 0
    }

    /// With a bit.
    #[must_use]
    pub fn with(self, bit: Mask) -> Self {
        Self {
            mask: self.mask | bit,
            ..self
        }
    }

    /// Whether properties of the kind's table are among them that a list does not show without being asked.
    pub fn beyond_standard(self, kind: Kind) -> bool {
        self.mask & !(kind.standard() | ID | DELETED | MEMBERS) != 0
    }
}

fn bit(kind: Kind, name: &str) -> Option<Mask> {
    match name {
        "id" => Some(ID),
        "deletedDateTime" => Some(DELETED),
        "members" if kind == Kind::Group => Some(MEMBERS),
        name => kind.key(name).map(|key| 1 << key),
    }
}
