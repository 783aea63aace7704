//! Grants on the command line: what is shown, taken away, and given back.

mod common;

use common::{text, told, weir};
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{Appliance, FakeProxy, Settings, earn};

const ALICE: &str = "00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-00000000000a";

#[tokio::test]
async fn grants_are_shown_taken_and_given_back() {
    let appliance = Appliance::start_with(Settings {
        edits: weir_control::testing::grants().into(),
        ..Settings::default()
    })
    .await;
    let nothing = weir(&appliance, &["grants"]).await;
    assert_eq!(text(&nothing), "no address is granted anything\n");
    let status = text(&weir(&appliance, &["status"]).await);
    assert!(!status.contains("grants"), "{status}");

    let proxy = appliance.proxy().await;
    for source in ["10.20.0.7", "198.51.100.7"] {
        sign_in(&appliance, &proxy, source).await;
    }
    let shown = text(&weir(&appliance, &["grants"]).await);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("ADDRESS"), "{shown}");
    assert!(
        lines[1].starts_with("10.20.0.7") && lines[1].ends_with(ALICE),
        "{shown}"
    );
    assert!(
        lines[1].contains("managed") && lines[1].contains("yes"),
        "{shown}"
    );
    assert!(
        lines[2].starts_with("198.51.100.7") && lines[2].contains("no"),
        "{shown}"
    );
    assert!(lines[3].contains("no `single_user` prefix"), "{shown}");
    let status = text(&weir(&appliance, &["status"]).await);
    assert!(
        status.contains("2 live, 1 of them in the kernel"),
        "{status}"
    );
    let explained = text(&weir(&appliance, &["explain", "10.20.0.7"]).await);
    assert!(explained.contains("managed, on no list"), "{explained}");
    assert!(
        explained.contains("UTC, earned by") && explained.contains(ALICE),
        "{explained}"
    );
    let json = weir(&appliance, &["grants", "--json"]).await;
    let json: weir_api::grants::Grants = serde_json::from_str(&text(&json)).expect("the answer");
    assert_eq!(json.grants.len(), 2);

    let taken = weir(&appliance, &["grants", "revoke", "10.20.0.7"]).await;
    let expected = "managed of 10.20.0.7 ended, and what went on by it is cut\n";
    assert_eq!(
        (taken.status.code(), text(&taken).as_str()),
        (Some(0), expected)
    );
    let again = weir(&appliance, &["grants", "revoke", "10.20.0.7"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(
        told(&again).contains("`weir grants` shows all grants"),
        "{}",
        told(&again)
    );
    let all = weir(&appliance, &["grants", "revoke", "--principal", ALICE]).await;
    assert!(text(&all).contains("198.51.100.7 ended"), "{}", text(&all));

    let revoked = weir(&appliance, &["revoke", ALICE, "--reason", "laptop stolen"]).await;
    assert_eq!(revoked.status.code(), Some(0), "{}", told(&revoked));
    assert!(text(&revoked).contains("until `weir restore`"));
    let shown = text(&weir(&appliance, &["grants"]).await);
    assert!(shown.contains(&format!("revoked {ALICE}")) && shown.contains("laptop stolen"));
    let restored = weir(&appliance, &["restore", ALICE]).await;
    assert_eq!(text(&restored), "its next sign-in may earn a grant\n");
    let changes = text(&weir(&appliance, &["events", "--kind", "change"]).await);
    for action in ["grants revoke", "revoke", "restore"] {
        assert!(changes.contains(action), "{changes}");
    }
}

#[tokio::test]
async fn what_is_no_principal_is_said_with_an_example() {
    let appliance = Appliance::start().await;
    for arguments in [
        ["revoke", "alice", "--reason", "left"].as_slice(),
        &["restore", "alice@corp.example"],
        &["grants", "revoke", "--principal", "alice"],
    ] {
        let refused = weir(&appliance, arguments).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            told(&refused).contains("TENANT/OBJECT"),
            "{}",
            told(&refused)
        );
    }
    let without = weir(&appliance, &["revoke", ALICE]).await;
    assert_eq!(without.status.code(), Some(2), "a reason is asked for");
}

#[tokio::test]
async fn status_tells_which_prefixes_open_nothing_yet() {
    let appliance = Appliance::start_with(Settings {
        edits: weir_control::testing::grants().into(),
        ..Settings::default()
    });
    let stopped = appliance.await.kill().await;
    // As on a new machine.
    std::fs::remove_file(stopped.path("state/grants.json")).expect("it was written");
    let again = stopped.start(Inherited::default()).await;
    let appliance = again.expect("nobody was granted anything");
    let status = text(&weir(&appliance, &["status"]).await);
    let words = "10.20.0.0/16 is watched, and opens nothing before";
    assert!(status.contains(words), "{status}");
}

async fn sign_in(appliance: &Appliance, proxy: &FakeProxy, source: &str) {
    let mut log = appliance
        .lines("/v1/events?follow=true&limit=0&kind=change")
        .await;
    proxy.sign_in(earn('a', source, 600));
    while log.next().await.expect("the grant")["action"] != "grant" {}
}
