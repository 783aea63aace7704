//! What administrators ask for.

use http::StatusCode;
use serde_json::{Value, json};
use url::Url;
use weir_lab_entra::Entra;
use weir_lab_entra::world::populate::{APP, REDIRECT};

use crate::world::{appliance, audited, post, reload, sync_all, until};

#[tokio::test]
async fn a_check_proves_more_than_a_token() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, "").await;
    let (status, said) = post(&appliance, "check", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let proved = &said["credentials"][0];
    assert_eq!(
        (&proved["slot"], &proved["kind"]),
        (&json!("credential"), &json!("certificate"))
    );
    assert_eq!(proved["has_token"], true);
    assert!(proved["tenant"].is_string(), "{said}");
    assert_eq!(said["parts"].as_array().map(Vec::len), Some(13));

    // There is a token still.
    lab.edit(|edit| {
        let account = edit.tenant.account_mut(APP).expect("it is registered");
        account.grants.clear();
    });
    let (status, said) = post(&appliance, "check", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let proved = &said["credentials"][0];
    assert_eq!(proved["has_token"], true, "{said}");
    assert!(proved["tenant"].is_null(), "{said}");
    let reasons: Vec<&Value> = proved["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .collect();
    assert!(
        reasons.iter().any(|one| one["reason"] == "consent-missing"),
        "{said}"
    );
    assert_eq!(said["state"], "needs-attention");
}

#[tokio::test]
async fn consent_is_asked_for_by_a_link_that_is_good_once() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, &format!("callback = \"{REDIRECT}\"\n")).await;
    let (status, said) = post(&appliance, "connect", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(said["begun"], false, "it was never disconnected");
    let link: Url = said["link"]
        .as_str()
        .expect("a link")
        .parse()
        .expect("a URL");
    assert_eq!(link.origin().ascii_serialization(), lab.login());
    let state = link.query_pairs().find(|(name, _)| name == "state");
    let (_, state) = state.expect("a state");

    let back = |state: &str| {
        let tenant = lab.tenant();
        format!("{REDIRECT}?admin_consent=True&tenant={tenant}&state={state}")
    };
    for (callback, expected) in [
        (back("another"), StatusCode::CONFLICT),
        (
            "https://elsewhere.example/?state=x".to_owned(),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("no address".to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
        (back(&state), StatusCode::OK),
        (back(&state), StatusCode::CONFLICT),
    ] {
        let (status, said) = post(&appliance, "connect", json!({ "callback": callback })).await;
        assert_eq!(status, expected, "{callback}: {said}");
        assert_eq!(
            said["consented"] == true,
            expected == StatusCode::OK,
            "{said}"
        );
    }
    let log = audited(&appliance, "entra connect");
    assert_eq!(
        log.iter().filter(|line| line["done"] == true).count(),
        2,
        "{log:?}"
    );
    let all = appliance.read("state/audit.jsonl");
    assert!(!all.contains(&*state), "a state is a secret");

    reload(&appliance, &format!("callback = \"{REDIRECT}\"\n"), "").await;
    let (status, said) = post(&appliance, "connect", json!({ "callback": back(&state) })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
}

#[tokio::test]
async fn parts_are_read_by_their_names() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, "parts = [\"users\", \"groups\"]\n").await;
    for (part, help) in [("user", "conditional-access"), ("roles", "parts")] {
        let (status, said) = post(&appliance, "sync", json!({ "part": part })).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
        assert!(
            said["help"].as_str().expect("help").contains(help),
            "{said}"
        );
    }
    let (status, said) = post(
        &appliance,
        "sync",
        json!({ "part": "groups", "full": true }),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(said.as_array().map(Vec::len), Some(1));
    assert_eq!(
        audited(&appliance, "entra sync").last().expect("noted")["detail"],
        "groups, in full"
    );
}

#[tokio::test]
async fn groups_of_the_configuration_are_looked_up_and_what_is_not_clear_is_said() {
    let lab = Entra::start().await;
    let (one, other) = lab.edit(|tenant| {
        tenant.group("Finance, Basel");
        (tenant.group("Twins"), tenant.group("Twins"))
    });
    let groups = ["Twins", "Finance, Basle"]
        .map(|name| format!("[[entra.group]]\ngroup = \"{name}\"\nclass = \"blocked\"\n"));
    let appliance = appliance(&lab, &groups.concat()).await;
    sync_all(&appliance).await;
    let trouble = async |group: &str| {
        let shown = appliance.get("/v1/entra").await;
        let named = shown["named"].as_array().cloned().unwrap_or_default();
        let found = named.into_iter().find(|named| named["group"] == group);
        found.and_then(|named| Some(named["trouble"].as_str()?.to_owned()))
    };
    until("they are looked up", async || {
        trouble("Twins").await.is_some() && trouble("Finance, Basle").await.is_some()
    })
    .await;
    let twins = trouble("Twins").await.expect("it is not clear");
    assert!(
        twins.contains(&one.to_string()) && twins.contains(&other.to_string()),
        "{twins}"
    );
    let near = trouble("Finance, Basle")
        .await
        .expect("there is no such group");
    assert!(near.contains("`Finance, Basel`"), "{near}");

    reload(&appliance, "Finance, Basle", "Finance, Basel").await;
    until("it is clear", async || {
        let shown = appliance.get("/v1/entra").await;
        let named = shown["named"].as_array().cloned().unwrap_or_default();
        named
            .iter()
            .any(|one| one["group"] == "Finance, Basel" && one["id"].is_string())
    })
    .await;
}
