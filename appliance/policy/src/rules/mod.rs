//! Rules: compiled once, tried in order, first match wins.

mod asked;
mod asks;
mod builtin;
mod compile;
mod condition;
mod doubts;
mod grant;
mod groups;
mod hash;
mod index;
mod leans;
mod places;
mod reading;
mod schedule;
mod template;
mod truth;
mod walk;
mod words;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use weir_abi::Class;

pub(crate) use asked::Asked;
use asked::Known;
pub(crate) use builtin::prefix;
pub(crate) use compile::{Compiled, compile};
use condition::{Application, When};
pub use grant::Grant;
pub(crate) use hash::hash;
pub use leans::Lean;
pub use reading::BUILT_IN_CLAIMS;
pub use template::{Template, TemplateError};
use truth::Truth;
pub use walk::Ruling;

use crate::resident::Hearing;
use crate::{Client, DecisionKind, Facts, Flow, Rate, SignIn, Uncounted};

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
    /// The class that the source address earns by it.
    #[serde(serialize_with = "granted", skip_serializing_if = "Option::is_none")]
    pub grant: Option<Arc<Grant>>,
}

/// A rule that [`crate::Policy::explain`] tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Full name of the rule.
    pub rule: String,
    /// Whether it matched. The first that does decides.
    pub matched: bool,
    /// Whether it waits for the token, which will tell.
    pub waits: bool,
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
    /// How often it passes, when not always.
    pub(crate) rate: Option<Rate>,
    /// How old the multi-factor authentication of a step-up may be.
    pub(crate) within: Option<Duration>,
    pub(crate) grant: Option<Arc<Grant>>,
    /// Skipped by `switched_off`.
    pub(crate) off: bool,
}

/// Rules that stand behind others: what another rule would let through, they stop. So they have no
/// conditions of their own, and nobody switches them off.
#[derive(Clone, Debug)]
pub(crate) struct Stops {
    /// A browser that comes back from the reverse proxy again and again.
    redirect_loop: Arc<str>,
    /// More Windows sign-ins than the rate allows.
    windows_logon_rate: Arc<str>,
    /// Name of the service, by which sign-ins are counted.
    service: String,
}

/// Whether a sign-in that is let through within a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// It is let through now.
    Take,
    /// Somebody only asks.
    Ask,
}

impl Stops {
    pub(crate) fn new(set: &str, service: &str) -> Self {
        Self {
            redirect_loop: format!("{set}/redirect-loop").into(),
            windows_logon_rate: format!("{set}/windows-logon-rate").into(),
            service: service.to_owned(),
        }
    }

    /// Full names.
    pub(crate) fn names(&self) -> [&Arc<str>; 2] {
        [&self.redirect_loop, &self.windows_logon_rate]
    }

    /// What a rule means for a request that it matched, and for which it amounts to `kind`. A redirect that cannot be made is a block, and
    /// so is one time too many.
    pub(crate) fn conclude(
        &self,
        rule: &Rule,
        kind: DecisionKind,
        asked: &Asked<'_>,
        counting: Counting,
    ) -> Decision {
        let facts = asked.facts;
        let block = |name: &Arc<str>, reason: Arc<str>| Decision {
            kind: DecisionKind::Block,
            rule: Arc::clone(name),
            reason,
            status: Some(block_status(facts)),
            target: None,
            grant: None,
        };
        let block_by = |reason: &str| block(&rule.name, reason.into());
        match kind {
            DecisionKind::Pass if !self.is_within(rule, asked, counting) => block(
                &self.windows_logon_rate,
                "Windows signed in too often in a short time. It tries again by itself.".into(),
            ),
            DecisionKind::Pass | DecisionKind::StepUp => Decision {
                kind,
                rule: rule.name.clone(),
                reason: rule.reason.clone(),
                status: None,
                target: None,
                grant: rule.grant.clone(),
            },
            DecisionKind::Block => block(&rule.name, rule.reason.clone()),
            DecisionKind::Redirect if facts.client != Client::Browser || !is_page(facts.flow) => {
                block_by("Applications are never sent to the reverse proxy; only browsers are.")
            }
            DecisionKind::Redirect if rule.target.is_none() => block_by(
                "Browsers on other than managed devices sign in through the reverse proxy, but no \
                 reverse proxy is configured for this service.",
            ),
            DecisionKind::Redirect if facts.redirects >= MAX_REDIRECTS => block(
                &self.redirect_loop,
                "The browser was sent to the reverse proxy three times within a minute, and came \
                 back each time. Start again from the application, in one window. If this page \
                 comes again, the help desk must know: the way through the reverse proxy is broken."
                    .into(),
            ),
            DecisionKind::Redirect => Decision {
                kind: DecisionKind::Redirect,
                rule: rule.name.clone(),
                reason: rule.reason.clone(),
                status: Some(match facts.method.as_str() {
                    "GET" | "HEAD" => 302,
                    _ => 303,
                }),
                target: rule.target.clone(),
                grant: None,
            },
        }
    }

    fn is_within(&self, rule: &Rule, asked: &Asked<'_>, counting: Counting) -> bool {
        let Some(rate) = rule.rate else {
            return true;
        };
        // When the request was let through to see its token, it was counted.
        if matches!(asked.token, Known::Verified(_) | Known::Unbelieved) {
            return true;
        }
        let sign_in = SignIn {
            service: &self.service,
            user: asked.bound.as_deref(),
            source: asked.facts.source.effective,
            rate,
        };
        match counting {
            Counting::Take => asked.directory.admit(&sign_in),
            Counting::Ask => asked.directory.would_admit(&sign_in),
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
        grant: None,
    }
}

/// Names of the applications to which a request belongs beyond doubt.
pub(crate) fn applications(all: &[Application], facts: &Facts) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    // No application asks for users.
    let (wanted, hearing) = (Arc::default(), Hearing::default());
    let asked = Asked::new(facts, &Uncounted(None), &wanted, &hearing);
    all.iter()
        .filter(|application| application.truth(&asked) == Truth::TRUE)
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

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn granted<S: serde::Serializer>(
    grant: &Option<Arc<Grant>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    grant.as_deref().serialize(serializer)
}
