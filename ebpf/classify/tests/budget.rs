//! What a source may begin, and when again.

use weir_abi::{Budget, Class, Config, Verdict};
use weir_classify::budget::{BUCKETS, ROWS, spend};
use weir_classify::{NoSockets, Outcome, Side, classify};
use weir_fixtures::frame::{ACK, RST, SYN, Segment, frame};
use weir_fixtures::{ADFS_V4, Memory, STS_V4, source};

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_source_begins_some_at_once_and_then_one_at_a_time() {
    let budget = Budget::new(10, 5);
    let mut word = 0;
    let mut begin = |now| (0..100).filter(|_| spend(&mut word, now, budget)).count();
    assert_eq!(begin(7 * SECOND), 5);
    assert_eq!(begin(7 * SECOND + SECOND / 10), 1);
    assert_eq!(begin(7 * SECOND + SECOND / 10), 0);
    assert_eq!(begin(7 * SECOND + SECOND / 2), 4);
    // What was not used is kept, but no more than five of it.
    assert_eq!(begin(100 * SECOND), 5);
    // A clock that stands still a little gives nothing, and takes nothing.
    assert_eq!(begin(100 * SECOND - 1), 0);
}

#[test]
fn connections_are_what_costs() {
    let config = Config {
        proxied: Budget::new(1, 1),
        forwarded: Budget::new(2, 2),
        ..Config::default()
    };
    for (class, flags, budget) in [
        (Class::Unmanaged, SYN, Some(config.proxied)),
        (Class::Managed, SYN, Some(config.forwarded)),
        (Class::Managed, SYN | RST, Some(config.forwarded)),
        (Class::Managed, ACK, None),
        (Class::Managed, SYN | ACK, None),
        (Class::Managed, RST, None),
        (Class::Blocked, SYN, None),
    ] {
        assert_eq!(
            judge(class, flags).0.budget(&config),
            budget,
            "{class:?} {flags:#x}"
        );
        assert_eq!(
            judge(class, flags).0.budget(&Config::default()),
            None,
            "no bound"
        );
    }
    // A refused source has its resets bounded.
    let segment = Segment::new(40000, 443).between(source(Class::Relay, false), ADFS_V4.into());
    let outcome = classify(
        frame(&segment).as_slice(),
        Side::Outside,
        &Memory::default(),
        &NoSockets,
    );
    let outcome = outcome.expect("a service's packet");
    assert_eq!(outcome.verdict, Verdict::Reject);
    assert_eq!(outcome.budget(&config), None);
}

#[test]
fn sources_spread_over_both_rows() {
    let (outcome, packet) = judge(Class::Managed, SYN);
    let mut seen = [vec![0_u32; BUCKETS as usize], vec![0; BUCKETS as usize]];
    for host in 0..BUCKETS {
        let mut packet = packet.clone();
        packet[26..30].copy_from_slice(&(0x0a00_0000 + host).to_be_bytes());
        let [one, other] = outcome
            .buckets(packet.as_slice(), [1, 2])
            .expect("a source");
        assert!(one < BUCKETS && (BUCKETS..ROWS * BUCKETS).contains(&other));
        seen[0][one as usize] += 1;
        seen[1][(other - BUCKETS) as usize] += 1;
    }
    for row in seen {
        // As many sources as words: thrown at random, 63 of 100 words are met, the fullest some ten times.
        let met = row.iter().filter(|sources| **sources > 0).count();
        assert!((40_000..43_000).contains(&met), "{met}");
        assert!(row.iter().all(|sources| *sources < 14));
    }
    let of = |seed| outcome.buckets(packet.as_slice(), seed).expect("a source");
    assert_ne!(
        of([1, 2]),
        of([1, 3]),
        "who floods cannot choose whom it meets"
    );
}

fn judge(class: Class, flags: u8) -> (Outcome, Vec<u8>) {
    let segment = Segment::new(40000, 443).flags(flags);
    let packet = frame(&segment.between(source(class, false), STS_V4.into()));
    let outcome = classify(
        packet.as_slice(),
        Side::Outside,
        &Memory::default(),
        &NoSockets,
    );
    (outcome.expect("a service's packet"), packet)
}
