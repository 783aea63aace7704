//! What tests of sign-ins have in common: forms filled in whatever the product calls their fields, and tokens read.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use time::OffsetDateTime;
use weir_lab_servers::plan::{FOREIGN, MICROSOFT_ONLINE, Plan, SIGNING_KEYS};
use weir_lab_servers::saml::verify::{Accepted, Refusal, Verifier};

use super::{Answer, Browser, Lab, field};

/// Who signs in where nothing else is said.
pub const ALICE: &str = "alice@mex.corp.example";

/// A sign-in by browser.
pub struct SignIn<'a> {
    /// Where it begins.
    pub url: String,
    /// Who signs in.
    pub user: &'a str,
    /// Whether a second page is expected and answered.
    pub second: bool,
}

impl SignIn<'_> {
    /// Follows redirections, fills in forms, and stops at the answer that leaves the service.
    pub async fn run(&self, browser: &mut Browser<'_>) -> Answer {
        let plan = &browser.lab.plan;
        let user = plan.user(self.user).expect("a user of the plan").clone();
        let mut url = url::Url::parse(&self.url).expect("a URL");
        let home = url.host_str().map(str::to_owned);
        let mut answer = browser.get(url.as_str()).await;
        let mut typed = Vec::new();
        for _ in 0..10 {
            let shape = plan.services[1].product.shape();
            if answer.status.is_redirection() {
                let next = url.join(answer.header("location")).expect("a URL");
                if next.host_str() != home.as_deref() {
                    break;
                }
                url = next;
                answer = browser.get(url.as_str()).await;
                continue;
            }
            let (action, mut fields) = answer.form();
            let next = url.join(&action).expect("a URL");
            let mut fill = |name: &str, value: &str| {
                let found = fields.iter_mut().find(|(found, _)| found == name);
                found.map(|(_, field)| value.clone_into(field)).is_some()
            };
            if fill(shape.user, &user.upn) {
                assert!(fill(shape.password, &user.password), "{}", answer.body);
                typed.push("password");
            } else if fill(shape.code, user.second_factor.as_deref().unwrap_or("none")) {
                typed.push("code");
            } else {
                break;
            }
            url = next;
            answer = browser.post(url.as_str(), &fields).await;
        }
        assert_eq!(typed.contains(&"code"), self.second, "{typed:?}");
        answer
    }
}

/// Alice's sign-in in a new browser, up to the answer that leaves the service.
pub async fn alice(lab: &Lab, url: String) -> Answer {
    let sign_in = SignIn {
        url,
        user: ALICE,
        second: false,
    };
    sign_in.run(&mut lab.browser()).await
}

/// Whether a test cannot run here, with the reason printed.
pub fn skipped(test: &str) -> bool {
    let skipped = !Verifier::available();
    if skipped {
        println!("skipped: {test}: xmlsec1 is not installed");
    }
    skipped
}

/// `xmlsec1 --verify`, as a person would type it.
pub fn xmlsec1(document: &str, certificate: &Path, id: &str, element: &str) -> bool {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), document).expect("written");
    Command::new("xmlsec1")
        .args(["--verify", "--pubkey-cert-pem"])
        .arg(certificate)
        .args([&format!("--id-attr:{id}"), element])
        .arg(file.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("xmlsec1 runs")
        .success()
}

/// One of the second service's certificates, as documents carry it.
pub fn certificate(plan: &Plan, position: usize) -> String {
    let path = plan
        .files()
        .signing_certificate_at(&plan.services[1].name, position);
    let pem = std::fs::read_to_string(path).expect("a certificate");
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

/// The WS-Federation request to the second service, with more parameters.
pub fn ws_federation(lab: &Lab, more: &str) -> String {
    let place = lab.plan.services[1]
        .ws_federation()
        .expect("the product speaks WS-Federation");
    format!("{place}?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=c%26d{more}")
}

/// The SAML request to the second service, with what stands inside it besides the issuer and more parameters.
pub fn saml(lab: &Lab, attributes: &str, inside: &str, more: &str) -> String {
    use std::io::Write;
    let place = lab.plan.services[1]
        .saml(false)
        .expect("the product speaks SAML");
    let xml = authn_request(&place, attributes, inside);
    let mut deflater =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    deflater.write_all(xml.as_bytes()).expect("memory");
    let message = STANDARD.encode(deflater.finish().expect("memory"));
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("SAMLRequest", message.as_str()), ("RelayState", "r&s")])
        .finish();
    format!("{place}?{query}{more}")
}

/// A SAML request of the lab's application.
pub fn authn_request(place: &str, attributes: &str, inside: &str) -> String {
    format!(
        "<samlp:AuthnRequest ID=\"_q\" Version=\"2.0\" IssueInstant=\"2026-01-01T00:00:00Z\" Destination=\"{place}\" \
         {attributes} xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
         <Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">https://app.cloud.example/saml</Issuer>{inside}\
         </samlp:AuthnRequest>"
    )
}

/// The authorization request of the public client to the second service.
pub fn authorize(lab: &Lab, more: &str) -> String {
    let place = lab.plan.services[1]
        .endpoint(weir_lab_servers::idp::product::Endpoint::Authorize)
        .expect("the product speaks OAuth");
    format!(
        "{place}?client_id=7d1f6f0a-public-client&redirect_uri=http%3A%2F%2Flocalhost&state=s&nonce=n{more}"
    )
}

/// The document that a page posts: `wresult`, or the SAML response.
pub fn document(page: &Answer) -> String {
    let (_, fields) = page.form();
    let result = field(&fields, "wresult");
    if !result.is_empty() {
        return result.to_owned();
    }
    let response = field(&fields, "SAMLResponse");
    assert!(!response.is_empty(), "{}", page.body);
    String::from_utf8(STANDARD.decode(response).expect("base64")).expect("text")
}

/// Checks the assertion of the second service, signed with one of these keys.
pub async fn verify(plan: &Plan, document: &str, keys: &[usize]) -> Result<Accepted, Refusal> {
    let service = &plan.services[1];
    let trusted = keys.iter().map(|&position| {
        let certificate = match position {
            SIGNING_KEYS => plan.files().signing_certificate(FOREIGN),
            _ => plan.files().signing_certificate_at(&service.name, position),
        };
        (service.issuer(), certificate)
    });
    let audience = if document.contains("https://app.cloud.example/saml</Audience>") {
        "https://app.cloud.example/saml"
    } else {
        MICROSOFT_ONLINE
    };
    Verifier::new(trusted.collect())
        .verify(document, audience, OffsetDateTime::now_utc())
        .await
}

/// One part of a JSON token.
pub fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("a part");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The claims of a token, if one of the published keys signed it.
pub async fn checked(browser: &mut Browser<'_>, lab: &Lab, token: &str) -> Option<Value> {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    let place = lab.plan.services[1]
        .endpoint(weir_lab_servers::idp::product::Endpoint::Keys)
        .expect("keys are published");
    let keys: Value = serde_json::from_str(&browser.get(&place).await.body).expect("JSON");
    let id = part(token, 0)["kid"].clone();
    let key = keys["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .find(|key| key["kid"] == id)?;
    let text = |name: &str| key[name].as_str().expect("text").to_owned();
    let key = DecodingKey::from_rsa_components(&text("n"), &text("e")).expect("a key");
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, &key, &validation)
        .ok()
        .map(|data| data.claims)
}
