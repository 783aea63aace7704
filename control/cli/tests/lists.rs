//! Lists that are fetched, on the command line: what is shown, fetched anew, and approved.

mod common;

use common::{text, told, weir};
use weir_control::testing::{Appliance, Publisher, Settings, prefixes};

#[tokio::test]
async fn lists_are_fetched_shown_and_approved() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb", 200, &prefixes(30));
    let appliance = Appliance::start_with(Settings {
        edits: vec![(
            "prefixes = [\"198.51.100.128/25\"]",
            publisher.list("/casb"),
        )],
        ..Settings::default()
    })
    .await;
    let shown = weir(&appliance, &["lists", "refresh", "casb"]).await;
    assert_eq!(shown.status.code(), Some(0), "{}", told(&shown));
    let shown = text(&shown);
    assert!(shown.contains(&publisher.url("/casb")), "{shown}");
    assert!(shown.contains("casb: fetched "), "{shown}");

    publisher.answer("/casb", 200, &prefixes(2));
    let held = text(&weir(&appliance, &["lists", "refresh", "casb"]).await);
    let lines: Vec<&str> = held.lines().collect();
    for part in [
        "held since",
        "% of its IPv4 addresses would go",
        "  - 203.0.113.16/29",
        "  - and 8 more go",
    ] {
        assert!(held.contains(part), "{part}: {held}");
    }
    let command = lines.last().expect("what to do").trim();
    assert!(command.starts_with("weir lists approve casb "), "{held}");
    let status = weir(&appliance, &["status"]).await;
    assert_eq!(status.status.code(), Some(1));
    // Long lines are folded.
    let told_there = text(&status);
    let words: Vec<&str> = told_there.split_whitespace().collect();
    assert!(words.join(" ").contains(command), "{told_there}");

    let wrong = weir(&appliance, &["lists", "approve", "casb", "00000000"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(told(&wrong).contains("is not 00000000"), "{}", told(&wrong));
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let approved = weir(&appliance, &words).await;
    assert_eq!(approved.status.code(), Some(0), "{}", told(&approved));
    assert!(!text(&approved).contains("held"), "{}", text(&approved));

    publisher.stop();
    let failed = weir(&appliance, &["lists", "refresh", "casb"]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        told(&failed).contains("cannot be reached"),
        "{}",
        told(&failed)
    );
    let shown = text(&weir(&appliance, &["lists", "show", "casb"]).await);
    assert!(shown.contains("casb: fails since"), "{shown}");
    let local = weir(&appliance, &["lists", "refresh", "hq-egress"]).await;
    assert!(told(&local).contains("is not fetched"), "{}", told(&local));
}
