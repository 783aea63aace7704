//! Which claims a rule asks for.

use std::collections::BTreeSet;

use super::condition::{Condition, When};
use super::{Compiled, Rule, groups};
use crate::DecisionKind;

impl Compiled {
    /// Every rule that asks for claims, by its full name, with the names of those; in order.
    pub(crate) fn asks(&self) -> Vec<(&str, BTreeSet<&str>)> {
        let rules = self.rules.iter().filter(|rule| !rule.off);
        rules
            .map(|rule| (&*rule.name, rule.asks()))
            .filter(|(_, claims)| !claims.is_empty())
            .collect()
    }
}

impl Rule {
    fn asks(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        collect(&self.when, &mut names);
        if self.kind == DecisionKind::StepUp {
            names.insert("method");
            if self.within.is_some() {
                names.insert("authenticated");
            }
        }
        names
    }
}

fn collect<'r>(when: &'r When, names: &mut BTreeSet<&'r str>) {
    for condition in &when.rest {
        match condition {
            Condition::Claim(claim) => {
                names.insert(&claim.name);
            }
            Condition::Role(_) => {
                names.insert("roles");
            }
            Condition::Group(_) => {
                names.insert(groups::CLAIM);
            }
            Condition::Device(states) => names.extend(states.iter().map(|state| state.claim())),
            Condition::Method(_) => {
                names.insert("method");
            }
            Condition::AuthenticatedWithin(_) => {
                names.insert("authenticated");
            }
            Condition::InsideNetwork(_) => {
                names.insert("inside_network");
            }
            Condition::User { .. } => {
                names.insert("upn");
            }
            Condition::Not(inner) => collect(inner, names),
            _ => {}
        }
    }
}
