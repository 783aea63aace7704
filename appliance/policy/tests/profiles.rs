//! The profiles that come with Weir: the same sign-ins, by each product's paths and wire forms.

mod common;
#[path = "common/disguise.rs"]
mod disguise;

use common::{Request, facts_with, with_profile};
use disguise::disguised;
use proptest::prelude::*;
use weir_policy::{BodyNeed, Flow, Head, PRESETS};

const ENDPOINTS: &[(&str, &str, &str, Flow)] = &[
    (
        "okta",
        "GET",
        "/app/office365/exk1A2b3C4/sso/wsfed/passive",
        Flow::Passive,
    ),
    (
        "okta",
        "POST",
        "/app/office365/exk1A2b3C4/sso/wsfed/active",
        Flow::Active,
    ),
    (
        "okta",
        "GET",
        "/app/office365/exk1A2b3C4/sso/wsfed/active",
        Flow::Other,
    ),
    (
        "okta",
        "GET",
        "/app/office365/exk1A2b3C4/sso/wsfed/mex",
        Flow::Mex,
    ),
    (
        "okta",
        "POST",
        "/app/template_saml_2_0/exk9/sso/saml",
        Flow::Passive,
    ),
    ("okta", "GET", "/app/exk9/sso/saml/metadata", Flow::Metadata),
    ("okta", "GET", "/login/login.htm", Flow::Passive),
    ("okta", "POST", "/api/v1/authn", Flow::Passive),
    (
        "okta",
        "POST",
        "/api/v1/authn/factors/f1/verify",
        Flow::Passive,
    ),
    ("okta", "POST", "/idp/idx/identify", Flow::Passive),
    ("okta", "GET", "/login/token/redirect", Flow::Passive),
    ("okta", "GET", "/login/signout", Flow::SignOut),
    ("okta", "GET", "/login/agentlessDSSO", Flow::Internal),
    ("okta", "GET", "/login/sso_iwa_auth", Flow::Internal),
    ("okta", "GET", "/oauth2/v1/authorize", Flow::OauthBrowser),
    (
        "okta",
        "GET",
        "/oauth2/default/v1/authorize",
        Flow::OauthBrowser,
    ),
    ("okta", "POST", "/oauth2/default/v1/token", Flow::OauthToken),
    ("okta", "GET", "/oauth2/v1/keys", Flow::Metadata),
    (
        "okta",
        "GET",
        "/oauth2/default/.well-known/openid-configuration",
        Flow::Metadata,
    ),
    ("okta", "GET", "/oauth2/v1/logout", Flow::SignOut),
    ("okta", "GET", "/assets/loginpage/style.css", Flow::Asset),
    ("okta", "GET", "/api/v1/users", Flow::Other),
    ("okta", "POST", "/oauth2/v1/clients", Flow::Other),
    ("okta", "GET", "/admin/dashboard", Flow::Other),
    ("okta", "GET", "/adfs/ls/", Flow::Other),
    ("pingfederate", "GET", "/idp/prp.wsf", Flow::Passive),
    ("pingfederate", "POST", "/idp/SSO.saml2", Flow::Passive),
    ("pingfederate", "GET", "/idp/startSSO.ping", Flow::Passive),
    (
        "pingfederate",
        "POST",
        "/idp/Ab3De/resumeSAML20/idp/SSO.ping",
        Flow::Passive,
    ),
    (
        "pingfederate",
        "POST",
        "/as/Ab3De/resume/as/authorization.ping",
        Flow::OauthBrowser,
    ),
    ("pingfederate", "POST", "/idp/sts.wst", Flow::Active),
    ("pingfederate", "POST", "/pf/sts.wst", Flow::Active),
    ("pingfederate", "GET", "/pf/sts_mex.ping", Flow::Mex),
    ("pingfederate", "GET", "/idp/SLO.saml2", Flow::SignOut),
    ("pingfederate", "GET", "/idp/startSLO.ping", Flow::SignOut),
    (
        "pingfederate",
        "GET",
        "/as/authorization.oauth2",
        Flow::OauthBrowser,
    ),
    ("pingfederate", "POST", "/as/token.oauth2", Flow::OauthToken),
    ("pingfederate", "GET", "/pf/JWKS", Flow::Metadata),
    (
        "pingfederate",
        "GET",
        "/pf/federation_metadata.ping",
        Flow::Metadata,
    ),
    ("pingfederate", "GET", "/assets/css/main.css", Flow::Asset),
    ("pingfederate", "GET", "/pf/heartbeat.ping", Flow::Internal),
    (
        "pingfederate",
        "GET",
        "/pf-admin-api/v1/version",
        Flow::Internal,
    ),
    (
        "pingfederate",
        "POST",
        "/pf-ws/authn/flows/f1",
        Flow::Internal,
    ),
    ("pingfederate", "GET", "/pingfederate/app", Flow::Internal),
    ("pingfederate", "POST", "/idp/ARS.ssaml2", Flow::Other),
    (
        "shibboleth",
        "GET",
        "/idp/profile/SAML2/Redirect/SSO",
        Flow::Passive,
    ),
    (
        "shibboleth",
        "POST",
        "/idp/profile/SAML2/POST/SSO",
        Flow::Passive,
    ),
    (
        "shibboleth",
        "POST",
        "/idp/profile/SAML2/POST-SimpleSign/SSO",
        Flow::Passive,
    ),
    (
        "shibboleth",
        "GET",
        "/idp/profile/SAML2/Unsolicited/SSO",
        Flow::Passive,
    ),
    (
        "shibboleth",
        "GET",
        "/idp/profile/Shibboleth/SSO",
        Flow::Passive,
    ),
    (
        "shibboleth",
        "POST",
        "/idp/profile/SAML2/SOAP/ECP",
        Flow::Active,
    ),
    (
        "shibboleth",
        "GET",
        "/idp/profile/SAML2/Redirect/SLO",
        Flow::SignOut,
    ),
    ("shibboleth", "GET", "/idp/profile/Logout", Flow::SignOut),
    (
        "shibboleth",
        "GET",
        "/idp/profile/oidc/authorize",
        Flow::OauthBrowser,
    ),
    (
        "shibboleth",
        "POST",
        "/idp/profile/oidc/token",
        Flow::OauthToken,
    ),
    (
        "shibboleth",
        "GET",
        "/idp/profile/oidc/keyset",
        Flow::Metadata,
    ),
    ("shibboleth", "GET", "/idp/shibboleth", Flow::Metadata),
    ("shibboleth", "GET", "/idp/css/main.css", Flow::Asset),
    ("shibboleth", "GET", "/idp/status", Flow::Internal),
    (
        "shibboleth",
        "GET",
        "/idp/profile/admin/reload-service",
        Flow::Internal,
    ),
    (
        "shibboleth",
        "POST",
        "/idp/profile/SAML2/SOAP/AttributeQuery",
        Flow::Internal,
    ),
    (
        "shibboleth",
        "POST",
        "/idp/profile/SAML1/SOAP/ArtifactResolution",
        Flow::Internal,
    ),
    ("shibboleth", "GET", "/idp/Authn/RemoteUser", Flow::Other),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/saml2/idp/SSOService.php",
        Flow::Passive,
    ),
    (
        "simplesamlphp",
        "POST",
        "/simplesaml/module.php/saml/idp/singleSignOnService",
        Flow::Passive,
    ),
    (
        "simplesamlphp",
        "POST",
        "/simplesaml/module.php/core/loginuserpass",
        Flow::Passive,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/module.php/adfs/prp",
        Flow::Passive,
    ),
    (
        "simplesamlphp",
        "POST",
        "/simplesaml/module.php/adfs/ws-trust/2005/services/usernamemixed",
        Flow::Active,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/module.php/adfs/ws-trust/mex",
        Flow::Mex,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/saml2/idp/SingleLogoutService.php",
        Flow::SignOut,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/module.php/saml/idp/metadata",
        Flow::Metadata,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/assets/base/css/stylesheet.css",
        Flow::Asset,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/module.php/admin/federation",
        Flow::Internal,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/module.php/cron/run/daily/secret",
        Flow::Internal,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/module.php/core/frontpage_config.php",
        Flow::Other,
    ),
    (
        "simplesamlphp",
        "GET",
        "/simplesaml/saml2/idp/SSOService.php/more",
        Flow::Other,
    ),
];

#[test]
fn every_endpoint_is_recognised_by_its_own_profile() {
    for (profile, method, path, flow) in ENDPOINTS {
        let request = Request {
            method: (*method).to_owned(),
            target: (*path).to_owned(),
            ..Request::default()
        };
        assert_eq!(
            facts_with(profile, &request).flow,
            *flow,
            "{profile} {method} {path}"
        );
    }
}

#[test]
fn bodies_are_read_where_a_sign_in_may_stand_in_them() {
    let need = |profile: &str, path: &str| {
        let head = Head {
            method: "POST",
            host: "sts.corp.example",
            path,
            query: None,
            headers: &[],
        };
        with_profile(profile)
            .recognise(&head)
            .expect("a readable path")
            .body
    };
    for (profile, path) in [
        ("okta", "/app/office365/k/sso/wsfed/active"),
        ("pingfederate", "/idp/sts.wst"),
        ("pingfederate", "/idp/x/resumeSAML20/idp/SSO.ping"),
        ("shibboleth", "/idp/profile/SAML2/SOAP/ECP"),
        // A page of a sign-in may come back to where one signs out.
        ("shibboleth", "/idp/profile/Logout"),
        ("simplesamlphp", "/simplesaml/module.php/core/loginuserpass"),
    ] {
        assert!(
            matches!(need(profile, path), BodyNeed::UpTo(_)),
            "{profile} {path}"
        );
    }
    for (profile, path) in [
        ("okta", "/login/signout"),
        ("pingfederate", "/pf-admin-api/v1/x"),
        ("shibboleth", "/idp/profile/admin/metrics"),
    ] {
        assert_eq!(need(profile, path), BodyNeed::None, "{profile} {path}");
    }
}

#[test]
fn only_ad_fs_has_other_paths_behind_its_proxies() {
    for profile in PRESETS {
        let policy = with_profile(profile);
        let mapped = |raw: &'static str| {
            let path = weir_policy::NormalPath::parse(raw).expect("a path");
            policy.profile().upstream_path(&path, raw).into_owned()
        };
        let mex = mapped("/adfs/services/trust/MEX");
        assert_eq!(
            mex == "/adfs/services/trust/proxymex",
            *profile == "adfs",
            "{profile}"
        );
        assert_eq!(mapped("/idp/Status"), "/idp/Status");
    }
}

/// What a preset says others will find is what it lets them find, and a health probe is for the inside.
#[test]
fn the_places_of_a_preset_are_in_its_own_table() {
    for profile in PRESETS {
        let policy = with_profile(profile);
        let places = policy.profile().places();
        for (place, flow) in [
            (&places.sign_out, Flow::SignOut),
            (&places.metadata, Flow::Metadata),
            (&places.jwks, Flow::Metadata),
            (&places.discovery, Flow::Metadata),
            (&places.health, Flow::Internal),
        ] {
            let Some(place) = place else { continue };
            assert_eq!(
                facts_with(profile, &Request::get(place)).flow,
                flow,
                "{profile} {place}"
            );
        }
    }
}

fn closed_paths(profile: &str) -> Vec<&'static str> {
    let closed = ENDPOINTS
        .iter()
        .filter(|(of, _, _, flow)| *of == profile && matches!(flow, Flow::Internal | Flow::Other));
    // A path that is other by its method alone is open in any disguise.
    closed
        .map(|(_, _, path, _)| *path)
        .filter(|path| !path.ends_with("/active"))
        .collect()
}

/// Where a pattern is open at its end.
const OPEN: &[(&str, &str)] = &[
    ("okta", "/assets/a"),
    ("okta", "/signin/a"),
    ("okta", "/idp/idx/a"),
    ("okta", "/api/v1/authn/a"),
    ("pingfederate", "/assets/a"),
    ("pingfederate", "/as/a/resume/as/a"),
    ("shibboleth", "/idp/css/a"),
    ("simplesamlphp", "/simplesaml/assets/a"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_disguise_opens_what_a_profile_closes(
        (profile, target) in prop::sample::select(PRESETS[1..].to_vec())
            .prop_flat_map(|profile| (Just(profile), disguised(closed_paths(profile))))
    ) {
        is_closed(profile, target.split('?').next().unwrap_or_default())?;
    }

    #[test]
    fn no_way_back_leads_from_what_is_open_to_what_is_closed(
        (profile, open) in prop::sample::select(OPEN.to_vec()),
        closed in any::<prop::sample::Index>(),
        back in prop::collection::vec(prop::sample::select(vec![
            "/..", "/%2e%2e", "/.%2E", "/..;a=b", "/%252e%252e", "\\..", "%5c..", "%2f..", "/.. ",
        ]), 12)
    ) {
        let up: String = back.into_iter().take(open.matches('/').count()).collect();
        let closed = *closed.get(&closed_paths(profile));
        is_closed(profile, &format!("{open}{up}{closed}"))?;
    }
}

fn is_closed(profile: &str, path: &str) -> Result<(), TestCaseError> {
    let policy = with_profile(profile);
    for method in ["GET", "POST"] {
        let head = Head {
            method,
            host: "sts.corp.example",
            path,
            query: None,
            headers: &[],
        };
        if let Ok(recognised) = policy.recognise(&head) {
            prop_assert!(
                matches!(recognised.flow, Flow::Internal | Flow::Other),
                "{profile} {method} {path} is {:?}",
                recognised.flow
            );
        }
    }
    Ok(())
}
