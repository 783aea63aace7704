//! Traffic, lists and services that the tests of replay are told over.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::IpAddr;
use std::time::Duration;

use weir_abi::Class;
use weir_benches::replay::generate::{self, Options};
use weir_benches::replay::mapping::Shares;
use weir_benches::replay::{Frame, Lists, Services, Side, Traffic};
use weir_fixtures::frame::{Segment, frame as ethernet};
use weir_tables::{List, Origin, Scope};

/// Connections that are made here.
pub const FLOWS: usize = 60;

/// What is made from a seed.
pub fn options(seed: u64) -> Options {
    Options {
        seed,
        flows: FLOWS,
        classes: shares(),
        ipv6: 30,
    }
}

/// Most are unmanaged.
pub fn shares() -> Shares {
    "managed=3,unmanaged=6,relay=1".parse().expect("shares")
}

/// Traffic from a seed.
pub fn made(seed: u64) -> Traffic {
    generate::generate(&options(seed), &lists(), &Services::usual()).expect("it is made")
}

/// Enough of each class, with a blocked host among the managed.
pub fn lists() -> Lists {
    Lists::compile(vec![
        list(Class::Managed, &["100.64.0.0/16", "2001:db8:a000::/36"]),
        list(Class::Relay, &["100.70.0.0/16", "2001:db8:b000::/36"]),
        list(Class::Blocked, &["100.64.9.9/32"]),
    ])
}

/// A list of a class.
pub fn list(class: Class, prefixes: &[&str]) -> List {
    List {
        name: class.name().to_owned(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: prefixes
            .iter()
            .map(|prefix| prefix.parse().expect("a prefix"))
            .collect(),
    }
}

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A frame that begins a connection.
pub fn syn(from: &str, to: &str) -> Vec<u8> {
    ethernet(&Segment::new(40000, 443).between(ip(from), ip(to)))
}

/// A capture of these frames.
pub fn of(frames: Vec<Vec<u8>>) -> Traffic {
    Traffic {
        frames: (1..)
            .zip(frames)
            .map(|(number, bytes)| Frame {
                time: Duration::ZERO,
                wire: u32::try_from(bytes.len()).expect("small"),
                bytes,
                side: Side::Outside,
                file: 0,
                number,
            })
            .collect(),
        ..Traffic::default()
    }
}
