//! List files as people write them.

use ipnet::IpNet;
use proptest::prelude::*;
use weir_tables::{Parsed, Severity, parse, parse_prefix};

#[test]
fn a_list_file() {
    let text = "\u{feff}# egress of the head office\r\n\
                \r\n\
                203.0.113.0/24\r\n\
                \t2001:db8:7::/48   # branch\r\n\
                198.51.100.7\r\n\
                2001:DB8::1#x";
    let parsed = parse(text, "hq.list");
    assert_eq!(parsed.problems, []);
    assert_eq!(
        written(&parsed),
        [
            "203.0.113.0/24",
            "2001:db8:7::/48",
            "198.51.100.7/32",
            "2001:db8::1/128"
        ]
    );
}

#[test]
fn what_is_read_in_another_way_is_said() {
    let text = "10.1.2.3/8\n\
                ::ffff:203.0.113.5\n\
                ::ffff:203.0.113.0/120  # becomes 203.0.113.0/24\n\
                10.0.0.0/8\n\
                2001:db8::1/32\n\
                0.0.0.0/0\n";
    let parsed = parse(text, "hq.list");
    assert!(parsed.is_usable());
    assert_eq!(
        written(&parsed),
        [
            "10.0.0.0/8",
            "203.0.113.5/32",
            "203.0.113.0/24",
            "2001:db8::/32",
            "0.0.0.0/0"
        ]
    );
    assert_eq!(
        said(&parsed),
        [
            "1:1 warning: `10.1.2.3/8` has bits set after its length | read as `10.0.0.0/8`; \
             write that, or `10.1.2.3` for the one address",
            "1:1 note: `10.0.0.0/8` is covered by `0.0.0.0/0` on line 6 | it changes nothing on \
             this list",
            "2:1 note: IPv4 written as IPv6 | read as `203.0.113.5`",
            "2:1 note: `203.0.113.5` is covered by `0.0.0.0/0` on line 6 | it changes nothing on \
             this list",
            "3:1 note: IPv4 written as IPv6 | read as `203.0.113.0/24`",
            "3:1 note: `203.0.113.0/24` is covered by `0.0.0.0/0` on line 6 | it changes nothing \
             on this list",
            "4:1 note: `10.0.0.0/8` is on line 1 already | kept once",
            "5:1 warning: `2001:db8::1/32` has bits set after its length | read as \
             `2001:db8::/32`; write that, or `2001:db8::1` for the one address",
            "6:1 warning: this prefix holds every IPv4 source | remove it, unless everyone on the \
             Internet belongs on this list",
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of mistakes")]
fn every_bad_line_is_named_with_its_column_and_the_fix() {
    for (line, column, message, help) in [
        (
            "10.0.0.0/255.0.0.0",
            10,
            "`255.0.0.0` is a netmask, not a prefix length",
            "write `10.0.0.0/8`",
        ),
        (
            "10.0.0.0 255.255.0.0",
            10,
            "`255.255.0.0` is a netmask, not a prefix length",
            "write `10.0.0.0/16`",
        ),
        (
            "10.0.0.0/0.0.255.255",
            10,
            "`0.0.255.255` is a wildcard mask, not a prefix length",
            "write `10.0.0.0/16`",
        ),
        (
            "10.0.0.0/255.0.255.0",
            10,
            "`255.0.255.0` is no prefix length, and no netmask either",
            "its bits are not contiguous; write `10.0.0.0/LENGTH`",
        ),
        (
            "  10.010.0.0/16",
            6,
            "`010` has a leading zero: some programs read it as octal",
            "write `10`, or `8` if octal was meant",
        ),
        (
            "010.1.1.1",
            1,
            "`010` has a leading zero: some programs read it as octal",
            "write `10`, or `8` if octal was meant",
        ),
        (
            "10.0.256.1",
            6,
            "`256` is above 255",
            "an IPv4 address has four numbers from 0 to 255",
        ),
        (
            "203.0.113.0/33",
            13,
            "/33 is too long: an IPv4 prefix has at most 32 bits",
            "write `203.0.113.0/32` for the one address, or a length below 32",
        ),
        (
            "2001:db8::/129",
            12,
            "/129 is too long: an IPv6 prefix has at most 128 bits",
            "write `2001:db8::/128` for the one address, or a length below 128",
        ),
        (
            "10.0.0.0/08",
            10,
            "a prefix length has no leading zero",
            "write `10.0.0.0/8`",
        ),
        (
            "10.0.0.0/x",
            10,
            "`x` is no prefix length",
            "write a number from 0 to 32 after the slash",
        ),
        (
            "10.0.0.0 / 8",
            9,
            "spaces round the slash",
            "write `10.0.0.0/8`",
        ),
        (
            "10.0.0.0/ 8 # hq",
            9,
            "spaces round the slash",
            "write `10.0.0.0/8`",
        ),
        (
            "10.0.0.0\\8",
            9,
            "`\\` instead of `/`",
            "write `10.0.0.0/8`",
        ),
        (
            "10.0.0.0/8,",
            11,
            "`,` after the prefix",
            "write `10.0.0.0/8`: each prefix stands on a line of its own",
        ),
        (
            "10.0.0.0/",
            9,
            "`/` after the prefix",
            "write `10.0.0.0` for the one address, or the length after the slash",
        ),
        (
            "10.0.0.0/8, 11.0.0.0/8",
            13,
            "2 prefixes on one line",
            "write each on its own line: `10.0.0.0/8` `11.0.0.0/8`",
        ),
        (
            "10.0.0.0/8 head office",
            12,
            "`head office` after the prefix",
            "if it is a comment, write `10.0.0.0/8 # head office`",
        ),
        (
            "1.10.16.0/20 ; SBL256894",
            14,
            "`;` does not begin a comment",
            "comments begin with `#`: write `1.10.16.0/20 # SBL256894`",
        ),
        (
            "10.0.0.0/8 // hq",
            12,
            "`//` does not begin a comment",
            "comments begin with `#`: write `10.0.0.0/8 # hq`",
        ),
        (
            "203.0.113.0-203.0.113.255",
            1,
            "a list holds prefixes, not ranges",
            "write `203.0.113.0/24`",
        ),
        (
            "203.0.113.10 - 203.0.113.13",
            1,
            "a list holds prefixes, not ranges",
            "write these, each on its own line: `203.0.113.10/31` `203.0.113.12/31`",
        ),
        (
            "203.0.113.0-127",
            1,
            "a list holds prefixes, not ranges",
            "write `203.0.113.0/25`",
        ),
        (
            "203.0.113.9-203.0.113.1",
            1,
            "a list holds prefixes, not ranges",
            "the range ends before it begins: 203.0.113.1 is below 203.0.113.9",
        ),
        (
            "0.0.0.1-255.255.255.254",
            1,
            "a list holds prefixes, not ranges",
            "this range takes more than 8 prefixes, from `0.0.0.1/32` on; is there a wider one \
             that fits?",
        ),
        ("10.0.*.*", 1, "a prefix has no `*`", "write `10.0.0.0/16`"),
        (
            "10/8",
            1,
            "an IPv4 address has four numbers, this has 1",
            "write `10.0.0.0/8`",
        ),
        (
            "192.168.1",
            1,
            "an IPv4 address has four numbers, this has 3",
            "write `192.168.1.0/24`",
        ),
        (
            "[2001:db8::]/32",
            1,
            "`[` does not belong in a prefix",
            "write `2001:db8::/32`",
        ),
        (
            "[2001:db8::1]:443",
            1,
            "`[` does not belong in a prefix",
            "write `2001:db8::1`",
        ),
        (
            "\"10.0.0.0/8\",",
            1,
            "`\"` does not belong in a prefix",
            "write `10.0.0.0/8`",
        ),
        (
            "203.0.113.5:443",
            12,
            "a list holds sources, and their ports change",
            "write `203.0.113.5`",
        ),
        ("fe80::1%eth0", 8, "a source has no zone", "write `fe80::1`"),
        (
            "::ffff:10.0.0.0/24",
            17,
            "/24 is shorter than the 96 bits that make it IPv4-mapped",
            "write `10.0.0.0/24`, which in IPv6 is `::ffff:10.0.0.0/120`",
        ),
        (
            "10.0.0.0\u{2013}10.0.0.255",
            9,
            "the character U+2013 does not belong in a prefix",
            "retype the line; the character came from copying",
        ),
        (
            "10.0.0\u{200b}.0/8",
            7,
            "the character U+200B does not belong in a prefix",
            "write `10.0.0.0/8`",
        ),
        (
            "vpn.corp.example",
            1,
            "`vpn.corp.example` is a host name, not an address",
            "lists hold addresses and prefixes: write the address itself, such as `203.0.113.5`",
        ),
        (
            "hello",
            1,
            "`hello` is neither an address nor a prefix",
            "write an address (`203.0.113.5`, `2001:db8::1`) or a prefix (`203.0.113.0/24`, \
             `2001:db8::/32`)",
        ),
    ] {
        let parsed = parse(&format!("192.0.2.1\n{line}\n192.0.2.2\n"), "hq.list");
        assert!(!parsed.is_usable(), "{line}");
        assert_eq!(parsed.prefixes.len(), 2, "the other lines are read: {line}");
        assert_eq!(
            said(&parsed),
            [format!("2:{column} error: {message} | {help}")],
            "{line}"
        );
    }
}

#[test]
fn a_problem_marks_what_it_is_about() {
    let parsed = parse("\t10.0.0.0/255.0.0.0  # hq\n", "lists/hq.list");
    let problem = &parsed.problems[0];
    assert_eq!(problem.file, "lists/hq.list");
    assert_eq!(problem.text, "\t10.0.0.0/255.0.0.0  # hq");
    assert_eq!((problem.column, problem.length), (11, "255.0.0.0".len()));
}

#[test]
fn what_covers_is_named_wherever_it_stands() {
    let parsed = parse(
        "10.0.0.0/16\n10.0.0.0/8\n10.0.0.1\n2001:db8::/32\n10.1.0.0/16",
        "l",
    );
    assert_eq!(
        said(&parsed),
        [
            "1:1 note: `10.0.0.0/16` is covered by `10.0.0.0/8` on line 2 | it changes nothing \
             on this list",
            "3:1 note: `10.0.0.1` is covered by `10.0.0.0/8` on line 2 | it changes nothing on \
             this list",
            "5:1 note: `10.1.0.0/16` is covered by `10.0.0.0/8` on line 2 | it changes nothing \
             on this list",
        ]
    );
}

#[test]
fn many_problems_are_counted_not_listed() {
    let text = "bad\n".repeat(1000) + &"192.0.2.1\n".repeat(400);
    let parsed = parse(&text, "l");
    assert_eq!(parsed.problems.len(), 100 + 100 + 2);
    let last: Vec<&str> = parsed
        .problems
        .iter()
        .filter(|p| p.line == 0)
        .map(|p| p.message.as_str())
        .collect();
    assert_eq!(
        last,
        [
            "900 more errors in this file",
            "299 more notes in this file"
        ]
    );
}

#[test]
fn a_very_long_line_gives_a_short_message() {
    let parsed = parse(&"1".repeat(100_000), "l");
    let problem = &parsed.problems[0];
    assert_eq!(problem.message, "a line of 100000 characters is no prefix");
    assert!(problem.text.len() <= 200);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_text_panics(text in "(?s).{0,80}") {
        use_parsed(&text);
    }

    #[test]
    fn nothing_that_looks_like_a_prefix_panics(text in "[0-9a-f:./ ,;#*%\\[\\]\r\n-]{0,60}") {
        use_parsed(&text);
    }

    #[test]
    fn what_is_written_is_read(bits in any::<u32>(), length in 0u8..=32) {
        let net = IpNet::new(std::net::Ipv4Addr::from_bits(bits).into(), length).expect("a length");
        let entry = parse_prefix(&net.to_string()).expect("a prefix");
        prop_assert_eq!(entry.prefix, net.trunc());
        prop_assert_eq!(entry.host_bits, net != net.trunc());
        let mapped = format!("::ffff:{}/{}", net.addr(), length + 96);
        prop_assert_eq!(parse_prefix(&mapped).expect("a prefix").prefix, net.trunc());
    }
}

fn use_parsed(text: &str) {
    let parsed = parse(text, "l");
    for problem in parsed.problems.iter().filter(|problem| problem.line > 0) {
        assert!(problem.column >= 1 && problem.length >= 1);
        assert!(!problem.message.is_empty() && !problem.help.is_empty());
    }
    assert!(
        parsed
            .prefixes
            .iter()
            .all(|prefix| *prefix == prefix.trunc())
    );
}

fn written(parsed: &Parsed) -> Vec<String> {
    parsed.prefixes.iter().map(ToString::to_string).collect()
}

fn said(parsed: &Parsed) -> Vec<String> {
    let problems = parsed.problems.iter();
    problems
        .map(|problem| {
            let severity = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            let (line, column) = (problem.line, problem.column);
            format!(
                "{line}:{column} {severity}: {} | {}",
                problem.message, problem.help
            )
        })
        .collect()
}
