//! Who belongs to what, through which groups, and with what rights.

use std::rc::Rc;

use super::facts::Facts;
use super::person::Person;
use super::row::{Cell, Row};
use super::{Moment, ReviewError};
use crate::closure::Way;
use crate::model::{Id, Part};

/// Ways are written with so many groups.
pub(super) const LONGEST: usize = 64;

/// A user in a group; or a user who is in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who.
    pub person: Rc<Person>,
    /// In what; in no group that is known of where there is none.
    pub group: Option<Via>,
    /// Whether groups are known at all.
    pub are_groups_known: bool,
}

/// A group, and how somebody is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Which.
    pub id: Id,
    /// Its name, or else its id.
    pub name: String,
    /// Names of the groups on a shortest way: the one that the user is directly in, those between, and the group
    /// itself; of a very long way only its end, behind `…`.
    pub path: Vec<String>,
}

impl Via {
    /// None of a way to nowhere.
    pub(super) fn of(facts: &Facts, way: &Way) -> Option<Self> {
        let id = *way.groups.last()?;
        let cut = way.is_cut.then(|| "…".to_owned()).into_iter();
        let path = way.groups.iter().map(|group| facts.group_name(*group));
        Some(Self {
            id,
            name: facts.group_name(id),
            path: cut.chain(path).collect(),
        })
    }

    /// Whether the user is in the group itself, and not only in one that is.
    pub const fn is_direct(&self) -> bool {
        self.path.len() == 1
    }
}

impl Row for Access {
    const COLUMNS: &'static [&'static str] = &{
        let person = Person::COLUMNS;
        let mut columns = [
            "group_id", "group", "via", "direct", "", "", "", "", "", "", "", "", "", "", "",
        ];
        let mut at = 0;
        while at < person.len() {
            columns[at + 4] = person[at];
            at += 1;
        }
        columns
    };

    fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = match &self.group {
            Some(group) => vec![
                Cell::made(&group.id),
                Cell::text(&group.name),
                Cell::list(Some(&group.path)),
                Cell::Flag(group.is_direct()),
            ],
            None if self.are_groups_known => {
                vec![
                    Cell::text(""),
                    Cell::text(""),
                    Cell::List(Vec::new()),
                    Cell::text(""),
                ]
            }
            None => vec![Cell::Unknown; 4],
        };
        cells.extend(self.person.cells());
        cells
    }
}

/// Every user who is not gone, once for each group that they are in, in the order of users and of groups. Nothing
/// is handed over where users were never read; the export's head says so.
pub fn access<E: From<ReviewError>>(
    moment: &Moment,
    mut take: impl FnMut(&Access) -> Result<(), E>,
) -> Result<(), E> {
    if !moment.is_known(Part::Users) {
        return Ok(());
    }
    let facts = Facts::of(moment)?;
    let are_groups_known = moment.is_known(Part::Groups);
    for user in moment.view().users().map_err(ReviewError::from)? {
        let (id, user) = user.map_err(ReviewError::from)?;
        let Some(ways) = facts.closure.ways(id, LONGEST) else {
            continue;
        };
        let groups = ends(&ways);
        let person = Rc::new(Person::of(&facts, id, &user, &groups));
        let row = |group| Access {
            person: Rc::clone(&person),
            group,
            are_groups_known,
        };
        if ways.is_empty() {
            take(&row(None))?;
        }
        for way in &ways {
            take(&row(Via::of(&facts, way)))?;
        }
    }
    Ok(())
}

/// The groups that the ways lead to.
pub(super) fn ends(ways: &[Way]) -> Vec<Id> {
    ways.iter()
        .filter_map(|way| way.groups.last().copied())
        .collect()
}
