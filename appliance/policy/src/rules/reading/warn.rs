//! What a rule probably does not mean.

use weir_abi::Class;

use super::super::condition::When;
use super::Reading;
use crate::{Client, DecisionKind, Flow, RuleSpec, Values, WhenSpec};

impl Reading<'_> {
    /// A user is certain on the active flow alone; elsewhere a rule on users acts on everyone.
    pub(super) fn warn_of_user(&mut self, spec: &RuleSpec, kind: DecisionKind, when: &When) {
        let uncertain = Flow::ALL
            .into_iter()
            .filter(|flow| flow.signs_in() && *flow != Flow::Active)
            .any(|flow| when.bits.flows & 1 << flow as u16 != 0);
        let told = self.spec.decide_at_token;
        if !names_user(&spec.when) || !uncertain || told {
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
    pub(super) fn warn_of_client(&mut self, spec: &RuleSpec, kind: DecisionKind, when: &When) {
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

    /// Where no token is looked at, what only a token tells is always unknown.
    pub(super) fn warn_of_tokens(&mut self, spec: &RuleSpec, kind: DecisionKind, when: &When) {
        let index = Some(self.index);
        if kind == DecisionKind::StepUp && !reaches_pages(when) {
            let message = "only browsers are asked for multi-factor authentication, on flows passive and oauth-browser, so this step-up is a block; write decision = \"block\"";
            self.report.warning(index, "then.decision", message);
            return;
        }
        if self.spec.decide_at_token || !self.here {
            return;
        }
        if kind == DecisionKind::StepUp {
            let message = "this step-up is a block, because nothing can prove the authentication; write decide = true in [service.tokens]";
            self.report.warning(index, "then.decision", message);
        }
        let effect = if kind.restricts() {
            "matches whoever signs in"
        } else {
            "never passes anyone"
        };
        for (field, what) in asked_of_tokens(&spec.when, "when") {
            let message = format!(
                "no token of this service is looked at, so {what} is unknown and this rule {effect}; write decide = true in [service.tokens]"
            );
            self.report.warning(index, &field, message);
        }
    }

    /// Whether the rule can match at this service at all.
    pub(super) fn is_for_this_service(&self, spec: &RuleSpec) -> bool {
        match &spec.when.service {
            Values::Absent => true,
            Values::One(service) => *service == self.spec.service,
            Values::Many(services) => services.contains(&self.spec.service),
        }
    }
}

/// Whether browsers are among those whom the conditions may hold for, where they go to pages.
pub(super) fn reaches_pages(when: &When) -> bool {
    let browser = 1 << Client::Browser as u8;
    let pages = 1 << Flow::Passive as u16 | 1 << Flow::OauthBrowser as u16;
    when.bits.clients & browser != 0 && when.bits.flows & pages != 0
}

/// Fields about the token, and what they ask.
fn asked_of_tokens(when: &WhenSpec, at: &str) -> Vec<(String, &'static str)> {
    let absent = |values: &Values| *values == Values::Absent;
    let here = [
        ("role", "the role", absent(&when.role)),
        ("claim", "the claim", when.claim.is_empty()),
        ("device", "the device", absent(&when.device)),
        ("method", "the method", absent(&when.method)),
        (
            "authenticated_within",
            "the time of authentication",
            when.authenticated_within.is_none(),
        ),
        (
            "inside_network",
            "the network",
            when.inside_network.is_none(),
        ),
    ];
    let mut all: Vec<_> = here
        .into_iter()
        .filter(|(.., absent)| !absent)
        .map(|(field, what, _)| (format!("{at}.{field}"), what))
        .collect();
    if let Some(inner) = &when.not {
        all.extend(asked_of_tokens(inner, &format!("{at}.not")));
    }
    all
}

fn names_user(when: &WhenSpec) -> bool {
    when.user != Values::Absent || when.not.as_deref().is_some_and(names_user)
}
