//! Who signs in, to what and how, by the wire forms of each profile that comes with Weir.

mod common;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::{FIREFOX, MICROSOFT_ONLINE, OKTA_APP, Request, facts_with, msal};
use weir_policy::{Client, Envelope, Flow, Said, TrustVersion};

fn bound(value: &str) -> Said {
    Said::Bound(value.to_owned())
}

fn authn_request(issuer: &str) -> String {
    format!(
        "<p:AuthnRequest xmlns:p='urn:oasis:names:tc:SAML:2.0:protocol' ID='_1' Version='2.0'>\
         <a:Issuer xmlns:a='urn:oasis:names:tc:SAML:2.0:assertion'>{issuer}</a:Issuer>\
         </p:AuthnRequest>"
    )
}

fn saml_form(target: &str, issuer: &str) -> Request {
    let message = BASE64_STANDARD.encode(authn_request(issuer));
    Request::form(
        target,
        &format!("SAMLRequest={}&RelayState=x", message.replace('+', "%2B")),
    )
}

/// The same sign-in to Microsoft 365 by a browser, as each profile's users begin it.
fn browser_sign_ins() -> Vec<(&'static str, Request)> {
    let wsfed =
        format!("wa=wsignin1.0&wtrealm={MICROSOFT_ONLINE}&wctx=c&username=alice%40corp.example");
    vec![
        ("adfs", Request::get(&format!("/adfs/ls/?{wsfed}"))),
        ("adfs", saml_form("/adfs/ls/", MICROSOFT_ONLINE)),
        (
            "okta",
            Request::get(&format!(
                "/app/office365/exk1A2b3C4/sso/wsfed/passive?{wsfed}"
            )),
        ),
        (
            "okta",
            saml_form("/app/office365/exk1A2b3C4/sso/saml", MICROSOFT_ONLINE),
        ),
        (
            "pingfederate",
            Request::get(&format!("/idp/prp.wsf?{wsfed}")),
        ),
        (
            "pingfederate",
            saml_form("/idp/SSO.saml2", MICROSOFT_ONLINE),
        ),
        (
            "pingfederate",
            Request::get(&format!(
                "/idp/startSSO.ping?PartnerSpId={MICROSOFT_ONLINE}"
            )),
        ),
        (
            "shibboleth",
            saml_form("/idp/profile/SAML2/POST/SSO", MICROSOFT_ONLINE),
        ),
        (
            "shibboleth",
            Request::get(&format!(
                "/idp/profile/SAML2/Unsolicited/SSO?providerId={MICROSOFT_ONLINE}"
            )),
        ),
        (
            "simplesamlphp",
            Request::get(&format!("/simplesaml/module.php/adfs/prp?{wsfed}")),
        ),
        (
            "simplesamlphp",
            saml_form("/simplesaml/saml2/idp/SSOService.php", MICROSOFT_ONLINE),
        ),
        (
            "simplesamlphp",
            Request::get(&format!(
                "/simplesaml/saml2/idp/SSOService.php?spentityid={MICROSOFT_ONLINE}"
            )),
        ),
    ]
}

#[test]
fn a_browsers_sign_in_belongs_to_the_same_application_with_each_profile() {
    for (profile, request) in browser_sign_ins() {
        let facts = facts_with(profile, &request.agent(FIREFOX));
        let shown = &facts.path;
        assert_eq!(facts.flow, Flow::Passive, "{profile} {shown}");
        assert_eq!(facts.client, Client::Browser, "{profile} {shown}");
        assert_eq!(facts.applications, ["m365"], "{profile} {shown}");
        let party = if profile == "okta" {
            OKTA_APP
        } else {
            MICROSOFT_ONLINE
        };
        assert_eq!(facts.relying_party, bound(party), "{profile} {shown}");
    }
}

#[test]
fn a_password_in_ws_trust_names_its_user_with_each_profile() {
    for (profile, target, party) in [
        (
            "adfs",
            "/adfs/services/trust/2005/usernamemixed",
            MICROSOFT_ONLINE,
        ),
        (
            "okta",
            "/app/office365/exk1A2b3C4/sso/wsfed/active",
            OKTA_APP,
        ),
        ("pingfederate", "/idp/sts.wst", MICROSOFT_ONLINE),
        ("pingfederate", "/pf/sts.wst", MICROSOFT_ONLINE),
        (
            "simplesamlphp",
            "/simplesaml/module.php/adfs/ws-trust/2005/services/usernamemixed",
            MICROSOFT_ONLINE,
        ),
    ] {
        for (version, expected) in [("2005", TrustVersion::V2005), ("13", TrustVersion::V13)] {
            let mut request = msal(version, "alice@corp.example");
            request.target = target.to_owned();
            let facts = facts_with(profile, &request);
            assert_eq!(facts.flow, Flow::Active, "{target}");
            assert_eq!(facts.client, Client::Native, "{target}");
            assert_eq!(facts.user, bound("alice@corp.example"), "{target}");
            assert_eq!(facts.relying_party, bound(party), "{target}");
            assert_eq!(facts.applications, ["m365"], "{target}");
            let soap = facts.soap.expect("WS-Trust is answered in SOAP");
            assert_eq!(soap.version, expected, "{target}");
        }
    }
}

const ECP: &str = "/idp/profile/SAML2/SOAP/ECP";

fn ecp(body: &str) -> Request {
    Request::post(
        ECP,
        "text/xml; charset=utf-8",
        format!(
            "<S:Envelope xmlns:S='http://schemas.xmlsoap.org/soap/envelope/'><S:Body>{body}</S:Body></S:Envelope>"
        ),
    )
}

fn basic(credential: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credential))
}

#[test]
fn ecp_names_its_user_by_http_basic_and_its_relying_party_in_soap() {
    let request = ecp(&authn_request(MICROSOFT_ONLINE))
        .with("Authorization", &basic("alice@corp.example:p:w"));
    let facts = facts_with("shibboleth", &request);
    assert_eq!(facts.flow, Flow::Active);
    assert_eq!(facts.client, Client::Native);
    assert_eq!(facts.user, bound("alice@corp.example"));
    assert_eq!(facts.relying_party, bound(MICROSOFT_ONLINE));
    assert_eq!(facts.applications, ["m365"]);
    let soap = facts.soap.expect("it is answered in SOAP");
    assert_eq!((soap.envelope, soap.message_id), (Envelope::V11, None));
}

#[test]
fn at_ecp_nobody_is_certain_when_somebody_else_may_be_meant() {
    let alice = basic("alice@corp.example:pw");
    let plain = || ecp(&authn_request(MICROSOFT_ONLINE));
    let stated = Said::Stated(vec!["alice@corp.example".to_owned()]);
    let mut with_query = plain().with("Authorization", &alice);
    with_query.target.push_str("?j_username=bob");
    let subject = "<p:AuthnRequest xmlns:p='urn:oasis:names:tc:SAML:2.0:protocol'><Subject/></p:AuthnRequest>";
    for (what, request) in [
        (
            "a session",
            plain()
                .with("Authorization", &alice)
                .with("Cookie", "shib_idp_session=s"),
        ),
        ("a parameter", with_query),
        ("a subject", ecp(subject).with("Authorization", &alice)),
        ("a broken body", ecp("<p:x>").with("Authorization", &alice)),
    ] {
        assert_eq!(facts_with("shibboleth", &request).user, stated, "{what}");
    }
    for (what, request) in [
        ("nobody", plain()),
        (
            "two",
            plain()
                .with("Authorization", &alice)
                .with("authorization", &basic("bob:pw")),
        ),
        (
            "another scheme",
            plain().with("Authorization", "Negotiate YII="),
        ),
        ("no base64", plain().with("Authorization", "Basic a:b")),
        ("no colon", plain().with("Authorization", &basic("alice"))),
        (
            "an empty name",
            plain().with("Authorization", &basic(":pw")),
        ),
        (
            "a control character",
            plain().with("Authorization", &basic("al\u{0}ice:pw")),
        ),
    ] {
        assert!(
            matches!(facts_with("shibboleth", &request).user, Said::Unknown(_)),
            "{what}"
        );
    }
    let umlaut = plain().with("Authorization", &basic("m\u{fc}ller:pw"));
    let said = facts_with("shibboleth", &umlaut).user;
    assert_eq!(said, Said::Stated(vec!["m\u{fc}ller".to_owned()]));
}

#[test]
fn at_ecp_only_one_request_in_its_place_names_the_relying_party() {
    let good = authn_request("urn:good");
    let evil = authn_request("urn:evil");
    for body in [
        format!("{good}{evil}"),
        format!("<x>{good}</x>"),
        good.replace("SAML:2.0:assertion", "SAML:9.0:assertion"),
        good.replace("AuthnRequest", "LogoutRequest"),
    ] {
        let said = facts_with("shibboleth", &ecp(&body)).relying_party;
        assert!(matches!(said, Said::Unknown(_)), "{body}");
    }
}

#[test]
fn a_form_states_its_user_in_each_servers_own_fields() {
    for (profile, target, form) in [
        ("adfs", "/adfs/ls/", "UserName=alice&Password=p"),
        ("okta", "/login/do-login", "username=alice&password=p"),
        (
            "pingfederate",
            "/idp/x/resumeSAML20/idp/SSO.ping",
            "pf.username=alice&pf.pass=p",
        ),
        (
            "shibboleth",
            "/idp/profile/SAML2/Redirect/SSO?execution=e1s1",
            "j_username=alice&j_password=p&_eventId_proceed=",
        ),
        (
            "simplesamlphp",
            "/simplesaml/module.php/core/loginuserpass",
            "username=alice&password=p&AuthState=_1",
        ),
    ] {
        let facts = facts_with(profile, &Request::form(target, form));
        assert_eq!(
            facts.user,
            Said::Stated(vec!["alice".to_owned()]),
            "{profile}"
        );
    }
}

#[test]
fn a_later_step_names_no_relying_party_whatever_stands_beside_it() {
    for (profile, target) in [
        (
            "okta",
            "/login/login.htm?fromURI=/app/evil/k/sso/saml&wtrealm=urn:good",
        ),
        (
            "pingfederate",
            "/idp/x/resumeSAML20/idp/SSO.ping?wtrealm=urn:good",
        ),
        (
            "pingfederate",
            "/as/x/resume/as/authorization.ping?client_id=good",
        ),
        (
            "shibboleth",
            "/idp/profile/SAML2/Unsolicited/SSO?providerId=urn:good&execution=e1s2",
        ),
        (
            "shibboleth",
            "/idp/profile/oidc/authorize?client_id=good&execution=e1s2",
        ),
        (
            "simplesamlphp",
            "/simplesaml/module.php/core/loginuserpass?spentityid=urn:good",
        ),
        (
            "simplesamlphp",
            "/simplesaml/saml2/idp/SSOService.php?spentityid=urn:good&AuthState=_1",
        ),
    ] {
        let said = facts_with(profile, &Request::get(target)).relying_party;
        assert!(matches!(said, Said::Unknown(_)), "{target}");
    }
}

#[test]
fn names_in_another_case_are_passed_over_by_servers_that_tell_case_apart() {
    let party = |profile, target: &str| facts_with(profile, &Request::get(target)).relying_party;
    assert_eq!(
        party("adfs", "/adfs/ls/?wa=wsignin1.0&WTREALM=urn:x"),
        bound("urn:x")
    );
    for (profile, target) in [
        (
            "pingfederate",
            "/idp/startSSO.ping?partnerspid=urn:x&TargetResource=https://evil/",
        ),
        ("pingfederate", "/idp/prp.wsf?wa=wsignin1.0&WTREALM=urn:x"),
        (
            "simplesamlphp",
            "/simplesaml/saml2/idp/SSOService.php?SPENTITYID=urn:x",
        ),
    ] {
        assert!(
            matches!(party(profile, target), Said::Unknown(_)),
            "{target}"
        );
    }
}

#[test]
fn signing_out_is_told_apart_where_one_path_serves_both() {
    for (profile, target, flow) in [
        ("pingfederate", "/idp/prp.wsf?wa=wsignout1.0", Flow::SignOut),
        (
            "pingfederate",
            "/idp/prp.wsf?wa=wsignout1.0&PartnerSpId=urn:x",
            Flow::Passive,
        ),
        ("pingfederate", "/idp/prp.wsf?WA=wsignout1.0", Flow::Passive),
        (
            "pingfederate",
            "/idp/prp.wsf?wa=wsignout1.0&pf.username=a&pf.pass=p",
            Flow::Passive,
        ),
        (
            "simplesamlphp",
            "/simplesaml/module.php/adfs/prp?wa=wsignout1.0",
            Flow::SignOut,
        ),
        (
            "simplesamlphp",
            "/simplesaml/module.php/adfs/prp?wa=wsignin1.0",
            Flow::Passive,
        ),
        // PHP takes the last of what are two of a name to it.
        (
            "simplesamlphp",
            "/simplesaml/module.php/adfs/prp?wa=wsignout1.0&+wa=wsignin1.0",
            Flow::Passive,
        ),
        (
            "simplesamlphp",
            "/simplesaml/module.php/adfs/prp?%20wa=wsignout1.0",
            Flow::Passive,
        ),
        // That it signs out there is not established.
        (
            "okta",
            "/app/office365/k/sso/wsfed/passive?wa=wsignout1.0",
            Flow::Passive,
        ),
        ("shibboleth", "/idp/profile/Logout?return=x", Flow::SignOut),
        (
            "shibboleth",
            "/idp/profile/Logout?execution=e1s1",
            Flow::Passive,
        ),
    ] {
        assert_eq!(
            facts_with(profile, &Request::get(target)).flow,
            flow,
            "{target}"
        );
    }
    let step = Request::form(
        "/idp/profile/Logout",
        "execution=e1s1&j_username=a&j_password=p",
    );
    assert_eq!(facts_with("shibboleth", &step).flow, Flow::Passive);
    let unreadable = Request::post("/idp/profile/Logout", "text/plain", "execution=e1s1");
    assert_eq!(facts_with("shibboleth", &unreadable).flow, Flow::Passive);
}

#[test]
fn device_codes_are_for_applications_on_a_device_with_each_profile() {
    for (profile, target) in [
        ("adfs", "/adfs/oauth2/devicecode"),
        ("okta", "/oauth2/v1/device/authorize"),
        ("pingfederate", "/as/device_authz.oauth2"),
    ] {
        let form = "grant_type=client_credentials&client_id=a&client_secret=s";
        let facts = facts_with(profile, &Request::form(target, form));
        assert_eq!(facts.client, Client::Native, "{profile}");
    }
}
