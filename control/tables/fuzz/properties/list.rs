//! What holds for every list file and every edit of it. The input is a line with a prefix, and then the
//! text of the file.

use std::collections::HashSet;

use ipnet::IpNet;
use weir_tables::edit::{self, Edit};
use weir_tables::{Parsed, parse, parse_prefix};

/// Every text is read with each problem at a place of the text; an edit does what it says, and leaves
/// the rest as it was.
pub fn check(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let (first, text) = input.split_once('\n').unwrap_or((&input, ""));
    let parsed = parse(text, "list");
    problems(text, &parsed);
    let unique: HashSet<IpNet> = parsed.prefixes.iter().copied().collect();
    assert_eq!(unique.len(), parsed.prefixes.len(), "a prefix stands twice");
    for prefix in &parsed.prefixes {
        normal(*prefix);
        // What is printed is read as the same again.
        let again = parse_prefix(&prefix.to_string()).map(|entry| entry.prefix);
        assert_eq!(again, Ok(*prefix));
    }
    let Ok(entry) = parse_prefix(first) else {
        return;
    };
    normal(entry.prefix);
    add(text, &parsed, entry.prefix);
    remove(text, &parsed, entry.prefix);
}

fn add(text: &str, before: &Parsed, prefix: IpNet) {
    let comment = text.get(..text.len().min(40));
    match edit::add(text, prefix, comment) {
        Edit::Changed(edited) => {
            assert!(!before.prefixes.contains(&prefix));
            assert!(
                edited.starts_with(text),
                "an addition changes what was there"
            );
            let after = parse(&edited, "list");
            let expected: Vec<IpNet> = before.prefixes.iter().copied().chain([prefix]).collect();
            assert_eq!(after.prefixes, expected);
            assert_eq!(after.is_usable(), before.is_usable());
            // And it can be taken back.
            let Edit::Changed(back) = edit::remove(&edited, prefix) else {
                panic!("what was added cannot be removed");
            };
            assert_eq!(parse(&back, "list").prefixes, before.prefixes);
        }
        Edit::Present { line } => {
            assert!(before.prefixes.contains(&prefix));
            assert!((1..=lines(text)).contains(&line));
        }
        Edit::Absent { .. } => panic!("an addition says that something is absent"),
    }
}

fn remove(text: &str, before: &Parsed, prefix: IpNet) {
    match edit::remove(text, prefix) {
        Edit::Changed(edited) => {
            assert!(before.prefixes.contains(&prefix));
            let after = parse(&edited, "list");
            let mut expected = before.prefixes.clone();
            expected.retain(|kept| *kept != prefix);
            assert_eq!(after.prefixes, expected);
        }
        Edit::Absent { covered_by } => {
            assert!(!before.prefixes.contains(&prefix));
            if let Some((outer, line)) = covered_by {
                assert!(outer.contains(&prefix) && before.prefixes.contains(&outer));
                assert!((1..=lines(text)).contains(&line));
            }
        }
        Edit::Present { .. } => panic!("a removal says that something is present"),
    }
}

/// Problems point into the text and are bounded in number and size.
fn problems(text: &str, parsed: &Parsed) {
    let lines = lines(text);
    assert!(parsed.problems.len() <= 3 * 101);
    for problem in &parsed.problems {
        assert!(problem.line <= lines, "{problem:?} of {lines} lines");
        assert!(!problem.message.is_empty());
        assert!(problem.text.chars().count() <= 200, "{problem:?}");
        assert!(
            problem.message.len() + problem.help.len() < 4096,
            "a message repeats {} bytes",
            problem.message.len() + problem.help.len()
        );
    }
}

/// No host bits, and no IPv4 in the clothes of IPv6.
fn normal(prefix: IpNet) {
    assert_eq!(prefix, prefix.trunc());
    if let IpNet::V6(net) = prefix {
        assert!(net.prefix_len() < 96 || net.network().to_ipv4_mapped().is_none());
    }
}

fn lines(text: &str) -> usize {
    text.split('\n').count()
}
