//! The token endpoint, consent, discovery, and the identity of a machine.

mod support;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use support::{Answer, Client, http, quiet, read, secret};
use time::Duration;
use weir_lab_entra::Entra;
use weir_lab_entra::admin::{Change, apply};
use weir_lab_entra::faults::{Act, Fault};
use weir_lab_entra::world::Consent;
use weir_lab_entra::world::apps::Secret;
use weir_lab_entra::world::populate::{APP, MACHINE, MACHINE_APP, REDIRECT, TENANT};

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// An assertion as an application makes it; `change` makes it worse.
fn assertion(
    lab: &Entra,
    algorithm: Algorithm,
    change: impl FnOnce(&mut Header, &mut Value),
) -> String {
    let certificate = CertificateDer::from_pem_slice(lab.certificate().as_bytes()).expect("PEM");
    let digest = |algorithm| aws_lc_rs::digest::digest(algorithm, &certificate);
    let mut header = Header::new(algorithm);
    if algorithm == Algorithm::PS256 {
        header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(digest(&aws_lc_rs::digest::SHA256)));
    } else {
        let sha1 = digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
        header.x5t = Some(URL_SAFE_NO_PAD.encode(sha1));
    }
    let now = lab.world().clock.now().unix_timestamp();
    let mut claims = json!({ "aud": format!("{}/{TENANT}/oauth2/v2.0/token", lab.login()), "iss": APP, "sub": APP,
        "jti": uuid::Uuid::new_v4(), "nbf": now, "iat": now, "exp": now + 600 });
    change(&mut header, &mut claims);
    let key = EncodingKey::from_rsa_pem(lab.key().as_bytes()).expect("a key");
    jsonwebtoken::encode(&header, &claims, &key).expect("signed")
}

/// What makes an assertion worse, at a moment in seconds since 1970.
type Worse = fn(&mut Header, &mut Value, i64);

async fn present(client: &Client, assertion: &str) -> Answer {
    let app = APP.to_string();
    let form = [
        ("client_id", app.as_str()),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion),
        ("grant_type", "client_credentials"),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    client.ask_token(&form).await
}

#[tokio::test]
async fn a_secret_earns_a_token_with_the_consented_roles() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let answer = client.ask_token(&secret()).await;
    assert_eq!(answer.header("cache-control"), "no-store, no-cache");
    let answer = answer.json();
    assert_eq!(answer["token_type"], "Bearer");
    let life = answer["expires_in"].as_i64().expect("a number");
    assert!((3600..5400).contains(&life));
    let claims = claims(answer["access_token"].as_str().expect("a token"));
    assert_eq!(claims["tid"], json!(TENANT));
    assert_eq!(claims["appid"], json!(APP));
    assert_eq!(claims["appidacr"], "1");
    assert_eq!(claims["aud"], lab.graph());
    assert!(
        claims["roles"]
            .as_array()
            .expect("roles")
            .contains(&json!("User.Read.All"))
    );
    lab.edit(|edit| {
        edit.tenant
            .account_mut(APP)
            .expect("an account")
            .grants
            .clear();
    });
    let bare = client.ask_token(&secret()).await.json();
    let bare = self::claims(bare["access_token"].as_str().expect("a token all the same"));
    assert!(bare.get("roles").is_none(), "{bare}");
}

#[tokio::test]
async fn a_certificate_earns_one_by_both_algorithms_but_each_assertion_once() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    for algorithm in [Algorithm::PS256, Algorithm::RS256] {
        let assertion = assertion(&lab, algorithm, |_, _| ());
        let answer = present(&client, &assertion).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let token = answer.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        assert_eq!(claims(&token)["appidacr"], "2");
        assert_eq!(
            present(&client, &assertion).await.aadsts(),
            700_027,
            "presented again"
        );
    }
}

#[tokio::test]
async fn an_assertion_that_is_off_is_refused_with_its_number() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let now = lab.world().clock.now().unix_timestamp();
    let cases: [(u64, Worse); 6] = [
        (700_027, |header, _, _| {
            header.x5t_s256 = Some("AAAA".to_owned());
        }),
        (700_023, |_, claims, _| {
            claims["aud"] = json!("https://login.microsoftonline.com/other/oauth2/v2.0/token");
        }),
        (700_021, |_, claims, _| claims["sub"] = json!(TENANT)),
        (700_024, |_, claims, now| claims["exp"] = json!(now - 900)),
        (700_024, |_, claims, now| claims["nbf"] = json!(now + 900)),
        (50013, |_, claims, _| claims["jti"] = json!("")),
    ];
    for (number, change) in cases {
        let assertion = assertion(&lab, Algorithm::PS256, |header, claims| {
            change(header, claims, now);
        });
        let answer = present(&client, &assertion).await;
        assert_eq!(answer.aadsts(), number, "{}", answer.text);
    }
    let mut forged = assertion(&lab, Algorithm::PS256, |_, _| ());
    let last = forged.pop().expect("a signature");
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    let answer = present(&client, &forged).await;
    assert_eq!(
        (answer.status, answer.aadsts()),
        (StatusCode::UNAUTHORIZED, 700_027)
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_in_the_words_of_entra() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let with = |name: &str, value: &'static str| {
        let mut form = secret().to_vec();
        form.retain(|(known, _)| *known != name);
        form.push((Box::leak(name.to_owned().into_boxed_str()), value));
        form
    };
    let key_id = lab.world().apps[0].secrets[0].key_id.to_string();
    let key_id: &'static str = Box::leak(key_id.into_boxed_str());
    let cases = [
        (
            with("client_secret", "wrong"),
            7_000_215,
            "invalid_client",
            StatusCode::UNAUTHORIZED,
        ),
        (
            with("client_secret", key_id),
            7_000_215,
            "invalid_client",
            StatusCode::UNAUTHORIZED,
        ),
        (
            with("client_id", "11111111-2222-4333-8444-555555555555"),
            700_016,
            "unauthorized_client",
            StatusCode::BAD_REQUEST,
        ),
        (
            with("grant_type", "magic"),
            70003,
            "unsupported_grant_type",
            StatusCode::BAD_REQUEST,
        ),
        (
            with("scope", "User.Read"),
            70011,
            "invalid_scope",
            StatusCode::BAD_REQUEST,
        ),
        (
            with(
                "scope",
                "https://graph.microsoft.com/.default https://vault.azure.net/.default",
            ),
            70011,
            "invalid_scope",
            StatusCode::BAD_REQUEST,
        ),
        (
            with("scope", "https://vault.azure.net/.default"),
            500_011,
            "invalid_resource",
            StatusCode::BAD_REQUEST,
        ),
        (
            with("scope", ""),
            90014,
            "invalid_request",
            StatusCode::BAD_REQUEST,
        ),
    ];
    for (form, number, error, status) in cases {
        let answer = client.ask_token(&form).await;
        assert_eq!(
            (answer.aadsts(), answer.status),
            (number, status),
            "{}",
            answer.text
        );
        let body = answer.json();
        assert_eq!(body["error"], error);
        let said = body["error_description"].as_str().expect("words");
        assert!(
            said.starts_with(&format!("AADSTS{number}: ")) && said.contains("Trace ID:"),
            "{said}"
        );
        assert!(
            body["error_uri"]
                .as_str()
                .expect("a URI")
                .ends_with(&format!("code={number}"))
        );
    }
}

#[tokio::test]
async fn who_is_asked_matters_and_what_is_left_out() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let mut bare = secret().to_vec();
    bare.retain(|(name, _)| *name != "client_secret");
    assert_eq!(client.ask_token(&bare).await.aadsts(), 7_000_216);
    for (tenant, number) in [
        ("common", 9_001_023),
        ("11111111-2222-4333-8444-555555555555", 90002),
        ("nowhere.example", 90002),
        ("nonsense", 900_023),
    ] {
        assert_eq!(
            client.ask_token_of(tenant, &secret()).await.aadsts(),
            number,
            "{tenant}"
        );
    }
    let by_domain = client.ask_token_of("fabrik.example", &secret()).await;
    assert_eq!(by_domain.status, StatusCode::OK);
}

#[tokio::test]
async fn secrets_expire_and_accounts_are_disabled() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    lab.world().clock.advance(Duration::days(200));
    assert_eq!(client.ask_token(&secret()).await.aadsts(), 7_000_222);
    let now = lab.world().clock.now();
    let renewed = Secret::new(
        uuid::Uuid::from_u128(7),
        "s~cR3t+/=._-of.the.lab",
        now,
        now + Duration::DAY,
    );
    lab.world()
        .app_mut(APP)
        .expect("the application")
        .secrets
        .push(renewed);
    assert_eq!(client.ask_token(&secret()).await.status, StatusCode::OK);
    lab.edit(|edit| edit.tenant.account_mut(APP).expect("an account").enabled = false);
    assert_eq!(client.ask_token(&secret()).await.aadsts(), 7_000_112);
}

#[tokio::test]
async fn whom_nobody_consented_to_is_not_known_and_certificates_come_and_go() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let made = |change| apply(&mut lab.world(), TENANT, change).expect("it is a good change");
    let certificate = lab.certificate().to_owned();
    made(Change::Unregister {
        app: APP,
        certificate: certificate.clone(),
    });
    let with_it = || assertion(&lab, Algorithm::PS256, |_, _| ());
    let refused = present(&client, &with_it()).await;
    assert_eq!(refused.aadsts(), 700_027);
    made(Change::Register {
        app: APP,
        certificate,
    });
    let taken = present(&client, &with_it()).await;
    assert_eq!(taken.status, StatusCode::OK);
    made(Change::Dismiss { app: APP });
    assert_eq!(client.ask_token(&secret()).await.aadsts(), 700_016);
    let garbage = Change::Register {
        app: APP,
        certificate: "no certificate".to_owned(),
    };
    assert!(apply(&mut lab.world(), TENANT, garbage).is_err());
}

#[tokio::test]
async fn a_secret_may_come_in_the_header_form_encoded() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let encode =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let [(_, id), (_, secret), ..] = secret();
    let basic = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
    let answer = client
        .http
        .post(format!("{}/{TENANT}/oauth2/v2.0/token", lab.login()))
        .header("authorization", format!("Basic {basic}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default")
        .send()
        .await
        .expect("an answer");
    assert_eq!(read(answer).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_asks_without_end_is_stopped() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    lab.world().token_loop = 3;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.push(client.ask_token(&secret()).await.status);
    }
    assert_eq!(numbers[..2], [StatusCode::OK; 2]);
    assert_eq!(client.ask_token(&secret()).await.aadsts(), 50196);
    lab.world().clock.advance(Duration::minutes(2));
    assert_eq!(client.ask_token(&secret()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_script_makes_tokens_fail_or_name_another_tenant() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    lab.fault(Fault::token(Act::Aadsts { code: 53003 }).times(1));
    let other = uuid::Uuid::from_u128(42);
    lab.fault(Fault::token(Act::Tenant { id: other }).after(1));
    assert_eq!(client.ask_token(&secret()).await.aadsts(), 53003);
    let token = client.ask_token(&secret()).await.json();
    let claims = claims(token["access_token"].as_str().expect("a token"));
    assert_eq!(claims["tid"], json!(other));
}

#[tokio::test]
async fn consent_is_asked_given_after_a_while_or_declined() {
    let lab = quiet().await;
    lab.edit(|edit| {
        edit.tenant
            .account_mut(APP)
            .expect("an account")
            .grants
            .clear();
    });
    let http = http(&lab);
    let ask = |path: &str, redirect: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", APP.to_string().as_str()),
                ("redirect_uri", redirect),
                ("scope", "https://graph.microsoft.com/.default"),
                ("state", "a b&c"),
            ])
            .finish();
        format!("{}/{path}?{query}", lab.login())
    };
    let url = ask("organizations/v2.0/adminconsent", REDIRECT);
    let page = read(http.get(&url).send().await.expect("a page")).await;
    assert!(
        page.text.contains("User.Read.All") && page.text.contains("Accept"),
        "{}",
        page.text
    );
    lab.world().consent_delay = Duration::minutes(1);
    let accept = http
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("decision=accept");
    let back = read(accept.send().await.expect("an answer")).await;
    assert_eq!(back.status, StatusCode::FOUND);
    let target = url::Url::parse(back.header("location")).expect("a URL");
    let pairs: Vec<(String, String)> = target.query_pairs().into_owned().collect();
    let pair = |name: &str| {
        let found = pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert!(target.as_str().starts_with(REDIRECT));
    assert_eq!(pair("admin_consent"), "True");
    assert_eq!(pair("tenant"), TENANT.to_string());
    assert_eq!(pair("state"), "a b&c");

    let mut client = Client::new(&lab).await;
    assert_eq!(
        client.get("/organization").await.status,
        StatusCode::FORBIDDEN,
        "not in force yet"
    );
    lab.world().clock.advance(Duration::minutes(2));
    client.sign_in().await;
    assert_eq!(client.get("/organization").await.status, StatusCode::OK);

    lab.world().consent = Consent::Deny;
    let denied = read(http.get(&url).send().await.expect("an answer")).await;
    assert!(
        denied.header("location").contains("error=access_denied"),
        "{:?}",
        denied.headers
    );
    let foreign = ask("organizations/v2.0/adminconsent", "https://evil.example/");
    let foreign = read(http.get(foreign).send().await.expect("an answer")).await;
    assert_eq!(foreign.aadsts(), 50011);
}

#[tokio::test]
async fn discovery_names_the_lab_s_own_places() {
    let lab = quiet().await;
    let http = http(&lab);
    let get = async |path: &str| {
        let url = format!("{}/{path}", lab.login());
        read(http.get(url).send().await.expect("an answer")).await
    };
    let found = get(&format!("{TENANT}/v2.0/.well-known/openid-configuration"))
        .await
        .json();
    assert_eq!(found["issuer"], format!("{}/{TENANT}/v2.0", lab.login()));
    assert_eq!(
        found["token_endpoint"],
        format!("{}/{TENANT}/oauth2/v2.0/token", lab.login())
    );
    assert_eq!(
        found["msgraph_host"],
        lab.graph().trim_start_matches("https://")
    );
    let common = get("common/v2.0/.well-known/openid-configuration")
        .await
        .json();
    assert!(
        common["issuer"]
            .as_str()
            .expect("an issuer")
            .contains("/{tenantid}/")
    );
    let unknown = get("nowhere.example/v2.0/.well-known/openid-configuration").await;
    assert_eq!(
        (unknown.status, unknown.aadsts()),
        (StatusCode::BAD_REQUEST, 90002)
    );
    let keys = get(&format!("{TENANT}/discovery/v2.0/keys")).await.json();
    assert_eq!(keys["keys"][0]["kty"], "RSA");
    let federated = get("common/userrealm/x@fabrik.example?api-version=1.0")
        .await
        .json();
    assert_eq!(federated["account_type"], "Federated");
    assert!(
        federated["federation_active_auth_url"]
            .as_str()
            .expect("a URL")
            .ends_with("usernamemixed")
    );
    let managed = get("GetUserRealm.srf?login=x@fabrik.onmicrosoft.example")
        .await
        .json();
    assert_eq!(managed["NameSpaceType"], "Managed");
    let unknown = get("common/userrealm/x@nowhere.example").await.json();
    assert_eq!(unknown["account_type"], "Unknown");
}

#[tokio::test]
async fn a_machine_has_an_identity_of_its_own() {
    let lab = quiet().await;
    let mut client = Client::new(&lab).await;
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fgraph.microsoft.com";
    let get = async |more: &str, metadata: bool| {
        let mut request = client.http.get(format!("{}{path}{more}", lab.machine()));
        if metadata {
            request = request.header("metadata", "true");
        }
        read(request.send().await.expect("an answer")).await
    };
    assert_eq!(
        get("", false).await.status,
        StatusCode::BAD_REQUEST,
        "the header is needed"
    );
    let token = get("", true).await.json();
    assert_eq!(token["client_id"], json!(MACHINE_APP));
    assert!(
        token["expires_in"].as_str().is_some(),
        "all are texts: {token}"
    );
    let named = get(&format!("&msi_res_id={MACHINE}"), true).await;
    assert_eq!(named.status, StatusCode::OK);
    let other = get("&client_id=11111111-2222-4333-8444-555555555555", true).await;
    assert_eq!(other.json()["error_description"], "Identity not found");
    client.token = token["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(client.get("/organization").await.status, StatusCode::OK);
}
