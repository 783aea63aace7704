//! Multi-factor authentication, asked for where a sign-in begins, and never where it is under way.

mod common;
#[path = "../../claims/tests/support/mod.rs"]
mod issuer;
#[path = "tokens/stage.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod stage;

use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::client::Answer;
use common::upstream::{Body, Seen, text};
use common::{MANAGED, Stage};
use http::{HeaderValue, Method, Response, StatusCode};
use issuer::{AUDIENCE, SERVICE};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use stage::{BROWSER, PAGE, group, in_group, page, rule, token, wresult};
use weir_claims::Form;
use weir_policy::{Binding, Context, RuleSpec, WhenSpec, ask_for_context};

const SHIBBOLETH: &str = "/idp/profile/SAML2/Redirect/SSO";
const AUTHORIZE: &str = "/idp/profile/oidc/authorize";
const REFEDS: &str = "https://refeds.org/profile/mfa";
const MICROSOFT: &str = "http://schemas.microsoft.com/claims/multipleauthn";
const FORM: &str = "application/x-www-form-urlencoded";

fn request(issuer: &str, inside: &str) -> String {
    format!(
        "<p:AuthnRequest xmlns:p=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_1\" Version=\"2.0\" ForceAuthn=\"true\">\
         <Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">{issuer}</Issuer>{inside}</p:AuthnRequest>"
    )
}

/// Raw DEFLATE of one block that is stored (RFC 1951, 3.2.4), in base64, in a query.
fn redirected(request: &str) -> String {
    let length = u16::try_from(request.len()).expect("it is short");
    let mut packed = vec![1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(request.as_bytes());
    escaped(&packed)
}

fn escaped(message: &[u8]) -> String {
    let message = BASE64_STANDARD.encode(message);
    utf8_percent_encode(&message, NON_ALPHANUMERIC).to_string()
}

/// Whether a query or a form holds a SAML request for multi-factor authentication.
fn asks(pairs: &str, binding: Binding, class: &str) -> bool {
    let mut pairs = pairs.split('&');
    let message = pairs.find_map(|pair| pair.strip_prefix("SAMLRequest="));
    message.is_some_and(|message| {
        let message = percent_decode_str(message)
            .decode_utf8()
            .expect("plain text");
        ask_for_context(&message, binding, class) == Ok(Context::Asked)
    })
}

fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

/// A SAML response of somebody in finance.
fn response(mfa: bool) -> Response<Body> {
    let response = token(Form::Saml20, &SERVICE, |text| {
        let password = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
        if mfa {
            text.replace(password, REFEDS)
        } else {
            text
        }
    });
    page("SAMLResponse", &BASE64_STANDARD.encode(response))
}

fn away(target: &str) -> Response<Body> {
    let mut away = text(302, "");
    let target = HeaderValue::try_from(target).expect("plain text");
    away.headers_mut().insert("location", target);
    away
}

/// Shibboleth: what begins a sign-in leads to its page, whose form comes back with the number of the sign-in
/// alone. It may forget that it was asked for a second factor.
fn shibboleth(forgets: bool) -> impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static {
    let begun = Mutex::new(String::new());
    move |seen| {
        let mut begun = begun.lock().expect("no test panics with it");
        if !query(&seen.target).starts_with("execution=") {
            seen.target.clone_into(&mut begun);
            return away(&format!("{SHIBBOLETH}?execution=e1s1"));
        }
        if seen.method == Method::GET {
            let mut page = text(
                200,
                "<html><form method=post><input name=j_username></form></html>",
            );
            let html = HeaderValue::from_static("text/html");
            page.headers_mut().insert("content-type", html);
            return page;
        }
        let asked = asks(query(&begun), Binding::Redirect, REFEDS);
        response(asked && !forgets)
    }
}

async fn at(
    profile: &str,
    rules: Vec<RuleSpec>,
    answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
) -> Stage {
    let mut stage = stage::stage(rules, answer).await;
    stage.control.plan.policy.profile = profile.into();
    stage.control.publish(3).await.expect("a good generation");
    stage
}

/// A browser with its cookies.
struct Browser<'s> {
    stage: &'s mut Stage,
    cookies: Vec<String>,
}

impl Browser<'_> {
    async fn send(&mut self, method: &str, path: &str, body: &str) -> (Answer, String) {
        let mut http = self.stage.http2(MANAGED).await;
        let mut request = http.request(method, path, body);
        let headers = request.headers_mut();
        let agent = HeaderValue::from_static(BROWSER);
        headers.insert("user-agent", agent);
        if method == "POST" {
            headers.insert("content-type", HeaderValue::from_static(FORM));
        }
        if !self.cookies.is_empty() {
            let cookies = self.cookies.join("; ");
            headers.insert("cookie", cookies.parse().expect("plain text"));
        }
        let answer = http.send(request).await.expect("an answer");
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().expect("plain text");
            let (pair, attributes) = set.split_once(';').expect("attributes");
            let name = pair.split('=').next().unwrap_or_default();
            self.cookies
                .retain(|cookie| !cookie.starts_with(&format!("{name}=")));
            if !attributes.contains("Max-Age=0") {
                self.cookies.push(pair.to_owned());
            }
        }
        let event = self.stage.event().await;
        (answer, format!("{} {}", event.decision, event.rule))
    }

    /// From the request that begins a sign-in, through its pages, to what becomes of its token.
    async fn sign_in(&mut self, begin: &str) -> (Answer, String) {
        let (first, _) = self.send("GET", begin, "").await;
        assert_eq!(first.status, 302);
        let page = first.header("location").expect("where to").to_owned();
        let (form, _) = self.send("GET", &page, "").await;
        assert_eq!(form.status, 200);
        let filled = "j_username=alice&j_password=secret";
        self.send("POST", &page, filled).await
    }
}

fn browser(stage: &mut Stage) -> Browser<'_> {
    let cookies = vec!["JSESSIONID=7".to_owned()];
    Browser { stage, cookies }
}

fn finance() -> Vec<RuleSpec> {
    vec![rule("finance", group("Finance"), "step-up")]
}

fn everybody() -> Vec<RuleSpec> {
    vec![rule("all", WhenSpec::default(), "step-up")]
}

fn target_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.header("location").expect("where to").to_owned()
}

#[tokio::test]
async fn a_sign_in_whose_token_lacks_it_begins_again_and_asks() {
    let mut stage = at("shibboleth", finance(), shibboleth(false)).await;
    let mut browser = browser(&mut stage);
    let begin = format!(
        "{SHIBBOLETH}?SAMLRequest={}&RelayState=a%2Cb",
        redirected(&request(AUDIENCE, ""))
    );
    let (answer, decided) = browser.sign_in(&begin).await;
    assert_eq!(decided, "step-up rule/finance");
    let again = target_of(&answer);
    assert!(
        again.starts_with(&format!("{SHIBBOLETH}?SAMLRequest=")),
        "{again}"
    );
    assert!(again.ends_with("&RelayState=a%2Cb"), "{again}");
    assert!(asks(query(&again), Binding::Redirect, REFEDS));
    assert!(!answer.text().contains("SAMLResponse"));

    let (answer, decided) = browser.sign_in(&again).await;
    assert_eq!(
        (answer.status.as_u16(), &*decided),
        (200, "pass rule/finance")
    );
    assert!(answer.text().contains("SAMLResponse"));
    let seen = stage.upstream.seen();
    assert_eq!(seen.len(), 6);
    for seen in seen {
        let is_begun = [&begin, &again].contains(&&seen.target);
        let is_step = seen.target == format!("{SHIBBOLETH}?execution=e1s1");
        assert!(is_begun || is_step, "as the browser asked: {}", seen.target);
        assert_eq!(
            seen.header("cookie"),
            Some("JSESSIONID=7"),
            "Weir's own stays here"
        );
    }
}

#[tokio::test]
async fn it_begins_again_once() {
    let mut stage = at("shibboleth", finance(), shibboleth(true)).await;
    let mut browser = browser(&mut stage);
    let begin = format!(
        "{SHIBBOLETH}?SAMLRequest={}",
        redirected(&request(AUDIENCE, ""))
    );
    let (answer, _) = browser.sign_in(&begin).await;
    let (answer, decided) = browser.sign_in(&target_of(&answer)).await;
    assert_eq!(
        (answer.status.as_u16(), &*decided),
        (403, "block rule/finance")
    );
    let why = "the sign-in server does not say that there was one";
    assert!(answer.text().contains(why), "{}", answer.text());
}

#[tokio::test]
async fn who_is_asked_when_the_sign_in_begins_is_let_go_on() {
    for (forgets, expected) in [(false, "pass rule/all"), (true, "block rule/all")] {
        let mut stage = at("shibboleth", everybody(), shibboleth(forgets)).await;
        let mut browser = browser(&mut stage);
        let begin = format!(
            "{SHIBBOLETH}?SAMLRequest={}",
            redirected(&request(AUDIENCE, ""))
        );
        let (answer, decided) = browser.sign_in(&begin).await;
        assert_eq!(decided, expected, "{}", answer.text());
        let seen = stage.upstream.seen();
        assert!(asks(query(&seen[0].target), Binding::Redirect, REFEDS));
        for step in &seen[1..] {
            assert_eq!(step.target, format!("{SHIBBOLETH}?execution=e1s1"));
        }
    }
}

#[tokio::test]
async fn where_it_cannot_begin_again_the_page_says_why() {
    let begin = |issuer: &str, more: &str| {
        let message = redirected(&request(issuer, ""));
        format!("{SHIBBOLETH}?SAMLRequest={message}{more}")
    };
    let signed =
        "&SigAlg=http%3A%2F%2Fwww.w3.org%2F2001%2F04%2Fxmldsig-more%23rsa-sha256&Signature=AAAA";
    for (begin, forgets_cookies, why) in [
        (
            begin(AUDIENCE, signed),
            false,
            "the application signs what it asks for",
        ),
        (begin(AUDIENCE, ""), true, "the sign-in has begun already"),
        // A token for somebody else: what is kept is another sign-in.
        (
            begin("urn:other", ""),
            false,
            "the sign-in has begun already",
        ),
        (
            begin(AUDIENCE, &format!("&RelayState={}", "a".repeat(4000))),
            false,
            "the sign-in has begun already",
        ),
    ] {
        let mut stage = at("shibboleth", finance(), shibboleth(false)).await;
        let mut browser = browser(&mut stage);
        browser.send("GET", &begin, "").await;
        if forgets_cookies {
            browser.cookies.clear();
        }
        let step = format!("{SHIBBOLETH}?execution=e1s2");
        let (answer, decided) = browser.send("POST", &step, "j_username=alice").await;
        assert_eq!(
            (answer.status.as_u16(), &*decided),
            (403, "block rule/finance")
        );
        assert!(
            answer.text().contains("there is no way to ask"),
            "{}",
            answer.text()
        );
        assert!(answer.text().contains(why), "{}", answer.text());
        assert_eq!(stage.upstream.seen()[0].target, begin, "never touched");
    }
}

#[tokio::test]
async fn a_later_sign_in_takes_the_place_of_what_is_kept() {
    let mut stage = at("shibboleth", finance(), shibboleth(false)).await;
    let mut browser = browser(&mut stage);
    let begin = |relay: &str| {
        let message = redirected(&request(AUDIENCE, ""));
        format!("{SHIBBOLETH}?SAMLRequest={message}&RelayState={relay}")
    };
    browser.send("GET", &begin("first"), "").await;
    let (answer, _) = browser.sign_in(&begin("second")).await;
    assert!(target_of(&answer).ends_with("&RelayState=second"));
    // By a form there is nothing that could be sent again.
    let message = escaped(request(AUDIENCE, "").as_bytes());
    let posted = format!("SAMLRequest={message}");
    browser
        .send("POST", "/idp/profile/SAML2/POST/SSO", &posted)
        .await;
    assert_eq!(browser.cookies, ["JSESSIONID=7"]);
}

#[tokio::test]
async fn pages_of_openid_connect_are_steps_too() {
    let mut stage = at("shibboleth", everybody(), |_| text(200, "<html></html>")).await;
    let mut browser = browser(&mut stage);
    let begin = format!("{AUTHORIZE}?client_id=app&response_type=id_token&acr_values=weak");
    browser.send("GET", &begin, "").await;
    let step = format!("{AUTHORIZE}?execution=e1s2");
    browser.send("POST", &step, "j_username=alice").await;
    browser.send("GET", &step, "").await;
    // What stands in a request object is signed.
    let object = format!("{AUTHORIZE}?client_id=app&request=a.b.c");
    browser.send("GET", &object, "").await;
    let asked = "acr_values=https%3A%2F%2Frefeds%2Eorg%2Fprofile%2Fmfa";
    let targets: Vec<String> = stage
        .upstream
        .seen()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    let first = format!("{AUTHORIZE}?client_id=app&response_type=id_token&{asked}");
    assert_eq!(targets, [first, step.clone(), step, object]);
}

const WAUTH: &str = "&wauth=http%3A%2F%2Fschemas%2Emicrosoft%2Ecom%2Fclaims%2Fmultipleauthn";

#[tokio::test]
async fn the_form_of_ad_fs_is_let_go_on_and_begins_again_where_it_began() {
    for rules in [finance(), everybody()] {
        let mut stage = at("adfs", rules, |seen| {
            let asked = seen.target.ends_with(WAUTH);
            wresult(move |text| {
                let text = in_group("Finance")(text);
                if asked {
                    text.replace("urn:oasis:names:tc:SAML:1.0:am:password", MICROSOFT)
                } else {
                    text
                }
            })
        })
        .await;
        let mut browser = browser(&mut stage);
        let filled = "UserName=alice%40corp.example&Password=secret&AuthMethod=FormsAuthentication";
        let (answer, _) = browser.send("POST", PAGE, filled).await;
        let again = target_of(&answer);
        assert_eq!(again, format!("{PAGE}{WAUTH}"));
        assert!(!answer.text().contains("secret"));
        let (answer, decided) = browser.send("GET", &again, "").await;
        assert_eq!(answer.status, 200);
        assert!(decided.starts_with("pass rule/"), "{decided}");
        let seen = stage.upstream.seen();
        assert_eq!(
            (&*seen[0].target, &seen[0].body[..]),
            (PAGE, filled.as_bytes())
        );
    }
}

#[tokio::test]
async fn what_is_asked_for_in_any_disguise_is_asked_for_once() {
    let wanted = &WAUTH[1..];
    let already = format!("WAUTH={MICROSOFT}&wa=wsignin1.0");
    let twice = format!("wa=wsignin1.0&wauth={MICROSOFT}&wauth=urn:weaker");
    let plain = format!("wa=wsignin1.0&{wanted}");
    for (query, expected) in [
        (
            "wauth=a&wa=wsignin1.0&WAuth=b&%77auth=c&+wauth=d",
            plain.as_str(),
        ),
        ("wa=wsignin1.0&wauth=urn:weaker", &plain),
        (&twice, &plain),
        (&already, &already),
    ] {
        let mut stage = at("adfs", everybody(), |_| text(200, "<html></html>")).await;
        let mut browser = browser(&mut stage);
        browser.send("GET", &format!("/adfs/ls/?{query}"), "").await;
        let sent = stage.upstream.only().target;
        assert_eq!(sent, format!("/adfs/ls/?{expected}"), "{query}");
    }
}

#[tokio::test]
async fn saml_by_post_is_asked_for_more_unless_it_is_signed() {
    let signature = "<Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"/>";
    for (inside, more, changes) in [
        ("", "", true),
        (signature, "", false),
        ("", "&Signature=AAAA&SigAlg=urn:a", false),
    ] {
        let mut stage = at("adfs", everybody(), |_| response(true)).await;
        let mut browser = browser(&mut stage);
        let message = escaped(request(AUDIENCE, inside).as_bytes());
        let form = |message: &str| format!("RelayState=a+b%2Fc&SAMLRequest={message}{more}");
        let given = form(&message);
        let (answer, _) = browser.send("POST", "/adfs/ls/", &given).await;
        assert_eq!(answer.status, 200, "the token says that there was one");
        let seen = stage.upstream.only();
        let sent = std::str::from_utf8(&seen.body).expect("a form");
        assert_eq!(seen.target, "/adfs/ls/");
        let length = seen.header("content-length").expect("it is framed");
        assert_eq!(length, sent.len().to_string());
        assert_eq!(asks(sent, Binding::Post, MICROSOFT), changes);
        if changes {
            let changed = sent.split("SAMLRequest=").nth(1).expect("it is there");
            assert_eq!(sent, form(changed));
        } else {
            assert_eq!(sent, given);
        }
    }
}

#[tokio::test]
async fn saml_by_redirect_is_asked_for_more_unless_it_is_signed() {
    let message = redirected(&request(AUDIENCE, ""));
    for (query, changes) in [
        (format!("RelayState=a+b&SAMLRequest={message}&x=%2f"), true),
        (
            format!("SAMLRequest={message}&SigAlg=urn:a&Signature=AAAA"),
            false,
        ),
        (format!("SAMLRequest={message}&%53ignature=AAAA"), false),
        (
            format!("SAMLRequest={message}&samlrequest={message}"),
            false,
        ),
        ("SAMLRequest=AAAA".to_owned(), false),
    ] {
        let mut stage = at("adfs", everybody(), |_| response(true)).await;
        let mut browser = browser(&mut stage);
        let target = format!("/adfs/ls/?{query}");
        browser.send("GET", &target, "").await;
        let sent = stage.upstream.only().target;
        assert_eq!(sent != target, changes, "{sent}");
        if changes {
            assert!(
                asks(self::query(&sent), Binding::Redirect, MICROSOFT),
                "{sent}"
            );
            assert!(
                sent.starts_with("/adfs/ls/?RelayState=a+b&SAMLRequest="),
                "{sent}"
            );
            assert!(sent.ends_with("&x=%2f"), "{sent}");
        }
    }
}
