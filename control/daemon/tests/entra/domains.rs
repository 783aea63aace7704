//! Whom the tenant lets sign its users in: what is told of it, and keys that it vouches for.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::testing::{Appliance, Publisher, Settings, SigningKey};
use weir_lab_entra::Entra;

use crate::world::{BEFORE, reasons, sync};

/// The tenant's only federated domain, whose users sign in at the service of the appliance.
const DOMAIN: &str = "fabrik.example";

/// An appliance whose service publishes its keys here, and which reads the tenant's domains.
async fn appliance(lab: &Entra, publisher: &Publisher) -> Appliance {
    lab.edit(|tenant| {
        let federation = &mut tenant.tenant.documents.federation;
        federation.retain(|domain, _| domain == DOMAIN);
    });
    let entra = lab.configuration("");
    Appliance::start_with(Settings {
        edits: vec![publisher.edit(""), (BEFORE, format!("{entra}{BEFORE}"))],
        ..Settings::default()
    })
    .await
}

/// The tenant has these certificates for the service: the present and the next.
fn has(lab: &Entra, signing: &SigningKey, next: Option<&SigningKey>) {
    let base64 = |key: &SigningKey| BASE64_STANDARD.encode(key.certificate.der());
    lab.edit(|tenant| {
        let settings = tenant.tenant.documents.federation.get_mut(DOMAIN);
        let settings = settings.expect("it is federated");
        settings["signingCertificate"] = json!(base64(signing));
        settings["nextSigningCertificate"] = json!(next.map(base64));
    });
}

async fn refresh(appliance: &Appliance) -> Value {
    let (status, answer) = appliance.ask(Method::POST, "/v1/keys/refresh", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["services"][0].clone()
}

/// The fingerprints of the certificates that are in force.
fn in_force(appliance: &Appliance) -> Vec<String> {
    let running = appliance.brain.running();
    let keys = running
        .candidate
        .keys()
        .next()
        .expect("they are looked at")
        .1
        .clone();
    let all = keys.certificates.iter();
    all.map(|one| one.fingerprint().to_string()).collect()
}

async fn changes(appliance: &Appliance) -> String {
    let socket = appliance.control_socket();
    let asked = appliance.reply(&socket, Method::GET, "/v1/events?kind=change", b"");
    asked.await.body
}

/// What is said of the domains.
async fn said(appliance: &Appliance) -> Vec<String> {
    sync(appliance, "domains", false).await;
    let about = [
        "signs-in-elsewhere",
        "certificate-",
        "other-issuer",
        "nothing-federated",
    ];
    let all = reasons(&appliance.get("/v1/entra").await);
    let all = all.into_iter();
    all.filter(|one| about.iter().any(|about| one.starts_with(about)))
        .collect()
}

#[tokio::test]
async fn a_domain_is_held_against_the_services_and_their_keys() {
    let lab = Entra::start().await;
    let [one, two] = [SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = appliance(&lab, &publisher).await;
    refresh(&appliance).await;
    has(&lab, &one, None);
    assert_eq!(said(&appliance).await, [] as [&str; 0]);

    has(&lab, &one, Some(&two));
    assert_eq!(said(&appliance).await, ["certificate-strange"]);
    let warnings = appliance.get("/v1/entra").await["findings"].to_string();
    assert!(warnings.contains(&two.fingerprint()), "{warnings}");

    has(&lab, &two, None);
    assert_eq!(said(&appliance).await, ["certificate-unknown"]);

    has(&lab, &one, None);
    lab.edit(|tenant| {
        let settings = tenant.tenant.documents.federation.get_mut(DOMAIN);
        settings.expect("it is federated")["passiveSignInUri"] =
            json!("https://login.other.example/ls");
    });
    assert_eq!(said(&appliance).await, ["signs-in-elsewhere"]);
}

#[tokio::test]
async fn a_total_replacement_goes_in_force_when_the_tenant_has_the_new_keys() {
    let lab = Entra::start().await;
    let [one, two, three] = [SigningKey::new(), SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = appliance(&lab, &publisher).await;
    refresh(&appliance).await;
    has(&lab, &one, None);
    sync(&appliance, "domains", false).await;

    publisher.publish(&[&two]);
    let shown = refresh(&appliance).await;
    assert!(
        shown["held_since"].is_string(),
        "nobody vouches for it: {shown}"
    );
    assert_eq!(in_force(&appliance), [one.fingerprint()]);

    has(&lab, &one, Some(&two));
    sync(&appliance, "domains", false).await;
    let shown = refresh(&appliance).await;
    assert!(shown["held_since"].is_null(), "{shown}");
    assert_eq!(in_force(&appliance), [two.fingerprint()]);
    let told = changes(&appliance).await;
    assert!(
        told.contains("the tenant's federation settings hold the new ones"),
        "{told}"
    );

    // What it has for a service elsewhere is no word about this one.
    has(&lab, &two, Some(&three));
    lab.edit(|tenant| {
        let settings = tenant.tenant.documents.federation.get_mut(DOMAIN);
        settings.expect("it is federated")["passiveSignInUri"] =
            json!("https://login.other.example/ls");
    });
    sync(&appliance, "domains", false).await;
    publisher.publish(&[&three]);
    let shown = refresh(&appliance).await;
    assert!(shown["held_since"].is_string(), "{shown}");
    assert_eq!(in_force(&appliance), [two.fingerprint()]);
}
