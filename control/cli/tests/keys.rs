//! Keys on the command line: what is shown, read anew, and approved.

mod common;

use common::{text, told, weir};
use weir_control::testing::{Appliance, Publisher, Settings, SigningKey};

#[tokio::test]
async fn keys_are_shown_read_anew_and_approved() {
    let [one, two] = [SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = Appliance::start_with(Settings {
        edits: vec![publisher.edit("")],
        ..Settings::default()
    })
    .await;
    let shown = weir(&appliance, &["keys", "refresh"]).await;
    assert_eq!(shown.status.code(), Some(0), "{}", told(&shown));
    let shown = text(&shown);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("SERVICE"), "{shown}");
    let short = &one.fingerprint()[..16];
    for part in [
        "sts",
        "certificate",
        short,
        "2090-12-31 00:00:00",
        "in force",
    ] {
        assert!(lines[1].contains(part), "{part}: {shown}");
    }
    assert!(lines[2].contains("jwk"), "{shown}");
    assert!(
        shown.contains("issuer  http://sts.corp.example/adfs/services/trust"),
        "{shown}"
    );
    assert!(
        shown.contains("source  metadata: /FederationMetadata/2007-06/FederationMetadata.xml of the upstream servers"),
        "{shown}"
    );

    publisher.publish(&[&two]);
    let held = text(&weir(&appliance, &["keys", "refresh", "sts"]).await);
    let command = format!("weir keys approve sts --fingerprint {}", two.fingerprint());
    assert!(
        held.contains("held since") && held.contains(&command),
        "{held}"
    );
    let status = weir(&appliance, &["status"]).await;
    assert_eq!(status.status.code(), Some(1));
    // Long lines are folded.
    let told_there = text(&status);
    let words: Vec<&str> = told_there.split_whitespace().collect();
    assert!(words.join(" ").contains(&command), "{told_there}");

    let wrong = weir(
        &appliance,
        &[
            "keys",
            "approve",
            "sts",
            "--fingerprint",
            &one.fingerprint(),
        ],
    )
    .await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        told(&wrong).contains("`weir keys` shows which keys are held"),
        "{}",
        told(&wrong)
    );
    let colons = two.fingerprint().to_uppercase();
    let approved = weir(
        &appliance,
        &["keys", "approve", "sts", "--fingerprint", &colons],
    )
    .await;
    assert_eq!(approved.status.code(), Some(0), "{}", told(&approved));
    let json = weir(&appliance, &["keys", "--json"]).await;
    let json: weir_api::keys::Keys = serde_json::from_str(&text(&json)).expect("the answer");
    assert_eq!(json.services[0].keys[0].fingerprint, two.fingerprint());
    assert_eq!(json.services[0].held_since, None);

    publisher.stop();
    let failed = weir(&appliance, &["keys", "refresh"]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        told(&failed).contains("cannot be reached"),
        "{}",
        told(&failed)
    );
    let shown = text(&weir(&appliance, &["keys", "show"]).await);
    assert!(shown.contains("fails since"), "{shown}");
}

#[tokio::test]
async fn without_services_of_whom_tokens_are_looked_at_there_are_no_keys() {
    let appliance = Appliance::start().await;
    let nothing = weir(&appliance, &["keys"]).await;
    let expected = "no service has its tokens looked at: none has `[service.tokens]`\n";
    assert_eq!(text(&nothing), expected);
}
