//! What the rules of a policy ask a directory, each thing once and under a number.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::UserAttribute;
use crate::rules::hash;

/// The groups, roles and attributes that the rules of a policy name.
#[derive(Debug, Default)]
pub struct Wanted {
    groups: Once,
    roles: Once,
    attributes: Vec<UserAttribute>,
    attribute_marks: Vec<Mark>,
    pub(super) places: Vec<Place>,
    /// The marks of all, in order, as text: so that it can be told later what was asked.
    marks: String,
}

/// Names, each once whatever its case.
#[derive(Debug, Default)]
struct Once {
    names: Vec<String>,
    marks: Vec<Mark>,
    numbers: HashMap<String, u32>,
}

/// Where a name stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) what: What,
    /// Its number among its kind.
    pub(super) number: u32,
    /// Index of the rule.
    pub(super) rule: usize,
    pub(super) field: String,
}

/// Of what a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Group,
    Role,
    Attribute,
}

/// A few bits that tell one name from another.
pub(super) type Mark = [u8; 3];

impl Wanted {
    /// The groups, by id or name as the rules have them.
    pub fn groups(&self) -> &[String] {
        &self.groups.names
    }

    /// The roles, in the same way.
    pub fn roles(&self) -> &[String] {
        &self.roles.names
    }

    /// The attributes.
    pub fn attributes(&self) -> &[UserAttribute] {
        &self.attributes
    }

    /// Takes in a group that a rule names, and gives its number; `place` is where it stands (rule and field), if
    /// that is to be looked at.
    pub(crate) fn group(&mut self, name: &str, place: Option<(usize, String)>) -> u32 {
        let number = self.groups.take(name);
        self.places.extend(Place::new(What::Group, number, place));
        number
    }

    /// Takes in a role, in the same way.
    pub(crate) fn role(&mut self, name: &str, place: Option<(usize, String)>) -> u32 {
        let number = self.roles.take(name);
        self.places.extend(Place::new(What::Role, number, place));
        number
    }

    /// Takes in an attribute, and gives its number.
    pub(crate) fn attribute(&mut self, attribute: UserAttribute) -> usize {
        let known = self.attributes.iter().position(|known| *known == attribute);
        known.unwrap_or_else(|| {
            self.attributes.push(attribute);
            self.attributes.len() - 1
        })
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) {
        let attributes = self.attributes.iter();
        self.attribute_marks = attributes
            .map(|it| mark(What::Attribute, it.name()))
            .collect();
        for (names, what) in [
            (&mut self.groups, What::Group),
            (&mut self.roles, What::Role),
        ] {
            names.marks = names.names.iter().map(|name| mark(what, name)).collect();
        }
        let all = [&self.groups.marks, &self.roles.marks, &self.attribute_marks];
        let mut marks: Vec<Mark> = all.into_iter().flatten().copied().collect();
        marks.sort_unstable();
        marks.dedup();
        self.marks = BASE64_URL_SAFE_NO_PAD.encode(marks.as_flattened());
    }

    /// The number of a name, whatever its case.
    pub(super) fn number(&self, what: What, name: &str) -> Option<u32> {
        let names = match what {
            What::Group => &self.groups,
            What::Role => &self.roles,
            What::Attribute => return None,
        };
        names.numbers.get(&name.to_lowercase()).copied()
    }

    /// The marks of all, as text.
    pub(super) fn marks(&self) -> &str {
        &self.marks
    }

    /// The marks of one kind, by number.
    pub(super) fn marks_of(&self, what: What) -> &[Mark] {
        match what {
            What::Group => &self.groups.marks,
            What::Role => &self.roles.marks,
            What::Attribute => &self.attribute_marks,
        }
    }
}

impl Place {
    fn new(what: What, number: u32, place: Option<(usize, String)>) -> Option<Self> {
        place.map(|(rule, field)| Self {
            what,
            number,
            rule,
            field,
        })
    }
}

impl Once {
    fn take(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.names.len()).expect("fewer names than bytes of rules");
        let number = *self.numbers.entry(name.to_lowercase()).or_insert(next);
        if number == next {
            self.names.push(name.to_owned());
        }
        number
    }
}

/// The mark of a name, whatever its case.
fn mark(what: What, name: &str) -> Mark {
    let [a, b, c, ..] = (hash(name) ^ (what as u64) << 60).to_be_bytes();
    [a, b, c]
}

/// Marks that were written; none where they cannot be read.
pub(super) fn marks_of(text: &str) -> Vec<Mark> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    bytes.as_chunks().0.to_vec()
}
