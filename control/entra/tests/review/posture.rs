//! How sign-ins are protected.

use serde_json::json;
use weir_entra::model::Part;
use weir_entra::review::export::Format;
use weir_entra::review::{Area, Finding, What, posture};

use crate::tenant::{documents, findings, golden, head_of, now, people, policy, tenant, written};

fn state(findings: &[Finding], area: Area) -> Vec<Option<&str>> {
    let of_area = findings.iter().filter(|finding| finding.area == area);
    of_area.map(|finding| finding.state.as_deref()).collect()
}

#[test]
fn a_small_tenant_stands_as_it_always_did() {
    let scene = tenant();
    let moment = now(&scene, 30);
    let head = head_of(&scene, &moment, What::Posture);
    let stale_after = time::Duration::days(90);
    for (format, name) in [(Format::Csv, "posture.csv"), (Format::Json, "posture.json")] {
        let (text, _) = written(&head, format, |take| posture(&moment, stale_after, take));
        golden(name, &text);
    }
}

#[test]
fn what_was_never_read_is_unknown() {
    let findings = findings(&now(&people(), 30));
    for area in [
        Area::SecurityDefaults,
        Area::LegacyAuthentication,
        Area::Policy,
        Area::Method,
        Area::FederatedDomain,
    ] {
        assert_eq!(state(&findings, area), [None], "{area:?}");
    }
    assert_eq!(state(&findings, Area::WithoutMfa), []);
    assert_eq!(state(&findings, Area::Stale), []);
    let coverage = findings
        .iter()
        .find(|finding| finding.subject.contains("percent"));
    assert_eq!(coverage.map(|finding| finding.state.clone()), Some(None));
}

#[test]
fn legacy_authentication_is_blocked_as_far_as_policies_say() {
    let all = json!({"includeUsers": ["All"]});
    let both: &[&str] = &["exchangeActiveSync", "other"];
    let some = json!({"includeUsers": ["All"], "excludeUsers": ["x"]});
    let cases = [
        (
            policy("a", "enabled", &["block"], both, &all),
            false,
            "blocked",
        ),
        (
            policy("a", "enabled", &["block"], &["all"], &all),
            false,
            "blocked",
        ),
        (
            policy("a", "enabled", &["block"], &["other"], &all),
            false,
            "blocked-for-some",
        ),
        (
            policy("a", "enabled", &["block"], both, &some),
            false,
            "blocked-with-exclusions",
        ),
        (
            policy(
                "a",
                "enabled",
                &["block"],
                both,
                &json!({"includeUsers": ["x"]}),
            ),
            false,
            "blocked-for-some",
        ),
        (
            policy(
                "a",
                "enabledForReportingButNotEnforced",
                &["block"],
                both,
                &all,
            ),
            false,
            "not-blocked",
        ),
        (
            policy("a", "enabled", &["mfa"], both, &all),
            false,
            "not-blocked",
        ),
        (
            policy("a", "enabled", &["block"], &["browser"], &all),
            false,
            "not-blocked",
        ),
        (
            policy("a", "disabled", &["block"], both, &all),
            true,
            "blocked",
        ),
    ];
    for (policy, defaults, expected) in cases {
        let scene = people();
        documents(
            &scene,
            20,
            Part::ConditionalAccess,
            vec![("a", policy.clone())],
        );
        documents(
            &scene,
            21,
            Part::SecurityDefaults,
            vec![("d", json!({"isEnabled": defaults}))],
        );
        let findings = findings(&now(&scene, 30));
        assert_eq!(
            state(&findings, Area::LegacyAuthentication),
            [Some(expected)],
            "{policy}"
        );
    }
}

#[test]
fn a_new_account_is_not_stale() {
    let findings = findings(&now(&tenant(), 30));
    let stale = findings
        .iter()
        .filter(|finding| finding.area == Area::Stale);
    let stale: Vec<&str> = stale.map(|finding| finding.subject.as_str()).collect();
    // Vera signed in, Jon is disabled; nobody knows how old the others are.
    assert_eq!(
        stale,
        [
            "omar@partner.example",
            "=HYPERLINK(\"http://x\"),a",
            "glass@fabrik.example"
        ]
    );
}
