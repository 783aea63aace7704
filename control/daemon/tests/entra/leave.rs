//! Leaving a tenant, and coming back.

use http::StatusCode;
use serde_json::json;
use weir_lab_entra::Entra;

use crate::world::{appliance, audited, post, sync_all, until, users};

#[tokio::test]
async fn who_disconnects_destroys_credentials_and_what_is_known_and_stays_so() {
    let lab = Entra::start().await;
    let mut appliance = appliance(&lab, "").await;
    let mut proxy = appliance.proxy().await;
    sync_all(&appliance).await;
    until("it is in force", async || users(&appliance) > Some(0)).await;
    let files = ["app.pem", "app.key"].map(|name| lab.ca_file().with_file_name(name));

    let (status, said) = post(&appliance, "disconnect", json!({ "purge": true })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(
        said["destroyed"].as_array().map(Vec::len),
        Some(2),
        "{said}"
    );
    assert_eq!(said["left"], json!([]));
    assert!(
        said["next"][0].as_str().expect("words").contains("Entra"),
        "{said}"
    );
    assert!(files.iter().all(|file| !file.exists()));
    assert!(appliance.brain.directory().is_none());
    while proxy.next_directory().await.is_some() {}

    let shown = appliance.get("/v1/entra").await;
    assert_eq!(shown["state"], "disconnected");
    assert_eq!(shown["users"], 0);
    let (status, said) = post(&appliance, "sync", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    assert!(
        said["help"]
            .as_str()
            .expect("help")
            .contains("weir entra connect"),
        "{said}"
    );

    // Nobody is asked any more, also by the next one.
    let asked = lab.seen().len();
    appliance.restart(async || ()).await;
    until("it is open", async || appliance.brain.tenant().is_some()).await;
    let shown = appliance.get("/v1/entra").await;
    assert_eq!(shown["state"], "disconnected", "{shown}");
    assert_eq!(lab.seen().len(), asked);
    let log = audited(&appliance, "entra disconnect");
    assert!(
        log[0]["detail"]
            .as_str()
            .expect("words")
            .contains("app.key"),
        "{log:?}"
    );

    // With the credential back in its place.
    for (file, text) in files.iter().zip([lab.certificate(), lab.key()]) {
        std::fs::write(file, text).expect("written");
    }
    let (status, said) = post(&appliance, "connect", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(said["begun"], true);
    sync_all(&appliance).await;
    until("it is known again", async || users(&appliance) > Some(0)).await;
}

#[tokio::test]
async fn without_a_purge_what_is_known_stays() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, "").await;
    sync_all(&appliance).await;
    let before = users(&appliance);
    let (status, said) = post(&appliance, "disconnect", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert!(said["next"].to_string().contains("--purge"), "{said}");
    assert!(before > Some(0));
    assert_eq!(users(&appliance), before);

    // A second time there is nothing to destroy any more.
    let (status, said) = post(&appliance, "disconnect", json!({ "purge": true })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(said["destroyed"], json!([]));
    until("it is withdrawn", async || users(&appliance).is_none()).await;
}
