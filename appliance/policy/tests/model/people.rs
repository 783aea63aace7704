//! A directory of a few users, asked name by name.

use uuid::Uuid;
use weir_directory::{Attribute, Builder, Head, NewGroup, NewUser, Snapshot};
use weir_policy::{Facts, Said, TokenFacts, Told};

use super::{Truth, single};

/// A tenant; nobody in it, and nothing known, by default.
#[derive(Clone, Debug, Default)]
pub struct People {
    pub users: Vec<Person>,
    pub groups: Vec<Group>,
    pub roles: Vec<(Uuid, String)>,
    /// Seconds since users, groups and roles were seen; never, or so long ago that nobody can say.
    pub ages: [Option<i64>; 3],
}

#[derive(Clone, Debug)]
pub struct Person {
    pub id: Uuid,
    pub upn: String,
    pub immutable_id: String,
    /// By their place in [`People::groups`].
    pub groups: Vec<usize>,
    pub roles: Vec<Uuid>,
    pub department: Option<String>,
    pub enabled: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub id: Uuid,
    pub name: String,
    pub complete: bool,
}

/// So old may a part be.
pub const MAX_AGE: i64 = 86_400;

impl People {
    /// What holds of the user, by the token's word and the directory's.
    pub fn say(
        &self,
        facts: &Facts,
        by_token: &dyn Fn(&TokenFacts) -> Truth,
        ask: &dyn Fn(&Person) -> Truth,
    ) -> Truth {
        let by_request = || match &facts.user {
            Said::Bound(name) if name.contains('@') => {
                self.find(None, None, Some(name)).and_then(ask)
            }
            _ => None,
        };
        match &facts.token {
            _ if facts.user == Said::None => Some(false),
            Told::Nothing(_) => by_request(),
            Told::Ahead | Told::Unbelieved(_) => None,
            Told::Verified(told) => {
                let one = |name| single(told, name);
                let immutable = told
                    .values
                    .get("immutable_id")
                    .and_then(|all| match &all[..] {
                        [one] if !told.missing.contains("immutable_id") => Some(one.as_str()),
                        _ => None,
                    });
                let (object, upn) = (one("object_id"), one("upn"));
                let found = self.find(object.as_deref(), immutable, upn.as_deref());
                let truth = match by_token(told) {
                    Some(true) => Some(true),
                    by_token => found.and_then(ask).or(by_token),
                };
                match truth {
                    Some(false) if by_request() == Some(true) => None,
                    truth => truth,
                }
            }
        }
    }

    /// The one who bears the strongest name that anybody bears, unless a stronger one is another's.
    fn find(
        &self,
        object: Option<&str>,
        immutable: Option<&str>,
        upn: Option<&str>,
    ) -> Option<&Person> {
        if !self.is_fresh(0) {
            return None;
        }
        let bears = |one: &Person, key: usize| match key {
            0 => object.map(|id| one.id.to_string() == id.to_lowercase()),
            1 => immutable.map(|id| one.immutable_id == id),
            _ => upn.map(|upn| one.upn.to_lowercase() == upn.to_lowercase()),
        };
        for key in 0..3 {
            let all: Vec<&Person> = self
                .users
                .iter()
                .filter(|one| bears(one, key) == Some(true))
                .collect();
            match all[..] {
                [] => {}
                [one] => {
                    return (0..key)
                        .all(|stronger| bears(one, stronger) != Some(false))
                        .then_some(one);
                }
                _ => return None,
            }
        }
        None
    }

    pub fn is_in(&self, one: &Person, word: &str) -> Truth {
        if !self.is_fresh(1) {
            return None;
        }
        let named = |group: &Group| {
            group.id.to_string() == word.to_lowercase()
                || group.name.to_lowercase() == word.to_lowercase()
        };
        let all: Vec<usize> = (0..self.groups.len())
            .filter(|at| named(&self.groups[*at]))
            .collect();
        match all[..] {
            [group] if one.groups.contains(&group) => Some(true),
            [group] => self.groups[group].complete.then_some(false),
            _ => None,
        }
    }

    pub fn holds(&self, one: &Person, word: &str) -> Truth {
        if !self.is_fresh(1) || !self.is_fresh(2) {
            return None;
        }
        let mut roles = self.roles.iter();
        let (role, _) = roles.find(|(id, name)| {
            id.to_string() == word.to_lowercase() || name.to_lowercase() == word.to_lowercase()
        })?;
        Some(one.roles.contains(role))
    }

    fn is_fresh(&self, part: usize) -> bool {
        self.ages[part].is_some_and(|age| age <= MAX_AGE)
    }

    /// The same as a snapshot, taken at `now`.
    pub fn snapshot(&self, epoch: u64, now: i64) -> Snapshot<Vec<u8>> {
        let mut builder = Builder::new(Head {
            tenant: Uuid::from_u128(1),
            epoch,
            taken_at: now,
            checked: self.ages.map(|age| Some(now - age?)),
        });
        for group in &self.groups {
            let (id, name, complete) = (group.id, Some(&*group.name), group.complete);
            builder
                .group(NewGroup { id, name, complete })
                .expect("in order");
        }
        for (role, name) in &self.roles {
            builder.role(*role, name).expect("it is small");
        }
        for user in &self.users {
            let numbers: Vec<u32> = user
                .groups
                .iter()
                .map(|at| u32::try_from(*at).expect("few"))
                .collect();
            let new = NewUser {
                id: user.id,
                enabled: user.enabled,
                groups: builder.set(&numbers).expect("in order"),
            };
            let department = user.department.as_deref();
            let texts = [
                Some((Attribute::Upn, &*user.upn)),
                Some((Attribute::ImmutableId, &*user.immutable_id)),
                department.map(|department| (Attribute::Department, department)),
            ];
            builder
                .user(new, texts.into_iter().flatten())
                .expect("in order");
            for role in &user.roles {
                builder.holds(user.id, *role, None, None);
            }
        }
        Snapshot::parse(builder.finish().expect("it is small")).expect("what was written")
    }
}

impl Person {
    pub fn is_written(&self, name: &str, word: &str) -> Truth {
        match name {
            "department" => Some(
                self.department
                    .as_deref()
                    .is_some_and(|it| it.to_lowercase() == word.to_lowercase()),
            ),
            _ => Some(self.enabled? == (word == "true")),
        }
    }
}
