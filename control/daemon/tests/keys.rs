//! The keys by which tokens are verified: from what a service publishes to what the proxy is given, over
//! rollovers, approvals, restarts and everything that can go wrong on the way.

use std::slice::from_ref;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_claims::Keys;
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{
    Appliance, CONFIG, DISCOVERY, FakeProxy, JWKS, METADATA, Publisher, Received, Settings,
    SigningKey, metadata,
};

#[tokio::test]
async fn keys_come_from_the_service_itself_and_reach_the_proxy() {
    let key = SigningKey::new();
    let publisher = Publisher::start(&[&key]).await;
    let appliance = appliance(&publisher, "").await;
    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    let keys = until_keys(&mut proxy, |keys| !keys.is_empty()).await;
    assert_eq!(keys.certificates, from_ref(&key.certificate));
    assert_eq!(keys.jwks.len(), 1);
    let issuers = [
        "http://sts.corp.example/adfs/services/trust",
        "https://sts.corp.example/adfs",
    ];
    assert_eq!(keys.issuers, issuers);

    let asked = publisher.asked();
    for path in [METADATA, DISCOVERY, JWKS] {
        assert!(
            asked.contains(&format!("{path} for sts.corp.example")),
            "{asked:?}"
        );
    }
    let shown = refresh(&appliance).await;
    assert_eq!(shown["issuers"], json!(issuers));
    let [certificate, jwk] = [&shown["keys"][0], &shown["keys"][1]];
    assert_eq!(certificate["fingerprint"], key.fingerprint());
    assert_eq!([&certificate["kind"], &jwk["kind"]], ["certificate", "jwk"]);
    assert_eq!(
        [&certificate["state"], &jwk["state"]],
        ["in-force", "in-force"]
    );
    assert_eq!(certificate["not_after"], "2090-12-31T00:00:00.000Z");
    assert!(shown["fetched"].is_string() && shown["error"].is_null());
    assert_eq!(key_warnings(&appliance).await, [] as [String; 0]);
    let changes = changes(&appliance).await;
    assert!(changes.contains("its first keys") && changes.contains(&key.fingerprint()));
}

#[tokio::test]
async fn a_rollover_is_followed_and_a_replacement_is_held() {
    let [one, two, three] = [SigningKey::new(), SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = appliance(&publisher, "").await;
    refresh(&appliance).await;
    for keys in [vec![&one, &two], vec![&two]] {
        publisher.publish(&keys);
        refresh(&appliance).await;
        let mut expected: Vec<_> = keys.iter().map(|key| key.certificate.clone()).collect();
        expected.sort();
        assert_eq!(in_force(&appliance).certificates, expected);
    }

    publisher.publish(&[&three]);
    let shown = refresh(&appliance).await;
    assert_eq!(
        in_force(&appliance).certificates,
        from_ref(&two.certificate)
    );
    assert!(shown["held_since"].is_string());
    assert_eq!(shown["to_approve"], json!([three.fingerprint()]));
    let told: Vec<_> = shown["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| &key["state"])
        .collect();
    assert_eq!(told, ["in-force", "in-force", "held", "held"]);
    let warnings = key_warnings(&appliance).await;
    let command = format!(
        "weir keys approve sts --fingerprint {}",
        three.fingerprint()
    );
    assert!(
        warnings[0].contains("ALL KEYS OF `sts`") && warnings[0].contains(&command),
        "{warnings:?}"
    );
    let since = shown["held_since"].clone();
    assert_eq!(
        refresh(&appliance).await["held_since"],
        since,
        "it is the same"
    );
    assert_eq!(
        changes(&appliance)
            .await
            .matches("all keys were replaced")
            .count(),
        1
    );

    for wrong in [two.fingerprint(), one.fingerprint(), "five".to_owned()] {
        let (status, answer) = approve(&appliance, &[wrong]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    }
    assert_eq!(
        in_force(&appliance).certificates,
        from_ref(&two.certificate)
    );
    let (status, _) = approve(&appliance, &[three.fingerprint()]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        in_force(&appliance).certificates,
        from_ref(&three.certificate)
    );
    assert_eq!(key_warnings(&appliance).await, [] as [String; 0]);
    let (status, answer) = approve(&appliance, &[three.fingerprint()]).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    assert!(changes(&appliance).await.contains("keys approve"));
}

#[tokio::test]
async fn who_goes_back_to_known_keys_needs_no_approval() {
    let [one, two] = [SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = appliance(&publisher, "").await;
    refresh(&appliance).await;
    publisher.publish(&[&two]);
    assert!(refresh(&appliance).await["held_since"].is_string());
    publisher.publish(&[&one]);
    assert!(refresh(&appliance).await["held_since"].is_null());
    assert_eq!(in_force(&appliance).certificates, [one.certificate]);
}

#[tokio::test]
async fn a_restart_begins_with_the_last_good_keys_and_with_what_is_held() {
    let [one, two] = [SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = appliance(&publisher, "").await;
    refresh(&appliance).await;
    publisher.publish(&[&two]);
    refresh(&appliance).await;
    let stopped = appliance.kill().await;
    publisher.stop();
    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("no server is waited for");
    assert_eq!(in_force(&appliance).certificates, [one.certificate]);
    let (status, _) = approve(&appliance, &[two.fingerprint()]).await;
    assert_eq!(status, StatusCode::OK, "what is held outlives a restart");
    assert_eq!(in_force(&appliance).certificates, [two.certificate]);
    let (status, answer) = ask_refresh(&appliance).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(answer.to_string().contains("cannot be reached"), "{answer}");
    let warnings = key_warnings(&appliance).await;
    assert!(warnings[0].contains("cannot be read since"), "{warnings:?}");
}

#[tokio::test]
async fn what_cannot_be_read_leaves_the_keys_as_they_are() {
    let [one, two] = [SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = appliance(&publisher, "").await;
    refresh(&appliance).await;
    let known = in_force(&appliance);
    let long = "x".repeat((4 << 20) + 1);
    let dtd = format!("<!DOCTYPE a>{}", metadata(&[&two]));
    let weak = metadata(&[]);
    for (status, body, words) in [
        (404, "", "answers with status 404"),
        (503, "", "answers with status 503"),
        (302, "", "answers with a redirect (302)"),
        (200, long.as_str(), "is longer than 4 MiB"),
        (200, "<html>sign in</html>", "cannot be used"),
        (200, &dtd, "document type"),
        (200, &weak, "cannot be used"),
    ] {
        publisher.answer(METADATA, status, body);
        let (status, answer) = ask_refresh(&appliance).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{words}");
        let error = answer["error"].as_str().expect("text");
        assert!(
            error.contains(words) && error.contains("the metadata"),
            "{error}"
        );
        assert_eq!(in_force(&appliance), known, "{words}");
        assert!(key_warnings(&appliance).await[0].contains(words));
    }
    publisher.publish(&[&one, &two]);
    publisher.answer(JWKS, 200, "{}");
    ask_refresh(&appliance).await;
    let keys = in_force(&appliance);
    assert_eq!(
        (keys.certificates.len(), keys.jwks),
        (2, known.jwks),
        "each for itself"
    );
    publisher.publish(&[&one, &two]);
    assert!(refresh(&appliance).await["error"].is_null());
    assert!(changes(&appliance).await.contains("can be read again"));
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_asked() {
    let key = SigningKey::new();
    let (publisher, other) = (
        Publisher::start(&[&key]).await,
        Publisher::start(&[&key]).await,
    );
    let (old, new) = publisher.edit("");
    let new = new.replace(
        &publisher.ca().display().to_string(),
        &other.ca().display().to_string(),
    );
    let appliance = start(vec![(old, new)]).await;
    let (status, answer) = ask_refresh(&appliance).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(
        answer["error"].to_string().contains("certificate"),
        "{answer}"
    );
    assert!(publisher.asked().is_empty() && in_force(&appliance).is_empty());
    let warnings = key_warnings(&appliance).await;
    assert!(
        warnings[0].contains("NO TOKEN OF `sts` IS BELIEVED"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_server_that_publishes_no_jwks_is_none_of_openid_connect() {
    let key = SigningKey::new();
    let publisher = Publisher::start(&[&key]).await;
    publisher.answer(DISCOVERY, 404, "");
    publisher.answer(JWKS, 404, "");
    let appliance = appliance(&publisher, "").await;
    let shown = refresh(&appliance).await;
    assert!(shown["error"].is_null());
    assert_eq!(in_force(&appliance).certificates, [key.certificate]);
    // Where it is named, it must be there.
    let config = appliance.read("weir.toml");
    let named = config.replace(
        "[service.tokens]\n",
        &format!("[service.tokens]\njwks = \"{JWKS}\"\n"),
    );
    appliance.write("weir.toml", &named);
    reload(&appliance).await;
    let (status, answer) = ask_refresh(&appliance).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(
        answer["error"]
            .to_string()
            .contains("the keys (/adfs/discovery/keys"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_discovery_document_leads_nowhere_else() {
    let key = SigningKey::new();
    let publisher = Publisher::start(&[&key]).await;
    let elsewhere =
        json!({ "issuer": "https://sts.corp.example/adfs", "jwks_uri": "https://keys.example/k" });
    publisher.answer(DISCOVERY, 200, &elsewhere.to_string());
    let appliance = appliance(&publisher, "").await;
    let (status, answer) = ask_refresh(&appliance).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(
        answer["error"]
            .to_string()
            .contains("keys are at keys.example"),
        "{answer}"
    );
    assert!(in_force(&appliance).jwks.is_empty());
}

#[tokio::test]
async fn metadata_in_a_file_is_followed() {
    let [one, two] = [SigningKey::new(), SigningKey::until(2001)];
    let publisher = Publisher::start(&[]).await;
    let appliance = appliance(&publisher, "file = \"sts.xml\"").await;
    let mut proxy = appliance.proxy().await;
    appliance.write("sts.xml", &metadata(&[&one]));
    until_keys(&mut proxy, |keys| {
        keys.certificates == [one.certificate.clone()]
    })
    .await;
    appliance.write("sts.xml", &metadata(&[&one, &two]));
    until_keys(&mut proxy, |keys| keys.certificates.len() == 2).await;
    appliance.write("sts.xml", &metadata(&[&two]));
    until_keys(&mut proxy, |keys| {
        keys.certificates == from_ref(&two.certificate)
    })
    .await;
    assert!(publisher.asked().is_empty());
    let shown = appliance.get("/v1/keys").await["services"][0].clone();
    assert_eq!(shown["keys"][0]["state"], "expired");
    let warnings = key_warnings(&appliance).await;
    assert!(warnings[0].contains("ended by 2001-12-31"), "{warnings:?}");
}

#[tokio::test]
async fn nothing_is_forgotten_when_tokens_are_not_looked_at() {
    let key = SigningKey::new();
    let publisher = Publisher::start(&[&key]).await;
    let appliance = appliance(&publisher, "").await;
    refresh(&appliance).await;
    let with = appliance.read("weir.toml");
    appliance.write("weir.toml", &with.replace("[service.tokens]\n", ""));
    let mut log = appliance
        .lines("/v1/events?follow=true&limit=0&kind=change")
        .await;
    reload(&appliance).await;
    loop {
        let told = log.next().await.expect("the log goes on").to_string();
        if told.contains("its tokens are not looked at any more") {
            break;
        }
    }
    assert_eq!(appliance.get("/v1/keys").await["services"], json!([]));
    let (status, _) = ask_refresh_of(&appliance, "sts").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    publisher.stop();
    appliance.write("weir.toml", &with);
    reload(&appliance).await;
    assert_eq!(in_force(&appliance).certificates, [key.certificate]);
}

#[tokio::test]
async fn a_service_that_is_new_to_tokens_has_keys_however_long_the_proxy_takes() {
    let key = SigningKey::new();
    let publisher = Publisher::start(&[&key]).await;
    let (old, with) = publisher.edit("");
    let without = with.replace("[service.tokens]\n", "");
    let appliance = start(vec![(old, without.clone())]).await;
    let mut proxy = appliance.proxy().await;
    let config = appliance.read("weir.toml");
    appliance.write("weir.toml", &config.replace(&without, &with));
    // Longer than the keys are left alone.
    let slow = async {
        proxy.hang(true);
        tokio::time::sleep(3 * weir_control::watch::INTERVAL).await;
        proxy.hang(false);
    };
    tokio::join!(reload(&appliance), slow);
    let keys = until_keys(&mut proxy, |keys| !keys.is_empty()).await;
    assert_eq!(keys.certificates, [key.certificate]);
}

#[tokio::test]
async fn keys_that_cannot_be_read_back_are_not_passed_over() {
    let key = SigningKey::new();
    let publisher = Publisher::start(&[&key]).await;
    let appliance = appliance(&publisher, "").await;
    refresh(&appliance).await;
    let stopped = appliance.kill().await;
    std::fs::write(stopped.path("state/keys/sts.json"), "{").expect("it can be written");
    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("it starts");
    ask_refresh(&appliance).await;
    assert!(in_force(&appliance).is_empty());
    let warnings = key_warnings(&appliance).await;
    assert!(
        warnings[0].contains("sts.json") && warnings[0].contains("NO TOKEN"),
        "{warnings:?}"
    );
    assert_eq!(appliance.read("state/keys/sts.json"), "{");
}

#[tokio::test]
async fn a_proxy_that_refuses_gets_the_keys_again() {
    let [one, two] = [SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = appliance(&publisher, "").await;
    refresh(&appliance).await;
    let mut proxy = appliance.proxy().await;
    proxy.refuse_next("no memory");
    publisher.publish(&[&one, &two]);
    // What was decided is written down, and offered again.
    for _ in 0..2 {
        refresh(&appliance).await;
        until_keys(&mut proxy, |keys| keys.certificates.len() == 2).await;
    }
    appliance.proxy_works().await;
}

async fn appliance(publisher: &Publisher, tokens: &str) -> Appliance {
    start(vec![publisher.edit(tokens)]).await
}

async fn start(edits: Vec<(&'static str, String)>) -> Appliance {
    assert!(CONFIG.contains(edits[0].0));
    Appliance::start_with(Settings {
        edits,
        ..Settings::default()
    })
    .await
}

/// What is in force for the service of the appliance.
fn in_force(appliance: &Appliance) -> Keys {
    let running = appliance.brain.running();
    let mut keys = running.candidate.keys();
    keys.next().expect("its tokens are looked at").1.clone()
}

/// Generations until one with such keys comes.
async fn until_keys(proxy: &mut FakeProxy, are: impl Fn(&Keys) -> bool) -> Keys {
    loop {
        match proxy.next().await.expect("the link stays") {
            Received::Generation { generation, .. } => {
                let tokens = generation.services[0].tokens.as_ref();
                let keys = &tokens.expect("its tokens are looked at").keys;
                if are(keys) {
                    return keys.clone();
                }
            }
            other => panic!("a generation was expected, not {other:?}"),
        }
    }
}

async fn refresh(appliance: &Appliance) -> Value {
    let (status, answer) = ask_refresh(appliance).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["services"][0].clone()
}

async fn ask_refresh(appliance: &Appliance) -> (StatusCode, Value) {
    appliance.ask(Method::POST, "/v1/keys/refresh", None).await
}

async fn ask_refresh_of(appliance: &Appliance, service: &str) -> (StatusCode, Value) {
    let body = json!({ "service": service });
    appliance
        .ask(Method::POST, "/v1/keys/refresh", Some(body))
        .await
}

async fn approve(appliance: &Appliance, fingerprints: &[String]) -> (StatusCode, Value) {
    let body = json!({ "service": "sts", "fingerprints": fingerprints });
    appliance
        .ask(Method::POST, "/v1/keys/approve", Some(body))
        .await
}

async fn reload(appliance: &Appliance) {
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// What status says of keys.
async fn key_warnings(appliance: &Appliance) -> Vec<String> {
    let status = appliance.get("/v1/status").await;
    let warnings = status["warnings"].as_array().expect("a list").iter();
    let warnings = warnings.filter_map(|warning| warning.as_str().map(str::to_owned));
    warnings
        .filter(|warning| warning.contains("`sts`"))
        .collect()
}

/// What the audit log says of changes.
async fn changes(appliance: &Appliance) -> String {
    let socket = appliance.control_socket();
    let asked = appliance.reply(&socket, Method::GET, "/v1/events?kind=change", b"");
    asked.await.body
}
