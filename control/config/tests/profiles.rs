//! `[profile.NAME]`: profiles of one's own reach the service that uses them.

mod common;

use common::{FULL, Site, with};
use weir_policy::{Policy, ProfileChoice};

#[test]
fn a_service_gets_the_profile_that_it_names() {
    let text = with("profile = \"adfs\"\nrules", "profile = \"corp\"\nrules")
        + r#"
[profile.corp]
like = "shibboleth"
rows = [
    { path = "/sso/login", flow = "passive", reads = "sign-out", methods = ["GET", "POST"] },
]
users = ["login"]
sign_out = "/sso/logout"
mfa = { authn_context = "https://refeds.org/profile/mfa" }
"#;
    let config = Site::new()
        .load(&text)
        .expect("a good configuration")
        .config;
    let service = config
        .services
        .iter()
        .find(|service| matches!(service.profile, ProfileChoice::Own(_)))
        .expect("the service that names it");
    let ProfileChoice::Own(profile) = &service.profile else {
        unreachable!("it was found by this");
    };
    assert_eq!(profile.like.as_deref(), Some("shibboleth"));
    assert_eq!(profile.rows[0].reads, ["sign-out"]);
    assert_eq!(profile.users, ["login"]);
    let policy = Policy::compile(&config.policy(service)).expect("a good policy");
    let places = policy.profile().places();
    assert_eq!(places.sign_out.as_deref(), Some("/sso/logout"));
    assert_eq!(places.metadata.as_deref(), Some("/idp/shibboleth"));
}

#[test]
fn every_preset_can_be_named() {
    for preset in weir_policy::PRESETS {
        let text = with(
            "profile = \"adfs\"\nrules",
            &format!("profile = \"{preset}\"\nrules"),
        );
        let said = Site::new().said(&text);
        assert!(!said.contains("error"), "{preset}: {said}");
    }
    assert!(FULL.contains("profile = \"adfs\"\nrules"));
}
