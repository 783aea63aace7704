//! The policy of one service: the door to everything else in this crate.

use std::net::IpAddr;
use std::sync::Arc;

use crate::profile::Profile;
use crate::rules::{self, Asked, Compiled, Counting};
use crate::{
    Classify, Decision, DecisionKind, Directory, Facts, Head, PolicySpec, Recognised, Refusal,
    RuleError, Source, Tried,
};

/// The compiled policy of one service.
#[derive(Clone, Debug)]
pub struct Policy {
    profile: Profile,
    set: &'static str,
    compiled: Arc<Compiled>,
}

impl Policy {
    /// Compiles a policy; all errors are reported, not only the first.
    pub fn compile(spec: &PolicySpec) -> Result<Self, Vec<RuleError>> {
        let profile = Profile::preset(&spec.profile);
        let mut errors: Vec<RuleError> = Vec::new();
        if profile.is_none() {
            errors.push(RuleError {
                rule: None,
                field: "profile".to_owned(),
                message: format!(
                    "there is no profile `{}`; it is one of: {}",
                    spec.profile,
                    Profile::PRESETS.join(", ")
                ),
                suggestion: Some(Profile::PRESETS[0].to_owned()),
            });
        }
        match (rules::compile(spec), profile) {
            (Ok(compiled), Some(profile)) => Ok(Self {
                profile,
                set: rules::prefix(spec.rule_set),
                compiled: Arc::new(compiled),
            }),
            (Ok(_), None) => Err(errors),
            (Err(more), _) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }

    /// What is legal but probably not meant: rules that can never match, redirects without a target,
    /// settings that believe what anyone can forge.
    pub fn warnings(&self) -> &[RuleError] {
        &self.compiled.warnings
    }

    /// Full names of the rules for requests, in the order in which they are tried; those that are
    /// switched off too.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.compiled.rules.iter().map(|rule| &*rule.name)
    }

    /// What a request is, and how much of its body must be read before it can be judged.
    pub fn recognise(&self, head: &Head<'_>) -> Result<Recognised, Refusal> {
        self.profile.recognise(head)
    }

    /// Everything that rules may ask about. `body` is the whole body, or `None` when it was not read
    /// whole ([`crate::BodyNeed`]).
    pub fn facts(
        &self,
        head: &Head<'_>,
        recognised: &Recognised,
        body: Option<&[u8]>,
        peer: IpAddr,
        lists: &dyn Classify,
    ) -> Facts {
        let mut facts = Facts::gather(head, recognised, body, peer, lists);
        facts.applications = rules::applications(&self.compiled.applications, &facts);
        facts
    }

    /// Judges a request: the first rule that matches decides; when none does, it is blocked. A sign-in
    /// that a rule lets through within a rate is counted.
    pub fn decide(&self, facts: &Facts, directory: &dyn Directory) -> Decision {
        let asked = Asked::new(facts, directory);
        match self.compiled.first(&asked) {
            Some(rule) => self.compiled.stops.conclude(rule, &asked, Counting::Take),
            None => rules::no_rule(self.set, facts),
        }
    }

    /// Judges a request, and tells every rule that was tried and why it did or did not match. Counts
    /// nothing.
    pub fn explain(&self, facts: &Facts, directory: &dyn Directory) -> (Decision, Vec<Tried>) {
        let asked = Asked::new(facts, directory);
        let mut tried = Vec::new();
        for rule in &self.compiled.rules {
            let step = rule.tried(&asked);
            let matched = step.matched;
            tried.push(step);
            if matched {
                let stops = &self.compiled.stops;
                let decision = stops.conclude(rule, &asked, Counting::Ask);
                if decision.rule != rule.name
                    && let Some(stopped) = tried.last_mut()
                {
                    stopped.matched = false;
                    stopped.why.push_str(", but it has done so too often");
                    tried.push(Tried {
                        rule: decision.rule.to_string(),
                        matched: true,
                        why: decision.reason.to_string(),
                    });
                }
                return (decision, tried);
            }
        }
        (rules::no_rule(self.set, facts), tried)
    }

    /// Judges a connection to a host name in `tunnel`, whose requests are not seen. A list that exempts
    /// browsers only exempts no tunnel: nobody can say who speaks in it. The kind is pass or block.
    pub fn tunnel(&self, peer: IpAddr, lists: &dyn Classify) -> (Source, Decision) {
        let source = Source::direct(peer, lists);
        let class = source.class_for(false);
        let row = self
            .compiled
            .tunnels
            .iter()
            .find(|(of, rule)| *of == class && !rule.off);
        let decision = match row {
            Some((_, rule)) => Decision {
                kind: rule.kind,
                rule: rule.name.clone(),
                reason: rule.reason.clone(),
                status: None,
                target: None,
            },
            None => Decision {
                kind: DecisionKind::Block,
                rule: format!("{}/no-rule", self.set).into(),
                reason: "No rule allows this connection.".into(),
                status: None,
                target: None,
            },
        };
        (source, decision)
    }
}
