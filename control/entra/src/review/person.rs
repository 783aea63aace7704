//! A user, as evidence shows them.

use time::OffsetDateTime;

use super::facts::Facts;
use super::roles::Holding;
use super::row::{Cell, Known, written};
use crate::model::{Held, Id, Text, User};

/// What is known of a user besides memberships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Object id.
    pub id: Id,
    /// Name to sign in with.
    pub upn: String,
    /// Name to show.
    pub name: String,
    /// Whether it may sign in.
    pub status: Status,
    /// `Member`, `Guest`, or what the tenant says; empty for some old accounts.
    pub kind: String,
    /// Roles in force; nobody knows where there is none.
    pub active: Option<Vec<String>>,
    /// Roles that may be taken.
    pub eligible: Option<Vec<String>>,
    /// Second factor.
    pub mfa: Option<Mfa>,
    /// Conditional Access policies that leave the user out, and by what.
    pub excluded_by: Option<Vec<String>>,
    /// The last sign-in that succeeded and that the log still has.
    pub last_sign_in: Known<OffsetDateTime>,
}

/// Whether an account may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It may.
    Enabled,
    /// It may not.
    Disabled,
    /// The tenant does not say.
    Unknown,
}

/// What a user has for a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mfa {
    /// One is registered.
    pub registered: bool,
    /// One is registered that the tenant allows.
    pub capable: bool,
}

impl Status {
    /// As it is written in exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Unknown => "unknown",
        }
    }

    pub(super) const fn of(user: &User) -> Self {
        match user.enabled {
            Some(true) => Self::Enabled,
            Some(false) => Self::Disabled,
            None => Self::Unknown,
        }
    }
}

impl Person {
    /// Columns of a person, in the order of [`Self::cells`].
    pub(super) const COLUMNS: [&'static str; 11] = [
        "user_id",
        "upn",
        "name",
        "status",
        "type",
        "roles_active",
        "roles_eligible",
        "mfa_registered",
        "mfa_capable",
        "policies_excluding",
        "last_sign_in",
    ];

    /// Puts together what is known of a user who is in these groups.
    pub(super) fn of(facts: &Facts, id: Id, user: &User, groups: &[Id]) -> Self {
        let text = |text| user.texts.get(&text).cloned().unwrap_or_default();
        let holdings = facts.roles.as_ref().map(|roles| roles.of(id, groups));
        let written = |held: Held| {
            let holdings = holdings.as_ref()?.iter();
            let of_kind = holdings.filter(|holding| holding.held() == held);
            Some(of_kind.map(|holding| holding.written(facts)).collect())
        };
        Self {
            id,
            upn: text(Text::Upn),
            name: text(Text::DisplayName),
            status: Status::of(user),
            kind: text(Text::UserType),
            active: written(Held::Active),
            eligible: written(Held::Eligible),
            mfa: facts.mfa(id),
            excluded_by: excluded_by(facts, id, user, groups, holdings.as_deref()),
            last_sign_in: facts.last_sign_in(id),
        }
    }

    pub(super) fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            Cell::made(&self.id),
            Cell::text(&self.upn),
            Cell::text(&self.name),
            Cell::text(self.status.as_str()),
            Cell::text(&self.kind),
            Cell::list(self.active.as_deref()),
            Cell::list(self.eligible.as_deref()),
            Cell::flag(self.mfa.map(|mfa| mfa.registered)),
            Cell::flag(self.mfa.map(|mfa| mfa.capable)),
            Cell::list(self.excluded_by.as_deref()),
            Cell::known(&self.last_sign_in.map(written)),
        ]
    }
}

/// Whether the tenant says that the user is a guest.
pub(super) fn is_guest(user: &User) -> bool {
    let kind = user.texts.get(&Text::UserType);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("Guest"))
}

/// The policies that leave a user out.
fn excluded_by(
    facts: &Facts,
    id: Id,
    user: &User,
    groups: &[Id],
    holdings: Option<&[Holding<'_>]>,
) -> Option<Vec<String>> {
    let exclusions = facts.exclusions.as_ref()?.iter();
    let excluded = exclusions.filter_map(|exclusion| {
        let why = exclusion.why(
            facts,
            id,
            is_guest(user),
            groups,
            holdings.unwrap_or_default(),
        );
        (!why.is_empty()).then(|| format!("{}: {}", exclusion.policy, why.join(", ")))
    });
    Some(excluded.collect())
}
