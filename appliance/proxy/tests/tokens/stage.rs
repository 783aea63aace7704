//! A sign-in server that hands out tokens, and rules that have the last word at them.

use std::sync::Mutex;

use http::{HeaderValue, Response};
use time::format_description::well_known::Rfc3339;
use time::{Duration, UtcDateTime};
use weir_claims::Form;
use weir_claims::mapping::MappingSpec;
use weir_link::Tokens;
use weir_policy::{RuleSpec, ThenSpec, Values, WhenSpec};
use weir_proxy::limits::Limits;

use crate::common::client::{Answer, Source};
use crate::common::upstream::{Body, Seen, text};
use crate::common::{Setting, Stage};
use crate::issuer::{self, ADDRESS, AUDIENCE, SERVICE, Service};

pub const PAGE: &str = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline";
pub const ACTIVE: &str = "/adfs/services/trust/2005/usernamemixed";
pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
pub const TENANT: &str = "http://schemas.microsoft.com/identity/claims/tenantid";
pub const OBJECT: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";
pub const GROUP: &str = "http://schemas.xmlsoap.org/claims/Group";

/// A token that is valid now, with whatever else is changed in it before it is signed.
pub fn token(form: Form, signer: &Service, change: impl Fn(String) -> String) -> String {
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
pub fn page(field: &str, value: &str) -> Response<Body> {
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

pub fn wresult(change: impl Fn(String) -> String) -> Response<Body> {
    page("wresult", &token(Form::Saml11, &SERVICE, change))
}

pub fn in_group(group: &str) -> impl Fn(String) -> String {
    let group = format!(">{group}<");
    move |text| text.replace(">Finance<", &group)
}

/// An assertion of SAML 1.1 that names its user by the ids of Entra, too.
pub fn with_ids(mut text: String) -> String {
    let attribute = |name: &str, value: &str| {
        format!(
            "<saml:Attribute AttributeName=\"{name}\" \
             AttributeNamespace=\"http://schemas.microsoft.com/identity/claims\"><saml:AttributeValue>{value}\
             </saml:AttributeValue></saml:Attribute>"
        )
    };
    let ids = attribute("tenantid", "00000000-0000-0000-0000-000000000001")
        + &attribute("objectidentifier", "00000000-0000-0000-0000-00000000000a");
    let end = text.find("</saml:AttributeStatement>");
    text.insert_str(end.expect("it has attributes"), &ids);
    text
}

pub fn one(value: &str) -> Values {
    Values::One(value.to_owned())
}

pub fn rule(name: &str, when: WhenSpec, decision: &str) -> RuleSpec {
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

pub fn group(name: &str) -> WhenSpec {
    WhenSpec {
        group: one(name),
        ..WhenSpec::default()
    }
}

/// A stage whose sign-in server gives these answers, and whose rules have the last word at the token.
pub async fn stage(
    rules: Vec<RuleSpec>,
    answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
) -> Stage {
    limited(Limits::default(), rules, answer).await
}

pub async fn limited(
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
        forms: [(
            "https://login.microsoftonline.com".to_owned(),
            "https://sts-corp-example.proxy.example".to_owned(),
        )]
        .into(),
        keys_of: None,
    });
    stage.control.publish(2).await.expect("a good generation");
    stage
}

/// The same, whose sign-in server gives these answers, one after the other.
pub async fn in_turn(rules: Vec<RuleSpec>, answers: Vec<Response<Body>>) -> Stage {
    let answers = Mutex::new(answers.into_iter());
    stage(rules, move |_| {
        let mut answers = answers.lock().expect("no test panics with it");
        answers.next().expect("one for each request")
    })
    .await
}

/// What a browser gets.
pub async fn browse(stage: &Stage, source: Source, path: &str) -> Answer {
    let mut http = stage.http2(source).await;
    let mut request = http.request("GET", path, "");
    let headers = request.headers_mut();
    headers.insert("user-agent", BROWSER.parse().expect("plain text"));
    headers.insert("accept-encoding", "gzip, br".parse().expect("plain text"));
    headers.insert("range", "bytes=0-9".parse().expect("plain text"));
    http.send(request).await.expect("an answer")
}
