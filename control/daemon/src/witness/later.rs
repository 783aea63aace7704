//! What came after the picture in force: revisions are told before a picture is drawn that has them.

use std::collections::BTreeMap;

use uuid::Uuid;
use weir_entra::closure::Moves;
use weir_entra::sync::Revision;

use super::Account;

/// See the module. Each is remembered with the number up to which pictures do not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Later {
    people: BTreeMap<Uuid, Change>,
    /// More moved at once than was told one by one.
    blind: Option<u64>,
}

/// What became of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Change {
    account: Option<(Account, u64)>,
    /// Into which groups, and out of which.
    groups: BTreeMap<Uuid, (bool, u64)>,
}

impl Later {
    /// Takes in what was told. Who is named as lost and as back was lost first.
    pub fn add(&mut self, revision: &Revision) {
        let (applied, at) = (&revision.applied, revision.epoch);
        let lists = [
            (&applied.disabled, Account::Disabled),
            (&applied.gone, Account::Gone),
            (&applied.back, Account::Live),
        ];
        for (users, account) in lists {
            for user in users {
                let change = self.people.entry(*user).or_default();
                change.account = Some((account, at));
            }
        }
        match &applied.moves {
            Moves::Many => {
                self.blind = Some(at);
                // Whoever was told to have come may have gone again.
                for change in self.people.values_mut() {
                    change.groups.clear();
                }
            }
            Moves::Each(moves) => {
                for moved in moves {
                    let groups = &mut self.people.entry(moved.user).or_default().groups;
                    groups.extend(moved.added.iter().map(|group| (*group, (true, at))));
                    groups.extend(moved.removed.iter().map(|group| (*group, (false, at))));
                }
            }
        }
    }

    /// Forgets what the picture with this number has.
    pub fn forget(&mut self, drawn: u64) {
        self.people.retain(|_, change| {
            change.account.take_if(|(_, at)| *at < drawn);
            change.groups.retain(|_, (_, at)| *at >= drawn);
            change.account.is_some() || !change.groups.is_empty()
        });
        self.blind.take_if(|at| *at < drawn);
    }

    pub(super) fn account(&self, user: Uuid) -> Option<Account> {
        let (account, _) = self.people.get(&user)?.account?;
        Some(account)
    }

    pub(super) fn is_member(&self, user: Uuid, group: Uuid) -> Option<bool> {
        let (is_member, _) = self.people.get(&user)?.groups.get(&group)?;
        Some(*is_member)
    }

    pub(super) const fn is_blind(&self) -> bool {
        self.blind.is_some()
    }
}
