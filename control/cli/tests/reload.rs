//! `weir reload --dry-run` and `--confirm`, `weir confirm`, `weir undo`, against a running appliance.

mod common;

use common::{text, told, weir};
use weir_control::testing::Appliance;

#[tokio::test]
async fn a_dry_run_shows_what_would_change() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let same = weir(&appliance, &["reload", "--dry-run"]).await;
    assert_eq!(same.status.code(), Some(0), "{}", told(&same));
    assert!(
        text(&same).contains("nothing would change"),
        "{}",
        text(&same)
    );
    let new = appliance
        .read("weir.toml")
        .replace("ports = [443]\n", "ports = [443, 8443]\n")
        .replace("[\"198.51.100.66/32\"]", "[\"198.51.100.67/32\"]")
        + "[[rule]]\nname = \"finance\"\nwhen = { class = \"unmanaged\" }\n\
           then = { decision = \"block\", reason = \"no\" }\n";
    appliance.write("weir.toml", &new);

    let shown = weir(&appliance, &["reload", "--dry-run"]).await;

    assert_eq!(shown.status.code(), Some(0), "{}", told(&shown));
    for line in [
        "~  service   sts              ports",
        "+  listener  192.0.2.10:8443",
        "~  list      bad-people       entries: 1 added, 1 removed",
        "+  rule      finance",
        "the configuration is valid; generation 1 stays in force",
    ] {
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let found = text(&shown).lines().any(|one| words(one) == words(line));
        assert!(found, "{line}: {}", text(&shown));
    }
}

#[tokio::test]
async fn a_reload_is_confirmed_or_taken_back() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    for verb in ["confirm", "undo"] {
        let nothing = weir(&appliance, &[verb]).await;
        assert_eq!(nothing.status.code(), Some(1), "{verb}: {}", text(&nothing));
        assert!(told(&nothing).contains("help: "), "{}", told(&nothing));
    }
    let wrong = weir(&appliance, &["reload", "--confirm", "60"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(told(&wrong).contains("such as 60s"), "{}", told(&wrong));

    let old = appliance.read("weir.toml");
    let new = old.replace("managed = \"forward\"", "managed = \"proxy\"");
    appliance.write("weir.toml", &new);
    let reloaded = weir(&appliance, &["reload", "--confirm", "1h"]).await;
    assert_eq!(reloaded.status.code(), Some(0), "{}", told(&reloaded));
    assert!(text(&reloaded).contains("without that generation 1 is put back"));
    let status = weir(&appliance, &["status"]).await;
    assert_eq!(status.status.code(), Some(1));
    assert!(
        text(&status).contains("generation 2 is to be confirmed"),
        "{}",
        text(&status)
    );
    let confirmed = weir(&appliance, &["confirm"]).await;
    assert!(
        text(&confirmed).contains("generation 2 is confirmed"),
        "{}",
        text(&confirmed)
    );

    let undone = weir(&appliance, &["undo"]).await;
    assert_eq!(undone.status.code(), Some(0), "{}", told(&undone));
    assert!(
        text(&undone).contains("the file on disk was not changed"),
        "{}",
        text(&undone)
    );
    let status = weir(&appliance, &["status"]).await;
    assert!(text(&status).contains("ROLLED BACK"), "{}", text(&status));
}
