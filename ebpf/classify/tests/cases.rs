//! Every crafted packet has the outcome that was written down for it.

mod fixtures;

use fixtures::Memory;
use fixtures::cases::all;
use weir_classify::classify;

#[test]
fn every_case_has_its_outcome() {
    let tables = Memory::default();
    let mut wrong = Vec::new();
    for case in all() {
        let outcome = classify(case.frame.as_slice(), case.side, &tables)
            .map(|o| (o.service, o.class, o.verdict, o.reason));
        if outcome != case.expected {
            wrong.push(format!(
                "{}: {outcome:?}, not {:?}",
                case.name, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_prefix_of_a_packet_is_forwarded_or_panics() {
    // A packet cut anywhere is malformed or nobody's: it never gets the verdict of the whole one.
    let tables = Memory::default();
    for case in all().iter().filter(|case| !case.name.contains("padding")) {
        for end in 0..case.frame.len() {
            let outcome = classify(&case.frame[..end], case.side, &tables);
            let verdict = outcome.map_or(weir_abi::Verdict::Pass, |outcome| outcome.verdict);
            assert_ne!(
                verdict,
                weir_abi::Verdict::Forward,
                "{} cut at {end}",
                case.name
            );
        }
    }
}
