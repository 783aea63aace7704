//! What holds for every policy and all facts: the first line is a policy, the second recorded facts, both
//! as JSON.

use weir_policy::{DecisionKind, Facts, Policy, PolicySpec, Ruling, Told, Uncounted};

/// Nothing panics; explaining decides alike; a grant needs a verified token, and so does the demand for more
/// than it proves; a recorded fact is read as it was written; what waits for a token never does so without
/// one.
pub fn check(input: &[u8]) {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let Ok(spec) = serde_json::from_slice::<PolicySpec>(next()) else {
        return;
    };
    let Ok(policy) = Policy::compile(&spec) else {
        return;
    };
    let Ok(facts) = serde_json::from_slice::<Facts>(next()) else {
        return;
    };
    let nobody = Uncounted(None);
    let ruling = policy.decide(&facts, &nobody);
    let (explained, tried) = policy.explain(&facts, &nobody);
    assert_eq!(explained, ruling);
    assert!(tried.iter().filter(|step| step.matched).count() <= 1);
    if matches!(ruling, Ruling::AtToken { .. }) {
        assert_eq!(facts.token, Told::Ahead);
    }
    let decision = ruling.clone().without_token();
    if decision.kind == DecisionKind::StepUp {
        assert!(matches!(facts.token, Told::Verified(_)));
    }
    if let Some(grant) = &decision.grant {
        assert!(matches!(facts.token, Told::Verified(_)) && spec.decide_at_token);
        assert_eq!(policy.granted_by(&decision.rule), Some(&**grant));
    }
    let recorded = serde_json::to_vec(&facts).expect("facts are plain");
    let read: Facts = serde_json::from_slice(&recorded).expect("what was written");
    assert_eq!(policy.decide(&read, &nobody), ruling);
}
