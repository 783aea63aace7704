//! Tokens on their way to the browser: what rules make of them, and what becomes of the answer.

mod common;
#[path = "../../claims/tests/support/mod.rs"]
mod issuer;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use common::upstream::{Body, Seen, text};
use common::{HOST, MANAGED, Setting, Stage, UNMANAGED, patiently};
use futures_util::StreamExt as _;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use issuer::{ADDRESS, AUDIENCE, ISSUER, SERVICE, STRANGER, Service};
use time::format_description::well_known::Rfc3339;
use time::{Duration, UtcDateTime};
use weir_abi::Class;
use weir_claims::Form;
use weir_claims::mapping::MappingSpec;
use weir_link::{FromProxy, Tokens};
use weir_policy::{RuleSpec, ThenSpec, Told, Values, WhenSpec};
use weir_proxy::limits::Limits;

const PAGE: &str = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline";
const ACTIVE: &str = "/adfs/services/trust/2005/usernamemixed";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const TENANT: &str = "http://schemas.microsoft.com/identity/claims/tenantid";
const OBJECT: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";
/// For limits that a test waits for.
const SHORT: std::time::Duration = std::time::Duration::from_millis(50);
const GROUP: &str = "http://schemas.xmlsoap.org/claims/Group";

/// A token that is valid now, with whatever else is changed in it before it is signed.
fn token(form: Form, signer: &Service, change: impl Fn(String) -> String) -> String {
    let mut text = issuer::unsigned(form);
    let now = UtcDateTime::now();
    for (then, from_now) in [
        ("2026-03-02T09:15:00.000Z", Duration::ZERO),
        ("2026-03-02T09:21:00.000Z", Duration::minutes(5)),
        ("2026-03-02T10:15:00.000Z", Duration::hours(1)),
        ("2026-03-02T09:14:58.123Z", -Duration::seconds(2)),
    ] {
        let moment = (now + from_now).replace_nanosecond(0).expect("in range");
        text = text.replace(then, &moment.format(&Rfc3339).expect("a moment"));
    }
    let id = format!("_{:032x}", rand::random::<u128>());
    let text = change(text.replace(issuer::ID, &id));
    let text = issuer::with(&text, &issuer::template(&id));
    issuer::outer(form, &signer.sign(&text))
}

/// The page by which a sign-in server hands a token on.
fn page(field: &str, value: &str) -> Response<Body> {
    let value = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    let html = format!(
        "<html><head><title>Working...</title></head><body><form method=\"POST\" name=\"hiddenform\" \
         action=\"{ADDRESS}\"><input type=\"hidden\" name=\"wa\" value=\"wsignin1.0\" /><input type=\"hidden\" \
         name=\"{field}\" value=\"{value}\" /><input type=\"hidden\" name=\"wctx\" value=\"estsredirect=2\" />\
         <noscript><p>Script is disabled.</p><input type=\"submit\" value=\"Submit\" /></noscript></form>\
         <script language=\"javascript\">window.setTimeout('document.forms[0].submit()', 0);</script></body></html>"
    );
    let mut page = text(200, &html);
    let headers = page.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static(
            "default-src 'self'; form-action https://login.microsoftonline.com",
        ),
    );
    page
}

fn wresult(change: impl Fn(String) -> String) -> Response<Body> {
    page("wresult", &token(Form::Saml11, &SERVICE, change))
}

fn in_group(group: &str) -> impl Fn(String) -> String {
    let group = format!(">{group}<");
    move |text| text.replace(">Finance<", &group)
}

fn one(value: &str) -> Values {
    Values::One(value.to_owned())
}

fn rule(name: &str, when: WhenSpec, decision: &str) -> RuleSpec {
    RuleSpec {
        name: name.to_owned(),
        when,
        then: ThenSpec {
            decision: decision.to_owned(),
            reason: None,
            target: None,
            within: None,
            grant: None,
        },
    }
}

fn group(name: &str) -> WhenSpec {
    WhenSpec {
        group: one(name),
        ..WhenSpec::default()
    }
}

/// A stage whose sign-in server gives these answers, and whose rules have the last word at the token.
async fn stage(
    rules: Vec<RuleSpec>,
    answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
) -> Stage {
    limited(Limits::default(), rules, answer).await
}

async fn limited(
    limits: Limits,
    rules: Vec<RuleSpec>,
    answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
) -> Stage {
    let setting = Setting {
        limits,
        ..Setting::default()
    };
    let mut stage = Stage::with(setting, answer).await;
    let plan = &mut stage.control.plan;
    plan.policy.rules = rules;
    plan.policy.decide_at_token = true;
    plan.tokens = Some(Tokens {
        keys: SERVICE.keys(),
        mapping: MappingSpec {
            preset: Some("adfs".to_owned()),
            claims: [
                ("groups", GROUP),
                ("tenant_id", TENANT),
                ("object_id", OBJECT),
            ]
            .map(|(name, kind)| (name.to_owned(), vec![kind.to_owned()]))
            .into(),
            ..MappingSpec::default()
        },
        audiences: vec![AUDIENCE.to_owned()],
        form_origins: vec!["https://login.microsoftonline.com".to_owned()],
    });
    stage.control.publish(2).await.expect("a good generation");
    stage
}

/// What a browser gets.
async fn browse(
    stage: &Stage,
    source: common::client::Source,
    path: &str,
) -> common::client::Answer {
    let mut http = stage.http2(source).await;
    let mut request = http.request("GET", path, "");
    let headers = request.headers_mut();
    headers.insert("user-agent", BROWSER.parse().expect("plain text"));
    headers.insert("accept-encoding", "gzip, br".parse().expect("plain text"));
    headers.insert("range", "bytes=0-9".parse().expect("plain text"));
    http.send(request).await.expect("an answer")
}

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
    let answers = std::sync::Mutex::new(answers.into_iter());
    let mut stage = stage(rules, move |_| {
        let mut answers = answers.lock().expect("no test panics with it");
        answers.next().expect("one for each").1
    })
    .await;
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
async fn a_redirect_at_the_token_sends_the_form_to_the_reverse_proxy() {
    let rules = vec![rule("staff", group("Finance"), "redirect")];
    let mut stage = stage(rules, |_| wresult(|text| text)).await;
    let answer = browse(&stage, MANAGED, PAGE).await;
    let page = answer.text();
    assert_eq!(answer.status, 200);
    let action = "action=\"https://sts-corp-example.proxy.example/login.srf\"";
    assert!(page.contains(action) && !page.contains(ADDRESS), "{page}");
    assert!(page.contains("wctx"), "what else is in the form stays");
    let policy = answer.header("content-security-policy").expect("as before");
    assert!(
        policy.contains("https://sts-corp-example.proxy.example"),
        "{policy}"
    );
    let length = answer
        .header("content-length")
        .expect("one of the page as it is now");
    assert_eq!(length, page.len().to_string());
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("redirect", "rule/staff"));
}

const WAUTH: &str = "&wauth=http%3A%2F%2Fschemas%2Emicrosoft%2Ecom%2Fclaims%2Fmultipleauthn";

/// A sign-in server that asks for a second factor when it is told to, unless it forgets.
async fn that_asks(rules: Vec<RuleSpec>) -> Stage {
    stage(rules, |seen| {
        let asked = seen.target.ends_with(WAUTH) && !seen.target.contains("forgets");
        wresult(move |text| {
            if asked {
                let mfa = "http://schemas.microsoft.com/claims/multipleauthn";
                text.replace("urn:oasis:names:tc:SAML:1.0:am:password", mfa)
            } else {
                text
            }
        })
    })
    .await
}

#[tokio::test]
async fn a_step_up_asks_for_a_second_factor_and_believes_the_token_alone() {
    let everybody = rule("all", WhenSpec::default(), "step-up");
    let mut stage = that_asks(vec![everybody]).await;
    assert_eq!(browse(&stage, MANAGED, PAGE).await.status, 200);
    let seen = stage.upstream.only();
    assert_eq!(seen.target, format!("{PAGE}{WAUTH}"));
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("pass", "rule/all"));

    let forgets = format!("{PAGE}&wctx=forgets&wauth=urn:weaker");
    let answer = browse(&stage, MANAGED, &forgets).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("multi-factor"), "{}", answer.text());
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("block", "rule/all"));
    let seen = stage.upstream.seen();
    assert!(seen.iter().all(|seen| !seen.target.contains("weaker")));
}

#[tokio::test]
async fn who_is_found_to_need_a_second_factor_by_the_token_is_asked_for_it() {
    let mut stage = that_asks(vec![rule("finance", group("Finance"), "step-up")]).await;
    let first = browse(&stage, MANAGED, PAGE).await;
    assert_eq!(first.status, 303);
    assert!(!first.text().contains("wresult"));
    let event = stage.event().await;
    assert_eq!(
        (&*event.decision, &*event.rule),
        ("step-up", "rule/finance")
    );
    let again = first.header("location").expect("where to").to_owned();
    assert_eq!(again, format!("{PAGE}{WAUTH}"));
    assert_eq!(browse(&stage, MANAGED, &again).await.status, 200);
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("pass", "rule/finance"));

    // Once, and not again and again.
    let forgets = format!("{PAGE}&wctx=forgets");
    let first = browse(&stage, MANAGED, &forgets).await;
    stage.event().await;
    let again = first.header("location").expect("where to").to_owned();
    assert_eq!(browse(&stage, MANAGED, &again).await.status, 403);
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("block", "rule/finance"));
}

#[tokio::test]
async fn a_verified_sign_in_is_told_to_the_books_and_earns_its_grant_once() {
    let mut granting = rule("grant", group("Finance"), "pass");
    granting.then.grant = Some(weir_policy::GrantSpec {
        class: "managed".to_owned(),
        lasts: "30m".to_owned(),
        kernel: true,
    });
    let ids = |text: String| {
        let attribute = |name: &str, value: &str| {
            format!(
                "<saml:Attribute AttributeName=\"{name}\" \
                 AttributeNamespace=\"http://schemas.microsoft.com/identity/claims\"><saml:AttributeValue>{value}\
                 </saml:AttributeValue></saml:Attribute>"
            )
        };
        let ids = attribute("tenantid", "00000000-0000-0000-0000-000000000001")
            + &attribute("objectidentifier", "00000000-0000-0000-0000-00000000000a");
        text.replacen(
            "</saml:AttributeStatement>",
            &(ids + "</saml:AttributeStatement>"),
            1,
        )
    };
    // The same token each time.
    let token = token(Form::Saml11, &SERVICE, ids);
    let mut stage = stage(vec![granting], move |_| page("wresult", &token)).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        assert_eq!(browse(&stage, UNMANAGED, PAGE).await.status, 200);
        let event = stage.event().await;
        let FromProxy::SignIn(sign_in) = stage.control.told().await else {
            panic!("a sign-in")
        };
        assert_eq!(sign_in.id, event.id);
        told.push(*sign_in);
    }
    let [first, second] = &told[..] else { panic!() };
    assert_eq!([first.number, second.number], [1, 2]);
    assert_eq!(
        first.principal.to_string(),
        "00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-00000000000a"
    );
    let grant = first.grant.as_ref().expect("what the rule grants");
    assert_eq!(
        (&*grant.rule, grant.class, grant.seconds),
        ("rule/grant", Class::Managed, 1800)
    );
    assert_eq!(second.grant, None, "the token was seen before");
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
async fn an_answer_that_breaks_off_never_looks_whole() {
    // No rule waits for its token.
    let stage = stage(Vec::new(), |_| {
        let frames = [
            Ok(http_body::Frame::data(Bytes::from_static(b"<html>half"))),
            Err(std::io::ErrorKind::ConnectionReset.into()),
        ];
        // What was sent first has left before the connection breaks.
        let frames = futures_util::stream::iter(frames).then(|frame| async {
            if frame.is_err() {
                tokio::time::sleep(SHORT).await;
            }
            frame
        });
        Response::new(BodyExt::boxed(http_body_util::StreamBody::new(frames)))
    })
    .await;
    assert_eq!(browse(&stage, MANAGED, PAGE).await.status, 502);
}

/// A stage where each client has memory for one page that is looked at, and a client that takes nothing.
async fn with_little_memory(limits: Limits) -> (Stage, SendRequest<Bytes>) {
    let page = "x".repeat(200 << 10);
    let limits = Limits {
        request_memory_per_client: 300 << 10,
        ..limits
    };
    let waits = rule("staff", group("Staff"), "pass");
    let stage = limited(limits, vec![waits], move |_| text(200, &page)).await;
    let client = stage.windowless(UNMANAGED).await;
    (stage, client)
}

async fn begin(client: &mut SendRequest<Bytes>) -> Response<RecvStream> {
    let request = Request::get(format!("https://{HOST}{PAGE}")).header("user-agent", BROWSER);
    let request = request.body(()).expect("a request");
    let (answer, _) = client.send_request(request, true).expect("it is open");
    patiently(answer).await.expect("an answer")
}

#[tokio::test]
async fn an_answer_that_was_looked_at_counts_as_memory_until_it_is_taken() {
    let (_stage, mut client) = with_little_memory(Limits {
        wait: SHORT,
        ..Limits::default()
    })
    .await;
    let [first, second] = [begin(&mut client).await, begin(&mut client).await];
    assert_eq!(
        (first.status(), second.status().as_u16()),
        (StatusCode::OK, 503)
    );
}

#[tokio::test]
async fn an_answer_that_was_looked_at_and_is_not_taken_is_given_up() {
    let (_stage, mut client) = with_little_memory(Limits {
        stalled: 4 * SHORT,
        wait: SHORT,
        ..Limits::default()
    })
    .await;
    assert_eq!(begin(&mut client).await.status(), StatusCode::OK);
    let has_room = async { while begin(&mut client).await.status() != StatusCode::OK {} };
    patiently(has_room).await;
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
