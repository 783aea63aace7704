//! Every packet of every capture at hand, as if all its addresses were service addresses.

mod fixtures;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fixtures::STS_VERDICTS;
use weir_abi::{Address, Port, Reason, V6Key, V6Lengths, Verdict};
use weir_classify::{Packet, Side, Tables, classify};

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
    for file in captures(&root) {
        let frames = read(&fs::read(&file).expect("a readable capture"));
        assert!(!frames.is_empty(), "{} holds packets", file.display());
        for frame in &frames {
            for side in [Side::Outside, Side::Inside] {
                let counting = Counting {
                    bytes: frame,
                    reads: Cell::new(0),
                };
                let outcome = classify(&counting, side, &Everything);
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
};

const ANY_LENGTH: V6Lengths = {
    let mut present = [false; weir_abi::V6_LENGTHS];
    present[0] = true;
    V6Lengths::new(&present)
};

impl Tables for Everything {
    fn address(&self, _: &[u8; 16]) -> Option<&Address> {
        Some(&SERVED)
    }

    fn v4_block(&self, _: u32) -> u8 {
        1
    }

    fn v4_exact(&self, _: u32) -> Option<u8> {
        None
    }

    fn v6_lengths(&self) -> Option<&V6Lengths> {
        Some(&ANY_LENGTH)
    }

    fn v6_prefix(&self, _: &V6Key) -> Option<u8> {
        Some(1)
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

fn captures(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files.extend(captures(&path));
        } else if path
            .extension()
            .is_some_and(|end| end == "pcap" || end == "pcapng")
        {
            files.push(path);
        }
    }
    files
}

/// The frames of a capture: classic pcap, with times in micro- or nanoseconds and in either byte order,
/// or the enhanced packet blocks of a pcapng file in this machine's order.
fn read(file: &[u8]) -> Vec<Vec<u8>> {
    let little = |at: usize| {
        file.get(at..at + 4)
            .map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")))
    };
    let number = |at: usize, swapped: bool| {
        little(at).map(|n| if swapped { n.swap_bytes() } else { n } as usize)
    };
    let mut frames = Vec::new();
    match little(0).expect("a magic number") {
        magic @ (0xa1b2_c3d4 | 0xa1b2_3c4d | 0xd4c3_b2a1 | 0x4d3c_b2a1) => {
            let swapped = matches!(magic, 0xd4c3_b2a1 | 0x4d3c_b2a1);
            let mut at = 24;
            while let Some(length) = number(at + 8, swapped) {
                let Some(frame) = file.get(at + 16..at + 16 + length) else {
                    break;
                };
                frames.push(frame.to_vec());
                at += 16 + length;
            }
        }
        0x0a0d_0d0a => {
            let mut at = 0;
            while let (Some(kind), Some(length)) = (number(at, false), number(at + 4, false)) {
                if kind == 6 {
                    let captured = number(at + 20, false).expect("an enhanced packet block");
                    frames.push(file[at + 28..at + 28 + captured].to_vec());
                }
                at += length.max(12);
            }
        }
        magic => panic!("not a capture: {magic:#x}"),
    }
    frames
}
