//! How sign-ins are protected: settings of the tenant, and users that stand out.

mod settings;

use time::{Duration, OffsetDateTime};

use super::facts::Facts;
use super::person::{Person, Status, is_guest};
use super::row::{Cell, Known, Row, written};
use super::{Moment, ReviewError};
use crate::model::{Held, Id, Part, User};

/// Something about how sign-ins are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// A name: of a user, a policy, a method, a domain, or of what is counted.
    pub subject: String,
    /// Its id, if it has one.
    pub id: String,
    /// How it stands, or a number; nobody knows where there is none.
    pub state: Option<String>,
    /// More of it.
    pub detail: Vec<String>,
}

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// A number.
    Count,
    /// Microsoft's own minimum.
    SecurityDefaults,
    /// Sign-ins that cannot ask for a second factor.
    LegacyAuthentication,
    /// A Conditional Access policy.
    Policy,
    /// An authentication method.
    Method,
    /// A domain whose users another server signs in.
    FederatedDomain,
    /// Somebody who holds a role, or may take it.
    RoleHolder,
    /// An enabled user of whom no second factor is known that the tenant allows.
    WithoutMfa,
    /// The same, of a user who holds a role or may take one.
    AdminWithoutMfa,
    /// An enabled user who did not sign in for long.
    Stale,
    /// A guest.
    Guest,
}

impl Area {
    /// As it is written in exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::SecurityDefaults => "security-defaults",
            Self::LegacyAuthentication => "legacy-authentication",
            Self::Policy => "policy",
            Self::Method => "method",
            Self::FederatedDomain => "federated-domain",
            Self::RoleHolder => "role-holder",
            Self::WithoutMfa => "without-mfa",
            Self::AdminWithoutMfa => "admin-without-mfa",
            Self::Stale => "stale-account",
            Self::Guest => "guest",
        }
    }
}

impl Row for Finding {
    const COLUMNS: &'static [&'static str] = &["area", "subject", "id", "state", "detail"];

    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            Cell::text(self.area.as_str()),
            Cell::text(&self.subject),
            Cell::text(&self.id),
            self.state.as_deref().map_or(Cell::Unknown, Cell::text),
            Cell::list(Some(&self.detail)),
        ]
    }
}

/// Everything about how sign-ins are protected: settings first, then users in the order of their ids, then numbers.
/// An enabled account is stale that did not sign in for `stale_after`, and is as old.
pub fn posture<E: From<ReviewError>>(
    moment: &Moment,
    stale_after: Duration,
    mut take: impl FnMut(&Finding) -> Result<(), E>,
) -> Result<(), E> {
    let facts = Facts::of(moment)?;
    for finding in settings::settings(moment, &facts)? {
        take(&finding)?;
    }
    if !moment.is_known(Part::Users) {
        return Ok(());
    }
    let mut counts = Counts::default();
    let long_ago = moment.at() - stale_after;
    for user in moment.view().users().map_err(ReviewError::from)? {
        let (id, user) = user.map_err(ReviewError::from)?;
        if user.gone.is_none() {
            let seen = Seen::of(&facts, id, &user);
            counts.add(&seen);
            for finding in seen.findings(&facts, long_ago) {
                take(&finding)?;
            }
        }
    }
    for finding in counts.findings(&facts) {
        take(&finding)?;
    }
    Ok(())
}

/// A user who is not gone.
struct Seen {
    person: Person,
    is_guest: bool,
    created: Option<OffsetDateTime>,
    /// Roles of the user; none that is known of where nothing is known.
    roles: Vec<(Held, String)>,
}

impl Seen {
    fn of(facts: &Facts, id: Id, user: &User) -> Self {
        let groups = facts.groups_of(id);
        let person = Person::of(facts, id, user, &groups);
        let roles = |list: &Option<Vec<String>>, held| {
            let list = list.clone().unwrap_or_default().into_iter();
            list.map(move |role| (held, role))
        };
        let active = roles(&person.active, Held::Active);
        let roles = active
            .chain(roles(&person.eligible, Held::Eligible))
            .collect();
        Self {
            is_guest: is_guest(user),
            created: user.created,
            roles,
            person,
        }
    }

    fn findings(&self, facts: &Facts, long_ago: OffsetDateTime) -> Vec<Finding> {
        let person = &self.person;
        let finding = |area, state: Option<String>, detail| Finding {
            area,
            subject: person.upn.clone(),
            id: person.id.to_string(),
            state,
            detail,
        };
        let mut findings = Vec::new();
        for (held, role) in &self.roles {
            let held = Some(written_held(*held).to_owned());
            findings.push(finding(Area::RoleHolder, held, vec![role.clone()]));
        }
        if self.is_guest {
            findings.push(finding(
                Area::Guest,
                Some(person.status.as_str().to_owned()),
                Vec::new(),
            ));
        }
        if person.status == Status::Disabled {
            return findings;
        }
        let mfa = match person.mfa {
            Some(mfa) if mfa.capable => None,
            Some(mfa) if mfa.registered => Some(Some("registered, but not allowed".to_owned())),
            Some(_) => Some(Some("not registered".to_owned())),
            // Where registrations are known, whoever has none in them is not known to have a second factor.
            None => facts.is_mfa_known().then_some(None),
        };
        let roles: Vec<String> = self.roles.iter().map(|(_, role)| role.clone()).collect();
        if let Some(state) = mfa {
            if !roles.is_empty() {
                findings.push(finding(Area::AdminWithoutMfa, state.clone(), roles));
            }
            findings.push(finding(Area::WithoutMfa, state, Vec::new()));
        } else if person.mfa.is_none() && !roles.is_empty() {
            findings.push(finding(Area::AdminWithoutMfa, None, roles));
        }
        let is_old = self.created.is_none_or(|created| created <= long_ago);
        match person.last_sign_in {
            Known::No if is_old => {
                let state = "no sign-in in the log".to_owned();
                findings.push(finding(Area::Stale, Some(state), Vec::new()));
            }
            Known::Is(last) if last <= long_ago => {
                let state = format!("last sign-in at {}", written(last));
                findings.push(finding(Area::Stale, Some(state), Vec::new()));
            }
            _ => (),
        }
        findings
    }
}

const fn written_held(held: Held) -> &'static str {
    match held {
        Held::Active => "active",
        Held::Eligible => "eligible",
    }
}

/// What is counted.
#[derive(Default)]
struct Counts {
    users: u64,
    enabled: u64,
    disabled: u64,
    guests: u64,
    registered: u64,
    capable: u64,
    mfa_unknown: u64,
    admins: u64,
}

impl Counts {
    fn add(&mut self, seen: &Seen) {
        self.users += 1;
        self.guests += u64::from(seen.is_guest);
        self.admins += u64::from(!seen.roles.is_empty());
        match seen.person.status {
            Status::Disabled => {
                self.disabled += 1;
                return;
            }
            Status::Enabled => self.enabled += 1,
            Status::Unknown => (),
        }
        match seen.person.mfa {
            Some(mfa) => {
                self.registered += u64::from(mfa.registered);
                self.capable += u64::from(mfa.capable);
            }
            None => self.mfa_unknown += 1,
        }
    }

    fn findings(&self, facts: &Facts) -> Vec<Finding> {
        let mfa = |count: u64| facts.is_mfa_known().then(|| count.to_string());
        let number = |count: u64| Some(count.to_string());
        // Who may sign in as far as is known; the share of them, in tenths of a percent.
        let may = self.users - self.disabled;
        let share = (self.capable * 1000).checked_div(may);
        let share = share.map(|tenths| format!("{}.{}", tenths / 10, tenths % 10));
        let counts = [
            ("users", number(self.users)),
            ("users enabled", number(self.enabled)),
            ("users disabled", number(self.disabled)),
            ("users not known to be either", number(may - self.enabled)),
            ("guests", number(self.guests)),
            (
                "users with roles",
                facts.roles.as_ref().map(|_| self.admins.to_string()),
            ),
            (
                "second factor registered, of users not disabled",
                mfa(self.registered),
            ),
            (
                "second factor registered and allowed, of users not disabled",
                mfa(self.capable),
            ),
            (
                "second factor not known, of users not disabled",
                mfa(self.mfa_unknown),
            ),
            (
                "second factor coverage in percent",
                share.filter(|_| facts.is_mfa_known()),
            ),
        ];
        let counts = counts.into_iter().map(|(subject, state)| Finding {
            area: Area::Count,
            subject: subject.to_owned(),
            id: String::new(),
            state,
            detail: Vec::new(),
        });
        counts.collect()
    }
}
