//! What `check` says of rules that ask for more than sign-ins tell.

mod common;

use common::{Site, with};

const BEFORE: &str = "[[list]]\nname = \"hq-egress\"";

/// What is said of one rule at the first service, with this profile.
fn said(profile: &str, when: &str, then: &str, more: &str) -> String {
    let rule = format!("[[rule]]\nname = \"it\"\nwhen = {when}\nthen = {then}\n\n{more}\n{BEFORE}");
    let decides = "ca = \"ca.pem\"\n[service.tokens]\ndecide = true\nfile = \"metadata.xml\"\n";
    let text = with(BEFORE, &rule)
        .replacen("ca = \"ca.pem\"\n", decides, 1)
        .replacen(
            "profile = \"adfs\"\nrules",
            &format!("profile = \"{profile}\"\nrules"),
            1,
        );
    Site::new().said(&text)
}

#[test]
fn a_rule_on_tokens_is_said_to_block_where_no_token_passes_by() {
    const WARNING: &str = "this also blocks sign-ins whose token does not pass by here";
    let block = "{ decision = \"block\" }";
    for (profile, when, then, warns) in [
        ("adfs", "{ group = \"Leavers\" }", block, true),
        ("adfs", "{ not = { device = \"compliant\" } }", block, true),
        (
            "adfs",
            "{ user = \"@corp.example\" }",
            "{ decision = \"redirect\" }",
            true,
        ),
        (
            "adfs",
            "{ class = \"unmanaged\" }",
            "{ decision = \"step-up\" }",
            true,
        ),
        (
            "adfs",
            "{ flow = [\"passive\", \"active\"], group = \"Leavers\" }",
            block,
            false,
        ),
        (
            "adfs",
            "{ relying_party = \"urn:app\", group = \"Leavers\" }",
            block,
            false,
        ),
        (
            "adfs",
            "{ group = \"Staff\" }",
            "{ decision = \"pass\" }",
            false,
        ),
        ("adfs", "{ class = \"unmanaged\" }", block, false),
        // Nobody signs in by OAuth there.
        ("simplesamlphp", "{ group = \"Leavers\" }", block, false),
    ] {
        let said = said(profile, when, then, "");
        assert_eq!(said.contains(WARNING), warns, "{when} {then}: {said}");
        if warns {
            assert!(said.contains("flow = [\"passive\", \"active\"]"), "{said}");
        }
    }
}

#[test]
fn microsoft_365_has_another_name_at_okta() {
    const WARNING: &str = "no sign-in at Okta names `urn:federation:MicrosoftOnline`";
    let application =
        "[application.m365]\nrelying_parties = [\"urn:federation:MicrosoftOnline\"]\n";
    for (profile, when, warns) in [
        (
            "okta",
            "{ service = \"sts\", relying_party = \"urn:federation:MicrosoftOnline\" }",
            true,
        ),
        (
            "okta",
            "{ service = \"sts\", application = \"m365\" }",
            true,
        ),
        (
            "okta",
            "{ service = \"sts\", relying_party = \"/app/office365/0oa1b2c3\" }",
            false,
        ),
        // The other service is no Okta.
        (
            "okta",
            "{ relying_party = \"urn:federation:MicrosoftOnline\" }",
            false,
        ),
        (
            "adfs",
            "{ service = \"sts\", relying_party = \"urn:federation:MicrosoftOnline\" }",
            false,
        ),
    ] {
        let said = said(profile, when, "{ decision = \"pass\" }", application);
        assert_eq!(said.contains(WARNING), warns, "{profile} {when}: {said}");
    }
}

#[test]
fn windows_logon_needs_a_path() {
    let text = with("windows_logon = \"block\"", "windows_logon = \"pass\"");
    let adfs = Site::new().said(&text);
    assert!(!adfs.contains("error"), "{adfs}");
    let okta = text.replacen("profile = \"adfs\"\nrules", "profile = \"okta\"\nrules", 1);
    let said = Site::new().said(&okta);
    assert!(
        said.contains("error: no path of this service's profile takes Windows logon"),
        "{said}"
    );
    assert!(said.contains("write windows_logon = \"block\""), "{said}");
}
