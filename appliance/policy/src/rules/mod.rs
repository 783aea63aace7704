//! Rules: compiled once, tried in order, first match wins.

mod asked;
mod builtin;
mod compile;
mod condition;
mod template;

use std::sync::Arc;

use serde::Serialize;
use weir_abi::Class;

pub(crate) use asked::Asked;
pub(crate) use builtin::prefix;
pub(crate) use compile::{Compiled, compile};
use condition::{Application, Truth, When};
pub use template::{Template, TemplateError};

use crate::{Client, DecisionKind, Facts, Flow};

/// What is done with a request, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What is done.
    #[serde(rename = "decision")]
    pub kind: DecisionKind,
    /// Full name of the rule: `SET/NAME`, or `rule/NAME` for the administrator's.
    #[serde(serialize_with = "text")]
    pub rule: Arc<str>,
    /// Why, in words for the person who is blocked and for the audit log.
    #[serde(serialize_with = "text")]
    pub reason: Arc<str>,
    /// Status of Weir's own answer; `None` when the request passes.
    pub status: Option<u16>,
    /// Where a redirect goes.
    #[serde(skip)]
    pub target: Option<Arc<Template>>,
}

/// A rule that [`crate::Policy::explain`] tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Full name of the rule.
    pub rule: String,
    /// Whether it matched. The first that does decides.
    pub matched: bool,
    /// Which condition held, did not hold, or is unknown.
    pub why: String,
}

/// Something wrong, or worth a warning, in a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct RuleError {
    /// Index into [`crate::PolicySpec::rules`]; `None` when it is not about one rule.
    pub rule: Option<usize>,
    /// Which field, such as `when.flow`.
    pub field: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The word that was probably meant.
    pub suggestion: Option<String>,
}

/// How often a browser is redirected within a minute before Weir stops it.
pub(crate) const MAX_REDIRECTS: u8 = 3;

/// A compiled rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Full name.
    pub(crate) name: Arc<str>,
    pub(crate) when: When,
    pub(crate) kind: DecisionKind,
    pub(crate) reason: Arc<str>,
    pub(crate) target: Option<Arc<Template>>,
    /// Skipped by `switched_off`.
    pub(crate) off: bool,
}

impl Rule {
    /// Whether the rule matches: unknown is enough for a rule that restricts, never for one that
    /// passes.
    pub(crate) fn matches(&self, asked: &Asked<'_>) -> bool {
        !self.off && self.takes(self.when.truth(asked))
    }

    pub(crate) fn tried(&self, asked: &Asked<'_>) -> Tried {
        let matched = self.matches(asked);
        let why = if self.off {
            "switched off".to_owned()
        } else {
            self.when.why(asked, self.kind.restricts())
        };
        Tried {
            rule: self.name.to_string(),
            matched,
            why,
        }
    }

    fn takes(&self, truth: Truth) -> bool {
        match truth {
            Truth::True => true,
            Truth::Unknown => self.kind.restricts(),
            Truth::False => false,
        }
    }

    /// What the rule means for a request that it matched. A redirect that cannot be made is a block.
    pub(crate) fn conclude(&self, facts: &Facts) -> Decision {
        let decision = |kind, status, reason: Arc<str>, target| Decision {
            kind,
            rule: self.name.clone(),
            reason,
            status,
            target,
        };
        let block = |reason| decision(DecisionKind::Block, Some(block_status(facts)), reason, None);
        match self.kind {
            DecisionKind::Pass => decision(DecisionKind::Pass, None, self.reason.clone(), None),
            DecisionKind::Block => block(self.reason.clone()),
            DecisionKind::Redirect if facts.client != Client::Browser || !is_page(facts.flow) => {
                block("Applications are never sent to the reverse proxy; only browsers are.".into())
            }
            DecisionKind::Redirect if self.target.is_none() => block(
                "Browsers on other than managed devices sign in through the reverse proxy, but no \
                 reverse proxy is configured for this service."
                    .into(),
            ),
            DecisionKind::Redirect if facts.redirects >= MAX_REDIRECTS => block(
                "The browser was sent to the reverse proxy three times and came back each time. \
                 Wait a minute, then start again from the application."
                    .into(),
            ),
            DecisionKind::Redirect => {
                let status = if matches!(facts.method.as_str(), "GET" | "HEAD") {
                    302
                } else {
                    303
                };
                let target = self.target.clone();
                decision(
                    DecisionKind::Redirect,
                    Some(status),
                    self.reason.clone(),
                    target,
                )
            }
        }
    }
}

/// What is done when no rule matches.
pub(crate) fn no_rule(set: &str, facts: &Facts) -> Decision {
    Decision {
        kind: DecisionKind::Block,
        rule: format!("{set}/no-rule").into(),
        reason: "No rule allows this sign-in.".into(),
        status: Some(block_status(facts)),
        target: None,
    }
}

/// Names of the applications to which a request belongs beyond doubt.
pub(crate) fn applications(all: &[Application], facts: &Facts) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let asked = Asked::new(facts);
    all.iter()
        .filter(|application| application.truth(&asked) == Truth::True)
        .map(|application| application.name.clone())
        .collect()
}

/// The classes of a request as rules see them: behind a relay, `relay` too.
pub(crate) fn class_bits(facts: &Facts) -> u8 {
    let relay = if facts.source.relayed {
        1 << Class::Relay as u8
    } else {
        0
    };
    1 << facts.class as u8 | relay
}

fn is_page(flow: Flow) -> bool {
    matches!(flow, Flow::Passive | Flow::OauthBrowser)
}

fn block_status(facts: &Facts) -> u16 {
    if matches!(facts.flow, Flow::Internal | Flow::Other) {
        404
    } else {
        403
    }
}

fn text<S: serde::Serializer>(value: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}
