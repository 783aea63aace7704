//! Reading what an administrator wrote, rule by rule.

mod warn;
mod when;

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use weir_abi::Class;

use super::compile::Report;
use super::condition::{Application, Condition};
use super::grant::{self, Grant};
use super::places::Location;
use super::{Rule, Template};
use crate::{Country, DecisionKind, PolicySpec, RuleSpec, Wanted};

/// Names of claims that every service has.
pub const BUILT_IN_CLAIMS: [&str; 18] = [
    "upn",
    "email",
    "name_id",
    "immutable_id",
    "object_id",
    "tenant_id",
    "sid",
    "groups",
    "roles",
    "department",
    "access_level",
    "device_registered",
    "device_managed",
    "device_compliant",
    "device_trust",
    "inside_network",
    "method",
    "authenticated",
];

/// Reads one rule.
pub(super) struct Reading<'a> {
    pub(super) report: &'a mut Report,
    pub(super) index: usize,
    pub(super) spec: &'a PolicySpec,
    pub(super) applications: &'a [Application],
    pub(super) locations: &'a [Arc<Location>],
    pub(super) wanted: &'a mut Wanted,
    /// Whether the rule is for this service.
    pub(super) here: bool,
}

impl Reading<'_> {
    pub(crate) fn rule(&mut self, spec: &RuleSpec, service_target: Option<&Arc<Template>>) -> Rule {
        let index = Some(self.index);
        self.here = self.is_for_this_service(spec);
        let named = spec
            .name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if spec.name.is_empty() || !named {
            let message = "a rule's name is made of letters, digits, `-`, `_` and `.`";
            self.report.error(index, "name", message);
        }
        let mut when = self.when(&spec.when, "when");
        let kind = self.decision(&spec.then.decision);
        if let Some(reason) = &spec.then.reason
            && (reason.trim().is_empty() || reason.contains(char::is_control))
        {
            let message = "the reason is shown to people: one line of text, or leave it out";
            self.report.error(index, "then.reason", message);
        }
        let target = self.target(spec, kind, service_target);
        let (within, grant) = (self.within(spec, kind), self.grant(spec, kind));
        if grant.is_some() {
            when = when.and(Condition::Verified);
        }
        if kind == DecisionKind::Redirect && !warn::reaches_pages(&when) {
            let message = "only browsers are redirected, on flows passive and oauth-browser; write decision = \"block\"";
            self.report.error(index, "then.decision", message);
        }
        self.warn_of_user(spec, kind, &when);
        self.warn_of_client(spec, kind, &when);
        self.warn_of_tokens(spec, kind, &when);
        let fallback = match kind {
            DecisionKind::Pass => "Allowed by a rule of the organisation.",
            DecisionKind::Redirect => "A rule of the organisation asks for the reverse proxy.",
            DecisionKind::Block => "A rule of the organisation does not allow this sign-in.",
            DecisionKind::StepUp => {
                "A rule of the organisation asks for multi-factor authentication."
            }
        };
        let reason = spec.then.reason.as_deref().unwrap_or(fallback).into();
        Rule {
            name: format!("rule/{}", spec.name).into(),
            when,
            kind,
            reason,
            target,
            rate: None,
            within,
            grant,
            off: false,
        }
    }

    fn decision(&mut self, word: &str) -> DecisionKind {
        let known = DecisionKind::ALL
            .into_iter()
            .find(|kind| kind.name() == word);
        if known.is_none() {
            let all = DecisionKind::ALL.map(DecisionKind::name);
            self.report
                .unknown(Some(self.index), "then.decision", "decision", word, &all);
        }
        known.unwrap_or(DecisionKind::Block)
    }

    fn target(
        &mut self,
        spec: &RuleSpec,
        kind: DecisionKind,
        service_target: Option<&Arc<Template>>,
    ) -> Option<Arc<Template>> {
        let index = Some(self.index);
        let own = spec.then.target.as_deref().map(|text| {
            Template::parse(text)
                .map(Arc::new)
                .map_err(|message| self.report.error(index, "then.target", message))
        });
        if kind != DecisionKind::Redirect {
            if own.is_some() {
                let message =
                    "only a redirect has a target; remove it, or write decision = \"redirect\"";
                self.report.error(index, "then.target", message);
            }
            return None;
        }
        let target = own.map_or_else(|| service_target.cloned(), Result::ok);
        if target.is_none() && spec.then.target.is_none() {
            let message =
                "no target and no reverse_proxy of the service: this redirect will be a block";
            self.report.warning(index, "then.target", message);
        }
        target
    }

    fn within(&mut self, spec: &RuleSpec, kind: DecisionKind) -> Option<Duration> {
        let text = spec.then.within.as_ref()?;
        if kind != DecisionKind::StepUp {
            let message = "only a step-up says how old the authentication may be; write when = { authenticated_within = \"1h\" }";
            self.report.error(Some(self.index), "then.within", message);
        }
        Some(self.duration(text, "then.within"))
    }

    fn grant(&mut self, spec: &RuleSpec, kind: DecisionKind) -> Option<Arc<Grant>> {
        let index = Some(self.index);
        let grant = spec.then.grant.as_ref()?;
        if kind != DecisionKind::Pass {
            let message = "only a rule that passes can grant; write decision = \"pass\"";
            self.report.error(index, "then.grant", message);
        }
        if !self.spec.decide_at_token && self.is_for_this_service(spec) {
            let message = "a grant needs a verified token; write decide = true in [service.tokens], or name other services in when.service";
            self.report.error(index, "then.grant", message);
        }
        let classes = [Class::Managed, Class::Bypass];
        let class = classes.into_iter().find(|it| it.name() == grant.class);
        if class.is_none() {
            let (names, field) = (classes.map(Class::name), "then.grant.class");
            self.report
                .unknown(index, field, "class to grant", &grant.class, &names);
        }
        let lasts = self.duration(&grant.lasts, "then.grant.for");
        if lasts > grant::LONGEST {
            let message = format!(
                "`{}` is too long; a grant lasts an hour at most, so write 60m",
                grant.lasts
            );
            self.report.error(index, "then.grant.for", message);
        }
        Some(Arc::new(Grant {
            class: class?,
            lasts,
            kernel: grant.kernel,
        }))
    }

    /// A duration; a second when it cannot be read, which is an error.
    fn duration(&mut self, text: &str, field: &str) -> Duration {
        grant::duration(text).unwrap_or_else(|| {
            let message = format!(
                "`{text}` is no duration; write a number and its unit, such as 90s, 30m, 8h or 7d"
            );
            self.report.error(Some(self.index), field, message);
            Duration::from_secs(1)
        })
    }
}

/// The named locations.
pub(super) fn locations(spec: &PolicySpec, report: &mut Report) -> Vec<Arc<Location>> {
    let mut found = Vec::new();
    for (name, location) in &spec.locations {
        let (mut networks, mut countries) = (Vec::new(), Vec::new());
        for text in &location.prefixes {
            match when::prefix_of(text) {
                Some(prefix) => networks.push(prefix),
                None => report.error(
                    None,
                    &format!("locations.{name}.prefixes"),
                    when::no_prefix(text),
                ),
            }
        }
        for text in &location.countries {
            match Country::from_str(text) {
                Ok(country) => countries.push(country),
                Err(error) => {
                    let field = format!("locations.{name}.countries");
                    report.error(None, &field, error.to_string());
                }
            }
        }
        if location.prefixes.is_empty() && location.countries.is_empty() {
            let message = format!("location `{name}` names nothing; write prefixes or countries");
            report.error(None, &format!("locations.{name}"), message);
        }
        found.push(Arc::new(Location {
            name: name.as_str().into(),
            networks: networks.into_iter().collect(),
            countries,
        }));
    }
    found
}

/// The names of claims are words.
pub(super) fn claim_names(spec: &PolicySpec, report: &mut Report) {
    let mut seen: HashSet<&str> = HashSet::new();
    for name in &spec.claims {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            let message =
                format!("`{name}` cannot name a claim; write lower-case letters, digits and `_`");
            report.error(None, "claims", message);
        }
        if !seen.insert(name) {
            report.error(None, "claims", format!("`{name}` stands twice; remove one"));
        }
    }
}

pub(super) fn host_name(host: &str) -> String {
    host.trim().trim_end_matches('.').to_lowercase()
}
