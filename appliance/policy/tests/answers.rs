//! Weir's own answers, checked by reading them as clients do.

mod common;

use common::{FIREFOX, Known, PASSIVE, Request, UNMANAGED, compile, msal, strict};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;
use weir_policy::answer::{self, Answer};
use weir_policy::{Decision, DecisionKind, Facts, Refusal};

const REFERENCE: &str = "0123456789abcdef";

fn judged(request: &Request) -> (Facts, Decision) {
    let policy = compile(&strict());
    let facts = request
        .facts(&policy, UNMANAGED)
        .expect("a readable request");
    let decision = policy.decide(&facts, &Known).without_token();
    (facts, decision)
}

fn block(request: &Request) -> Answer {
    let (facts, decision) = judged(request);
    assert_eq!(decision.kind, DecisionKind::Block);
    answer::block(&facts, &decision, REFERENCE)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .iter()
        .find(|(given, _)| *given == name)
        .map(|(_, value)| value.as_str())
}

/// Text of every element by its path of local names.
fn texts(xml: &str) -> Vec<(String, String)> {
    let mut reader = Reader::from_str(xml);
    let (mut path, mut found) = (Vec::new(), Vec::new());
    let mut text = String::new();
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(start) => {
                path.push(start.local_name().as_ref().to_owned());
                text.clear();
            }
            Event::Text(piece) => text.push_str(&piece.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => text.push(character),
                _ => text.push_str(
                    quick_xml::escape::resolve_predefined_entity(&reference.xml10_content())
                        .expect("no entity but the predefined"),
                ),
            },
            Event::End(_) => {
                found.push((path.join("/"), std::mem::take(&mut text)));
                path.pop();
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn text_at(xml: &str, path: &str) -> Option<String> {
    texts(xml)
        .into_iter()
        .find(|(at, _)| at == path)
        .map(|(_, text)| text)
}

#[test]
fn active_is_answered_with_a_soap_fault() {
    for (version, namespace) in [
        ("2005", "http://schemas.xmlsoap.org/ws/2005/02/trust"),
        ("13", "http://docs.oasis-open.org/ws-sx/ws-trust/200512"),
    ] {
        let answer = block(&msal(version, "alice@corp.example"));
        assert_eq!(answer.status, 403);
        assert_eq!(
            header(&answer, "content-type"),
            Some("application/soap+xml; charset=utf-8")
        );
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        let at = |path: &str| text_at(&answer.body, &format!("Envelope/{path}"));
        assert_eq!(
            at("Header/Action").as_deref(),
            Some("http://www.w3.org/2005/08/addressing/soap/fault")
        );
        assert_eq!(
            at("Header/RelatesTo").as_deref(),
            Some("urn:uuid:0fbcbf0c-6d4c-4fbb-a3c9-9f1b4d5b3b52")
        );
        assert_eq!(at("Body/Fault/Code/Value").as_deref(), Some("s:Sender"));
        assert_eq!(
            at("Body/Fault/Code/Subcode/Value").as_deref(),
            Some("wst:RequestFailed")
        );
        assert!(answer.body.contains(&format!("xmlns:wst=\"{namespace}\"")));
        let reason = at("Body/Fault/Reason/Text").expect("a reason");
        assert!(
            reason.contains("managed devices only") && reason.contains(REFERENCE),
            "{reason}"
        );
    }
}

#[test]
fn who_asks_in_soap_1_1_is_answered_in_it() {
    let mut old = msal("13", "alice@corp.example");
    let kind = old
        .headers
        .iter_mut()
        .find(|(name, _)| name == "Content-Type");
    kind.expect("it has one").1 = "Text/XML; charset=utf-8".to_owned();
    let ecp = Request::post(
        "/idp/profile/SAML2/SOAP/ECP",
        "text/xml",
        "<S:Envelope xmlns:S='http://schemas.xmlsoap.org/soap/envelope/'/>",
    );
    // An application that says nothing of its media type.
    let bare = Request {
        method: "POST".to_owned(),
        target: "/idp/profile/SAML2/SOAP/ECP".to_owned(),
        ..Request::default()
    };
    for (profile, request) in [("adfs", old), ("shibboleth", ecp), ("shibboleth", bare)] {
        let policy = common::with_profile(profile);
        let facts = request.facts(&policy, UNMANAGED).expect("readable");
        let decision = policy.decide(&facts, &Known).without_token();
        assert_eq!(decision.kind, DecisionKind::Block);
        let blocked = answer::block(&facts, &decision, REFERENCE);
        let later = answer::unavailable(facts.flow, facts.soap.as_ref(), 502, REFERENCE);
        for (answer, status, code) in [(blocked, 403, "s:Client"), (later, 502, "s:Server")] {
            assert_eq!(answer.status, status);
            let kind = header(&answer, "content-type");
            assert_eq!(kind, Some("text/xml; charset=utf-8"));
            let space = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">";
            assert!(answer.body.starts_with(space), "{}", answer.body);
            let at = |path: &str| text_at(&answer.body, &format!("Envelope/Body/Fault/{path}"));
            assert_eq!(at("faultcode").as_deref(), Some(code));
            let words = at("faultstring").expect("words");
            assert!(words.contains(REFERENCE), "{words}");
        }
    }
}

#[test]
fn a_message_id_is_repeated_escaped_or_not_at_all() {
    let answer_to = |id: &str| {
        let mut request = msal("13", "alice@corp.example");
        let text = String::from_utf8(request.body.expect("a body")).expect("text");
        request.body = Some(
            text.replace("urn:uuid:0fbcbf0c-6d4c-4fbb-a3c9-9f1b4d5b3b52", id)
                .into_bytes(),
        );
        text_at(&block(&request).body, "Envelope/Header/RelatesTo")
    };
    assert_eq!(
        answer_to("&lt;/a:RelatesTo>&amp;").as_deref(),
        Some("</a:RelatesTo>&")
    );
    assert_eq!(answer_to(""), None);
    assert_eq!(answer_to(&"x".repeat(10_000)), None);
}

#[test]
fn mex_is_answered_with_text() {
    let answer = block(&Request::get("/adfs/services/trust/mex"));
    assert_eq!(answer.status, 403);
    assert_eq!(
        header(&answer, "content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(answer.body.contains("managed devices only") && answer.body.contains(REFERENCE));
}

#[test]
fn token_calls_are_answered_with_an_oauth_error() {
    let answer = block(&Request::form(
        "/adfs/oauth2/token",
        "grant_type=password&username=a&password=secret",
    ));
    assert_eq!(answer.status, 403);
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    let json: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(json["error"], "access_denied");
    let description = json["error_description"].as_str().expect("a description");
    assert!(description.contains("managed devices only") && description.contains(REFERENCE));
    assert!(!answer.body.contains("secret"));
}

#[test]
fn people_get_a_page_that_needs_nothing_from_elsewhere() {
    let answer = block(&Request::get(PASSIVE).agent("MSAuthHost/1.0/In-Domain"));
    assert_eq!(answer.status, 403);
    assert_eq!(
        header(&answer, "content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    let policy = header(&answer, "content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let page = &answer.body;
    for part in [
        "<html lang=\"en\">",
        "<title>Sign-in blocked</title>",
        "<h1>Sign-in blocked</h1>",
        "<main>",
        "name=\"viewport\"",
        "prefers-color-scheme:dark",
        &format!("<code>{REFERENCE}</code>"),
        "managed devices only",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for foreign in [
        "<script", "<img", "<link", "http:", "https:", "url(", "<form", "<a ", "onload",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // Nothing of the request is on it.
    assert!(!page.contains("alice") && !page.contains("estsredirect"));
}

#[test]
fn an_outage_is_never_told_as_a_block() {
    let requests = [
        msal("13", "alice@corp.example"),
        Request::get("/adfs/services/trust/mex"),
        Request::form("/adfs/oauth2/token", "grant_type=password"),
        Request::get(PASSIVE).agent("MSAuthHost/1.0"),
    ];
    for request in requests {
        let (facts, _) = judged(&request);
        for status in [502, 503, 504] {
            let answer = answer::unavailable(facts.flow, facts.soap.as_ref(), status, REFERENCE);
            assert_eq!(answer.status, status);
            assert_eq!(header(&answer, "retry-after").is_some(), status == 503);
            let body = &answer.body;
            assert!(body.contains("does not answer") && body.contains(REFERENCE));
            assert!(
                !body.contains("blocked") && !body.contains("denied"),
                "{body}"
            );
            match header(&answer, "content-type").expect("a type") {
                "application/soap+xml; charset=utf-8" => {
                    let at = |path: &str| text_at(body, &format!("Envelope/{path}"));
                    assert_eq!(at("Body/Fault/Code/Value").as_deref(), Some("s:Receiver"));
                    let id = facts.soap.as_ref().and_then(|soap| soap.message_id.clone());
                    assert_eq!(at("Header/RelatesTo"), id);
                }
                "application/json" => {
                    let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
                    assert_eq!(json["error"], "temporarily_unavailable");
                }
                "text/html; charset=utf-8" => {
                    let title = "<h1>The sign-in service does not answer</h1>";
                    assert!(body.contains(title) && !body.contains("alice"), "{body}");
                }
                _ => assert_eq!(body.lines().count(), 2),
            }
        }
    }
}

#[test]
fn internal_and_unknown_paths_are_not_found() {
    for path in [
        "/adfs/proxy/EstablishTrust",
        "/owa",
        "/adfs/ls/../proxy/EstablishTrust",
    ] {
        let answer = block(&Request::get(path).agent(FIREFOX));
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains(REFERENCE));
    }
}

#[test]
fn a_redirect_goes_where_the_configuration_says() {
    let request = Request::get(PASSIVE).agent(FIREFOX);
    let (facts, decision) = judged(&request);
    let answer = answer::redirect(&facts, &decision, request.query()).expect("a redirect");
    assert_eq!(answer.status, 302);
    let query = request.query().expect("a query");
    assert_eq!(
        header(&answer, "location"),
        Some(format!("https://sts-corp-example.proxy.example/adfs/ls/?{query}").as_str())
    );
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    let cookie = header(&answer, "set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-weir-redirects=1; Path=/; Max-Age=60; Secure; HttpOnly"));
    let next = request.with("Cookie", cookie.split(';').next().expect("a cookie"));
    let (facts, decision) = judged(&next);
    assert_eq!(facts.redirects, 1);
    let answer = answer::redirect(&facts, &decision, None).expect("a redirect");
    assert!(header(&answer, "set-cookie").is_some_and(|cookie| cookie.contains("redirects=2;")));
}

#[test]
fn a_posted_password_is_left_behind_with_a_303() {
    let request = Request::form(PASSIVE, "UserName=alice&Password=hunter2").agent(FIREFOX);
    let (facts, decision) = judged(&request);
    let answer = answer::redirect(&facts, &decision, request.query()).expect("a redirect");
    assert_eq!(answer.status, 303);
    assert!(!format!("{answer:?}").contains("hunter2"));
}

#[test]
fn redirects_are_counted_for_a_minute_and_forgotten_by_the_page_that_stops_them() {
    let counted = |request: &Request, count: u8| {
        let cookie = format!("__Host-weir-redirects={count}");
        let (facts, decision) = judged(&request.clone().agent(FIREFOX).with("Cookie", &cookie));
        let answer = answer::redirect(&facts, &decision, request.query())
            .unwrap_or_else(|| answer::block(&facts, &decision, "0123456789abcdef"));
        (
            answer.status,
            header(&answer, "set-cookie").map(str::to_owned),
            answer.body,
        )
    };
    let get = Request::get(PASSIVE);
    let post = Request::form(PASSIVE, "UserName=alice%40corp.example&Password=p");
    for (request, status) in [(&get, 302), (&post, 303)] {
        let (is, cookie, _) = counted(request, 2);
        assert_eq!(is, status);
        assert!(cookie.is_some_and(|cookie| cookie.contains("redirects=3; Path=/; Max-Age=60;")));
        let (is, cookie, page) = counted(request, 3);
        assert_eq!(is, 403);
        assert!(cookie.is_some_and(|cookie| cookie.contains("redirects=0; Path=/; Max-Age=0;")));
        assert!(page.contains("three times") && page.contains("0123456789abcdef"));
    }
    // Another site's page can make a browser load frames and pictures: they count nothing.
    let frame = get.clone().with("Sec-Fetch-Dest", "iframe");
    assert_eq!(counted(&frame, 0).1, None);
    let page = get.clone().with("Sec-Fetch-Dest", "document");
    assert!(counted(&page, 0).1.is_some());
    let blocked_otherwise = get.agent(common::OFFICE_VIEW);
    assert_eq!(counted(&blocked_otherwise, 0).1, None);
}

#[test]
fn nothing_else_is_a_redirect() {
    let (facts, decision) = judged(&msal("13", "alice@corp.example"));
    assert_eq!(answer::redirect(&facts, &decision, None), None);
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let refusal = Request::get("/adfs/ls/%2e/").facts(&compile(&strict()), UNMANAGED);
    let refusal = refusal.expect_err("the path is odd");
    let answer = answer::refuse(&refusal, REFERENCE);
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .body
            .starts_with("The path can be read in more than one way.")
    );
    assert!(answer.body.contains(REFERENCE));
    let other = Refusal {
        status: 413,
        why: "the body is too large".into(),
    };
    assert_eq!(answer::refuse(&other, REFERENCE).status, 413);
}

proptest! {
    #[test]
    fn hostile_reasons_and_queries_stay_text(reason in any::<String>(), query in any::<String>()) {
        let requests = [
            msal("13", "alice@corp.example"),
            Request::get("/adfs/services/trust/mex"),
            Request::form("/adfs/oauth2/token", "grant_type=password"),
            Request::get(PASSIVE).agent("MSAuthHost/1.0"),
        ];
        for request in requests {
            let (facts, mut decision) = judged(&request);
            decision.reason = reason.as_str().into();
            let answer = answer::block(&facts, &decision, REFERENCE);
            prop_assert!(!answer.body.is_empty());
            for (_, value) in &answer.headers {
                prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
            match header(&answer, "content-type") {
                Some("application/json") => {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_ok());
                }
                Some("application/soap+xml; charset=utf-8") => {
                    prop_assert_eq!(texts(&answer.body).len(), 12);
                }
                Some("text/html; charset=utf-8") => {
                    let tags = |page: &str| page.matches(['<', '>', '"']).count();
                    let harmless = block(&request);
                    prop_assert_eq!(tags(&answer.body), tags(&harmless.body));
                }
                _ => prop_assert_eq!(answer.body.lines().count(), 2),
            }
        }
        let (facts, decision) = judged(&Request::get(PASSIVE).agent(FIREFOX));
        let answer = answer::redirect(&facts, &decision, Some(&query)).expect("a redirect");
        let location = header(&answer, "location").expect("a location");
        prop_assert!(location.starts_with("https://sts-corp-example.proxy.example/adfs/ls/"));
        prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}
