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
pub(super) fn reach(rules: &[RuleSpec], report: &mut Report) {
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
    let restricts = front.then.decision != DecisionKind::Pass.name();
    let may_be_unknown = [&a.source, &a.relying_party, &a.application, &a.user]
        .into_iter()
        .any(|values| *values != Values::Absent);
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
    ];
    (restricts || !may_be_unknown)
        && a.not.is_none()
        && certain
            .into_iter()
            .all(|(front, rule)| includes(front, rule))
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
