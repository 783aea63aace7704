//! Whether sign-ins that cannot ask for a second factor are blocked. Policies are read, and not evaluated: one that
//! has conditions besides blocks only some.

use crate::decode::conditional_access::{Control, Policy, State};

/// Kinds of client that cannot ask for a second factor.
const LEGACY: [&str; 2] = ["exchangeActiveSync", "other"];

/// Whether legacy authentication is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blocked {
    /// Nothing does.
    No,
    /// For some users, applications, places or clients.
    Some,
    /// But for those that policies leave out.
    WithExclusions,
    /// For everybody.
    Yes,
    /// Nobody knows.
    Unknown,
}

impl Blocked {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::No => "not-blocked",
            Self::Some => "blocked-for-some",
            Self::WithExclusions => "blocked-with-exclusions",
            Self::Yes => "blocked",
            Self::Unknown => "unknown",
        }
    }
}

/// What policies and security defaults do together, and the names of the policies that do it.
pub(super) fn legacy(
    policies: Option<&[Policy]>,
    defaults: Option<bool>,
) -> (Blocked, Vec<String>) {
    if defaults == Some(true) {
        return (Blocked::Yes, vec!["security defaults".to_owned()]);
    }
    let Some(policies) = policies else {
        return (Blocked::Unknown, Vec::new());
    };
    let blocking = policies.iter().map(|policy| (blocks(policy), policy));
    let blocking: Vec<_> = blocking
        .filter(|(blocked, _)| *blocked != Blocked::No)
        .collect();
    let names = blocking
        .iter()
        .map(|(_, policy)| policy.display_name.clone());
    let best = blocking.iter().map(|(blocked, _)| *blocked).max();
    match best {
        Some(best) => (best, names.collect()),
        // Security defaults may be on.
        None if defaults.is_none() => (Blocked::Unknown, Vec::new()),
        None => (Blocked::No, Vec::new()),
    }
}

fn blocks(policy: &Policy) -> Blocked {
    let grant = policy.grant_controls.as_ref();
    let blocks = grant.is_some_and(|grant| grant.built_in_controls.contains(&Control::Block));
    let conditions = &policy.conditions;
    let clients = &conditions.client_app_types;
    let named = |kind: &&str| {
        clients
            .iter()
            .any(|client| client.eq_ignore_ascii_case(kind))
    };
    let is_all = clients.is_empty() || named(&"all");
    if policy.state != State::Enabled || !blocks || !(is_all || LEGACY.iter().any(named)) {
        return Blocked::No;
    }
    let everything = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case("All"));
    let (users, places) = (&conditions.users, &conditions.locations);
    let free = [
        &conditions.platforms,
        &conditions.devices,
        &conditions.client_applications,
        &conditions.authentication_flows,
    ];
    let is_whole = (is_all || LEGACY.iter().all(named))
        && everything(&users.include_users)
        && everything(&conditions.applications.include_applications)
        && (places.include_locations.is_empty() || everything(&places.include_locations))
        && places.exclude_locations.is_empty()
        && conditions.user_risk_levels.is_empty()
        && conditions.sign_in_risk_levels.is_empty()
        && free
            .iter()
            .all(|condition| condition.as_ref().is_none_or(serde_json::Value::is_null));
    let guests = users.exclude_guests_or_external_users.as_ref();
    let has_exclusions = !users.exclude_users.is_empty()
        || !users.exclude_groups.is_empty()
        || !users.exclude_roles.is_empty()
        || !conditions.applications.exclude_applications.is_empty()
        || guests.is_some_and(|guests| !guests.is_null());
    match (is_whole, has_exclusions) {
        (false, _) => Blocked::Some,
        (true, true) => Blocked::WithExclusions,
        (true, false) => Blocked::Yes,
    }
}
