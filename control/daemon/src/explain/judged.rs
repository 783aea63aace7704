//! What a policy makes of facts, in the words of the control socket.

use weir_api::{AtToken, Looked, ProxyPart, Tried};
use weir_policy::{ClaimTypes, Decision, Directory, Facts, Policy, Refusal, Ruling, Source};

/// What a policy makes of these facts, with every rule that it tries, and what the directory said or says of it.
/// Counts nothing.
pub fn of_facts(
    policy: &Policy,
    facts: &Facts,
    directory: &dyn Directory,
    types: &ClaimTypes<'_>,
) -> ProxyPart {
    let mut judged = policy.as_judged(facts).into_owned();
    let (ruling, tried) = policy.explain_noting(&mut judged, directory);
    let facts = &Facts {
        directory: judged.directory,
        ..facts.clone()
    };
    let (kind, rule, reason) = ruling.told();
    let (status, at_token) = match &ruling {
        Ruling::Now(decision) => (decision.status, None),
        Ruling::AtToken {
            pending,
            step_up,
            otherwise,
        } => (
            None,
            Some(AtToken {
                pending: pending.to_string(),
                step_up: step_up.as_ref().map(|by| by.rule.to_string()),
                otherwise: otherwise.kind.name().to_owned(),
                rule: otherwise.rule.to_string(),
            }),
        ),
    };
    let tried = tried.into_iter().map(|tried| Tried {
        rule: tried.rule,
        matched: tried.matched,
        waits: tried.waits,
        why: tried.why,
    });
    ProxyPart {
        facts: by_name(facts),
        origins: facts.origins(types),
        tried: tried.collect(),
        decision: kind.name().to_owned(),
        rule: rule.to_string(),
        reason: Some(reason.to_owned()),
        status,
        at_token,
    }
}

/// What is decided of a connection whose requests are not seen.
pub fn of_tunnel(source: &Source, decision: &Decision) -> ProxyPart {
    ProxyPart {
        facts: by_name(source),
        origins: source.origins(),
        tried: Vec::new(),
        decision: decision.kind.name().to_owned(),
        rule: decision.rule.to_string(),
        reason: Some(decision.reason.to_string()),
        status: decision.status,
        at_token: None,
    }
}

/// What never reaches a rule.
pub fn of_refusal(refusal: &Refusal) -> ProxyPart {
    ProxyPart {
        facts: serde_json::Map::new(),
        origins: Vec::new(),
        tried: Vec::new(),
        decision: "refuse".to_owned(),
        rule: refusal.why.to_string(),
        reason: Some(refusal.why.to_string()),
        status: Some(refusal.status),
        at_token: None,
    }
}

/// How far back was looked, in words.
pub fn looked(back: &Looked) -> String {
    let Some(since) = &back.since else {
        return "the audit log is empty".to_owned();
    };
    if back.cut {
        format!("the log was read back to {since}, and goes on; so much is read at most")
    } else {
        format!("the audit log begins at {since}")
    }
}

/// Facts by name, as the audit log names them.
fn by_name(known: &impl serde::Serialize) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(known) {
        Ok(serde_json::Value::Object(facts)) => facts,
        _ => serde_json::Map::new(),
    }
}
