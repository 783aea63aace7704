//! What decisions lean on that a directory may tell of a person: when that is otherwise one day, so may be the
//! decision.

use std::collections::BTreeMap;

use super::Compiled;
use super::condition::{Condition, When};
use crate::UserAttribute;

/// Something that a directory may tell of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lean<'a> {
    /// Whether they are in a group, as a rule names it.
    Group(&'a str),
    /// Whether they hold a role, as a rule names it.
    Role(&'a str),
    /// Whether something is written of them, in lower case.
    Attribute(UserAttribute, &'a str),
}

impl Compiled {
    /// Everything that is asked, with the place of the first rule that asks it.
    pub(crate) fn leans(&self) -> BTreeMap<Lean<'_>, usize> {
        let mut leans = BTreeMap::new();
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| !rule.off);
        for (place, rule) in rules {
            collect(&rule.when, &mut |lean| {
                leans.entry(lean).or_insert(place);
            });
        }
        leans
    }
}

fn collect<'r>(when: &'r When, found: &mut impl FnMut(Lean<'r>)) {
    for condition in &when.rest {
        match condition {
            Condition::Group(groups) => {
                for group in groups {
                    found(Lean::Group(&group.written));
                }
            }
            Condition::Role(roles) => {
                for role in roles {
                    found(Lean::Role(&role.written));
                }
            }
            Condition::Attribute(written) => {
                for value in &written.values {
                    found(Lean::Attribute(written.attribute, value));
                }
            }
            Condition::Not(inner) => collect(inner, found),
            _ => {}
        }
    }
}
