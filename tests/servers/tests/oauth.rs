//! OAuth and OpenID Connect at a federation service.

mod support;

use base64::Engine;
use http::StatusCode;
use serde_json::Value;
use support::{Answer, Browser, Lab};

const TOKEN: &str = "https://adfs.corp.example/adfs/oauth2/token/";
const NATIVE: &str = "7d1f6f0a-public-client";
const WEB: &str = "2c9a4b11-web-application";

async fn token(browser: &mut Browser<'_>, fields: &[(&str, &str)]) -> (Answer, Value) {
    let fields: Vec<(String, String)> = fields
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    let answer = browser.post(TOKEN, &fields).await;
    let value = serde_json::from_str(&answer.body).expect("JSON");
    (answer, value)
}

fn claims(token: &Value) -> Value {
    let part = token
        .as_str()
        .expect("a token")
        .split('.')
        .nth(1)
        .expect("three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn a_code_is_redeemed_once_with_its_verifier() {
    let lab = Lab::services().await;
    let mut browser = lab.browser();
    let verifier = "a-verifier-of-at-least-forty-three-characters-000";
    let challenge = weir_lab_servers::jwt::s256(verifier);
    let url = format!(
        "https://adfs.corp.example/adfs/oauth2/authorize/?client_id={NATIVE}&response_type=code&state=s%26t&nonce=n\
         &redirect_uri=http%3A%2F%2Flocalhost&code_challenge={challenge}&code_challenge_method=S256"
    );
    let page = browser.get(&url).await;
    let (action, _) = page.form();
    let action = url::Url::parse(&url)
        .expect("a URL")
        .join(&action)
        .expect("a URL");
    let fields = [
        ("UserName", "alice@mex.corp.example"),
        ("Password", "Correct-Horse-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = browser.post(action.as_str(), &fields).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    let answer = browser.get(answer.header("location")).await;
    let target = url::Url::parse(answer.header("location")).expect("a URL");
    assert_eq!(target.host_str(), Some("localhost"));
    let pairs: std::collections::HashMap<String, String> =
        target.query_pairs().into_owned().collect();
    assert_eq!(pairs["state"], "s&t");
    let code = pairs["code"].as_str();

    let base = [
        ("grant_type", "authorization_code"),
        ("client_id", NATIVE),
        ("code", code),
    ];
    let (answer, _) = token(
        &mut browser,
        &[&base[..], &[("code_verifier", "wrong")]].concat(),
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let (_, error) = token(
        &mut browser,
        &[&base[..], &[("code_verifier", verifier)]].concat(),
    )
    .await;
    assert_eq!(
        error["error"], "invalid_grant",
        "a code that was tried is spent"
    );

    let answer = browser.get(&url).await;
    let target = url::Url::parse(answer.header("location")).expect("the session signs in silently");
    let code = target
        .query_pairs()
        .find(|(name, _)| name == "code")
        .expect("a code")
        .1
        .into_owned();
    let base = [
        ("grant_type", "authorization_code"),
        ("client_id", NATIVE),
        ("code", &code),
    ];
    let (answer, tokens) = token(
        &mut browser,
        &[&base[..], &[("code_verifier", verifier)]].concat(),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{tokens}");
    let id = claims(&tokens["id_token"]);
    assert_eq!(
        (&id["upn"], &id["nonce"]),
        (&Value::from("alice@mex.corp.example"), &Value::from("n"))
    );
    assert_eq!(
        claims(&tokens["access_token"])["insidecorporatenetwork"],
        true
    );

    let refresh = tokens["refresh_token"].as_str().expect("a token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", NATIVE),
        ("refresh_token", refresh),
    ];
    assert_eq!(token(&mut browser, &fields).await.0.status, StatusCode::OK);
}

#[tokio::test]
async fn grants_without_a_browser() {
    let lab = Lab::services().await;
    let mut browser = lab.browser().with("x-ms-proxy", "weir-1");
    let password = [
        ("grant_type", "password"),
        ("client_id", NATIVE),
        ("username", "alice@mex.corp.example"),
    ];
    let (_, good) = token(
        &mut browser,
        &[&password[..], &[("password", "Correct-Horse-1")]].concat(),
    )
    .await;
    assert_eq!(
        claims(&good["access_token"])["insidecorporatenetwork"],
        false
    );
    let (answer, bad) = token(
        &mut browser,
        &[&password[..], &[("password", "wrong")]].concat(),
    )
    .await;
    assert_eq!(
        (answer.status, bad["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_grant"))
    );

    let client = [("grant_type", "client_credentials"), ("client_id", WEB)];
    let (answer, _) = token(
        &mut browser,
        &[&client[..], &[("client_secret", "web-application-secret")]].concat(),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK);
    let (answer, _) = token(
        &mut browser,
        &[&client[..], &[("client_secret", "wrong")]].concat(),
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let (_, error) = token(
        &mut browser,
        &[("grant_type", "nonsense"), ("client_id", NATIVE)],
    )
    .await;
    assert_eq!(error["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn a_device_is_signed_in_by_its_code() {
    let lab = Lab::services().await;
    let mut browser = lab.browser();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let url = "https://adfs.corp.example/adfs/oauth2/devicecode";
    let answer = browser.post(url, &[field("client_id", NATIVE)]).await;
    let device: Value = serde_json::from_str(&answer.body).expect("JSON");
    let code = device["device_code"].as_str().expect("a code");
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", NATIVE),
        ("device_code", code),
    ];
    assert_eq!(
        token(&mut browser, &poll).await.1["error"],
        "authorization_pending"
    );
    let url = device["verification_uri"].as_str().expect("a URL");
    let page = browser.get(url).await;
    let (url, _) = browser
        .sign_in(url, &page, "alice@mex.corp.example", "Correct-Horse-1")
        .await;
    browser
        .post(
            &url,
            &[field(
                "UserCode",
                device["user_code"].as_str().expect("a code"),
            )],
        )
        .await;
    assert_eq!(token(&mut browser, &poll).await.0.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_published_fits_together() {
    let lab = Lab::services().await;
    let mut browser = lab.browser();
    for host in ["sts.corp.example", "adfs.corp.example"] {
        let url = format!("https://{host}/adfs/.well-known/openid-configuration");
        let configuration: Value =
            serde_json::from_str(&browser.get(&url).await.body).expect("JSON");
        assert_eq!(configuration["issuer"], format!("https://{host}/adfs"));
        assert_eq!(
            configuration["access_token_issuer"],
            format!("http://{host}/adfs/services/trust")
        );
        let keys = browser
            .get(configuration["jwks_uri"].as_str().expect("a URL"))
            .await;
        let keys: Value = serde_json::from_str(&keys.body).expect("JSON");
        let certificate = keys["keys"][0]["x5c"][0].as_str().expect("a certificate");
        let metadata = browser
            .get(&format!(
                "https://{host}/FederationMetadata/2007-06/FederationMetadata.xml"
            ))
            .await;
        assert_eq!(
            metadata.body.matches(certificate).count(),
            3,
            "signature and both roles name the same certificate"
        );
    }
}
