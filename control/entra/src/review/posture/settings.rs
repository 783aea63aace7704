//! Settings of the tenant: security defaults, policies, methods, domains, and roles of others than users.

use std::collections::HashMap;

use super::super::documents::{OfDomains, all};
use super::super::facts::Facts;
use super::super::legacy::{Blocked, legacy};
use super::super::{Moment, ReviewError};
use super::{Area, Finding, written_held};
use crate::decode::conditional_access::Policy;
use crate::decode::defaults::SecurityDefaults;
use crate::decode::domains::{Domain, Federation, MfaBehavior, Protocol};
use crate::decode::locations::Location;
use crate::decode::methods;
use crate::model::{Id, Part};

/// All of them, each area in the order of names.
pub(super) fn settings(moment: &Moment, facts: &Facts) -> Result<Vec<Finding>, ReviewError> {
    let defaults: Option<Vec<(_, SecurityDefaults)>> = all(moment, Part::SecurityDefaults)?;
    let defaults = defaults.and_then(|all| all.first().map(|(_, defaults)| defaults.is_enabled));
    let on = |on: bool| if on { "on" } else { "off" };
    let mut findings = vec![finding(
        Area::SecurityDefaults,
        "security defaults",
        defaults.map(on),
        Vec::new(),
    )];
    let (blocked, by) = legacy(facts.policies.as_deref(), defaults);
    let blocked = (blocked != Blocked::Unknown).then_some(blocked.as_str());
    findings.push(finding(
        Area::LegacyAuthentication,
        "legacy authentication",
        blocked,
        by,
    ));
    match &facts.policies {
        Some(policies) => {
            let places = places(moment)?;
            findings.extend(policies.iter().map(|of| policy(facts, &places, of)));
        }
        None => findings.push(finding(Area::Policy, "", None, Vec::new())),
    }
    findings.extend(methods_of(moment)?);
    findings.extend(domains(moment)?);
    findings.extend(others_with_roles(moment, facts)?);
    Ok(findings)
}

fn finding(area: Area, subject: &str, state: Option<&str>, detail: Vec<String>) -> Finding {
    Finding {
        area,
        subject: subject.to_owned(),
        id: String::new(),
        state: state.map(str::to_owned),
        detail,
    }
}

/// Names of named locations, by their ids.
fn places(moment: &Moment) -> Result<HashMap<String, String>, ReviewError> {
    let locations: Option<Vec<(_, Location)>> = all(moment, Part::Locations)?;
    let locations = locations.into_iter().flatten();
    Ok(locations
        .map(|(_, location)| (location.id, location.display_name))
        .collect())
}

fn policy(facts: &Facts, places: &HashMap<String, String>, policy: &Policy) -> Finding {
    let users = &policy.conditions.users;
    let id = |text: &String| Id::try_parse(text).ok();
    let group = |text: &String| id(text).map_or_else(|| text.clone(), |id| facts.group_name(id));
    let role = |text: &String| id(text).map_or_else(|| text.clone(), |id| facts.role_name(id));
    let mut detail = Vec::new();
    let mut list = |what: &str, names: Vec<String>| {
        detail.extend(names.into_iter().map(|name| format!("{what} {name}")));
    };
    if let Some(grant) = &policy.grant_controls {
        list(
            "asks for",
            grant
                .built_in_controls
                .iter()
                .map(|control| control.as_str().to_owned())
                .collect(),
        );
        if grant
            .authentication_strength
            .as_ref()
            .is_some_and(|strength| !strength.is_null())
        {
            list("asks for", vec!["an authentication strength".to_owned()]);
        }
    }
    list("includes user", users.include_users.clone());
    list(
        "includes group",
        users.include_groups.iter().map(group).collect(),
    );
    list(
        "includes role",
        users.include_roles.iter().map(role).collect(),
    );
    list(
        "excludes user",
        users
            .exclude_users
            .iter()
            .map(|text| facts.user_name(text))
            .collect(),
    );
    list(
        "excludes group",
        users.exclude_groups.iter().map(group).collect(),
    );
    list(
        "excludes role",
        users.exclude_roles.iter().map(role).collect(),
    );
    let guests = users.exclude_guests_or_external_users.as_ref();
    if guests.is_some_and(|guests| !guests.is_null()) {
        list("excludes", vec!["some guests".to_owned()]);
    }
    list(
        "excludes application",
        policy.conditions.applications.exclude_applications.clone(),
    );
    list(
        "excludes location",
        policy
            .conditions
            .locations
            .exclude_locations
            .iter()
            .map(|id| places.get(id).unwrap_or(id).clone())
            .collect(),
    );
    Finding {
        id: policy.id.clone(),
        ..finding(
            Area::Policy,
            &policy.display_name,
            Some(policy.state.as_str()),
            detail,
        )
    }
}

fn methods_of(moment: &Moment) -> Result<Vec<Finding>, ReviewError> {
    let Some(policies) = all::<methods::Policy>(moment, Part::Methods)? else {
        return Ok(vec![finding(Area::Method, "", None, Vec::new())]);
    };
    let mut findings = Vec::new();
    for (_, policy) in &policies {
        let partial = policy.is_partial();
        let partial = partial.then(|| "older settings, which are not known, count too".to_owned());
        for method in &policy.methods {
            let include = method
                .include_targets
                .iter()
                .map(|target| format!("includes {}", target.id));
            let exclude = method
                .exclude_targets
                .iter()
                .map(|target| format!("excludes {}", target.id));
            let detail = include.chain(exclude).chain(partial.clone()).collect();
            findings.push(finding(
                Area::Method,
                &method.id,
                Some(method.state.as_str()),
                detail,
            ));
        }
    }
    findings.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(findings)
}

fn domains(moment: &Moment) -> Result<Vec<Finding>, ReviewError> {
    let Some(documents) = all::<OfDomains>(moment, Part::Domains)? else {
        return Ok(vec![finding(Area::FederatedDomain, "", None, Vec::new())]);
    };
    let (mut domains, mut settings): (Vec<Domain>, Vec<(String, Federation)>) = Default::default();
    for (id, document) in documents {
        match document {
            OfDomains::Domain(domain) => domains.push(domain),
            OfDomains::Federation(federation) => settings.push((id, *federation)),
        }
    }
    domains.retain(|domain| domain.authentication_type.eq_ignore_ascii_case("Federated"));
    domains.sort_by(|a, b| a.id.cmp(&b.id));
    let findings = domains.iter().map(|domain| {
        let of_domain = settings
            .iter()
            .find(|(id, _)| id.rsplit(['/', ':']).next() == Some(&domain.id));
        let detail = of_domain.map_or_else(
            || vec!["its settings are not known".to_owned()],
            |(_, settings)| described(settings),
        );
        finding(Area::FederatedDomain, &domain.id, Some("federated"), detail)
    });
    Ok(findings.collect())
}

fn described(settings: &Federation) -> Vec<String> {
    let protocol = settings.preferred_authentication_protocol.as_ref();
    let behaviour = settings.federated_idp_mfa_behavior.as_ref();
    let told = [
        ("issuer", settings.issuer_uri.as_deref()),
        ("signs in at", settings.passive_sign_in_uri.as_deref()),
        ("protocol", protocol.map(Protocol::as_str)),
        ("second factor", behaviour.map(MfaBehavior::as_str)),
    ];
    let told = told.into_iter();
    told.filter_map(|(what, told)| Some(format!("{what} {}", told?)))
        .collect()
}

/// Roles of groups and applications. What users have through groups is told of the users.
fn others_with_roles(moment: &Moment, facts: &Facts) -> Result<Vec<Finding>, ReviewError> {
    let Some(roles) = &facts.roles else {
        return Ok(vec![finding(Area::RoleHolder, "", None, Vec::new())]);
    };
    let mut findings = Vec::new();
    for assignment in roles.all() {
        let principal = assignment.principal;
        if moment.is_known(Part::Users) && moment.view().user(principal)?.is_some() {
            continue;
        }
        let held = written_held(assignment.held);
        let role = facts.role_name(assignment.role);
        let detail = vec![
            format!("{role} in {}", assignment.scope),
            "a group or an application".to_owned(),
        ];
        findings.push(Finding {
            id: principal.to_string(),
            ..finding(
                Area::RoleHolder,
                &facts.group_name(principal),
                Some(held),
                detail,
            )
        });
    }
    Ok(findings)
}
