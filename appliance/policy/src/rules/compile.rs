//! From what an administrator wrote to rules that can be tried.

use std::collections::HashSet;
use std::sync::Arc;

use weir_abi::Class;

use super::asked::Parties;
use super::builtin::{BuiltIn, builtin, prefix};
use super::condition::Application;
use super::doubts;
use super::index::Index;
use super::reading::{self, Reading, host_name};
use super::{Decision, Rule, RuleError, Stops, Template};
use crate::words::closest;
use crate::{ApplicationSpec, PolicySpec, Profile, Wanted, WindowsLogonSetting};

/// So many words are told when one is not known.
const MOST_TOLD: usize = 60;

/// The compiled rules of a service.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// In the order in which they are tried.
    pub(crate) rules: Vec<Rule>,
    /// Which of `rules` can match at all.
    pub(super) index: Index,
    /// The word in front of the names of the set's rules.
    pub(super) set: &'static str,
    pub(crate) stops: Stops,
    /// The row "tunnel".
    pub(crate) tunnels: Vec<(Class, Rule)>,
    pub(crate) applications: Vec<Application>,
    /// What the rules ask a directory.
    pub(crate) wanted: Arc<Wanted>,
    /// Where redirects go that have no target of their own.
    pub(super) reverse_proxy: Option<Arc<Template>>,
    /// Legal, but probably not meant.
    pub(crate) warnings: Vec<RuleError>,
}

impl Compiled {
    /// The target that a decision's rule has of its own.
    pub(crate) fn own_target<'d>(&self, decision: &'d Decision) -> Option<&'d Template> {
        let target = decision.target.as_ref()?;
        let usual = self.reverse_proxy.as_ref();
        let is_usual = usual.is_some_and(|usual| Arc::ptr_eq(usual, target));
        (!is_usual).then_some(&**target)
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
    let locations = reading::locations(spec, &mut report);
    reading::claim_names(spec, &mut report);
    let mut wanted = Wanted::default();
    let own: Vec<Rule> = spec
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            Reading {
                report: &mut report,
                index,
                spec,
                applications: &applications,
                locations: &locations,
                wanted: &mut wanted,
                here: true,
            }
            .rule(rule, target.as_ref())
        })
        .collect();
    wanted.finish();
    doubts::names(&spec.rules, &mut report);
    doubts::reach(spec, &mut report);
    doubts::settings(spec, &mut report);
    let logon_paths = logon_paths(spec, &mut report);

    let BuiltIn {
        guards,
        rows,
        mut tunnels,
    } = builtin(spec, target.as_ref(), &logon_paths);
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
        Ok(Compiled {
            index: Index::new(&rules),
            set: prefix(spec.rule_set),
            rules,
            stops,
            tunnels,
            applications,
            wanted: Arc::new(wanted),
            reverse_proxy: target,
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

    pub(super) fn unknown(
        &mut self,
        rule: Option<usize>,
        field: &str,
        what: &str,
        word: &str,
        all: &[&str],
    ) {
        let suggestion = closest(word, all);
        let choice = match (&suggestion, all) {
            (Some(known), _) => format!("did you mean `{known}`?"),
            (None, []) => "none is defined".to_owned(),
            (None, all) if all.len() > MOST_TOLD => {
                format!("it is one of {}, such as `{}`", all.len(), all[0])
            }
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

/// Where Windows logon may be let through: nowhere, unless a setting lets it and the profile has such paths.
fn logon_paths(spec: &PolicySpec, report: &mut Report) -> Vec<String> {
    if spec.windows_logon != WindowsLogonSetting::Pass {
        return Vec::new();
    }
    // What is wrong with the profile is told with the profile.
    let Ok(profile) = Profile::compile(&spec.profile) else {
        return Vec::new();
    };
    let paths = profile.password_paths();
    if paths.is_empty() {
        let message = "no path of this service's profile takes Windows logon, so windows_logon = \"pass\" would let nobody in: WS-Trust with name and password, in a message that names the relying party; write windows_logon = \"block\", or a profile of your own with a row that says flow = \"active\", reads = \"password\"";
        report.error(None, "windows_logon", message);
    }
    paths
}

fn application((name, spec): (&String, &ApplicationSpec)) -> Application {
    Application {
        name: name.clone(),
        relying_parties: Parties::new(&spec.relying_parties),
        hosts: spec.hosts.iter().map(|host| host_name(host)).collect(),
    }
}
