//! What is signed in with: files that are away, replaced, or refused.

use weir_lab_entra::Entra;

use crate::world::{appliance, audited, reasons, reload, sync_all, until, users, with};

#[tokio::test]
async fn a_credential_that_is_away_keeps_nothing_from_starting_and_is_taken_when_it_comes() {
    let lab = Entra::start().await;
    let mut appliance = appliance(&lab, "").await;
    sync_all(&appliance).await;
    let (before, key) = (users(&appliance), lab.ca_file().with_file_name("app.key"));
    let kept = std::fs::read(&key).expect("it is there");
    appliance
        .restart(async || std::fs::remove_file(&key).expect("removed"))
        .await;
    until("what is known is in force", async || {
        users(&appliance) == before
    })
    .await;
    until("it is said", async || {
        let shown = appliance.get("/v1/entra").await;
        reasons(&shown).contains(&"credential-unusable".to_owned())
    })
    .await;
    let shown = appliance.get("/v1/entra").await;
    let said = shown["findings"].to_string();
    assert!(said.contains("app.key"), "{said}");
    assert_eq!(shown["credential"]["kind"], "credential");
    until("status says it too", async || {
        let status = appliance.get("/v1/status").await;
        status["warnings"].to_string().contains("app.key")
    })
    .await;

    std::fs::write(&key, kept).expect("written");
    until("it is signed in with", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["credential"]["kind"] == "certificate"
            && !reasons(&shown).contains(&"credential-unusable".to_owned())
    })
    .await;
    sync_all(&appliance).await;
}

#[tokio::test]
async fn files_that_are_replaced_are_proved_and_taken() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, "").await;
    sync_all(&appliance).await;
    let key = lab.ca_file().with_file_name("app.key");
    let kept = std::fs::read(&key).expect("it is there");

    std::fs::write(&key, "no key").expect("written");
    until("it is said", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["credential"]["trouble"].is_string()
    })
    .await;
    // The present one goes on.
    sync_all(&appliance).await;

    std::fs::write(&key, kept).expect("written");
    until("it is taken", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["credential"]["keeps_former"] == true && shown["credential"]["trouble"].is_null()
    })
    .await;
    let noted = audited(&appliance, "entra credential");
    let last = noted.last().expect("it was noted");
    assert!(
        last["done"] == true && last.to_string().contains("proved"),
        "{last}"
    );
}

#[tokio::test]
async fn the_next_credential_is_taken_when_the_first_is_refused() {
    let lab = Entra::start().await;
    let mut appliance = appliance(&lab, "").await;
    sync_all(&appliance).await;
    let config = appliance.read("weir.toml");
    let wrong = "[entra.credential]\nsecret = \"wrong\"\n[entra.next_credential]\n";
    let config = config.replace("[entra.credential]\n", wrong);
    appliance.write("wrong", "not the secret\n");
    let file = appliance.path("weir.toml");
    appliance
        .restart(async || std::fs::write(&file, &config).expect("written"))
        .await;
    until("it is taken", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["credential"]["slot"] == "next_credential"
            && shown["credential"]["kind"] == "certificate"
    })
    .await;
    sync_all(&appliance).await;

    // It is made the first one: nothing is to be proved anew.
    let proved = audited(&appliance, "entra credential").len();
    reload(&appliance, wrong, "[entra.credential]\n").await;
    until("it bears its new name", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["credential"]["slot"] == "credential" && shown["credential"]["trouble"].is_null()
    })
    .await;
    assert_eq!(audited(&appliance, "entra credential").len(), proved);
    sync_all(&appliance).await;
}

#[tokio::test]
async fn a_reload_that_names_another_credential_has_it_proved_first() {
    let lab = Entra::start().await;
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), weir_lab_entra::world::populate::SECRET).expect("written");
    let appliance = with(&lab.configuration("")).await;
    sync_all(&appliance).await;
    let config = appliance.read("weir.toml");
    let from = config.find("[entra.credential]").expect("it is there");
    let to = from + config[from..].find("\n\n").expect("an empty line");
    let other = format!(
        "[entra.credential]\nsecret = \"{}\"",
        secret.path().display()
    );
    reload(&appliance, &config[from..to], &other).await;
    until("it is taken", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["credential"]["kind"] == "secret" && shown["credential"]["keeps_former"] == true
    })
    .await;
    sync_all(&appliance).await;
}
