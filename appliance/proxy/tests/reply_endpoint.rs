//! A service in front of a relying party: tokens are verified where they are posted, and rules decide.

mod common;
#[path = "../../claims/tests/support/mod.rs"]
mod issuer;
#[path = "tokens/stage.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod stage;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::client::{Answer, Source};
use common::upstream::text;
use common::{BLOCKED, HOST, MANAGED, Stage, UNMANAGED};
use http::HeaderValue;
use issuer::{ADDRESS, AUDIENCE, SERVICE, STRANGER, Service};
use stage::{BROWSER, group, in_group, rule, token, with_ids};
use url::form_urlencoded::Serializer;
use weir_claims::Form;
use weir_link::{FromProxy, UpstreamKind};
use weir_policy::{ProfileChoice, ProfileSpec, RowSpec, RuleSpec, Told};

const ACS: &str = "/saml/acs";
const REPLY: &str = "/login.srf";
const FORM: &str = "application/x-www-form-urlencoded";
const UNBELIEVED: &str = "office365-strict/unbelieved-token";

fn row(methods: &[&str], path: &str, flow: &str, reads: &[&str]) -> RowSpec {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    RowSpec {
        methods: words(methods),
        path: path.to_owned(),
        flow: flow.to_owned(),
        reads: words(reads),
    }
}

fn profile() -> ProfileChoice {
    ProfileChoice::Own(Box::new(ProfileSpec {
        rows: vec![
            row(&["POST"], ACS, "passive", &["reply"]),
            row(&["POST"], REPLY, "passive", &["reply"]),
            row(&[], "/saml/slo", "sign-out", &[]),
            row(&[], "/home/**", "asset", &[]),
        ],
        ..ProfileSpec::default()
    }))
}

/// An application behind Weir that says what it got.
async fn application(rules: Vec<RuleSpec>) -> Stage {
    let mut stage = stage::stage(rules, |_| text(200, "welcome")).await;
    let plan = &mut stage.control.plan;
    plan.policy.profile = profile();
    plan.policy.reverse_proxy = Some("https://app.casb.example/".to_owned());
    plan.upstream.kind = UpstreamKind::Plain;
    let tokens = plan.tokens.as_mut().expect("they are looked at");
    tokens.keys_of = Some("idp".to_owned());
    stage.control.publish(3).await.expect("a good generation");
    stage
}

/// What a sign-in page of WS-Federation posts.
fn wresult(token: &str) -> String {
    let mut form = Serializer::new(String::new());
    form.extend_pairs([("wa", "wsignin1.0"), ("wresult", token), ("wctx", "a=1&b")]);
    form.finish()
}

/// What one of SAML posts, with the address that it was for.
fn response(signer: &Service, address: &str) -> String {
    let token = token(Form::Saml20, signer, |text| text.replace(ADDRESS, address));
    saml(&token.replace(ADDRESS, address))
}

fn saml(response: &str) -> String {
    let mut form = Serializer::new(String::new());
    form.extend_pairs([
        ("SAMLResponse", &*BASE64_STANDARD.encode(response)),
        ("RelayState", "r"),
    ]);
    form.finish()
}

fn here(path: &str) -> String {
    format!("https://{HOST}{path}")
}

fn good(text: String) -> String {
    text
}

/// Posts as a browser does.
async fn post(stage: &Stage, source: Source, path: &str, kind: &str, body: &str) -> Answer {
    post_with(stage, source, path, &[("content-type", kind)], body).await
}

async fn post_with(
    stage: &Stage,
    source: Source,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Answer {
    let mut http = stage.http2(source).await;
    let mut request = http.request("POST", path, body);
    let all = request.headers_mut();
    all.insert("user-agent", HeaderValue::from_static(BROWSER));
    for (name, value) in headers {
        all.append(*name, value.parse().expect("plain text"));
    }
    http.send(request).await.expect("an answer")
}

#[tokio::test]
async fn a_token_that_is_believed_passes_to_the_byte() {
    let mut stage = application(Vec::new()).await;
    let posts = [
        (REPLY, wresult(&token(Form::Saml11, &SERVICE, good))),
        (ACS, response(&SERVICE, &here(ACS))),
    ];
    for (path, body) in &posts {
        let answer = post(&stage, MANAGED, path, FORM, body).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "welcome"));
        let event = stage.event().await;
        assert_eq!(
            (&*event.decision, &*event.rule),
            ("pass", "office365-strict/browser-managed")
        );
        assert_eq!(event.relying_party.as_deref(), Some(AUDIENCE));
        let facts = event.facts.as_ref().expect("they are recorded");
        assert!(
            matches!(facts.token, Told::Verified(_)),
            "{:?}",
            facts.token
        );
        let line = serde_json::to_string(&event).expect("JSON");
        assert!(
            !line.contains("wresult") && !line.contains("SAMLResponse"),
            "{line}"
        );
    }
    let seen = stage.upstream.seen();
    let bodies: Vec<_> = seen.iter().map(|seen| &*seen.body).collect();
    assert_eq!(bodies, [posts[0].1.as_bytes(), posts[1].1.as_bytes()]);
    assert_eq!(seen[0].header("content-type"), Some(FORM));
}

#[tokio::test]
async fn rules_decide_by_what_the_token_says() {
    let mut asked = rule("sales", group("Sales"), "step-up");
    asked.then.reason = Some("Sales sign in with two factors.".to_owned());
    let mut party = rule("elsewhere", group("Guests"), "block");
    party.when.relying_party = stage::one("urn:another");
    let rules = vec![party, rule("finance", group("Finance"), "block"), asked];
    let mut stage = application(rules).await;
    let mfa = |text: String| {
        let mfa = "http://schemas.microsoft.com/claims/multipleauthn";
        in_group("Sales")(text).replace("urn:oasis:names:tc:SAML:1.0:am:password", mfa)
    };
    for (change, source, status, decision, by) in [
        (
            &in_group("Guests") as &dyn Fn(String) -> String,
            MANAGED,
            200,
            "pass",
            "office365-strict/browser-managed",
        ),
        (&good, MANAGED, 403, "block", "rule/finance"),
        (&in_group("Sales"), MANAGED, 403, "block", "rule/sales"),
        (&mfa, UNMANAGED, 200, "pass", "rule/sales"),
        (
            &in_group("Guests"),
            UNMANAGED,
            303,
            "redirect",
            "office365-strict/browser-unmanaged",
        ),
        (
            &in_group("Guests"),
            BLOCKED,
            403,
            "block",
            "office365-strict/blocked-source",
        ),
    ] {
        let before = stage.upstream.seen().len();
        let body = wresult(&token(Form::Saml11, &SERVICE, change));
        let answer = post(&stage, source, REPLY, FORM, &body).await;
        let event = stage.event().await;
        assert_eq!((&*event.decision, &*event.rule), (decision, by));
        assert_eq!(answer.status, status, "{by}");
        let passed = stage.upstream.seen().len() - before;
        assert_eq!(passed, usize::from(status == 200), "{by}");
        if status == 303 {
            assert_eq!(answer.header("location"), Some("https://app.casb.example/"));
        }
        if status == 403 {
            let kind = answer.header("content-type").expect("a page");
            assert!(kind.starts_with("text/html"), "{kind}");
        }
        assert!(!answer.text().contains("wresult"));
    }
}

/// A post that must be blocked, and a word of why.
type Hostile = (&'static str, &'static str, String, &'static str);

/// Posts these where a rule lets everybody pass; none gets to the application.
async fn never_gets_there(posts: Vec<Hostile>) {
    let passes = rule("everybody", weir_policy::WhenSpec::default(), "pass");
    let mut stage = application(vec![passes]).await;
    for (path, kind, body, why) in posts {
        let answer = post(&stage, MANAGED, path, kind, &body).await;
        let event = stage.event().await;
        let done = (&*event.decision, &*event.rule, answer.status.as_u16());
        assert_eq!(done, ("block", UNBELIEVED, 403), "{why}");
        let facts = event.facts.expect("they are recorded");
        let Told::Unbelieved(told) = facts.token else {
            panic!("{why}: {:?}", facts.token)
        };
        assert!(told.contains(why), "{why}: {told}");
    }
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_token_that_is_not_believed_never_gets_there() {
    let signed =
        |change: &dyn Fn(String) -> String| wresult(&token(Form::Saml11, &SERVICE, change));
    let encrypted = issuer::response(
        "<EncryptedAssertion xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\"><xenc:EncryptedData \
         xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"><xenc:CipherData><xenc:CipherValue>AAAA\
         </xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></EncryptedAssertion>",
        "",
    );
    let unsigned = issuer::unsigned(Form::Saml11).replace(issuer::PLACE, "");
    let over = |text: String| text.replace("NotOnOrAfter=\"20", "NotOnOrAfter=\"19");
    let foreign = wresult(&token(Form::Saml11, &STRANGER, good));
    let elsewhere = "https://other.example/saml/acs";
    let for_another = signed(&|text| text.replace(AUDIENCE, "urn:other"));
    never_gets_there(vec![
        (REPLY, FORM, foreign, "key"),
        (
            REPLY,
            FORM,
            wresult(&issuer::outer(Form::Saml11, &unsigned)),
            "not signed",
        ),
        (REPLY, FORM, for_another, "somebody else"),
        (ACS, FORM, response(&SERVICE, elsewhere), "another address"),
        (
            REPLY,
            FORM,
            response(&SERVICE, &here(ACS)),
            "another address",
        ),
        (REPLY, FORM, signed(&over), "expired"),
        (
            ACS,
            FORM,
            saml(&encrypted.replace(ADDRESS, &here(ACS))),
            "encrypted",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_post_that_could_be_read_in_two_ways_never_gets_there() {
    let good = wresult(&token(Form::Saml11, &SERVICE, good));
    let parts =
        format!("--b\r\nContent-Disposition: form-data; name=\"wresult\"\r\n\r\n{good}\r\n--b--");
    let two = format!("{good}&wresult=%3Ca%2F%3E");
    let by_query = "/login.srf?SAMLResponse=a";
    never_gets_there(vec![
        (REPLY, FORM, two, "more than one"),
        (REPLY, FORM, "code=abc".to_owned(), "code"),
        (
            REPLY,
            "multipart/form-data; boundary=b",
            parts,
            "not a form",
        ),
        (by_query, FORM, "a=b".to_owned(), "in an address"),
        ("/login.srf?id_token=a", FORM, good, "more than one"),
    ])
    .await;
}

#[tokio::test]
async fn each_token_is_good_once_and_earns_its_grant_once() {
    let mut granting = rule("grant", group("Finance"), "pass");
    granting.when.class = stage::one("unmanaged");
    granting.then.grant = Some(weir_policy::GrantSpec {
        class: "managed".to_owned(),
        lasts: "30m".to_owned(),
        kernel: false,
    });
    let closed = rule("closed", group("Finance"), "block");
    let mut stage = application(vec![granting, closed]).await;
    let [first, second] = [(); 2].map(|()| wresult(&token(Form::Saml11, &SERVICE, with_ids)));
    for (source, body, status, by) in [
        (UNMANAGED, &first, 200, "rule/grant"),
        (UNMANAGED, &first, 403, UNBELIEVED),
        // What a rule has blocked is used up, too.
        (MANAGED, &second, 403, "rule/closed"),
        (UNMANAGED, &second, 403, UNBELIEVED),
    ] {
        let answer = post(&stage, source, REPLY, FORM, body).await;
        let event = stage.event().await;
        assert_eq!((answer.status.as_u16(), &*event.rule), (status, by));
        if by == UNBELIEVED {
            let facts = event.facts.expect("they are recorded");
            assert_eq!(
                facts.token,
                Told::Unbelieved("the token was seen before".into())
            );
            assert!(stage.control.nothing_told().await);
            continue;
        }
        let FromProxy::SignIn(sign_in) = stage.control.told().await else {
            panic!("a sign-in")
        };
        let grant = sign_in.grant.map(|grant| grant.rule);
        let expected = (by == "rule/grant").then(|| "rule/grant".to_owned());
        assert_eq!((sign_in.id, grant), (event.id, expected));
    }
    assert_eq!(stage.upstream.seen().len(), 1);
}

#[tokio::test]
async fn what_is_packed_or_said_twice_is_not_guessed_at() {
    let mut stage = application(Vec::new()).await;
    let body = || wresult(&token(Form::Saml11, &SERVICE, good));
    for headers in [
        &[("content-type", FORM), ("content-encoding", "gzip")][..],
        &[("content-type", FORM), ("content-type", "text/plain")],
    ] {
        let answer = post_with(&stage, MANAGED, REPLY, headers, &body()).await;
        assert_eq!(answer.status, 403);
        assert_eq!(&*stage.event().await.rule, UNBELIEVED);
    }
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn other_paths_pass_where_they_are_named_and_take_no_tokens() {
    let mut stage = application(Vec::new()).await;
    let body = wresult(&token(Form::Saml11, &SERVICE, good));
    let named = "--b\r\nContent-Disposition: form-data; name=\"wresult\"\r\n\r\nx\r\n--b--";
    for (path, kind, body, rule) in [
        (
            "/home/orders",
            FORM,
            "code=ab&item=1",
            "office365-strict/asset",
        ),
        (
            "/home/orders",
            "application/json",
            "{\"id_token\":\"a\"}",
            "office365-strict/asset",
        ),
        (
            "/saml/slo",
            FORM,
            "SAMLResponse=a",
            "office365-strict/sign-out",
        ),
        ("/saml/slo", FORM, &body, UNBELIEVED),
        ("/home/orders", FORM, &body, UNBELIEVED),
        ("/home/orders", FORM, "w%72esult=a", UNBELIEVED),
        (
            "/home/orders",
            "multipart/form-data; boundary=b",
            named,
            UNBELIEVED,
        ),
        ("/home/orders?SAMLResponse=a", FORM, "", UNBELIEVED),
        (
            "/elsewhere",
            FORM,
            "item=1",
            "office365-strict/unknown-path",
        ),
    ] {
        let before = stage.upstream.seen().len();
        let answer = post(&stage, UNMANAGED, path, kind, body).await;
        assert_eq!(&*stage.event().await.rule, rule, "{path} {body}");
        let passes = !rule.contains("unbelieved") && !rule.contains("unknown");
        assert_eq!(answer.status == 200, passes, "{path}");
        assert_eq!(stage.upstream.seen().len() - before, usize::from(passes));
    }
    let mut http = stage.http2(UNMANAGED).await;
    assert_eq!(http.get("/home/orders").await.status, 200);
    assert_eq!(http.get("/").await.status, 404);
}

#[tokio::test]
async fn the_keys_of_the_service_whose_tokens_they_are_are_asked_for() {
    let mut stage = application(Vec::new()).await;
    let body = wresult(&token(Form::Saml11, &STRANGER, good));
    post(&stage, MANAGED, REPLY, FORM, &body).await;
    let FromProxy::KeysWanted { service } = stage.control.told().await else {
        panic!("something else is told")
    };
    assert_eq!(service, "idp");
}

#[tokio::test]
async fn a_generation_that_would_believe_anybody_is_refused() {
    let mut stage = application(Vec::new()).await;
    let tokens = stage.control.plan.tokens.take();
    let why = stage.control.publish(4).await.expect_err("no tokens");
    assert!(why.contains("tokens_of"), "{why}");
    stage.control.plan.tokens = tokens.map(|tokens| weir_link::Tokens {
        audiences: Vec::new(),
        ..tokens
    });
    let why = stage.control.publish(5).await.expect_err("for anybody");
    assert!(why.contains("audiences"), "{why}");
}
