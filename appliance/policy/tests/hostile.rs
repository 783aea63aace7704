//! What an attacker sends: paths that servers read differently, and bodies made to exhaust.

#[path = "../fuzz/properties/careless.rs"]
mod careless;
mod common;
#[path = "common/disguise.rs"]
mod disguise;

use careless::INTERNAL;
use common::{Known, Lists, MANAGED, Request, UNMANAGED, compile, msal, strict};
use disguise::disguised;
use proptest::prelude::*;
use weir_policy::{DecisionKind, Flow, Head, Policy, Said};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_disguise_of_an_internal_path_passes(target in disguised(INTERNAL.to_vec())) {
        passes_nothing_internal(&target)?;
    }

    #[test]
    fn nothing_that_passes_can_be_read_as_an_internal_path(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "/adfs", "/ls", "/portal/css", "/proxy", "/..", "/%2e%2e", "/.", "\\..", ";/..", "//",
            "/services/trust", "/mex", "/2005", "/usernamemixed", "/windowstransport", "%2f", "%5c",
            "%252e%252e", ".", "%20", "/x.css", "/oauth2/token", "%3b", "~1", "/federationserverservice.asmx",
        ]), 1..8)
    ) {
        passes_nothing_internal(&format!("/adfs{}", pieces.concat()))?;
        passes_nothing_internal(&pieces.concat())?;
    }

    #[test]
    fn any_head_and_body_get_an_answer(
        target in "/[ -~]{0,60}",
        agent in "[ -~]{0,40}",
        body in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let policy = compile(&strict());
        for content_type in ["application/x-www-form-urlencoded", "application/soap+xml"] {
            for target in [&target, "/adfs/ls/", "/adfs/services/trust/13/usernamemixed", "/adfs/oauth2/token"] {
                let request = Request::post(target, content_type, body.clone()).agent(&agent);
                if let Ok(facts) = request.facts(&policy, MANAGED) {
                    let _ = policy.explain(&facts, &Known);
                }
            }
        }
    }
}

fn passes_nothing_internal(target: &str) -> Result<(), TestCaseError> {
    let policy = compile(&strict());
    for method in ["GET", "POST"] {
        let request = Request {
            method: method.into(),
            target: target.into(),
            ..Request::default()
        };
        let Ok(facts) = request.facts(&policy, MANAGED) else {
            continue;
        };
        let passes = policy.decide(&facts, &Known).without_token().kind == DecisionKind::Pass;
        let raw_path = target.split('?').next().unwrap_or_default();
        let read = careless::read(raw_path);
        let internal = careless::is_internal(raw_path);
        prop_assert!(
            !(passes && internal),
            "{target} passes as {:?}, may be read as {read}",
            facts.flow
        );
    }
    Ok(())
}

#[test]
fn the_paths_of_known_attacks() {
    let policy = compile(&strict());
    for target in [
        "/adfs/ls/../services/trust/2005/windowstransport",
        "/adfs/ls/%2e%2e/services/trust/2005/windowstransport",
        "/adfs/ls/%252e%252e/services/trust/2005/windowstransport",
        "//adfs//proxy//EstablishTrust",
        "/adfs/Proxy/EstablishTrust",
        "/adfs/proxy;x/EstablishTrust",
        "/adfs\\proxy\\EstablishTrust",
        "/adfs/proxy./EstablishTrust",
        "/adfs/portal/css/..%2f..%2fproxy/EstablishTrust",
    ] {
        let facts = Request::get(target)
            .facts(&policy, MANAGED)
            .expect("a path that can be read");
        assert_eq!(facts.flow, Flow::Internal, "{target}");
    }
    for target in [
        "/adfs/portal/css/../../ls/",
        "/adfs/ls/%2e/",
        "/adfs/ls;x=1/",
        "/adfs%2fls/",
        "/adfs/ls%20",
        "/adfs/%c0%ae%c0%ae/proxy/x",
        "/adfs/ls%00.css",
        "http://sts/adfs/ls/",
    ] {
        let refusal = Request::get(target)
            .facts(&policy, MANAGED)
            .expect_err(target);
        assert_eq!(refusal.status, 400, "{target}");
    }
}

#[test]
fn bodies_made_to_exhaust_are_unknown_not_fatal() {
    let policy = compile(&strict());
    let attributes = (0..10_000)
        .map(|n| format!(" a{n}='{n}'"))
        .collect::<Vec<_>>()
        .concat();
    let entities = "<!DOCTYPE lolz [<!ENTITY lol 'lol'><!ENTITY lol2 '&lol;&lol;&lol;'>]><s:Envelope xmlns:s='u'>&lol2;</s:Envelope>";
    for body in [
        "<a>".repeat(80_000),
        "<a>".repeat(30_000) + &"</a>".repeat(30_000),
        format!("<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'{attributes}/>"),
        format!("<a>{}</a>", "<b/>".repeat(60_000)),
        entities.to_owned(),
        "<!DOCTYPE a SYSTEM 'http://evil.example/x.dtd'><a/>".to_owned(),
        format!("<a b='{}'/>", "x".repeat(200_000)),
    ] {
        let mut request = msal("13", "alice@corp.example");
        request.body = Some(body.into_bytes());
        let facts = request.facts(&policy, MANAGED).expect("the head is fine");
        assert!(matches!(facts.user, Said::Unknown(_)), "{:?}", facts.user);
    }
    let good =
        String::from_utf8(msal("13", "alice@corp.example").body.expect("a body")).expect("text");
    for cut in (0..good.len()).step_by(97) {
        let mut request = msal("13", "alice@corp.example");
        request.body = Some(good.as_bytes()[..cut].to_vec());
        let facts = request.facts(&policy, MANAGED).expect("the head is fine");
        assert!(
            matches!(facts.user, Said::Unknown(_)),
            "cut at {cut}: {:?}",
            facts.user
        );
    }
}

#[test]
fn a_cookie_in_another_charset_does_not_hide_the_count_of_redirects() {
    let policy = compile(&strict());
    let headers: &[(&str, &[u8])] = &[("Cookie", b"name=\xfc; __Host-weir-redirects=3; x")];
    let head = Head {
        method: "GET",
        host: "sts.corp.example",
        path: "/adfs/ls/",
        query: Some("wa=wsignin1.0"),
        headers,
    };
    let recognised = policy.recognise(&head).expect("a sign-in page");
    let peer = UNMANAGED.parse().expect("an address");
    let facts = policy.facts(&head, &recognised, None, peer, &Lists);
    assert_eq!(facts.redirects, 3);
    assert_eq!(
        policy.decide(&facts, &Known).without_token().kind,
        DecisionKind::Block
    );
}

/// Windows compares such names by the words of a culture, where characters without weight do not count.
#[test]
fn a_parameter_whose_name_only_some_servers_read_makes_all_of_them_unclear() {
    let policy = compile(&strict());
    for hidden in [
        "SAML%C2%ADRequest=x",
        "SAMLRequest%E2%80%8B=x",
        "SAML\u{ad}Request=x",
        "SAMLReq%01uest=x",
        "%00SAMLRequest=x",
        "SAMLRequest%7F=x",
    ] {
        let sign_out = format!("/adfs/ls/?wa=wsignout1.0&{hidden}");
        assert_eq!(flow(&policy, &Request::get(&sign_out)), Flow::Passive);
        let sign_in = format!("/adfs/ls/?wtrealm=urn:good&{hidden}");
        let facts = Request::get(&sign_in).facts(&policy, UNMANAGED);
        let party = facts.expect("a readable head").relying_party;
        assert!(matches!(party, Said::Unknown(_)), "{hidden}: {party:?}");
    }
    let words = "/adfs/ls/?wa=wsignout1.0&wctx=gr%C3%BC%C3%9Fe&a%20b=1";
    assert_eq!(flow(&policy, &Request::get(words)), Flow::SignOut);
}

#[test]
fn what_may_sign_in_beside_a_sign_out_is_no_sign_out() {
    let policy = compile(&strict());
    let posted = format!("SAMLRequest={}", LOGOUT.replace('+', "%2B"));
    let post = |query: &str, form: &str| Request::form(&format!("/adfs/ls/{query}"), form);
    assert_eq!(flow(&policy, &post("", &posted)), Flow::SignOut);
    for name in ["SAMLart", "wresult", "LoginToRP"] {
        for request in [
            Request::get(&format!("/adfs/ls/?wa=wsignout1.0&{name}=x")),
            post("", &format!("{posted}&{name}=x")),
            post(&format!("?{name}=x"), &posted),
        ] {
            assert_eq!(flow(&policy, &request), Flow::Passive, "{request:?}");
        }
    }
}

/// Windows reads base64 as if blanks were not there, others take one for a plus sign: one value would be
/// two messages.
#[test]
fn a_message_with_a_blank_in_its_base64_is_no_message() {
    let policy = compile(&strict());
    let form = |value: &str| Request::form("/adfs/ls/", &format!("SAMLRequest={value}"));
    let sign_out = form(&LOGOUT.replace('+', "%2B"));
    assert_eq!(flow(&policy, &sign_out), Flow::SignOut);
    for blank in ["+", "%20"] {
        let request = form(&LOGOUT.replace('+', blank));
        assert_eq!(flow(&policy, &request), Flow::Passive, "{blank}");
    }
}

/// `<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol">~~~</samlp:LogoutRequest>`
const LOGOUT: &str = "PHNhbWxwOkxvZ291dFJlcXVlc3QgeG1sbnM6c2FtbHA9InVybjpvYXNpczpuYW1lczp0YzpTQU1MOjIuMDpwcm90b2NvbCI+fn5+PC9zYW1scDpMb2dvdXRSZXF1ZXN0Pg==";

fn flow(policy: &Policy, request: &Request) -> Flow {
    let facts = request.facts(policy, UNMANAGED);
    facts.expect("a readable head").flow
}
