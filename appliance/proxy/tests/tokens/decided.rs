//! What a token says, and whether it is believed, decides.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Response, StatusCode};
use time::UtcDateTime;
use weir_claims::Form;
use weir_link::FromProxy;
use weir_policy::Told;

use crate::common::upstream::{Body, text};
use crate::common::{MANAGED, UNMANAGED};
use crate::issuer::{ADDRESS, AUDIENCE, ISSUER, SERVICE, STRANGER};
use crate::stage::{
    ACTIVE, BROWSER, PAGE, browse, group, in_group, in_turn, page, rule, stage, token, wresult,
};

#[tokio::test]
async fn what_the_token_says_decides_and_what_passes_is_passed_on_to_the_byte() {
    let rules = vec![rule("no-finance", group("Finance"), "block")];
    let mut stage = stage(rules, |seen| {
        let group = if seen.target.contains("finance") {
            "Finance"
        } else {
            "Sales"
        };
        wresult(in_group(group))
    })
    .await;

    let passed = browse(&stage, MANAGED, PAGE).await;
    assert_eq!(passed.status, 200);
    assert!(passed.text().contains("Working..."), "{}", passed.text());
    let seen = stage.upstream.only();
    assert_eq!(
        (seen.header("accept-encoding"), seen.header("range")),
        (None, None)
    );
    let event = stage.event().await;
    assert_eq!(
        (&*event.decision, &*event.rule),
        ("pass", "office365-strict/browser-managed")
    );
    let facts = event.facts.expect("they are recorded");
    let Told::Verified(told) = facts.token else {
        panic!("{:?}", facts.token)
    };
    assert_eq!(told.values["groups"], ["Sales", "Staff"]);

    let blocked = browse(&stage, MANAGED, &format!("{PAGE}&wctx=finance")).await;
    assert_eq!(blocked.status, 403);
    assert!(!blocked.text().contains("wresult"));
    let event = stage.event().await;
    assert_eq!(
        (&*event.decision, &*event.rule),
        ("block", "rule/no-finance")
    );
    let line = serde_json::to_string(&event).expect("JSON");
    assert!(
        !line.contains("SignatureValue") && !line.contains("wresult"),
        "{line}"
    );
}

#[tokio::test]
async fn the_pages_before_the_token_are_passed_on() {
    let rules = vec![rule("staff", group("Staff"), "pass")];
    let login = "<html><form method=post action=\"/adfs/ls/\"><input name=UserName><input type=password \
                 name=Password></form></html>";
    let mut stage = stage(rules, move |_| {
        let mut page = text(200, login);
        page.headers_mut()
            .insert("content-type", HeaderValue::from_static("text/html"));
        page
    })
    .await;
    let answer = browse(&stage, UNMANAGED, PAGE).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, login));
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("pass", "rule/staff"));
    assert!(
        event
            .reason
            .expect("words")
            .contains("its token has the last word")
    );
}

#[tokio::test]
async fn a_rule_that_waits_for_the_token_opens_nothing_when_the_token_is_not_believed() {
    let rules = vec![rule("finance", group("Finance"), "pass")];
    let good = |text: String| text;
    let answers: Vec<(&str, Response<Body>)> = vec![
        ("believed", wresult(good)),
        (
            "foreign key",
            page("wresult", &token(Form::Saml11, &STRANGER, good)),
        ),
        ("other group", wresult(in_group("Sales"))),
        (
            "other audience",
            wresult(|text| text.replace(AUDIENCE, "urn:other")),
        ),
        (
            "other issuer",
            wresult(|text| text.replace(ISSUER, "http://other.example")),
        ),
        (
            "expired",
            wresult(|text| {
                let year = UtcDateTime::now().year();
                text.replace(&format!("NotOnOrAfter=\"{year}"), "NotOnOrAfter=\"2020")
            }),
        ),
        (
            "two",
            page("wresult", &token(Form::Saml11, &SERVICE, good).repeat(2)),
        ),
        ("code", {
            let mut away = text(302, "");
            away.headers_mut().insert(
                "location",
                HeaderValue::from_static("https://login.microsoftonline.com/?code=abc"),
            );
            away
        }),
        ("packed", {
            let mut packed = wresult(good);
            packed
                .headers_mut()
                .insert("content-encoding", HeaderValue::from_static("br"));
            packed
        }),
    ];
    let names: Vec<&str> = answers.iter().map(|(name, _)| *name).collect();
    let answers = answers.into_iter().map(|(_, answer)| answer);
    let mut stage = in_turn(rules, answers.collect()).await;
    for name in names {
        let answer = browse(&stage, UNMANAGED, PAGE).await;
        let event = stage.event().await;
        if name == "believed" {
            assert_eq!(
                (answer.status.as_u16(), &*event.rule),
                (200, "rule/finance")
            );
            continue;
        }
        // Without the rule, browsers from there are sent to the reverse proxy: here, with the page.
        assert_eq!(&*event.rule, "office365-strict/browser-unmanaged", "{name}");
        if answer.status == 200 {
            assert!(
                answer
                    .text()
                    .contains("https://sts-corp-example.proxy.example/login.srf"),
                "{name}"
            );
        } else {
            assert_eq!(
                (answer.status.as_u16(), &*event.decision),
                (403, "block"),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn requests_for_no_body_are_judged_by_what_their_answer_carries() {
    let rules = vec![
        rule("no-finance", group("Finance"), "block"),
        rule("staff", group("Staff"), "pass"),
    ];
    let mut stage = stage(rules, |seen| {
        let mut answer = text(200, "");
        if seen.target.contains("code") {
            *answer.status_mut() = StatusCode::FOUND;
            let away = HeaderValue::from_static("https://app.example/?code=abc");
            answer.headers_mut().insert("location", away);
        }
        answer
    })
    .await;
    for (method, path, status) in [
        // A script asks whether it may call the token endpoint.
        ("OPTIONS", "/adfs/oauth2/token", 200),
        ("HEAD", PAGE, 200),
        ("HEAD", "/adfs/oauth2/authorize?response_type=code", 403),
    ] {
        let mut http = stage.http2(MANAGED).await;
        let mut request = http.request(method, path, "");
        let agent = BROWSER.parse().expect("plain text");
        request.headers_mut().insert("user-agent", agent);
        let answer = http.send(request).await.expect(path);
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("location"), None);
        stage.event().await;
    }
}

#[tokio::test]
async fn keys_that_are_not_known_are_asked_for_once() {
    let mut stage = stage(Vec::new(), |_| {
        page("wresult", &token(Form::Saml11, &STRANGER, |text| text))
    })
    .await;
    for _ in 0..2 {
        // No rule asks for anything that stands in it.
        assert_eq!(browse(&stage, MANAGED, PAGE).await.status, 200);
        let event = stage.event().await;
        assert!(matches!(
            event.facts.expect("recorded").token,
            Told::Unbelieved(_)
        ));
    }
    match stage.control.told().await {
        FromProxy::KeysWanted { service } => assert_eq!(service, "sts"),
        other => panic!("{other:?}"),
    }
    assert!(stage.control.nothing_told().await);
}

#[tokio::test]
async fn a_service_whose_keys_are_not_known_yet_is_served_and_none_of_its_tokens_believed() {
    let rules = vec![rule("finance", group("Finance"), "pass")];
    let mut stage = stage(rules, |_| wresult(|text| text)).await;
    let tokens = stage.control.plan.tokens.as_mut().expect("it has some");
    tokens.keys = weir_claims::Keys::default();
    let taken = stage.control.publish(3).await;
    taken.expect("a generation without keys is a good one");
    assert_eq!(browse(&stage, MANAGED, PAGE).await.status, 200);
    assert!(matches!(
        stage.event().await.facts.expect("recorded").token,
        Told::Unbelieved(_)
    ));
    let answer = browse(&stage, UNMANAGED, PAGE).await;
    assert!(!answer.text().contains(ADDRESS), "it opens nothing");
    let event = stage.event().await;
    assert_eq!(&*event.rule, "office365-strict/browser-unmanaged");
}

#[tokio::test]
async fn other_carriers_of_tokens_are_read_too() {
    let rules = vec![rule("no-finance", group("Finance"), "block")];
    let mut stage = stage(rules, |seen| {
        if seen.target.starts_with(ACTIVE) {
            let token = token(Form::Saml11, &SERVICE, |text| text);
            let mut soap = text(
                200,
                &format!(
                    "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>{token}</s:Body>\
                     </s:Envelope>"
                ),
            );
            soap.headers_mut().insert(
                "content-type",
                HeaderValue::from_static("application/soap+xml; charset=utf-8"),
            );
            soap
        } else {
            let response = token(Form::Saml20, &SERVICE, |text| text);
            page("SAMLResponse", &BASE64_STANDARD.encode(response))
        }
    })
    .await;
    let saml = browse(&stage, MANAGED, PAGE).await;
    assert_eq!(
        (saml.status.as_u16(), &*stage.event().await.rule),
        (403, "rule/no-finance")
    );
    let mut http = stage.http2(MANAGED).await;
    let mut request = http.request("POST", ACTIVE, "<s:Envelope/>");
    let kind = "application/soap+xml; charset=utf-8"
        .parse()
        .expect("plain text");
    request.headers_mut().insert("content-type", kind);
    let soap = http.send(request).await.expect("an answer");
    assert_eq!(
        (soap.status.as_u16(), &*stage.event().await.rule),
        (403, "rule/no-finance")
    );
    assert!(soap.text().contains("Fault"), "{}", soap.text());
}
