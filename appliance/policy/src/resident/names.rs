//! Names in rules that the directory takes for several, or knows nothing of.

use weir_directory::{BUILT_IN_ROLES, GroupFound, Snapshot};

use super::wanted::{Place, What};
use crate::words::closest;
use crate::{Policy, RuleError};

/// What a snapshot says against the names in a policy's rules.
#[derive(Clone, Debug, Default)]
pub struct NameDoubts {
    /// Names of several groups: whichever is meant, nobody can say.
    pub errors: Vec<RuleError>,
    /// Names that the directory does not know, and groups whose members cannot all be read.
    pub warnings: Vec<RuleError>,
}

/// So many unknown names are compared with all others, which takes a while where there are many.
const MOST_COMPARED: usize = 10;

impl Policy {
    /// Holds the groups and roles that rules name against a snapshot. Takes time in proportion to the groups of the
    /// tenant for each name that is not known.
    pub fn check_names<B: AsRef<[u8]>>(&self, snapshot: &Snapshot<B>) -> NameDoubts {
        let mut doubts = NameDoubts::default();
        let wanted = &self.compiled.wanted;
        let mut compared = 0;
        for place in &wanted.places {
            let number = place.number as usize;
            match place.what {
                What::Group => {
                    let name = &wanted.groups()[number];
                    let near = || {
                        compared += 1;
                        if compared > MOST_COMPARED {
                            return None;
                        }
                        let names = snapshot.groups().filter_map(|(_, name, _)| name);
                        let all: Vec<&str> = names.collect();
                        closest(name, &all)
                    };
                    doubts.group(place, name, snapshot, near);
                }
                What::Role if snapshot.role(&wanted.roles()[number]).is_none() => {
                    doubts.role(place, &wanted.roles()[number], self.decides);
                }
                What::Role | What::Attribute => {}
            }
        }
        doubts
    }
}

impl NameDoubts {
    fn group<B: AsRef<[u8]>>(
        &mut self,
        place: &Place,
        name: &str,
        snapshot: &Snapshot<B>,
        near: impl FnOnce() -> Option<String>,
    ) {
        match snapshot.group(name) {
            GroupFound::One(group) if snapshot.has_all_members(group) => {}
            GroupFound::One(_) => {
                let message = format!(
                    "not all members of group `{name}` can be read, so who is not seen in it is unknown; give \
                     Weir's application the permission Member.Read.Hidden, or name another group"
                );
                self.warnings.push(error(place, message, None));
            }
            GroupFound::Ambiguous([one, other]) => {
                let message = format!(
                    "`{name}` is the name of several groups, such as {one} and {other}; write the object id of \
                     the one that is meant"
                );
                self.errors.push(error(place, message, None));
            }
            GroupFound::None => {
                let near = near();
                let choice = choice(near.as_deref());
                let message = format!("the directory has no group `{name}`; {choice}");
                self.warnings.push(error(place, message, near));
            }
            GroupFound::Unknown => {}
        }
    }

    /// Where tokens are looked at, a role may be one that they name.
    fn role(&mut self, place: &Place, name: &str, by_token: bool) {
        let near = closest(name, &BUILT_IN_ROLES.map(|(_, known)| known));
        if by_token {
            return;
        }
        let choice = choice(near.as_deref());
        let message = format!("the directory has no role `{name}`; {choice}");
        self.warnings.push(error(place, message, near));
    }
}

fn choice(near: Option<&str>) -> String {
    match near {
        Some(known) => format!("did you mean `{known}`?"),
        None => "until it has one, who is in it is unknown".to_owned(),
    }
}

fn error(place: &Place, message: String, suggestion: Option<String>) -> RuleError {
    RuleError {
        rule: Some(place.rule),
        field: place.field.clone(),
        message,
        suggestion,
    }
}
