//! Editing list files: what a person wrote stays.

use ipnet::IpNet;
use weir_tables::edit::{Edit, add, remove};

const FILE: &str = "# head office\n10.0.0.0/8  # old\n\n# branch\n203.0.113.0/24\n";

#[test]
fn a_prefix_is_added_at_the_end_with_its_comment() {
    assert_eq!(
        add(FILE, net("198.51.100.0/24"), Some("partner,\nasked by Ann")),
        Edit::Changed(format!("{FILE}198.51.100.0/24  # partner, asked by Ann\n"))
    );
    assert_eq!(
        add("", net("2001:db8::1/128"), None),
        Edit::Changed("2001:db8::1\n".to_owned())
    );
}

#[test]
fn the_last_line_and_the_line_ends_are_respected() {
    assert_eq!(
        add("10.0.0.0/8\r\n11.0.0.0/8", net("12.0.0.0/8"), Some(" ")),
        Edit::Changed("10.0.0.0/8\r\n11.0.0.0/8\r\n12.0.0.0/8\r\n".to_owned())
    );
    assert_eq!(
        add("\u{feff}10.0.0.0/8", net("12.0.0.0/8"), None),
        Edit::Changed("\u{feff}10.0.0.0/8\n12.0.0.0/8\n".to_owned())
    );
}

#[test]
fn what_is_there_is_not_added_again_however_it_is_written() {
    assert_eq!(
        add("10.1.2.3/8\n", net("10.0.0.0/8"), None),
        Edit::Present { line: 1 }
    );
    assert_eq!(
        add("# x\n::ffff:192.0.2.1\n", net("192.0.2.1/32"), None),
        Edit::Present { line: 2 }
    );
    assert_eq!(
        add(FILE, net("::ffff:203.0.113.0/120"), None),
        Edit::Present { line: 5 }
    );
}

#[test]
fn a_prefix_is_removed_and_the_rest_stays() {
    assert_eq!(
        remove(FILE, net("10.0.0.0/8")),
        Edit::Changed("# head office\n\n# branch\n203.0.113.0/24\n".to_owned())
    );
    assert_eq!(
        remove(
            "\u{feff}10.1.0.0/8\r\nnonsense\r\n10.0.0.0/8",
            net("10.0.0.0/8")
        ),
        Edit::Changed("\u{feff}nonsense\r\n".to_owned())
    );
}

#[test]
fn removing_what_is_not_there_names_what_covers_it() {
    let nested = "10.0.0.0/8\n10.1.0.0/16\n";
    assert_eq!(
        remove(nested, net("10.1.2.0/24")),
        Edit::Absent {
            covered_by: Some((net("10.1.0.0/16"), 2))
        }
    );
    assert_eq!(
        remove(nested, net("192.0.2.0/24")),
        Edit::Absent { covered_by: None }
    );
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}
