//! However much of a packet can be read without a call, its outcome is the same.

use proptest::prelude::*;
use weir_classify::{
    NoSockets, Outcome, Packet, Settled, Side, classify, find_unusual, judge, settle,
};
use weir_fixtures::Memory;
use weir_fixtures::stories::all;

/// A packet of which the first bytes are at hand.
struct Split<'a> {
    bytes: &'a [u8],
    near: usize,
}

impl Packet for Split<'_> {
    fn len(&self) -> u32 {
        self.bytes.len().try_into().expect("packets are small")
    }

    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.bytes.read(offset)
    }

    fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.bytes[..self.near.min(self.bytes.len())].read(offset)
    }
}

/// As [`classify`], in the steps of the program at tcx.
fn by_steps(packet: &Split<'_>, side: Side, tables: &Memory) -> Option<Outcome> {
    let found = match settle(packet, side, tables) {
        Settled::Judged(outcome, _) => return outcome,
        Settled::Foreign => return None,
        Settled::Found(found) => found,
        Settled::Unusual => find_unusual(packet, side, tables)?,
    };
    judge(packet, side, &found, tables, &NoSockets)
}

#[test]
fn every_case_has_its_outcome_however_little_is_at_hand() {
    let tables = Memory::default();
    for case in all() {
        for near in 0..=case.frame.len() {
            let packet = Split {
                bytes: &case.frame,
                near,
            };
            let outcome = classify(&packet, case.side, &tables, &NoSockets)
                .map(|o| (o.service, o.class, o.verdict, o.reason));
            assert_eq!(outcome, case.expected, "{}, {near} at hand", case.name);
            let outcome = by_steps(&packet, case.side, &tables)
                .map(|o| (o.service, o.class, o.verdict, o.reason));
            assert_eq!(outcome, case.expected, "{}, {near} by steps", case.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_packet_has_one_outcome(
        index in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        near in 0..120_usize,
    ) {
        let cases = all();
        let mut frame = index.get(&cases).frame.clone();
        let at = at.index(frame.len());
        frame[at] = value;
        for side in [Side::Outside, Side::Inside] {
            let whole = |near| {
                let packet = Split { bytes: &frame, near };
                classify(&packet, side, &Memory::default(), &NoSockets)
            };
            prop_assert_eq!(whole(near), whole(0));
            prop_assert_eq!(whole(frame.len()), whole(0));
            for near in [near, frame.len()] {
                let packet = Split { bytes: &frame, near };
                prop_assert_eq!(by_steps(&packet, side, &Memory::default()), whole(0));
            }
        }
    }
}
