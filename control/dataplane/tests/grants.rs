//! Grants come, expire and are taken away while connections talk on, at both hooks and in both families.

mod bed;
mod crowd;
mod farm;
mod plane;
mod version;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bed::{Bed, ask, eventually, within};
use crowd::{GO_ON, Talker, serve};
use farm::{Farm, own, specs, translate, weir};
use plane::{SHORT, find, open, sts};
use weir_abi::{Class, ClassSet, Hook, Reason, Verdict};
use weir_dataplane::{Dataplane, Direction, GrantSpec, HookChoice, Migration, Probe, since_boot};
use weir_fixtures::source;
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn the_connection_that_earned_a_grant_stays_and_new_ones_are_forwarded() {
    story(
        "the_connection_that_earned_a_grant_stays_and_new_ones_are_forwarded",
        |bed, plane| {
            let mut earned = both(|six| begin(bed, six, 0));
            talk(&mut earned, b'p');

            give(plane, Class::Managed, HOUR, HOUR);
            talk(&mut earned, b'p');
            let mut later = both(|six| begin(bed, six, 0));
            talk(&mut later, b's');
            talk(&mut earned, b'p');
            let counters = plane.counters().expect("readable");
            let count = |verdict, reason| find(&counters, Class::Managed, verdict, reason).packets;
            assert!(count(Verdict::Proxy, Reason::Kept) > 0, "{counters:?}");
            assert!(count(Verdict::Forward, Reason::Class) > 0, "{counters:?}");
            // An address beside it, of the same lists, was granted nothing.
            for six in [false, true] {
                assert_eq!(probe(plane, source(Class::Unmanaged, six)), Class::Managed);
                assert_eq!(probe(plane, beside(six)), Class::Unmanaged);
            }
        },
    );
}

#[test]
fn forwarded_flows_outlive_an_expired_grant_until_its_rest_is_over() {
    story(
        "forwarded_flows_outlive_an_expired_grant_until_its_rest_is_over",
        |bed, plane| {
            give(plane, Class::Managed, HOUR, HOUR);
            let mut forwarded = both(|six| begin(bed, six, 0));
            talk(&mut forwarded, b's');

            // As the clock does: nobody writes anything at the moment at which it expires.
            let soon = Duration::from_millis(200);
            give(plane, Class::Managed, soon, HOUR);
            eventually("the grants expire", || {
                match [false, true].map(|six| probe(plane, source(Class::Unmanaged, six))) {
                    [Class::Unmanaged, Class::Unmanaged] => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
            talk(&mut forwarded, b's');
            let mut later = both(|six| begin(bed, six, 0));
            talk(&mut later, b'p');
            talk(&mut forwarded, b's');
            let counters = plane.counters().expect("readable");
            let kept = find(&counters, Class::Unmanaged, Verdict::Forward, Reason::Kept);
            assert!(kept.packets > 0, "{counters:?}");

            // Now its rest is over too.
            give(plane, Class::Managed, Duration::ZERO, Duration::ZERO);
            ended(&mut forwarded);
            talk(&mut later, b'p');
        },
    );
}

#[test]
fn one_word_of_the_principal_cuts_all_of_its_flows() {
    story(
        "one_word_of_the_principal_cuts_all_of_its_flows",
        |bed, plane| {
            let mut earned = both(|six| begin(bed, six, 0));
            talk(&mut earned, b'p');
            give(plane, Class::Managed, HOUR, HOUR);
            let mut forwarded = both(|six| begin(bed, six, 0));
            talk(&mut forwarded, b's');

            plane
                .set_principal(1, Class::Unmanaged)
                .expect("there is room");
            let addresses = both(|six| source(Class::Unmanaged, six));
            let local: Vec<SocketAddr> = both(|six| sts(six, 443)).into();
            let goes = |from: IpAddr| addresses.contains(&from);
            assert_eq!(plane.cut(&local, &goes).expect("sockets are told"), 2);
            ended(&mut earned);
            // Their next packet finds nobody, and is answered with a reset: the client is told.
            ended(&mut forwarded);
            let mut later = both(|six| begin(bed, six, 0));
            talk(&mut later, b'p');

            // A grant of less opens what the principal may have, and that is not the way through the kernel.
            plane
                .set_principal(1, Class::Bypass)
                .expect("there is room");
            for six in [false, true] {
                assert_eq!(probe(plane, source(Class::Unmanaged, six)), Class::Bypass);
            }
            plane
                .set_principal(1, Class::Managed)
                .expect("there is room");
            let mut again = both(|six| begin(bed, six, 0));
            talk(&mut again, b's');
        },
    );
}

#[test]
fn what_is_translated_is_cut_with_its_principal() {
    let name = "what_is_translated_is_cut_with_its_principal";
    plane::story_at_both_hooks(name, |bed, plane| {
        let farm = Farm::new(bed, 1);
        translate(plane, &[true]);
        for six in [false, true] {
            let server = SocketAddr::new(own(0, six), 443);
            serve(&farm.servers[0], server, b's', false);
            serve(&bed.router, sts(six, 443), b'p', true);
        }
        give(plane, Class::Managed, HOUR, HOUR);
        let mut first = both(|six| begin(bed, six, 0));
        let mut second = both(|six| begin(bed, six, 0));
        talk(&mut first, b's');
        talk(&mut second, b's');
        // Another one's, of the lists, goes on all the while.
        let mut others = both(|six| {
            let from = source(Class::Managed, six);
            within(&bed.client, || Talker::new(from, 0, sts(six, 443))).expect("a server")
        });
        talk(&mut others, b's');

        // The word alone ends them, also before the entries are gone.
        plane
            .set_principal(1, Class::Unmanaged)
            .expect("there is room");
        ended(&mut first);
        let addresses = both(|six| source(Class::Unmanaged, six));
        let goes = |from: IpAddr| addresses.contains(&from);
        assert_eq!(plane.cut(&[], &goes).expect("readable"), 4);
        let usage = plane.status().nat.expect("a service of nat");
        assert_eq!(usage.connections, 2, "{usage:?}");
        let mut later = both(|six| begin(bed, six, 0));
        talk(&mut later, b'p');

        // Opened again, what was cut stays so, and its client is told.
        plane
            .set_principal(1, Class::Managed)
            .expect("there is room");
        ended(&mut second);
        let mut again = both(|six| begin(bed, six, 0));
        talk(&mut again, b's');
        talk(&mut later, b'p');
        talk(&mut others, b's');
    });
}

#[test]
fn what_the_servers_send_to_cut_flows_is_dropped() {
    story(
        "what_the_servers_send_to_cut_flows_is_dropped",
        |bed, plane| {
            give(plane, Class::Managed, HOUR, HOUR);
            let mut forwarded = both(|six| begin(bed, six, 0));
            talk(&mut forwarded, b's');
            let cut = GrantSpec {
                cut: true,
                ..spec(Class::Unmanaged, Duration::ZERO, HOUR)
            };
            for six in [false, true] {
                let from = source(Class::Unmanaged, six);
                plane.grant(from, Some(&cut)).expect("there is room");
            }
            ended(&mut forwarded);
            for six in [false, true] {
                let run = plane.test_run(Direction::Inside, Hook::Tcx, &answer(six));
                let judged = run.expect("the program is loaded").judged;
                let judged = judged.map(|judged| (judged.verdict, judged.reason));
                assert_eq!(judged, Some((Verdict::Drop, Reason::Answer)));
            }
        },
    );
}

#[test]
fn a_blocked_source_gains_nothing() {
    story("a_blocked_source_gains_nothing", |bed, plane| {
        give(plane, Class::Managed, HOUR, HOUR);
        let mut forwarded = both(|six| begin(bed, six, 0));
        talk(&mut forwarded, b's');
        plane
            .publish(&lists(Class::Blocked))
            .expect("a small generation");
        for six in [false, true] {
            let from = source(Class::Unmanaged, six);
            let refused = ask(&bed.client, from, sts(six, 443), 1, SHORT);
            let refused = refused.expect_err("nobody answers");
            assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
            assert_eq!(probe(plane, from), Class::Blocked);
        }
        for talker in &mut forwarded {
            talker.be_patient(SHORT);
            let error = talker.talk(GO_ON).expect_err("it is dropped");
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        // With the lists as they were, it is there again.
        plane
            .publish(&lists(Class::Unmanaged))
            .expect("a small generation");
        for six in [false, true] {
            assert_eq!(probe(plane, source(Class::Unmanaged, six)), Class::Managed);
        }
    });
}

#[test]
fn flows_stay_where_they_began_while_grants_come_and_go() {
    story(
        "flows_stay_where_they_began_while_grants_come_and_go",
        |bed, plane| {
            let mut talkers = Vec::new();
            for turn in 0..12 {
                let granted = turn % 2 == 1;
                let expires = if granted { HOUR } else { Duration::ZERO };
                give(plane, Class::Managed, expires, HOUR);
                for six in [false, true] {
                    let who = if granted { b's' } else { b'p' };
                    talkers.push((begin(bed, six, 0), who));
                }
                for (talker, who) in &mut talkers {
                    talker.talk(GO_ON).expect("it goes on");
                    assert_eq!(talker.who(), Some(*who), "turn {turn}");
                }
            }
        },
    );
}

#[test]
fn a_restart_finds_the_grants_and_the_last_one_takes_the_flag_with_it() {
    let name = "a_restart_finds_the_grants_and_the_last_one_takes_the_flag_with_it";
    plane::story_at(HookChoice::Tcx, name, |bed| {
        let mut plane = open(bed);
        give(&mut plane, Class::Managed, HOUR, HOUR);
        drop(plane);
        let mut plane = Dataplane::open(&bed.options).expect("pins of this version");
        let mut found = plane.granted();
        found.sort();
        assert_eq!(found, both(|six| source(Class::Unmanaged, six)));
        for six in [false, true] {
            assert_eq!(probe(&plane, source(Class::Unmanaged, six)), Class::Managed);
            plane
                .grant(source(Class::Unmanaged, six), None)
                .expect("removable");
            assert_eq!(
                probe(&plane, source(Class::Unmanaged, six)),
                Class::Unmanaged
            );
        }
        assert_eq!(plane.granted(), [] as [IpAddr; 0]);
        let error = plane.set_principal(weir_abi::MAX_PRINCIPALS, Class::Managed);
        assert!(error.is_err(), "there is no room for it");
        let maps = plane.status().maps;
        for name in ["PRINCIPALS", "GRANTS"] {
            let map = maps
                .iter()
                .find(|map| map.name == name)
                .expect("it is told");
            assert_eq!(map.capacity, 65_536);
            assert!((1 << 18..16 << 20).contains(&map.memory), "{map:?}");
        }
    });
}

#[test]
fn a_migration_keeps_what_was_granted_and_translated() {
    let name = "a_migration_keeps_what_was_granted_and_translated";
    plane::story_at(HookChoice::Tcx, name, |bed| {
        let farm = Farm::new(bed, 1);
        let mut plane = open(bed);
        translate(&mut plane, &[true]);
        for six in [false, true] {
            let server = SocketAddr::new(own(0, six), 443);
            serve(&farm.servers[0], server, b's', false);
            serve(&bed.router, sts(six, 443), b'p', true);
        }
        give(&mut plane, Class::Managed, HOUR, HOUR);
        let mut granted = both(|six| begin(bed, six, 0));
        let mut listed = both(|six| {
            let from = source(Class::Managed, six);
            within(&bed.client, || Talker::new(from, 0, sts(six, 443))).expect("a server")
        });
        talk(&mut granted, b's');
        talk(&mut listed, b's');
        drop(plane);

        version::take_a_map(&bed.options);
        Dataplane::open(&bed.options).expect_err("another build");
        let migration = Migration::prepare(&bed.options).expect("looked");
        let migration = migration.expect("another build");
        assert_eq!(migration.from(), Some(weir_abi::ABI_VERSION));
        let tables = migration.inherited().expect("readable");
        let tables = tables.expect("of this version");
        let mut services = specs(&[true]);
        services[0].nat.addresses = both(weir).into();
        let migrated = migration.finish(&tables, &services, &mut |_| {});
        // As long as no weir-control is started.
        drop(migrated.expect("migrated"));
        talk(&mut granted, b's');
        talk(&mut listed, b's');
        let mut later = both(|six| begin(bed, six, 0));
        talk(&mut later, b's');

        let mut plane = Dataplane::open(&bed.options).expect("pins of this version");
        let mut found = plane.granted();
        found.sort();
        assert_eq!(found, both(|six| source(Class::Unmanaged, six)));
        for six in [false, true] {
            assert_eq!(probe(&plane, source(Class::Unmanaged, six)), Class::Managed);
        }
        plane
            .set_principal(1, Class::Unmanaged)
            .expect("there is room");
        ended(&mut granted);
        talk(&mut listed, b's');
    });
}

/// Tells a story at both hooks, with a server and a proxy that tell who they are.
fn story(name: &str, tell: impl Fn(&Bed, &mut Dataplane) + Sync) {
    plane::story_at_both_hooks(name, |bed, plane| {
        for six in [false, true] {
            serve(&bed.server, sts(six, 443), b's', false);
            serve(&bed.router, sts(six, 443), b'p', true);
        }
        tell(bed, plane);
    });
}

/// Grants a class to the unmanaged source of both families, on behalf of principal 1.
fn give(plane: &mut Dataplane, class: Class, expires: Duration, rests: Duration) {
    plane
        .set_principal(1, Class::Managed)
        .expect("there is room");
    for six in [false, true] {
        let spec = spec(class, expires, rests);
        let from = source(Class::Unmanaged, six);
        plane.grant(from, Some(&spec)).expect("there is room");
    }
}

/// From now on.
fn spec(class: Class, expires: Duration, rests: Duration) -> GrantSpec {
    let now = since_boot();
    GrantSpec {
        principal: 1,
        class,
        held: ClassSet::EMPTY,
        expires: now + expires,
        rests: now + rests,
        cut: false,
    }
}

fn both<T>(make: impl FnMut(bool) -> T) -> [T; 2] {
    [false, true].map(make)
}

fn begin(bed: &Bed, six: bool, port: u16) -> Talker {
    let from = source(Class::Unmanaged, six);
    within(&bed.client, || Talker::new(from, port, sts(six, 443))).expect("somebody answers")
}

fn talk(talkers: &mut [Talker], who: u8) {
    for talker in talkers {
        talker.talk(GO_ON).expect("an answer");
        assert_eq!(talker.who(), Some(who));
    }
}

/// The connections are over, and their clients are told.
fn ended(talkers: &mut [Talker]) {
    for talker in talkers {
        let error = talker.talk(GO_ON).expect_err("it is over");
        let told = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(told.contains(&error.kind()), "{error:?}");
    }
}

/// The class that the programs know an address by.
fn probe(plane: &Dataplane, source: IpAddr) -> Class {
    let probe = Probe {
        source,
        destination: sts(source.is_ipv6(), 443).ip(),
        port: 443,
    };
    plane.probe(&probe).expect("a service's packet").class
}

/// The address after the unmanaged source.
fn beside(six: bool) -> IpAddr {
    match source(Class::Unmanaged, six) {
        IpAddr::V4(four) => std::net::Ipv4Addr::from_bits(four.to_bits() + 1).into(),
        IpAddr::V6(six) => std::net::Ipv6Addr::from_bits(six.to_bits() + 1).into(),
    }
}

/// What the server sends to the unmanaged source.
fn answer(six: bool) -> Vec<u8> {
    use weir_fixtures::frame::{Segment, frame};
    let segment = Segment::new(443, 40000).flags(0x10);
    frame(&segment.between(sts(six, 443).ip(), source(Class::Unmanaged, six)))
}

/// The unmanaged sources of the fixtures as this class; the rest is gone.
fn lists(class: Class) -> KernelTables {
    let prefixes = both(|six| source(Class::Unmanaged, six).into());
    let list = List {
        name: "moving".into(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: prefixes.to_vec(),
    };
    let lists = match class {
        Class::Unmanaged => Lists::default(),
        _ => Lists::compile(&[list]),
    };
    KernelTables::compile(&lists, &History::default())
}
