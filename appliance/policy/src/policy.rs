//! The policy of one service: the door to everything else in this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::profile::Profile;
use crate::resident::Hearing;
use crate::rules::{self, Asked, Compiled};
use crate::{
    Classify, Decision, DecisionKind, Directory, Facts, Grant, Head, Heard, Lean, PolicySpec,
    Recognised, Refusal, RuleError, Ruling, Said, Source, Template, Tried,
};

/// The compiled policy of one service.
#[derive(Clone, Debug)]
pub struct Policy {
    profile: Profile,
    set: &'static str,
    /// Whether what a token told has a say.
    pub(crate) decides: bool,
    pub(crate) compiled: Arc<Compiled>,
}

impl Policy {
    /// Compiles a policy; all errors are reported, not only the first.
    pub fn compile(spec: &PolicySpec) -> Result<Self, Vec<RuleError>> {
        let profile = Profile::compile(&spec.profile);
        let mut errors: Vec<RuleError> = Vec::new();
        match (rules::compile(spec), profile) {
            (Ok(compiled), Ok(profile)) => Ok(Self {
                profile,
                set: rules::prefix(spec.rule_set),
                decides: spec.decide_at_token,
                compiled: Arc::new(compiled),
            }),
            (compiled, profile) => {
                let wrong = profile.err().unwrap_or_default();
                errors.extend(wrong.into_iter().map(RuleError::from));
                errors.extend(compiled.err().unwrap_or_default());
                Err(errors)
            }
        }
    }

    /// How requests are recognised, and where the server has what others ask for.
    pub fn profile(&self) -> &Profile {
        &self.profile
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
        let mut facts = Facts::gather(&self.profile, head, recognised, body, peer, lists);
        facts.applications = rules::applications(&self.compiled.applications, &facts);
        facts
    }

    /// Judges a request: the first rule that matches decides; when none does, it is blocked. A sign-in
    /// that a rule lets through within a rate is counted. While the token is ahead ([`crate::Told`]), a
    /// rule that waits for it may keep the others from deciding. What the directory says is asked anew, and
    /// written into the facts.
    pub fn judge(&self, facts: &mut Facts, directory: &dyn Directory) -> Ruling {
        facts.directory = Heard::default();
        let hearing = Hearing::default();
        let ruling = self
            .compiled
            .decide(&self.asked(facts, directory, &hearing));
        self.note(facts, hearing);
        ruling
    }

    /// As [`Policy::judge`], by what the directory is recorded to have said.
    pub fn decide(&self, facts: &Facts, directory: &dyn Directory) -> Ruling {
        let hearing = Hearing::default();
        self.compiled
            .decide(&self.asked(facts, directory, &hearing))
    }

    /// As [`Policy::decide`], and tells every rule that was tried and why it did or did not match. Counts
    /// nothing.
    pub fn explain(&self, facts: &Facts, directory: &dyn Directory) -> (Ruling, Vec<Tried>) {
        let hearing = Hearing::default();
        self.compiled
            .explain(&self.asked(facts, directory, &hearing))
    }

    /// As [`Policy::explain`], and writes into the facts what the directory says, where nothing is recorded.
    pub fn explain_noting(
        &self,
        facts: &mut Facts,
        directory: &dyn Directory,
    ) -> (Ruling, Vec<Tried>) {
        let hearing = Hearing::default();
        let explained = self
            .compiled
            .explain(&self.asked(facts, directory, &hearing));
        self.note(facts, hearing);
        explained
    }

    fn asked<'a>(
        &'a self,
        facts: &'a Facts,
        directory: &'a dyn Directory,
        hearing: &'a Hearing,
    ) -> Asked<'a> {
        Asked::new(facts, directory, &self.compiled.wanted, hearing)
    }

    fn note(&self, facts: &mut Facts, hearing: Hearing) {
        facts.directory = hearing.tell(&facts.directory, &self.compiled.wanted);
    }

    /// The rules that ask for claims, by full name, in order, each with the names of those.
    pub fn asks(&self) -> Vec<(&str, BTreeSet<&str>)> {
        self.compiled.asks()
    }

    /// The target that the rule of a redirect has of its own; nothing where it goes to the service's reverse
    /// proxy.
    pub fn own_target<'d>(&self, decision: &'d Decision) -> Option<&'d Template> {
        self.compiled.own_target(decision)
    }

    /// Takes in for which relying party a token is that was posted to it, and verified.
    pub fn received(&self, facts: &mut Facts, party: &str) {
        facts.relying_party = Said::Bound(party.to_owned());
        facts.applications = rules::applications(&self.compiled.applications, facts);
    }

    /// What a rule grants to whom it passes, by its full name: so a claim that it did can be checked.
    pub fn granted_by(&self, rule: &str) -> Option<&Grant> {
        let mut rules = self.compiled.rules.iter();
        let found = rules.find(|known| &*known.name == rule && !known.off)?;
        found.grant.as_deref()
    }

    /// What rules ask of a person that a directory may tell, each with the place, among [`Policy::rule_names`],
    /// of the first rule that asks it. A decision by a rule at that place or behind it leaned on it.
    pub fn leans(&self) -> BTreeMap<Lean<'_>, usize> {
        self.compiled.leans()
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
                grant: None,
            },
            None => Decision {
                kind: DecisionKind::Block,
                rule: format!("{}/no-rule", self.set).into(),
                reason: "No rule allows this connection.".into(),
                status: None,
                target: None,
                grant: None,
            },
        };
        (source, decision)
    }
}
