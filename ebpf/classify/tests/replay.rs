//! Every packet of every capture at hand, as if all its addresses were service addresses.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use weir_abi::{Address, Class, Nat, Port, Reason, Root, Standing, V4Node, V6Node, Verdict};
use weir_classify::{Grants, NoSockets, Packet, Side, Sources, Tables, classify};
use weir_fixtures::{STS_VERDICTS, capture};

/// Reads that one packet may cost at most: nine extension headers, outside and inside an ICMP error,
/// and the fixed headers.
const READS: u32 = 60;

#[test]
fn captures_are_judged_within_bounds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pcaps");
    if !root.is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: captures_are_judged_within_bounds: no captures in {}",
            root.display()
        );
        return;
    }
    let mut seen: BTreeMap<(Verdict, Reason), u32> = BTreeMap::new();
    for file in capture::files(&root) {
        let frames = capture::frames(&file);
        assert!(!frames.is_empty(), "{} holds packets", file.display());
        for frame in &frames {
            for side in [Side::Outside, Side::Inside] {
                let counting = Counting {
                    bytes: frame,
                    reads: Cell::new(0),
                };
                let outcome = classify(&counting, side, &Everything, &NoSockets);
                assert!(
                    counting.reads.get() <= READS,
                    "{} reads",
                    counting.reads.get()
                );
                if let Some(outcome) = outcome {
                    *seen.entry((outcome.verdict, outcome.reason)).or_default() += 1;
                    let end = outcome.headers.l3 + outcome.headers.length;
                    let whole = outcome.reason == Reason::Malformed
                        || end <= u32::try_from(frame.len()).expect("a small frame");
                    assert!(whole, "{}: judged beyond the end", file.display());
                }
            }
        }
    }
    // The captures hold all of these, or something is not read at all.
    for reason in [
        Reason::Class,
        Reason::Answer,
        Reason::Malformed,
        Reason::Fragment,
        Reason::Ttl,
    ] {
        let count: u32 = seen
            .iter()
            .filter(|((_, r), _)| *r == reason)
            .map(|(_, n)| n)
            .sum();
        assert!(
            count > 0 || reason == Reason::Udp443,
            "no {} in {seen:?}",
            reason.name()
        );
    }
}

/// Everybody is a service on the usual ports, and everybody is managed.
struct Everything;

const SERVED: Address = Address {
    ports: [
        Port::new(443, 1, STS_VERDICTS),
        Port::new(80, 1, STS_VERDICTS),
        Port::new(8080, 1, STS_VERDICTS),
        Port::new(21, 1, STS_VERDICTS),
        Port::new(22, 1, STS_VERDICTS),
        Port::new(25, 1, STS_VERDICTS),
        Port::new(53, 1, STS_VERDICTS),
        Port::new(6000, 1, STS_VERDICTS),
    ],
    nat: Nat {
        source: [0; 16],
        first: 0,
        count: 0,
        answers: 0,
    },
};

impl Tables for Everything {
    fn address(&self, _: &[u8; 16]) -> Option<&Address> {
        Some(&SERVED)
    }
}

impl Grants for Everything {}

impl Sources for Everything {
    fn v4_block(&self, _: u32) -> u8 {
        Class::Managed as u8
    }

    fn v4_root(&self, _: u32) -> Root {
        self.v6_root(0)
    }

    fn v4_node(&self, _: u32) -> Option<&V4Node> {
        None
    }

    fn v6_root(&self, _: u32) -> Root {
        Root::uniform(Standing::stable(Class::Managed))
    }

    fn v6_node(&self, _: u32) -> Option<&V6Node> {
        None
    }
}

/// A packet that counts how often it is read.
struct Counting<'a> {
    bytes: &'a [u8],
    reads: Cell<u32>,
}

impl Packet for Counting<'_> {
    fn len(&self) -> u32 {
        Packet::len(self.bytes)
    }

    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.reads.set(self.reads.get() + 1);
        self.bytes.read(offset)
    }
}
