//! Trying rules in order: which one settles a request, and whether the token has a say before.

use std::sync::Arc;

use serde::Serialize;

use super::asked::{Asked, Known};
use super::condition::is_recent;
use super::truth::Truth;
use super::{Compiled, Counting, Decision, Rule, Tried, is_page, no_rule, text};
use crate::{Client, DecisionKind, Method};

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// This is done, now.
    Now(Decision),
    /// The request is let through, and the token of the answer is looked at.
    AtToken {
        /// Full name of the first rule that waits for it.
        #[serde(serialize_with = "text")]
        pending: Arc<str>,
        /// The server is to be asked for multi-factor authentication, by this rule.
        step_up: Option<Decision>,
        /// What is done if no token can be believed.
        otherwise: Decision,
    },
}

impl Ruling {
    /// What is told of it: the decision, the rule, the reason. While the token has the last word the
    /// request passes, by the first rule that waits.
    pub fn told(&self) -> (DecisionKind, &Arc<str>, &str) {
        match self {
            Self::Now(decision)
            | Self::AtToken {
                step_up: Some(decision),
                ..
            } => (decision.kind, &decision.rule, &*decision.reason),
            Self::AtToken { pending, .. } => (
                DecisionKind::Pass,
                pending,
                "The sign-in goes on, and its token has the last word.",
            ),
        }
    }

    /// What is done by whoever looks at no token.
    pub fn without_token(self) -> Decision {
        match self {
            Self::Now(decision)
            | Self::AtToken {
                otherwise: decision,
                ..
            } => decision,
        }
    }
}

/// What a rule does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Skips,
    /// It does this, unless the token makes it skip.
    Waits(DecisionKind),
    Takes(DecisionKind),
}

/// How far the rules were tried.
pub(super) struct Walked<'r> {
    settled: Option<(&'r Rule, DecisionKind)>,
    /// The first rule that waits for the token.
    pub(super) waits: Option<&'r Rule>,
    /// Whether any of those may pass.
    pub(super) may_pass: bool,
}

impl Compiled {
    /// Judges a request.
    pub(crate) fn decide(&self, asked: &Asked<'_>) -> Ruling {
        let walked = self.walked(asked);
        self.ruling(&walked, asked, Counting::Take)
    }

    /// Judges a request, and tells every rule that was tried.
    pub(crate) fn explain(&self, asked: &Asked<'_>) -> (Ruling, Vec<Tried>) {
        let mut tried = Vec::new();
        let mut rules = self.rules.iter();
        let tell = |rule: &Rule, effect| tried.push(rule.tried(asked, effect));
        let walked = walk(|_| rules.next(), asked, tell);
        let ruling = self.ruling(&walked, asked, Counting::Ask);
        if let Some((rule, DecisionKind::Pass)) = walked.settled
            && let Some(front) = self.withheld_by(rule, asked)
            && let Some(settled) = tried.last_mut()
        {
            let why = format!("; it grants nothing, because {} may hold", front.name);
            settled.why.push_str(&why);
        }
        if let (Ruling::Now(decision), Some((rule, _))) = (&ruling, walked.settled)
            && decision.rule != rule.name
            && let Some(stopped) = tried.last_mut()
        {
            stopped.matched = false;
            stopped.why.push_str(", but it has done so too often");
            tried.push(Tried {
                rule: decision.rule.to_string(),
                matched: true,
                waits: false,
                why: decision.reason.to_string(),
            });
        }
        (ruling, tried)
    }

    fn walked(&self, asked: &Asked<'_>) -> Walked<'_> {
        let mut candidates = self.index.candidates(asked);
        let next = |so_far: &_| candidates.next(so_far).map(|at| &self.rules[at]);
        walk(next, asked, |_, _| {})
    }

    fn ruling(&self, walked: &Walked<'_>, asked: &Asked<'_>, counting: Counting) -> Ruling {
        let Some((rule, kind)) = walked.settled else {
            let decision = no_rule(self.set, asked.facts);
            return self.unless_pending(walked, asked, decision, false);
        };
        let mut decision = self.stops.conclude(rule, kind, asked, counting);
        if self.withheld_by(rule, asked).is_some() {
            decision.grant = None;
        }
        if kind == DecisionKind::StepUp && matches!(asked.token, Known::Ahead) {
            return Ruling::AtToken {
                pending: walked.waits.unwrap_or(rule).name.clone(),
                step_up: Some(decision),
                otherwise: self.otherwise(asked),
            };
        }
        // What is let through within a rate is counted when it is let through, and stops here.
        let stopped = kind == DecisionKind::Pass && decision.kind != kind;
        self.unless_pending(walked, asked, decision, stopped)
    }

    /// The rule in front of one that grants which may hold as well, nobody can say, and then would have passed the
    /// request with less.
    fn withheld_by(&self, rule: &Rule, asked: &Asked<'_>) -> Option<&Rule> {
        let grant = rule.grant.as_deref()?;
        self.rules
            .iter()
            .take_while(|front| !std::ptr::eq(*front, rule))
            .filter(|front| !front.grant.as_deref().is_some_and(|it| it.covers(grant)))
            .find(|front| front.may_pass(asked))
    }

    /// The decision stands, unless a rule in front of it may still do better than it.
    fn unless_pending(
        &self,
        walked: &Walked<'_>,
        asked: &Asked<'_>,
        decision: Decision,
        stopped: bool,
    ) -> Ruling {
        let restricts_anyway = !walked.may_pass && decision.kind.restricts();
        match walked.waits {
            Some(rule) if !stopped && !restricts_anyway => Ruling::AtToken {
                pending: rule.name.clone(),
                step_up: None,
                otherwise: self.otherwise(asked),
            },
            _ => Ruling::Now(decision),
        }
    }

    fn otherwise(&self, asked: &Asked<'_>) -> Decision {
        let asked = asked.without_token();
        match self.walked(&asked).settled {
            Some((rule, kind)) => self.stops.conclude(rule, kind, &asked, Counting::Ask),
            None => no_rule(self.set, asked.facts),
        }
    }
}

impl Rule {
    /// Unknown is enough for a rule that restricts, never for one that passes.
    fn effect(&self, asked: &Asked<'_>) -> Effect {
        if self.off {
            return Effect::Skips;
        }
        let truth = self.when.truth(asked);
        let kind = self.amounts_to(asked);
        let takes = if kind == DecisionKind::Pass {
            Truth::TRUE
        } else {
            Truth::RESTRICTS
        };
        if !truth.may_be(takes) {
            Effect::Skips
        } else if truth.must_be(takes) {
            Effect::Takes(kind)
        } else {
            Effect::Waits(kind)
        }
    }

    /// Whether it would let the request through, if only somebody could say that it matches.
    fn may_pass(&self, asked: &Asked<'_>) -> bool {
        !self.off
            && self.amounts_to(asked) == DecisionKind::Pass
            && self.when.truth(asked).may_be(Truth::UNKNOWN)
    }

    /// A step-up is a pass for whom the token proves it, a demand where the token is still to come or does
    /// not prove it, and a block for everyone else.
    fn amounts_to(&self, asked: &Asked<'_>) -> DecisionKind {
        if self.kind != DecisionKind::StepUp {
            return self.kind;
        }
        let facts = asked.facts;
        if facts.client != Client::Browser || !is_page(facts.flow) {
            return DecisionKind::Block;
        }
        match asked.token {
            Known::Ahead => DecisionKind::StepUp,
            Known::Verified(told) => {
                let recent = |within| is_recent(told, asked, within) == Some(true);
                if told.methods.contains(&Method::Mfa) && self.within.is_none_or(recent) {
                    DecisionKind::Pass
                } else {
                    DecisionKind::StepUp
                }
            }
            Known::Nothing | Known::Unbelieved => DecisionKind::Block,
        }
    }

    fn tried(&self, asked: &Asked<'_>, effect: Effect) -> Tried {
        let kind = self.amounts_to(asked);
        let meaning = match effect {
            Effect::Waits(_) => ": the token will tell",
            _ if kind.restricts() => ": unknown is enough for a rule that restricts",
            _ if self.kind == DecisionKind::StepUp => {
                ": unknown is enough to ask for multi-factor authentication, which the token proves"
            }
            _ => ": unknown never passes",
        };
        let mut why = if self.off {
            "switched off".to_owned()
        } else {
            self.when.why(asked, meaning)
        };
        if self.kind == DecisionKind::StepUp && effect != Effect::Skips {
            why.push_str(match kind {
                DecisionKind::Pass => "; the token proves multi-factor authentication",
                DecisionKind::StepUp => "; the server is asked for multi-factor authentication",
                _ => "; nothing proves multi-factor authentication",
            });
        }
        Tried {
            rule: self.name.to_string(),
            matched: matches!(effect, Effect::Takes(_)),
            waits: matches!(effect, Effect::Waits(_)),
            why,
        }
    }
}

/// `next` is the next rule to try, after what those before it came to.
fn walk<'r>(
    mut next: impl FnMut(&Walked<'r>) -> Option<&'r Rule>,
    asked: &Asked<'_>,
    mut tell: impl FnMut(&Rule, Effect),
) -> Walked<'r> {
    let mut walked = Walked {
        settled: None,
        waits: None,
        may_pass: false,
    };
    while let Some(rule) = next(&walked) {
        let effect = rule.effect(asked);
        tell(rule, effect);
        match effect {
            Effect::Skips => {}
            Effect::Waits(kind) => {
                walked.waits = walked.waits.or(Some(rule));
                walked.may_pass |= matches!(kind, DecisionKind::Pass | DecisionKind::StepUp);
            }
            Effect::Takes(kind) => {
                walked.settled = Some((rule, kind));
                break;
            }
        }
    }
    walked
}
