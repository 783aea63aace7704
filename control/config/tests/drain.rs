//! `drain_window` in `[kernel]` and `cut` in `[[list]]`: what arrives, and what is said about mistakes.

mod common;

use std::time::Duration;

use common::{FULL, Site, with};

#[test]
fn flows_drain_for_a_while_or_not_at_all() {
    let site = Site::new();
    let window = |text: &str| Some(site.load(text).ok()?.config.kernel.drain_window);
    assert_eq!(window(FULL), Some(Duration::from_hours(1)));
    for (written, read) in [
        ("0s", Duration::ZERO),
        ("90s", Duration::from_secs(90)),
        ("24h", Duration::from_hours(24)),
    ] {
        let line = format!("table = 5745\ndrain_window = \"{written}\"");
        assert_eq!(window(&with("table = 5745", &line)), Some(read));
    }
    let said = site.said(&with("table = 5745", "drain_window = \"25h\""));
    assert!(said.contains("`25h` is too long"), "{said}");
}

#[test]
fn only_a_list_that_blocks_may_cut() {
    let site = Site::new();
    let cuts = |text: &str| -> Option<Vec<bool>> {
        let lists = site.load(text).ok()?.config.lists;
        Some(lists.iter().map(|list| list.cut).collect())
    };
    let none = cuts(FULL).expect("a whole configuration");
    assert!(!none.contains(&true));
    let blocked = with("scope = \"web\"", "cut = true");
    let said = site.said(&blocked);
    assert!(said.contains("a bypass list cannot end flows"), "{said}");
    let blocked = blocked.replace("class = \"bypass\"\ncut", "class = \"blocked\"\ncut");
    let some = cuts(&blocked).expect("a whole configuration");
    assert_eq!(some.iter().filter(|cut| **cut).count(), 1);
}
