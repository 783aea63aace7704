//! All that is known of a user of the tenant, and what follows from it for policy and for grants.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::Semaphore;
use uuid::Uuid;
use weir_api::person::{ExplainedUser, GroupBound, NamingRule, PartAge, UserGroup};
use weir_config::Config;
use weir_entra::model::{Part, Text};
use weir_entra::review::{self, Explained, Known, Moment, Status};
use weir_entra::store::Store;
use weir_policy::{Values, WhenSpec};

use crate::brain::{Brain, blocking};
use crate::evidence::{EvidenceError, is_read};
use crate::{Error, clock};

/// What is told of a user comes from these.
const PARTS: [Part; 6] = [
    Part::Users,
    Part::Groups,
    Part::Roles,
    Part::ConditionalAccess,
    Part::Registrations,
    Part::SignIns,
];

impl Brain {
    /// All that is known of a user: by user principal name, object id or `TENANT/OBJECT`. Of those that look at a
    /// time, `reading` has the places: each reads the whole tenant.
    pub async fn explain_user(
        &self,
        user: String,
        reading: &Arc<Semaphore>,
    ) -> Result<ExplainedUser, Error> {
        let tenant = self.known_tenant().await?;
        let (id, max_age) = (tenant.config.tenant, tenant.config.max_age);
        let place = Arc::clone(reading).acquire_owned().await;
        let (explained, parts) = blocking(move || {
            let _place = place;
            let store = &tenant.store;
            is_read(store, Part::Users)?;
            let now = OffsetDateTime::now_utc();
            let moment = Moment::now(store, now).map_err(EvidenceError::from)?;
            let object = find(store, id, &user)?;
            let explained = review::user(&moment, object).map_err(EvidenceError::from)?;
            let explained = explained.ok_or(EvidenceError::NoUser(user))?;
            Ok((explained, ages(store, max_age, now)?))
        })
        .await?;
        let running = self.running();
        let config = running.candidate.config();
        let principal = format!("{id}/{}", explained.person.id);
        let books = self.grants();
        let of_user = |other: &String| other.eq_ignore_ascii_case(&principal);
        let mut told = told(explained);
        told.generation = running.number;
        told.classes = told.groups.as_ref().map(|groups| bounds(config, groups));
        told.rules = rules(config, &told);
        told.grants = books.grants;
        told.grants.retain(|grant| of_user(&grant.principal));
        let mut revoked = books.revoked.into_iter();
        told.revoked = revoked.find(|revoked| of_user(&revoked.principal));
        told.parts = parts;
        told.max_age = max_age.as_secs();
        told.principal = principal;
        Ok(told)
    }
}

/// The one user who has this name or id.
fn find(store: &Store, tenant: Uuid, wanted: &str) -> Result<Uuid, EvidenceError> {
    let wanted = wanted.trim();
    let view = store.read()?;
    let by_id = match wanted.split_once('/') {
        Some((of, object)) if Uuid::try_parse(of).is_ok_and(|of| of == tenant) => object,
        _ => wanted,
    };
    if let Ok(id) = Uuid::try_parse(by_id) {
        return match view.user(id)? {
            Some(user) if user.gone.is_none() => Ok(id),
            Some(user) => Err(EvidenceError::Deleted {
                user: wanted.to_owned(),
                at: user.gone,
            }),
            None => Err(EvidenceError::NoUser(wanted.to_owned())),
        };
    }
    let folded = wanted.to_lowercase();
    let (mut found, mut gone) = (Vec::new(), None);
    for user in view.users()? {
        let (id, user) = user?;
        let upn = user.texts.get(&Text::Upn);
        if upn.is_none_or(|upn| upn.to_lowercase() != folded) {
            continue;
        }
        match user.gone {
            None => found.push(id),
            at => gone = at,
        }
    }
    match (&found[..], gone) {
        ([id], _) => Ok(*id),
        ([], None) => Err(EvidenceError::NoUser(wanted.to_owned())),
        ([], at) => Err(EvidenceError::Deleted {
            user: wanted.to_owned(),
            at,
        }),
        (several, _) => Err(EvidenceError::Several {
            user: wanted.to_owned(),
            ids: several.iter().map(ToString::to_string).collect(),
        }),
    }
}

fn ages(
    store: &Store,
    max_age: std::time::Duration,
    now: OffsetDateTime,
) -> Result<Vec<PartAge>, EvidenceError> {
    let mut states = store.parts()?;
    let ages = PARTS.map(|part| {
        let state = states.remove(&part).unwrap_or_default();
        let current = state.last_success.filter(|_| state.since.is_some());
        let age = current.map(|at| u64::try_from((now - at).whole_seconds()).unwrap_or(0));
        PartAge {
            part: part.name().to_owned(),
            current: current.map(clock::text),
            age,
            stale: age.is_none_or(|age| age > max_age.as_secs()),
            failure: state.failure.map(|failure| failure.code),
            held: state.held.is_some(),
        }
    });
    Ok(ages.into())
}

fn told(Explained { person, groups }: Explained) -> ExplainedUser {
    let groups = groups.map(|groups| {
        let groups = groups.into_iter().map(|group| UserGroup {
            id: group.via.id.to_string(),
            direct: group.via.is_direct(),
            name: group.via.name,
            path: group.via.path,
            rule: group.rule,
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        groups
    });
    ExplainedUser {
        generation: 0,
        principal: String::new(),
        upn: person.upn,
        name: person.name,
        enabled: match person.status {
            Status::Enabled => Some(true),
            Status::Disabled => Some(false),
            Status::Unknown => None,
        },
        kind: person.kind,
        groups,
        roles: person.active,
        eligible: person.eligible,
        mfa_registered: person.mfa.map(|mfa| mfa.registered),
        mfa_capable: person.mfa.map(|mfa| mfa.capable),
        policies_excluding: person.excluded_by,
        sign_ins_known: person.last_sign_in != Known::Unknown,
        last_sign_in: match person.last_sign_in {
            Known::Is(at) => Some(clock::text(at)),
            Known::No | Known::Unknown => None,
        },
        classes: None,
        rules: Vec::new(),
        grants: Vec::new(),
        revoked: None,
        parts: Vec::new(),
        max_age: 0,
    }
}

/// What the configuration says of these groups.
fn bounds(config: &Config, groups: &[UserGroup]) -> Vec<GroupBound> {
    let of = config.entra.iter().flat_map(|entra| &entra.groups);
    let of = of.filter(|bound| groups.iter().any(|group| is_called(group, &bound.group)));
    of.map(|bound| GroupBound {
        group: bound.group.clone(),
        class: bound.class,
    })
    .collect()
}

/// Rules in force that name a group or a role of the user.
fn rules(config: &Config, user: &ExplainedUser) -> Vec<NamingRule> {
    let mut naming = Vec::new();
    for service in &config.services {
        for rule in &config.rules {
            let name = format!("rule/{}", rule.name);
            let is_of = each(&rule.when.service).is_empty()
                || each(&rule.when.service).contains(&service.name.as_str());
            if !is_of || service.switched_off.contains(&name) {
                continue;
            }
            let mut named = BTreeMap::new();
            collect(&rule.when, user, false, &mut named);
            if named.is_empty() {
                continue;
            }
            naming.push(NamingRule {
                service: service.name.clone(),
                rule: name,
                decision: rule.then.decision.clone(),
                negated: named.values().any(|negated| *negated),
                names: named.into_keys().collect(),
            });
        }
    }
    naming
}

/// What of a user some conditions name, and whether under `not`.
fn collect(
    when: &WhenSpec,
    user: &ExplainedUser,
    negated: bool,
    named: &mut BTreeMap<String, bool>,
) {
    let groups = user.groups.as_deref().unwrap_or_default();
    for wanted in each(&when.group) {
        if groups.iter().any(|group| is_called(group, wanted)) {
            named.insert(format!("group {wanted}"), negated);
        }
    }
    let roles = user.roles.iter().flatten();
    let roles: Vec<String> = roles.map(|role| role.to_lowercase()).collect();
    for wanted in each(&when.role) {
        let folded = wanted.to_lowercase();
        let is_role = |role: &String| {
            let rest = role.strip_prefix(&folded);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        if roles.iter().any(is_role) {
            named.insert(format!("role {wanted}"), negated);
        }
    }
    if let Some(inner) = &when.not {
        collect(inner, user, !negated, named);
    }
}

fn each(values: &Values) -> Vec<&str> {
    match values {
        Values::Absent => Vec::new(),
        Values::One(one) => vec![one],
        Values::Many(many) => many.iter().map(String::as_str).collect(),
    }
}

/// Whether a group has this id or name.
fn is_called(group: &UserGroup, wanted: &str) -> bool {
    group.id.eq_ignore_ascii_case(wanted) || group.name.to_lowercase() == wanted.to_lowercase()
}
