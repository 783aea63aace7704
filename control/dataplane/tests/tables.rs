//! Sources looked up by the loaded program, as its verdict shows them, against the tables that were
//! published.

mod bed;
mod plane;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plane::{open, story, story_at_both_hooks, story_of_processes, sts};
use weir_abi::Class;
use weir_dataplane::{Dataplane, Probe};
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

#[test]
fn the_program_finds_what_was_compiled() {
    story_at_both_hooks("the_program_finds_what_was_compiled", |_, plane| {
        let mut random = Random(0x5745_4952);
        for round in 0..6 {
            let before = lists(&mut random, 4 << round);
            let now = lists(&mut random, 4 << round);
            let lists = Lists::compile(&now);
            let history = History::of(&Lists::compile(&before));
            let tables = KernelTables::compile(&lists, &history);
            plane.publish(&tables).expect("small tables");
            for source in edges(&now).chain(edges(&before)).take(600) {
                let found = class(plane, source);
                assert_eq!(found, tables.standing(source).class(), "{source}");
                assert_eq!(found, lists.find(source).class, "{source}");
            }
        }
    });
}

#[test]
fn every_length_of_prefix_is_found_at_full_depth() {
    story(
        "every_length_of_prefix_is_found_at_full_depth",
        |_, plane| {
            // Hosts at every other address below one root: as many ranges as a root of IPv4 can have; and
            // around one of IPv6 a prefix of every length.
            let (first4, first6) = (0x0a00_0000_u32, 0x2001_0db8_u128 << 96);
            let hosts = (0..32_768).map(|i| format!("{}/32", Ipv4Addr::from_bits(first4 + 2 * i)));
            let mut managed: Vec<String> = hosts.collect();
            let host = first6 + 0x1234_5678_9abc;
            let net = |length: u8| {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                format!("{}/{length}", Ipv6Addr::from_bits(host & mask))
            };
            managed.extend((0..=128).step_by(2).map(net));
            let bypass: Vec<String> = (1..128).step_by(2).map(net).collect();
            let now = [list(Class::Managed, &managed), list(Class::Bypass, &bypass)];
            publish(plane, &now);
            for low in [0, 1, 2, 255, 256, 32_766, 32_767, 65_534, 65_535] {
                let expected = [Class::Managed, Class::Unmanaged][low as usize % 2];
                assert_eq!(
                    class(plane, Ipv4Addr::from_bits(first4 + low).into()),
                    expected
                );
            }
            for same in 0..128_u32 {
                let source = Ipv6Addr::from_bits(host ^ 1 << (127 - same));
                let expected = [Class::Managed, Class::Bypass][same as usize % 2];
                assert_eq!(
                    class(plane, source.into()),
                    expected,
                    "{same} bits are equal"
                );
            }
        },
    );
}

#[test]
fn a_million_prefixes_are_published_and_their_memory_is_shown() {
    let name = "a_million_prefixes_are_published_and_their_memory_is_shown";
    story(name, |_, plane| {
        let memory = |plane: &Dataplane, name| {
            let maps = plane.status().maps;
            let map = maps.iter().find(|map| map.name == name);
            map.expect("a map of this name").memory
        };
        let names = ["V4_NODES", "V6_NODES"];
        publish(plane, &[]);
        publish(plane, &[]);
        let small = names.map(|name| memory(plane, name));
        // 700,000 hosts and 300,000 networks of IPv6; managed, every one.
        let (first4, first6) = (0x0a00_0000_u32, 0x2a00_u128 << 112);
        let mut prefixes: Vec<String> = (0..700_000)
            .map(|i| format!("{}/32", Ipv4Addr::from_bits(first4 + i * 16)))
            .collect();
        let six = |i: u128| Ipv6Addr::from_bits(first6 + (i << 81));
        prefixes.extend((0..300_000).map(|i| format!("{}/48", six(i))));
        let tables = publish(plane, &[list(Class::Managed, &prefixes)]);
        for i in [0, 1, 499_999, 699_999] {
            let host = |off| Ipv4Addr::from_bits(first4 + i * 16 + off).into();
            assert_eq!(class(plane, host(0)), Class::Managed);
            assert_eq!(class(plane, host(1)), Class::Unmanaged);
        }
        for i in [0, 1, 299_999] {
            let host = Ipv6Addr::from_bits(six(i).to_bits() + 77);
            assert_eq!(class(plane, host.into()), Class::Managed);
        }
        assert_eq!(class(plane, six(300_000).into()), Class::Unmanaged);
        let large = names.map(|name| memory(plane, name));
        let nodes = [
            size_of_val(tables.v4_nodes()),
            size_of_val(tables.v6_nodes()),
        ];
        for i in 0..2 {
            assert!(large[i] > nodes[i] as u64, "{}: {large:?}", names[i]);
        }
        assert!(memory(plane, "V4_BLOCKS") >= 32 << 20);
        assert!(memory(plane, "V6_ROOTS") >= 8 << 20);
        // Both generations small again: nothing of it stays.
        publish(plane, &[]);
        publish(plane, &[]);
        let again = names.map(|name| memory(plane, name));
        assert!(
            again
                .iter()
                .zip(small)
                .all(|(again, small)| *again <= small),
            "{again:?}"
        );
    });
}

#[test]
fn a_process_that_dies_while_it_publishes_leaves_one_generation() {
    let name = "a_process_that_dies_while_it_publishes_leaves_one_generation";
    story_of_processes(name, |bed| {
        // Each has every source in one class, by way of blocks, roots and nodes.
        let whole = |class| {
            let mut nets: Vec<String> = ["0.0.0.0/0", "::/0"].map(str::to_owned).to_vec();
            nets.extend((0..4_000_u32).map(|i| format!("{}/32", Ipv4Addr::from_bits(i << 12))));
            let hole = Class::Bypass;
            let host = |i: u128| Ipv6Addr::from_bits((0x2a00 << 112) + (i << 100));
            let holes: Vec<String> = (0..4_000).map(|i| format!("{}/128", host(i))).collect();
            let lists = [list(class, &nets), list(hole, &holes)];
            KernelTables::compile(&Lists::compile(&lists), &History::default())
        };
        let classes = [Class::Managed, Class::Relay];
        let generations = classes.map(whole);
        open(bed).publish(&generations[0]).expect("tables that fit");
        for delay in (0..24_u64).map(|i| i * 2_501) {
            let mut killed = Dataplane::open(&bed.options).expect("what is pinned");
            // SAFETY: the child only publishes, and ends without coming back.
            let child = match unsafe { nix::unistd::fork() }.expect("a process") {
                nix::unistd::ForkResult::Parent { child } => child,
                nix::unistd::ForkResult::Child => loop {
                    for tables in &generations {
                        if killed.publish(tables).is_err() {
                            std::process::abort();
                        }
                    }
                },
            };
            // Chosen so that each step is met: nothing can be awaited of a process that is to die
            // wherever it is.
            std::thread::sleep(std::time::Duration::from_micros(40_000 + delay));
            nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).expect("a child");
            nix::sys::wait::waitpid(child, None).expect("a child");
            drop(killed);
            let plane = Dataplane::open(&bed.options).expect("what is pinned");
            let one = class(&plane, Ipv4Addr::new(192, 0, 2, 1).into());
            assert!(classes.contains(&one), "{one:?}");
            for i in 0..50_u32 {
                let four = Ipv4Addr::from_bits(i << 24 | (i << 12 & 0x000f_ff00));
                let six = Ipv6Addr::from_bits((0x2a00 << 112) + (u128::from(i) << 100) + 1);
                assert_eq!(class(&plane, four.into()), one, "{four}");
                assert_eq!(class(&plane, six.into()), one, "{six}");
            }
        }
    });
}

/// The class that the loaded program finds.
fn class(plane: &Dataplane, source: IpAddr) -> Class {
    let probe = Probe {
        source,
        destination: sts(source.is_ipv6(), 443).ip(),
        port: 443,
    };
    plane.probe(&probe).expect("a program").class
}

fn publish(plane: &mut Dataplane, lists: &[List]) -> KernelTables {
    let tables = KernelTables::compile(&Lists::compile(lists), &History::default());
    plane.publish(&tables).expect("tables that fit");
    tables
}

fn list(class: Class, prefixes: &[String]) -> List {
    List {
        name: class.name().to_owned(),
        class,
        scope: Scope::All,
        origin: Origin::Remote,
        prefixes: prefixes
            .iter()
            .map(|prefix| prefix.parse().expect("a prefix"))
            .collect(),
    }
}

/// Lists with so many prefixes each, of both families, that nest and touch.
fn lists(random: &mut Random, each: u32) -> Vec<List> {
    [Class::Managed, Class::Bypass, Class::Blocked, Class::Relay]
        .into_iter()
        .map(|class| {
            list(
                class,
                &(0..each).map(|_| prefix(random)).collect::<Vec<_>>(),
            )
        })
        .collect()
}

fn prefix(random: &mut Random) -> String {
    if random.below(2) == 0 {
        let near = [0x0a00_0000, 0xcb00_71f0, 0xffff_fe00][random.below(3)];
        let address = near + random.bits(9);
        let length = [16, 23, 24, 25, 27, 31, 32, 32][random.below(8)];
        let mask = u32::MAX << (32 - length);
        format!("{}/{length}", Ipv4Addr::from_bits(address & mask))
    } else {
        let near = [0x2001_0db8 << 96, 0x2a00 << 112, 0xfd00 << 112, 1 << 70][random.below(4)];
        let address = near + (u128::from(random.bits(4)) << [0, 64, 80][random.below(3)]);
        let length = [19, 29, 32, 47, 48, 56, 64, 65, 127, 128][random.below(10)];
        let mask = u128::MAX << (128 - length);
        format!("{}/{length}", Ipv6Addr::from_bits(address & mask))
    }
}

/// Both ends of every prefix, and the neighbours of these, in an order that mixes families.
fn edges(lists: &[List]) -> impl Iterator<Item = IpAddr> + '_ {
    let prefixes = lists.iter().flat_map(|list| &list.prefixes);
    prefixes.flat_map(|net| match (net.network(), net.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)))
        }
        _ => unreachable!("a prefix is of one family"),
    })
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn bits(&mut self, count: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> (64 - count)).expect("at most 32 bits")
    }

    fn below(&mut self, limit: usize) -> usize {
        self.bits(31) as usize % limit
    }
}
