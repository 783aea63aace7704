//! Pictures of the tenant, on their way into force.

use std::os::unix::fs::PermissionsExt;

use http::{Method, StatusCode};
use serde_json::json;
use weir_control::testing::FakeProxy;
use weir_lab_entra::Entra;
use weir_lab_entra::faults::{Act, Fault};
use weir_lab_entra::world::object::Kind;

use crate::world::{
    BEFORE, appliance, audited, knows, post, reasons, reload, sync, sync_all, until, users,
};

#[tokio::test]
async fn a_tenant_is_read_and_its_picture_gets_to_the_proxy() {
    let lab = Entra::start().await;
    lab.edit(|tenant| tenant.user("ann@fabrik.example", "Ann"));
    let there = lab.world().tenants[0].directory.live(Kind::User);
    let appliance = appliance(&lab, "").await;
    let mut proxy = appliance.proxy().await;
    sync_all(&appliance).await;

    until("the picture is in force", async || {
        users(&appliance) == Some(there)
    })
    .await;
    let in_force = appliance.brain.directory().expect("it is in force");
    let sent = loop {
        let sent = proxy.next_directory().await;
        match sent {
            Some(sent) if sent.epoch == in_force.epoch => break sent,
            _ => {}
        }
    };
    assert_eq!(sent.bytes, in_force.snapshot.bytes());
    assert!(knows(&sent.bytes, "Ann@Fabrik.example"));
    assert!(!knows(&sent.bytes, "nobody@fabrik.example"));

    until("the proxy says so", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["proxy_epoch"] == shown["epoch"]
    })
    .await;
    let shown = appliance.get("/v1/entra").await;
    assert_eq!(shown["tenant"], lab.tenant().to_string());
    assert!(shown["name"].is_string(), "{shown}");
    assert_eq!(shown["cloud"], "custom");
    assert_eq!(shown["credential"]["kind"], "certificate");
    assert_eq!(shown["credential"]["slot"], "credential");
    assert_eq!(shown["users"], there);
    for part in shown["parts"].as_array().expect("parts") {
        assert!(part["age_seconds"].is_u64(), "{part}");
    }
    until("status says so too", async || {
        let status = appliance.get("/v1/status").await;
        status["entra"]["users"] == there && status["entra"]["tenant"] == shown["name"]
    })
    .await;

    let mode = |name: &str| {
        let data = std::fs::metadata(appliance.path(name)).expect("it is there");
        data.permissions().mode() & 0o777
    };
    assert_eq!(mode("state/entra"), 0o700);
    assert_eq!(mode("state/entra/store.redb"), 0o600);
    let log = audited(&appliance, "entra sync");
    assert_eq!(log[0]["detail"], "all parts");
    assert!(log[0]["who"].to_string().contains("uid"), "{log:?}");
}

#[tokio::test]
async fn a_restart_publishes_what_was_known_before_anybody_is_asked() {
    let lab = Entra::start().await;
    let mut appliance = appliance(&lab, "").await;
    sync_all(&appliance).await;
    let (before, epoch) = {
        let shown = appliance.get("/v1/entra").await;
        (users(&appliance), shown["epoch"].as_u64())
    };
    assert!(before > Some(0) && epoch.is_some());

    let asked = async || {
        lab.fault(Fault::graph(
            "*",
            Act::Delay {
                milliseconds: 600_000,
            },
        ));
    };
    appliance.restart(asked).await;
    let mut proxy = appliance.proxy().await;
    let sent = loop {
        if let Some(sent) = proxy.next_directory().await {
            break sent;
        }
    };
    assert_eq!(users(&appliance), before);
    assert!(Some(sent.epoch) > epoch, "{} {epoch:?}", sent.epoch);
}

#[tokio::test]
async fn rounds_that_fail_change_nothing() {
    let lab = Entra::start().await;
    let appliance = appliance(&lab, "").await;
    sync_all(&appliance).await;
    let before = users(&appliance);
    lab.edit(|tenant| tenant.user("new@fabrik.example", "New"));
    for act in [
        Act::Truncate { bytes: 100 },
        Act::Graph {
            status: 403,
            code: "Authorization_RequestDenied".to_owned(),
            message: String::new(),
            headers: Vec::new(),
        },
    ] {
        lab.fault(Fault::graph("/v1.0/users/delta*", act));
        let read = sync(&appliance, "users", false).await;
        assert_eq!(read["outcome"], "failed", "{read}");
        assert!(read["finding"]["step"].is_string(), "{read}");
        assert_eq!(users(&appliance), before);
        lab.world().faults.clear();
    }
    let read = sync(&appliance, "users", false).await;
    assert_ne!(read["outcome"], "failed", "{read}");
    until("it is in force", async || users(&appliance) > before).await;
}

#[tokio::test]
async fn what_takes_many_away_is_held_until_somebody_approves() {
    let lab = Entra::start().await;
    let people: Vec<_> = lab.edit(|tenant| {
        let people = (0..60).map(|n| tenant.user(&format!("u{n}@fabrik.example"), "U"));
        people.collect()
    });
    let appliance = appliance(&lab, "").await;
    sync_all(&appliance).await;
    let before = users(&appliance).expect("known");
    lab.edit(|tenant| {
        for one in &people {
            tenant.delete(*one).expect("it is there");
        }
    });
    let read = sync(&appliance, "users", false).await;
    assert_eq!(read["outcome"], "held", "{read}");
    assert_eq!(users(&appliance), Some(before));

    let shown = appliance.get("/v1/entra").await;
    assert_eq!(shown["parts"][0]["state"], "held");
    assert_eq!(shown["state"], "held", "{}", shown["findings"]);
    let held = &shown["parts"][0]["held"];
    assert!(
        held["whys"][0].as_str().expect("why").contains("60"),
        "{held}"
    );
    assert!(
        !held["examples"].as_array().expect("some").is_empty(),
        "{held}"
    );
    until("status warns", async || {
        let status = appliance.get("/v1/status").await;
        status["warnings"].to_string().contains("`weir entra`")
    })
    .await;

    let digest = held["digest"].as_str().expect("a digest");
    for wrong in ["", "00000000", &digest[..4]] {
        let (status, said) = post(&appliance, "approve", json!({ "digest": wrong })).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{wrong}: {said}");
    }
    let (status, said) = post(&appliance, "approve", json!({ "digest": &digest[..8] })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(
        (&said["part"], &said["digest"]),
        (&json!("users"), &json!(digest))
    );
    until("they are gone", async || {
        users(&appliance) == Some(before - 60)
    })
    .await;
    let log = audited(&appliance, "entra approve");
    let last = log.last().expect("it was noted");
    assert!(
        last["detail"].as_str().expect("words").contains(digest),
        "{last}"
    );
}

#[tokio::test]
async fn without_the_section_there_is_no_tenant_and_a_reload_brings_it_and_takes_it() {
    let lab = Entra::start().await;
    let appliance = crate::world::with("").await;
    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    assert!(
        proxy.next_directory().await.is_none(),
        "an older one of the proxy's ends"
    );
    let (status, said) = appliance.ask(Method::GET, "/v1/entra", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        said["help"].as_str().expect("help").contains("[entra]"),
        "{said}"
    );

    let entra = lab.configuration("parts = [\"users\", \"groups\", \"roles\"]\n");
    reload(&appliance, BEFORE, &format!("{entra}{BEFORE}")).await;
    sync_all(&appliance).await;
    until("it is in force", async || users(&appliance).is_some()).await;
    let shown = appliance.get("/v1/entra").await;
    assert_eq!(shown["parts"].as_array().map(Vec::len), Some(3));

    // Other parts: closed, and opened anew.
    reload(
        &appliance,
        "[\"users\", \"groups\", \"roles\"]",
        "[\"users\", \"groups\"]",
    )
    .await;
    until("it follows", async || {
        let shown = appliance.get("/v1/entra").await;
        shown["parts"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    assert!(
        users(&appliance).is_some(),
        "what is known stays in force meanwhile"
    );

    let config = appliance.read("weir.toml");
    let from = config.find("[entra]").expect("it is there");
    let to = config.find(BEFORE).expect("it is there");
    reload(&appliance, &config[from..to], "").await;
    until("it is withdrawn", async || {
        appliance.brain.directory().is_none()
    })
    .await;
    loop {
        if proxy.next_directory().await.is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_said_and_tried_again() {
    let lab = Entra::start().await;
    let appliance = crate::world::with("").await;
    appliance.write("state/entra", "no directory");
    reload(
        &appliance,
        BEFORE,
        &format!("{}{BEFORE}", lab.configuration("")),
    )
    .await;
    until("it is said", async || {
        reasons(&appliance.get("/v1/entra").await).contains(&"not-begun".to_owned())
    })
    .await;
    let (status, said) = post(&appliance, "sync", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    let status = appliance.get("/v1/status").await;
    assert!(
        status["warnings"]
            .to_string()
            .contains("THE TENANT IS NOT SYNCHRONISED"),
        "{status}"
    );
    std::fs::remove_file(appliance.path("state/entra")).expect("removed");
    until("it begins", async || appliance.brain.tenant().is_some()).await;
}
