//! The tenant on the command line: how it stands, what is held, and leaving it.

mod common;

use common::{text, told, weir};
use weir_api::entra::{Entra as Shown, State};
use weir_control::testing::{Appliance, Settings};
use weir_lab_entra::Entra;
use weir_lab_entra::world::populate::{APP, REDIRECT};

/// Before what the tenant is written in the configuration.
const BEFORE: &str = "[[service]]\nname = \"sts\"\n";

async fn appliance(lab: &Entra, more: &str) -> Appliance {
    let entra = lab.configuration(more);
    Appliance::start_with(Settings {
        edits: vec![(BEFORE, format!("{entra}{BEFORE}"))],
        ..Settings::default()
    })
    .await
}

/// Long lines are folded.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_tenant_is_read_shown_and_checked() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, "").await;
    let synced = weir(&appliance, &["entra", "sync"]).await;
    assert_eq!(
        synced.status.code(),
        Some(0),
        "{}{}",
        text(&synced),
        told(&synced)
    );
    let synced = text(&synced);
    assert!(synced.starts_with("PART"), "{synced}");
    // It may have been read by itself already.
    assert!(
        synced.contains("conditional-access  changed")
            || synced.contains("conditional-access  unchanged"),
        "{synced}"
    );

    let shown = text(&weir(&appliance, &["entra"]).await);
    for part in [
        "tenant",
        "application",
        "credential",
        "certificate, good for",
        "directory",
        "users,",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains(&lab.tenant().to_string()), "{shown}");
    let json = weir(&appliance, &["entra", "status", "--json"]).await;
    let json: Shown = serde_json::from_str(&text(&json)).expect("the answer");
    assert_eq!(json.parts.len(), 13);
    assert_eq!(json.application, APP.to_string());

    let again = text(&weir(&appliance, &["entra", "sync", "users", "--full"]).await);
    assert!(again.contains("users  unchanged"), "{again}");
    let checked = weir(&appliance, &["entra", "check"]).await;
    let said = text(&checked);
    assert!(
        said.contains("certificate: proved: the tenant is"),
        "{said}"
    );

    // A token is handed out all the same.
    lab.edit(|edit| {
        let account = edit.tenant.account_mut(APP).expect("it is registered");
        account.grants.clear();
    });
    let checked = weir(&appliance, &["entra", "check"]).await;
    assert_eq!(checked.status.code(), Some(1));
    let said = text(&checked);
    assert!(
        said.contains("there is a token, and it opens nothing"),
        "{said}"
    );
    assert!(
        words(&said).contains("next: Have an administrator grant admin consent"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_held_is_shown_and_approved() {
    let lab = Entra::start().await;
    let people: Vec<_> = lab.edit(|tenant| {
        let people = (0..60).map(|n| tenant.user(&format!("u{n}@fabrik.example"), "U"));
        people.collect()
    });
    let appliance = appliance(&lab, "").await;
    weir(&appliance, &["entra", "sync"]).await;
    lab.edit(|tenant| {
        for one in &people {
            tenant.delete(*one).expect("it is there");
        }
    });
    let synced = weir(&appliance, &["entra", "sync", "users"]).await;
    assert_eq!(synced.status.code(), Some(1));
    assert!(
        text(&synced).contains("what is held, and why: weir entra"),
        "{}",
        text(&synced)
    );

    let shown = weir(&appliance, &["entra", "status"]).await;
    assert_eq!(shown.status.code(), Some(1));
    let shown = text(&shown);
    assert!(
        shown.contains("held since") && shown.contains("is removed"),
        "{shown}"
    );
    let line = shown
        .lines()
        .find(|line| line.contains("weir entra approve"));
    let digest = line
        .and_then(|line| line.split(' ').next_back())
        .expect("a digest");
    let wrong = weir(&appliance, &["entra", "approve", "00000000"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        told(&wrong).contains("`weir entra` shows what is held now"),
        "{}",
        told(&wrong)
    );
    let approved = weir(&appliance, &["entra", "approve", digest]).await;
    assert_eq!(approved.status.code(), Some(0), "{}", told(&approved));
    assert_eq!(text(&approved), format!("users: {digest} is in force\n"));
}

#[tokio::test]
async fn consent_has_a_link_and_leaving_asks_first() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, &format!("callback = \"{REDIRECT}\"\n")).await;
    let link = text(&weir(&appliance, &["entra", "connect"]).await);
    assert!(
        link.contains(&format!(
            "{}/{}/v2.0/adminconsent?",
            lab.login(),
            lab.tenant()
        )),
        "{link}"
    );
    assert!(
        link.contains("weir entra connect --callback 'URL'"),
        "{link}"
    );

    let asked = weir(&appliance, &["entra", "disconnect"]).await;
    assert_eq!(asked.status.code(), Some(2));
    assert!(told(&asked).contains("--yes"), "{}", told(&asked));
    let left = weir(&appliance, &["entra", "disconnect", "--purge", "--yes"]).await;
    assert_eq!(left.status.code(), Some(0), "{}", told(&left));
    let said = text(&left);
    assert!(
        said.contains("destroyed: ") && said.contains("app.key"),
        "{said}"
    );
    assert!(said.contains("still to be done:"), "{said}");
    let shown = weir(&appliance, &["entra", "--json"]).await;
    assert_eq!(shown.status.code(), Some(1));
    let shown: Shown = serde_json::from_str(&text(&shown)).expect("the answer");
    assert_eq!(shown.state, State::Disconnected);
}

#[tokio::test]
async fn without_a_tenant_there_is_nothing_to_show() {
    let appliance = Appliance::start().await;
    let nothing = weir(&appliance, &["entra"]).await;
    assert_eq!(nothing.status.code(), Some(2));
    assert!(
        told(&nothing).contains("no tenant is configured"),
        "{}",
        told(&nothing)
    );
    let nothing = weir(&appliance, &["entra", "check"]).await;
    assert_eq!(nothing.status.code(), Some(1));
}
