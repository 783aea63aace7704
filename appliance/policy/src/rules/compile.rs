//! From what an administrator wrote to rules that can be tried.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use weir_abi::Class;

use super::asked::{Asked, Names, Parties};
use super::builtin::{BuiltIn, builtin, prefix};
use super::condition::{Application, Bits, Condition, When};
use super::doubts;
use super::{Rule, RuleError, Stops, Template};
use crate::{ApplicationSpec, Client, DecisionKind, Flow, PolicySpec, RuleSpec, Values, WhenSpec};

/// The compiled rules of a service.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// In the order in which they are tried.
    pub(crate) rules: Vec<Rule>,
    /// The bit sets of `rules`, side by side, so that a thousand rules are a few cache lines.
    bits: Vec<Bits>,
    pub(crate) stops: Stops,
    /// The row "tunnel".
    pub(crate) tunnels: Vec<(Class, Rule)>,
    pub(crate) applications: Vec<Application>,
    /// Legal, but probably not meant.
    pub(crate) warnings: Vec<RuleError>,
}

impl Compiled {
    /// The first rule that matches.
    pub(crate) fn first(&self, asked: &Asked<'_>) -> Option<&Rule> {
        let candidates = self
            .bits
            .iter()
            .zip(&self.rules)
            .filter(|(bits, _)| bits.hold(asked));
        candidates
            .map(|(_, rule)| rule)
            .find(|rule| rule.matches(asked))
    }
}

/// Compiles the rules; all errors are reported.
pub(crate) fn compile(spec: &PolicySpec) -> Result<Compiled, Vec<RuleError>> {
    let mut report = Report::default();
    let target = spec.reverse_proxy.as_deref().and_then(|text| {
        let parsed = Template::parse(text);
        parsed
            .map_err(|message| report.error(None, "reverse_proxy", message))
            .ok()
            .map(Arc::new)
    });
    let applications: Vec<Application> = spec.applications.iter().map(application).collect();
    let own: Vec<Rule> = spec
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            Reading {
                report: &mut report,
                index,
                applications: &applications,
            }
            .rule(rule, target.as_ref())
        })
        .collect();
    doubts::names(&spec.rules, &mut report);
    doubts::reach(&spec.rules, &mut report);
    doubts::settings(spec, &mut report);

    let BuiltIn {
        guards,
        rows,
        mut tunnels,
    } = builtin(spec, target.as_ref());
    let stops = Stops::new(prefix(spec.rule_set), &spec.service);
    let guard_names: HashSet<Arc<str>> = guards
        .iter()
        .map(|rule| &rule.name)
        .chain(stops.names())
        .cloned()
        .collect();
    let mut rules: Vec<Rule> = guards.into_iter().chain(own).chain(rows).collect();
    for name in &spec.switched_off {
        let mut found = false;
        let switches = rules
            .iter_mut()
            .chain(tunnels.iter_mut().map(|(_, rule)| rule));
        for rule in switches.filter(|rule| &*rule.name == name.as_str()) {
            found = true;
            rule.off = true;
        }
        if guard_names.contains(name.as_str()) {
            report.error(
                None,
                "switched_off",
                format!("{name} cannot be switched off"),
            );
        } else if !found {
            let known = rules.iter().chain(tunnels.iter().map(|(_, rule)| rule));
            let names: Vec<&str> = known.map(|rule| &*rule.name).collect();
            report.unknown(None, "switched_off", "rule", name, &names);
        }
    }
    if report.errors.is_empty() {
        let bits = rules.iter().map(|rule| {
            if rule.off {
                Bits::NEVER
            } else {
                rule.when.bits
            }
        });
        Ok(Compiled {
            bits: bits.collect(),
            rules,
            stops,
            tunnels,
            applications,
            warnings: report.warnings,
        })
    } else {
        Err(report.errors)
    }
}

/// What there is to say.
#[derive(Default)]
pub(super) struct Report {
    errors: Vec<RuleError>,
    warnings: Vec<RuleError>,
}

impl Report {
    pub(super) fn error(&mut self, rule: Option<usize>, field: &str, message: impl Into<String>) {
        let (field, message) = (field.to_owned(), message.into());
        self.errors.push(RuleError {
            rule,
            field,
            message,
            suggestion: None,
        });
    }

    pub(super) fn warning(&mut self, rule: Option<usize>, field: &str, message: impl Into<String>) {
        let (field, message) = (field.to_owned(), message.into());
        self.warnings.push(RuleError {
            rule,
            field,
            message,
            suggestion: None,
        });
    }

    fn unknown(&mut self, rule: Option<usize>, field: &str, what: &str, word: &str, all: &[&str]) {
        let suggestion = all
            .iter()
            .map(|known| {
                (
                    strsim::jaro_winkler(&word.to_lowercase(), &known.to_lowercase()),
                    known,
                )
            })
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| (*known).to_owned());
        let choice = match (&suggestion, all) {
            (Some(known), _) => format!("did you mean `{known}`?"),
            (None, []) => "none is defined".to_owned(),
            (None, all) => format!("it is one of: {}", all.join(", ")),
        };
        let message = format!("there is no {what} `{word}`; {choice}");
        self.errors.push(RuleError {
            rule,
            field: field.to_owned(),
            message,
            suggestion,
        });
    }
}

/// Reads one rule.
struct Reading<'a> {
    report: &'a mut Report,
    index: usize,
    applications: &'a [Application],
}

impl Reading<'_> {
    fn rule(&mut self, spec: &RuleSpec, service_target: Option<&Arc<Template>>) -> Rule {
        let index = Some(self.index);
        let named = spec
            .name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if spec.name.is_empty() || !named {
            let message = "a rule's name is made of letters, digits, `-`, `_` and `.`";
            self.report.error(index, "name", message);
        }
        let when = self.when(&spec.when, "when");
        let kind = self.decision(&spec.then.decision);
        if let Some(reason) = &spec.then.reason
            && (reason.trim().is_empty() || reason.contains(char::is_control))
        {
            let message = "the reason is shown to people: one line of text, or leave it out";
            self.report.error(index, "then.reason", message);
        }
        let target = self.target(spec, kind, service_target);
        if kind == DecisionKind::Redirect {
            let browser = 1 << Client::Browser as u8;
            let pages = 1 << Flow::Passive as u16 | 1 << Flow::OauthBrowser as u16;
            if when.bits.clients & browser == 0 || when.bits.flows & pages == 0 {
                let message = "only browsers are redirected, on flows passive and oauth-browser; write decision = \"block\"";
                self.report.error(index, "then.decision", message);
            }
        }
        self.warn_of_user(spec, kind, &when);
        self.warn_of_client(spec, kind, &when);
        let fallback = match kind {
            DecisionKind::Pass => "Allowed by a rule of the organisation.",
            DecisionKind::Redirect => "A rule of the organisation asks for the reverse proxy.",
            DecisionKind::Block => "A rule of the organisation does not allow this sign-in.",
        };
        let reason = spec.then.reason.as_deref().unwrap_or(fallback).into();
        Rule {
            name: format!("rule/{}", spec.name).into(),
            when,
            kind,
            reason,
            target,
            rate: None,
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

    fn when(&mut self, spec: &WhenSpec, at: &str) -> When {
        let mut when = When::always();
        if let Some(classes) = self.words(&spec.class, at, "class", &Class::ALL, Class::name) {
            when = when.classes(&classes);
        }
        if let Some(flows) = self.words(&spec.flow, at, "flow", &Flow::ALL, Flow::name) {
            when = when.flows(&flows);
        }
        if let Some(clients) = self.words(&spec.client, at, "client", &Client::ALL, Client::name) {
            when = when.clients(&clients);
        }
        if let Some(lists) = self.values(&spec.list, at, "list") {
            when = when.and(Condition::List(lists.into_iter().collect()));
        }
        if let Some(hosts) = self.values(&spec.host, at, "host") {
            when = when.and(Condition::Host(
                hosts.iter().map(|host| host_name(host)).collect(),
            ));
        }
        if let Some(sources) = self.values(&spec.source, at, "source") {
            when = when.and(Condition::Source(self.prefixes(&sources, at)));
        }
        if let Some(parties) = self.values(&spec.relying_party, at, "relying_party") {
            when = when.and(Condition::RelyingParty(Parties::new(&parties)));
        }
        if let Some(names) = self.values(&spec.application, at, "application") {
            when = when.and(Condition::Application(self.named_applications(&names, at)));
        }
        if let Some(users) = self.values(&spec.user, at, "user") {
            when = when.and(self.users(&users, at));
        }
        if let Some(inner) = &spec.not {
            let inner = self.when(inner, &format!("{at}.not"));
            when = when.and(Condition::Not(Box::new(inner)));
        }
        when
    }

    /// The values of a condition; `None` when it is absent. Empty ones would never match, and are
    /// errors.
    fn values(&mut self, values: &Values, at: &str, field: &str) -> Option<Vec<String>> {
        let values = match values {
            Values::Absent => return None,
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(values) => values.as_slice(),
        };
        if values.is_empty() || values.iter().any(|value| value.trim().is_empty()) {
            let message =
                "an empty value never matches; name something, or leave the condition out";
            self.report
                .error(Some(self.index), &format!("{at}.{field}"), message);
        }
        Some(values.to_vec())
    }

    fn words<T: Copy>(
        &mut self,
        values: &Values,
        at: &str,
        field: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<Vec<T>> {
        let values = self.values(values, at, field)?;
        let mut found = Vec::new();
        for word in &values {
            if let Some(known) = all.iter().find(|known| name(**known) == word) {
                found.push(*known);
            } else {
                let names: Vec<&str> = all.iter().map(|known| name(*known)).collect();
                let at = format!("{at}.{field}");
                self.report
                    .unknown(Some(self.index), &at, field, word, &names);
            }
        }
        Some(found)
    }

    fn prefixes(&mut self, sources: &[String], at: &str) -> Vec<IpNet> {
        let mut prefixes = Vec::new();
        for text in sources {
            match prefix_of(text) {
                Some(prefix) => prefixes.push(prefix),
                None => self.report.error(
                    Some(self.index),
                    &format!("{at}.source"),
                    format!(
                        "`{text}` is no address or prefix; write 203.0.113.7 or 203.0.113.0/24"
                    ),
                ),
            }
        }
        prefixes
    }

    fn named_applications(&mut self, names: &[String], at: &str) -> Vec<Application> {
        let mut found = Vec::new();
        for name in names {
            if let Some(known) = self.applications.iter().find(|known| known.name == *name) {
                found.push(known.clone());
            } else {
                let all: Vec<&str> = self
                    .applications
                    .iter()
                    .map(|it| it.name.as_str())
                    .collect();
                let at = format!("{at}.application");
                self.report
                    .unknown(Some(self.index), &at, "application", name, &all);
            }
        }
        found
    }

    fn users(&mut self, users: &[String], at: &str) -> Condition {
        let (mut names, mut domains) = (Vec::new(), Vec::new());
        for user in users {
            let user = user.trim().to_lowercase();
            match user.split_once('@') {
                Some(("", domain)) if is_domain(domain) => {
                    domains.push(domain.to_owned());
                }
                Some((_, domain)) if is_domain(domain) => {
                    names.push(user);
                }
                _ => self.report.error(
                    Some(self.index),
                    &format!("{at}.user"),
                    format!(
                        "`{user}` is no user; write name@domain, or @domain for all of a domain"
                    ),
                ),
            }
        }
        let [names, domains] = [names, domains].map(|all| all.into_iter().collect::<Names>());
        Condition::User { names, domains }
    }

    /// A user is certain on the active flow alone; elsewhere a rule on users acts on everyone.
    fn warn_of_user(&mut self, spec: &RuleSpec, kind: DecisionKind, when: &When) {
        let uncertain = Flow::ALL
            .into_iter()
            .filter(|flow| flow.signs_in() && *flow != Flow::Active)
            .any(|flow| when.bits.flows & 1 << flow as u16 != 0);
        if !names_user(&spec.when) || !uncertain {
            return;
        }
        let message = if kind.restricts() {
            "a user is certain on flow `active` only; on other sign-in flows this rule matches whoever signs in, because the user is unknown. Add flow = \"active\" unless that is meant"
        } else {
            "a user is certain on flow `active` only; on other flows this rule never passes anyone"
        };
        self.report.warning(Some(self.index), "when.user", message);
    }

    /// Who says what it is, and needs to prove nothing.
    fn warn_of_client(&mut self, spec: &RuleSpec, kind: DecisionKind, when: &When) {
        let unmanaged = when.bits.classes & 1 << Class::Unmanaged as u8 != 0;
        let narrow = spec.when.list != Values::Absent || spec.when.source != Values::Absent;
        if kind.restricts() || !unmanaged || narrow || spec.when.client == Values::Absent {
            return;
        }
        for (client, proof) in [
            (Client::Outlook, "a User-Agent"),
            (Client::WindowsLogon, "a User-Agent"),
            (
                Client::Server,
                "a client secret, which only the sign-in server checks",
            ),
        ] {
            if when.bits.clients & 1 << client as u8 != 0 {
                let message = format!(
                    "any program can call itself `{}` by {proof}; name a class, a list or a source beside it",
                    client.name()
                );
                self.report
                    .warning(Some(self.index), "when.client", message);
            }
        }
    }
}

fn names_user(when: &WhenSpec) -> bool {
    when.user != Values::Absent || when.not.as_deref().is_some_and(names_user)
}

fn application((name, spec): (&String, &ApplicationSpec)) -> Application {
    Application {
        name: name.clone(),
        relying_parties: Parties::new(&spec.relying_parties),
        hosts: spec.hosts.iter().map(|host| host_name(host)).collect(),
    }
}

fn host_name(host: &str) -> String {
    host.trim().trim_end_matches('.').to_lowercase()
}

fn is_domain(domain: &str) -> bool {
    !domain.is_empty() && !domain.contains(|c: char| c == '@' || c.is_whitespace())
}

/// An address or a prefix; host bits are cleared, IPv4-mapped IPv6 is folded.
fn prefix_of(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let prefix = text.parse::<IpNet>().ok()?.trunc();
    match (prefix.addr().to_canonical(), prefix) {
        (IpAddr::V4(address), IpNet::V6(mapped)) if mapped.prefix_len() >= 96 => {
            Ipv4Net::new(address, mapped.prefix_len() - 96)
                .ok()
                .map(IpNet::V4)
        }
        _ => Some(prefix),
    }
}
