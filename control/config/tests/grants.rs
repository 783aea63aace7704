//! `[grants]`: what arrives, and what is said about mistakes.

mod common;

use std::time::Duration;

use common::{FULL, Site, with};

fn with_grants(lines: &str) -> String {
    with("[kernel]", &format!("[grants]\n{lines}\n\n[kernel]"))
}

#[test]
fn pools_and_the_look_back_arrive() {
    let site = Site::new();
    let text =
        with_grants("single_user = [\"10.20.0.0/16\", \"2001:db8:77::/48\"]\nlook_back = \"8h\"");
    let grants = site.load(&text).expect("a good file").config.grants;
    let prefixes: Vec<String> = grants.single_user.iter().map(ToString::to_string).collect();
    assert_eq!(prefixes, ["10.20.0.0/16", "2001:db8:77::/48"]);
    assert_eq!(grants.look_back, Duration::from_hours(8));

    let without = site.load(FULL).expect("a good file").config.grants;
    assert!(without.single_user.is_empty(), "nobody's path is opened");
    assert_eq!(without.look_back, Duration::from_hours(12));
}

#[test]
fn everybody_is_nobody() {
    let site = Site::new();
    for prefix in ["0.0.0.0/0", "::/0", "203.0.113.7/0"] {
        let text = with_grants(&format!("single_user = [\"{prefix}\"]"));
        let said = site.said(&text);
        let expected = "not every address on the Internet belongs to one person";
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.matches(prefix).count(), 1, "said once: {said}");
    }
}

#[test]
fn wide_ranges_are_warned_of() {
    let site = Site::new();
    for (prefix, wide) in [
        ("10.0.0.0/8", true),
        ("10.20.0.0/16", false),
        ("2001::/16", true),
        ("2001:db8::/32", false),
    ] {
        let text = with_grants(&format!("single_user = [\"{prefix}\"]"));
        let loaded = site.load(&text).expect("a good file");
        let said = site.plain(&loaded.warnings);
        assert_eq!(said.contains("is a wide range"), wide, "{prefix}: {said}");
    }
}

#[test]
fn a_short_look_back_is_refused() {
    let site = Site::new();
    for written in ["59m", "169h", "soon"] {
        let text = with_grants(&format!("look_back = \"{written}\""));
        let said = site.said(&text);
        assert!(said.contains(written), "{said}");
    }
}
