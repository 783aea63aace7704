//! A decision of the proxy, as it tells of one.

use std::net::IpAddr;

use time::UtcDateTime;
use weir_abi::Class;
use weir_api::RecordBody;
use weir_link::{Event, EventKind};
use weir_policy::{Described, Facts, Head, Ruling, Told};

use super::Appliance;
use crate::explain::Known;

/// Rules that wait for a token: one on a group, and one on a department.
pub const TOKEN_RULES: &str = r#"[[rule]]
name = "leavers"
when = { flow = ["passive", "active"], group = "leavers" }
then = { decision = "block", reason = "You have left." }
[[rule]]
name = "finance"
when = { claim = { department = "Finance" } }
then = { decision = "pass" }
"#;

/// What [`super::CONFIG`] needs for [`signed_in`] to be judged at the token, by [`TOKEN_RULES`].
pub fn decides_at_token() -> (&'static str, String) {
    const LISTS: &str = "[[list]]\nname = \"hq-egress\"";
    let tokens = "[service.tokens]\ndecide = true\n[service.tokens.claims]\ndepartment = [\"urn:department\"]\n";
    (LISTS, format!("{tokens}{TOKEN_RULES}{LISTS}"))
}

/// A request that was blocked, with all that there can be in an event.
pub fn event(id: &str) -> Event {
    let text = |text: &str| Some(text.to_owned());
    Event {
        time: "2026-01-01T00:00:00.000Z".to_owned(),
        id: id.to_owned(),
        kind: EventKind::Request,
        generation: 1,
        service: text("sts"),
        peer: ([198, 51, 100, 7], 50_000).into(),
        effective_source: Some([192, 0, 2, 9].into()),
        class: Class::Unmanaged,
        list: text("hq-egress"),
        method: text("POST"),
        host: text("sts.corp.example"),
        path: text("/adfs/services/trust/2005/usernamemixed"),
        flow: text("active"),
        client: text("native"),
        relying_party: text("urn:federation:MicrosoftOnline"),
        stated_user: text("ann@corp.example"),
        decision: "block".to_owned(),
        rule: "office365-strict/native-unmanaged".to_owned(),
        reason: text("because"),
        status: Some(403),
        client_request_id: text("c"),
        decided_in_us: Some(12),
        facts: None,
    }
}

/// A decision of a policy, as the proxy records it.
pub fn decided(id: &str, service: &str, facts: &Facts, ruling: &Ruling) -> Event {
    let (kind, rule, reason) = ruling.told();
    let peer = facts.source.peer;
    Event {
        time: crate::clock::now(),
        service: Some(service.to_owned()),
        peer: (peer, 50_000).into(),
        effective_source: facts.source.effective.filter(|it| *it != peer),
        class: facts.class,
        list: facts.source.list.clone(),
        method: Some(facts.method.clone()),
        host: Some(facts.host.clone()),
        path: Some(facts.path.clone()),
        flow: Some(facts.flow.name().to_owned()),
        client: Some(facts.client.name().to_owned()),
        relying_party: facts.relying_party.text().map(str::to_owned),
        stated_user: facts.user.text().map(str::to_owned),
        decision: kind.name().to_owned(),
        rule: rule.to_string(),
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
        status: Some(200),
        client_request_id: facts.client_request_id.clone(),
        facts: Some(Box::new(facts.clone())),
        ..event(id)
    }
}

/// Somebody signs in by a browser at an appliance's first service, and the answer tells this: what the rules in
/// force make of it is recorded in the audit log. Gives the rule that decided.
pub fn signed_in(appliance: &Appliance, id: &str, source: &str, told: Told) -> String {
    let running = appliance.brain.running();
    let (candidate, policy) = (&running.candidate, &running.candidate.policies[0]);
    let source: IpAddr = source.parse().expect("an address");
    let described = Described {
        head: Head {
            method: "GET",
            host: "sts.corp.example",
            path: "/adfs/ls/",
            query: Some("wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline"),
            headers: &[("User-Agent", b"Mozilla/5.0")],
        },
        body: b"",
        source,
        moment: UtcDateTime::now(),
        token: None,
    };
    let lists = candidate.by_list();
    let mut facts = policy.suppose(&described, &lists).expect("a sign-in page");
    facts.token = told;
    let known = Known::new(candidate, appliance.brain.directory().as_ref(), policy);
    let ruling = policy.judge(&mut facts, &known.now());
    let event = decided(id, "sts", &facts, &ruling);
    let rule = event.rule.clone();
    let body = RecordBody::Event(Box::new(event));
    appliance.brain.audit().append(body);
    rule
}
