//! What is wrong, or probably not meant, with the rules as a whole and with the settings.

use std::collections::BTreeMap;

use super::builtin::prefix;
use super::compile::Report;
use crate::{
    DecisionKind, OutlookSetting, PolicySpec, RuleSetName, RuleSpec, Values, WindowsLogonSetting,
};

/// No two rules have one name.
pub(super) fn names(rules: &[RuleSpec], report: &mut Report) {
    let mut seen = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        if let Some(first) = seen.insert(rule.name.as_str(), index) {
            let message = format!("rule {} has the name `{}` already", first + 1, rule.name);
            report.error(Some(index), "name", message);
        }
    }
}

/// Warns of rules that can never match because one in front of them takes everything they would.
pub(super) fn reach(spec: &PolicySpec, report: &mut Report) {
    let rules = &spec.rules;
    for (index, rule) in rules.iter().enumerate() {
        let front = rules[..index].iter().find(|front| covers(front, rule));
        if let Some(front) = front {
            let message = format!(
                "this rule never matches: `{}` in front of it always does",
                front.name
            );
            report.warning(Some(index), "when", message);
        }
    }
}

/// Whether `front` matches whenever `rule` does, as far as that shows from the values alone.
fn covers(front: &RuleSpec, rule: &RuleSpec) -> bool {
    let (a, b) = (&front.when, &rule.when);
    // A step-up that nothing proves, and one that is met but not certain, differ.
    let restricts = [DecisionKind::Block, DecisionKind::Redirect]
        .iter()
        .any(|kind| front.then.decision == kind.name());
    let may_be_unknown = [
        &a.source,
        &a.relying_party,
        &a.application,
        &a.user,
        &a.group,
        &a.role,
        &a.device,
        &a.method,
        &a.country,
        &a.location,
    ]
    .into_iter()
    .any(|values| *values != Values::Absent)
        || !a.claim.is_empty()
        || !a.attribute.is_empty()
        || a.authenticated_within.is_some()
        || a.time.is_some()
        || a.inside_network.is_some();
    let certain = [
        (&a.class, &b.class),
        (&a.list, &b.list),
        (&a.flow, &b.flow),
        (&a.client, &b.client),
        (&a.host, &b.host),
        (&a.source, &b.source),
        (&a.relying_party, &b.relying_party),
        (&a.application, &b.application),
        (&a.user, &b.user),
        (&a.service, &b.service),
        (&a.group, &b.group),
        (&a.role, &b.role),
        (&a.device, &b.device),
        (&a.method, &b.method),
        (&a.country, &b.country),
        (&a.location, &b.location),
    ];
    let by_name = [(&a.claim, &b.claim), (&a.attribute, &b.attribute)];
    let claims = by_name.into_iter().all(|(front, rule)| {
        let mut all = front.iter();
        all.all(|(name, values)| rule.get(name).is_some_and(|other| includes(values, other)))
    });
    let (within, inner) = (&a.authenticated_within, &b.authenticated_within);
    (restricts || !may_be_unknown)
        && front.then.grant.is_none()
        && a.not.is_none()
        && claims
        && same_or_absent(within.as_ref(), inner.as_ref())
        && same_or_absent(a.time.as_ref(), b.time.as_ref())
        && same_or_absent(a.inside_network.as_ref(), b.inside_network.as_ref())
        && certain
            .into_iter()
            .all(|(front, rule)| includes(front, rule))
}

fn same_or_absent<T: PartialEq>(front: Option<&T>, rule: Option<&T>) -> bool {
    front.is_none() || front == rule
}

fn includes(front: &Values, rule: &Values) -> bool {
    let list = |values: &Values| match values {
        Values::Absent => None,
        Values::One(value) => Some(vec![value.clone()]),
        Values::Many(values) => Some(values.clone()),
    };
    match (list(front), list(rule)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(front), Some(rule)) => rule.iter().all(|value| front.contains(value)),
    }
}

pub(super) fn settings(spec: &PolicySpec, report: &mut Report) {
    let outlook = spec.outlook.unwrap_or(match spec.rule_set {
        RuleSetName::Office365 => OutlookSetting::Pass,
        RuleSetName::Office365Strict => OutlookSetting::RelayOnly,
    });
    if outlook == OutlookSetting::Pass {
        let origin = if spec.outlook.is_none() {
            format!("rule set {} lets Outlook through", prefix(spec.rule_set))
        } else {
            "outlook = \"pass\" lets Outlook through".to_owned()
        };
        report.warning(
            None,
            "outlook",
            format!("{origin} by its User-Agent, which anyone can forge; outlook = \"relay-only\" does not"),
        );
    }
    if spec.windows_logon == WindowsLogonSetting::Pass {
        report.warning(
            None,
            "windows_logon",
            "windows_logon = \"pass\" believes a User-Agent, which anyone can forge: who tries names learns which of them the directory has, and who knows names can use up their windows_logon_rate, and try passwords within it; give Windows logon a managed network where you can",
        );
    }
    if spec.reverse_proxy.is_none() {
        report.warning(
            None,
            "reverse_proxy",
            "without a reverse proxy, browsers on other than managed devices are blocked",
        );
    }
}
