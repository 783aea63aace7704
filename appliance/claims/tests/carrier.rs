//! Tokens in addresses, in JSON, in SOAP, and in what is posted to a relying party.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use weir_claims::carrier::{Answer, Answering, By, Carried, Kind, Posted, answer, posted};

fn answered(answering: Answering, status: u16, headers: &[(&str, &[u8])], body: &str) -> Carried {
    let given = Answer {
        url: "https://sts.corp.example/adfs/ls/",
        status,
        headers,
        body: body.as_bytes(),
    };
    answer(answering, &given)
}

fn redirected(location: &str) -> Carried {
    answered(
        Answering::OauthBrowser,
        302,
        &[("location", location.as_bytes())],
        "<input name=wresult>",
    )
}

fn token(status: u16, body: &str) -> Carried {
    answered(Answering::OauthToken, status, &[], body)
}

fn soap(status: u16, body: &str) -> Carried {
    answered(Answering::Active, status, &[], body)
}

fn post(body: &str) -> Carried {
    posted(&Posted {
        query: None,
        content_type: Some("application/x-www-form-urlencoded"),
        body: body.as_bytes(),
    })
}

fn is_unreadable(carried: &Carried) -> bool {
    matches!(carried, Carried::Unreadable(_))
}

#[test]
fn redirects_say_where_they_lead() {
    for (location, to) in [
        (
            "/adfs/ls/?wa=wsignin1.0&client-request-id=1",
            "https://sts.corp.example",
        ),
        (
            "//other.example:8443/a?codes=1&SAMLRequest=x",
            "https://other.example:8443",
        ),
        ("msauth.com.app://auth?error=x", "msauth.com.app://auth"),
        ("?response_type=code#id_tokens", "https://sts.corp.example"),
    ] {
        let to = to.to_owned();
        assert_eq!(redirected(location), Carried::Redirect { to }, "{location}");
    }
}

#[test]
fn redirects_hand_on_codes_and_tokens() {
    assert_eq!(
        redirected("https://app.example/cb?state=a&code=b"),
        Carried::Code(By::Query)
    );
    assert_eq!(
        redirected("https://app.example/cb?%63ode=b"),
        Carried::Code(By::Query)
    );
    assert_eq!(redirected("msauth://app/?CODE=b"), Carried::Code(By::Query));
    assert_eq!(
        redirected("https://app.example/?SAMLart=AAQ"),
        Carried::Code(By::Query)
    );
    assert_eq!(
        redirected("https://app.example/#code=b"),
        Carried::Code(By::Fragment)
    );
    assert_eq!(
        redirected("https://app.example/#/cb?code=b"),
        Carried::Code(By::Fragment)
    );
    assert_eq!(
        redirected("https://app.example/?response=eyJ.a.b"),
        Carried::Code(By::Query)
    );
    // As a server for CAS hands on.
    assert_eq!(
        redirected("https://app.example/?ticket=ST-1856339-aA5Yuvrxzpv8Tau1cYQ7"),
        Carried::Code(By::Query)
    );
    assert!(matches!(
        redirected("https://app.example/?ticket=1"),
        Carried::Redirect { .. }
    ));
    assert_eq!(
        redirected("https://app.example/?code=a&code=b"),
        Carried::Several
    );
    assert_eq!(
        redirected("https://app.example/?code=a#code=b"),
        Carried::Several
    );
    // What the client chose comes back in `state`, and servers need not escape `?` there.
    for state in ["s", "a?b", "/a?b=c#d", "?"] {
        let location = format!("https://app.example/#id_token=eyJh.eyJi.c2ln&state={state}");
        let Carried::Token(found) = redirected(&location) else {
            panic!("no token: {state}");
        };
        assert_eq!((found.kind, found.by), (Kind::IdToken, By::Fragment));
    }
    assert_eq!(
        redirected("https://app.example/#access_token=a"),
        Carried::Opaque(By::Fragment)
    );
    for odd in [
        "https://app.example/?SAMLResponse=fVJN",
        "https://app.example/?wresult=%3Ca%3E",
        "https://app.example/?w%C2%ADresult=a",
        "https://app.example/?id.token=a",
        "https://[",
    ] {
        assert!(
            is_unreadable(&redirected(odd)),
            "{odd}: {:?}",
            redirected(odd)
        );
    }
}

#[test]
fn an_address_beside_an_answer_that_is_no_redirect_carries_nothing_unseen() {
    for status in [200, 201, 300, 401] {
        let carried = |location: &str| {
            let headers = [("location", location.as_bytes())];
            answered(Answering::OauthBrowser, status, &headers, "")
        };
        assert_eq!(carried("/adfs/ls/?a=b"), Carried::Nothing, "{status}");
        assert!(is_unreadable(&carried("https://app.example/?code=b")));
        assert!(is_unreadable(&carried("https://app.example/#id_token=a")));
    }
}

#[test]
fn headers_that_browsers_differ_about_are_unreadable() {
    let read = |headers: &[(&str, &[u8])]| answered(Answering::Passive, 302, headers, "");
    assert!(is_unreadable(&read(&[
        ("location", b"/a"),
        ("location", b"/b")
    ])));
    assert!(is_unreadable(&read(&[("location", b"/\xff")])));
    assert!(is_unreadable(&read(&[("refresh", b"0;url=/?code=a")])));
    assert!(is_unreadable(&read(&[
        ("content-type", b"text/html"),
        ("content-type", b"a/b")
    ])));
    assert!(is_unreadable(&read(&[
        ("content-type", b"text/html"),
        ("content-encoding", b"gzip")
    ])));
    // A redirect without an address is a page.
    let page = "<form><input name=wresult></form>";
    let shown = answered(
        Answering::Passive,
        302,
        &[("content-type", b"text/html")],
        page,
    );
    assert!(is_unreadable(&shown));
}

#[test]
fn the_token_endpoint_answers_with_tokens_or_errors() {
    let Carried::Token(found) = token(
        200,
        r#"{"access_token":"eyJ0.eyJ1.c2ln","token_type":"bearer","expires_in":3600,"refresh_token":"r","id_token":"eyJh.eyJi.c2ln"}"#,
    ) else {
        panic!("no token");
    };
    assert_eq!(
        (found.kind, found.text.as_str(), &found.by),
        (Kind::IdToken, "eyJh.eyJi.c2ln", &By::Json)
    );
    assert!(found.others.contains(&"access_token".to_owned()));
    assert!(matches!(
        token(200, r#"{"access_token":"eyJ0.eyJ1.c2ln"}"#),
        Carried::Token(_)
    ));
    assert_eq!(
        token(200, r#"{"access_token":"AAAA"}"#),
        Carried::Opaque(By::Json)
    );
    for nothing in [
        r#"{"error":"invalid_grant","error_description":"MSIS9659"}"#,
        r#"{"device_code":"a","user_code":"b","verification_uri":"c"}"#,
        r#"{"code":"server_error"}"#,
        "",
    ] {
        assert_eq!(token(400, nothing), Carried::Nothing, "{nothing}");
    }
    assert_eq!(
        token(503, "<html>Service Unavailable</html>"),
        Carried::Nothing
    );
    for odd in [
        r#"{"access_token":"a","access_token":"b"}"#,
        r#"{"id_token":{"a":1}}"#,
        r#"{"id_token":"a.b"}"#,
        r#"{"Id_Token":null}"#,
        r#"{"result":{"id_token":"a.b.c"}}"#,
        r#"{"result":[{"access_token":"a"}]}"#,
        r#"["id_token"]"#,
        "access_token=a&expires=1",
        r#"{"a":1} {"id_token":"a.b.c"}"#,
    ] {
        assert!(is_unreadable(&token(200, odd)), "{odd}");
    }
    assert!(is_unreadable(&token(
        500,
        r#"{"access_token":"a","access_token":"b"}"#
    )));
}

/// What a SAML identity provider answers to an application.
const ECP: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header/><s:Body><p:Response xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol"><a:Assertion xmlns:a="urn:oasis:names:tc:SAML:2.0:assertion"/></p:Response></s:Body></s:Envelope>"#;
const ANSWER: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><t:RequestSecurityTokenResponse xmlns:t="http://schemas.xmlsoap.org/ws/2005/02/trust"><t:RequestedSecurityToken><a:Assertion xmlns:a="urn:oasis:names:tc:SAML:1.0:assertion"/></t:RequestedSecurityToken></t:RequestSecurityTokenResponse></s:Body></s:Envelope>"#;

#[test]
fn ws_trust_answers_with_a_token_or_a_fault() {
    let newer = ANSWER
        .replace("TokenResponse", "TokenResponseCollection")
        .replace(
            "http://schemas.xmlsoap.org/ws/2005/02/trust",
            "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
        );
    for good in [
        ANSWER,
        &newer,
        &format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{ANSWER}"),
    ] {
        let Carried::Token(found) = soap(200, good) else {
            panic!("no token: {:?}", soap(200, good));
        };
        assert_eq!(
            (found.kind, found.text.as_str(), found.by),
            (Kind::WsTrust, good, By::Soap)
        );
    }
    let marked = format!("\u{feff}{ANSWER}");
    assert!(matches!(soap(200, &marked), Carried::Token(found) if found.text == ANSWER));
    assert!(matches!(soap(200, ECP), Carried::Token(found) if found.text == ECP));
    let fault = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Code/></s:Fault></s:Body></s:Envelope>"#;
    for status in [200, 403, 500] {
        assert_eq!(soap(status, fault), Carried::Nothing);
    }
    assert_eq!(soap(503, "<html><br>Service Unavailable"), Carried::Nothing);
    assert_eq!(soap(500, ""), Carried::Nothing);
}

#[test]
fn ws_trust_answers_that_are_something_else_are_unreadable() {
    let body = |inside: &str| ANSWER.replace("<s:Body>", &format!("<s:Body>{inside}"));
    let second = "<s:Fault/>";
    let bound = "<a xmlns:x='y'/>".repeat(2000);
    for odd in [
        body(second),
        body("<s:Body/>").replace("</s:Body></s:Envelope>", "</s:Body><s:Body/></s:Envelope>"),
        ANSWER.replace("RequestSecurityTokenResponse", "Other"),
        ANSWER.replace("ws/2005/02/trust", "ws/2099/trust"),
        ANSWER.replace("soap-envelope", "other-envelope"),
        ANSWER.replace("</s:Envelope>", ""),
        ANSWER.replace("<s:Header/>", &bound),
        format!("<!DOCTYPE a>{ANSWER}"),
        format!("<?xml version='1.0' encoding='utf-16'?>{ANSWER}"),
        format!("--part\r\n\r\n{ANSWER}"),
        "<html>".to_owned(),
        ANSWER
            .replace("<t:RequestedSecurityToken>", "<t:X>")
            .replace("</t:RequestedSecurityToken>", "</t:X>")
            .replace("a:Assertion", "a:Z"),
    ] {
        assert!(is_unreadable(&soap(200, &odd)), "{odd}");
    }
    assert!(is_unreadable(&soap(
        500,
        &ANSWER.replace("</s:Envelope>", "")
    )));
}

#[test]
fn a_reply_url_is_posted_one_token() {
    let Carried::Token(found) = post("wa=wsignin1.0&wresult=%3Ca%3E%C3%A4+b%3C%2Fa%3E&wctx=x%3d1")
    else {
        panic!("no token");
    };
    assert_eq!(
        (found.kind, found.text.as_str(), found.by),
        (Kind::Wresult, "<a>ä b</a>", By::Post)
    );
    assert_eq!(found.others, ["wa", "wctx"]);
    let saml =
        BASE64_STANDARD.encode("<?xml version=\"1.0\" encoding=\"UTF-8\"?><samlp:Response/>");
    let saml = format!(
        "SAMLResponse={}&RelayState=",
        saml.replace('+', "%2B").replace('=', "%3D")
    );
    assert!(
        matches!(post(&saml), Carried::Token(found) if found.kind == Kind::SamlResponse && found.text.ends_with("<samlp:Response/>"))
    );
    assert!(
        matches!(post("id_token=a.b.c&code=d"), Carried::Token(found) if found.kind == Kind::IdToken)
    );
    assert_eq!(post("code=a&state=b"), Carried::Code(By::Post));
    assert_eq!(post("a=b"), Carried::Nothing);
    assert_eq!(post("wresult=%3Ca/%3E&Wresult=%3Cb/%3E"), Carried::Several);
    assert_eq!(
        post("wresult=%3Ca/%3E&SAMLResponse=PGEvPg%3D%3D"),
        Carried::Several
    );
}

#[test]
fn what_relying_parties_read_differently_is_unreadable() {
    for odd in [
        "wresult=",
        "wresult=a",
        "wresult=%3Ca%zz",
        "wresult=%3Ca%ff%3E",
        "w%C2%ADresult=%3Ca/%3E",
        "id.token=a.b.c",
        "id_token=a.b",
        "SAMLResponse=PGEv Pg==",
        "SAMLResponse=PGEvPg",
        "SAMLResponse=PGEvPh%3D%3D",
        "SAMLResponse=PGEv-_8%3D",
    ] {
        assert!(is_unreadable(&post(odd)), "{odd}: {:?}", post(odd));
    }
    let utf16 = BASE64_STANDARD
        .encode("<?xml version='1.0' encoding='utf-16'?><a/>")
        .replace('=', "%3D");
    assert!(is_unreadable(&post(&format!("SAMLResponse={utf16}"))));
    assert!(is_unreadable(&post(&"a=b&".repeat(1000))));
    assert!(is_unreadable(&post(&format!(
        "wresult=%3C{}",
        "a".repeat(2 << 20)
    ))));
    let with = |query, content_type, body: &str| {
        posted(&Posted {
            query,
            content_type,
            body: body.as_bytes(),
        })
    };
    let form = Some("application/x-www-form-urlencoded; charset=UTF-8");
    let good = "wresult=%3Ca/%3E";
    assert!(matches!(with(Some("a=b"), form, good), Carried::Token(_)));
    assert_eq!(with(Some("code=b"), form, good), Carried::Several);
    assert_eq!(with(Some("wresult=%3Cb/%3E"), form, good), Carried::Several);
    for other in [
        None,
        Some("multipart/form-data; boundary=a"),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded; charset=utf-16"),
    ] {
        assert!(is_unreadable(&with(None, other, good)), "{other:?}");
    }
}

/// Nothing is inflated: a response that is packed for an address is not read, however it travels.
#[test]
fn packed_responses_are_not_accepted() {
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packed
        .write_all(&vec![b' '; 32 << 20])
        .expect("memory takes every byte");
    let bomb = BASE64_STANDARD.encode(packed.finish().expect("memory takes every byte"));
    let field = format!(
        "SAMLResponse={}",
        bomb.replace('+', "%2B").replace('=', "%3D")
    );
    assert!(is_unreadable(&post(&field)));
    let by_address = Posted {
        query: Some(&field),
        content_type: None,
        body: b"",
    };
    let Carried::Unreadable(why) = posted(&by_address) else {
        panic!("it was taken");
    };
    assert!(why.to_string().contains("Redirect binding"), "{why}");
}
