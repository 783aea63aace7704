//! Servers that see Weir instead of the client, and need nothing but a way to it.

mod bed;
mod crowd;
mod far;
mod farm;
mod plane;

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bed::{Bed, answer, ask, connect, listen, offload, pour, within};
use crowd::{GO_ON, Talker, raise_limit, serve};
use far::Far;
use farm::{Farm, Long, echo, ip, own, specs, translate, weir};
use plane::{LONG, SHORT, find, open, story, story_at_both_hooks, story_of_processes, sts};
use weir_abi::{Class, Hook, Reason, UNIT, Verdict};
use weir_dataplane::{CaptureFilter, Dataplane, Direction, NatUse, Probe, since_boot};
use weir_fixtures::frame::{Segment, frame};
use weir_fixtures::{STS_V4, STS_V6, source};
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

/// More than every buffer on the way.
const BULK: usize = 4_000_000;

#[test]
fn one_server_sees_weir() {
    story_at_both_hooks("one_server_sees_weir", |bed, plane| {
        let farm = Farm::new(bed, 1);
        translate(plane, &[true]);
        for six in [false, true] {
            answer(&farm.servers[0], at(0, six), "server", false);
            answer(&bed.router, sts(six, 443), "proxy", true);
            for _ in 0..3 {
                let from = source(Class::Managed, six);
                let got = ask(&bed.client, from, sts(six, 443), 200_000, LONG);
                assert_eq!(
                    got.expect("an answer"),
                    format!("server {} 200000", weir(six))
                );
                let from = source(Class::Unmanaged, six);
                let got = ask(&bed.client, from, sts(six, 443), 200_000, LONG);
                assert_eq!(got.expect("an answer"), format!("proxy {from} 200000"));
            }
        }
        let before = in_use(plane);
        for six in [false, true] {
            let asked = plane.probe(&Probe {
                source: source(Class::Managed, six),
                destination: sts(six, 443).ip(),
                port: 443,
            });
            let told = asked.expect("a program answers");
            assert_eq!(
                (told.verdict, told.reason),
                (Verdict::Forward, Reason::Class)
            );
        }
        assert_eq!(in_use(plane), before, "a question takes no port");
        let counters = plane.counters().expect("readable");
        for reason in [Reason::Class, Reason::Answer] {
            let forwarded = find(&counters, Class::Managed, Verdict::Forward, reason);
            assert!(forwarded.packets > 12, "{counters:?}");
        }
        for reason in [Reason::NoFlow, Reason::NoPort, Reason::NoRoute] {
            for verdict in [Verdict::Drop, Verdict::Reject] {
                let lost = find(&counters, Class::Managed, verdict, reason);
                assert_eq!(lost.packets, 0, "{counters:?}");
            }
        }
    });
}

#[test]
fn one_arm_is_enough() {
    story_of_processes("one_arm_is_enough", |bed| {
        // All by one interface, whose own address is the service's, as in a virtual machine of a cloud.
        let farm = Farm::new(bed, 3);
        let client = &farm.servers[2];
        ip(&bed.router, "link del out");
        for (address, via, length) in [
            (format!("{STS_V4}/24"), "203.0.113.0/24", 32),
            (format!("{STS_V6}/64 nodad"), "2001:db8:c::/64", 128),
        ] {
            let six = length == 128;
            ip(&bed.router, &format!("addr add {address} dev in"));
            ip(&bed.router, &format!("route add {via} via {}", own(2, six)));
            for class in [Class::Managed, Class::Unmanaged] {
                let nodad = if six { " nodad" } else { "" };
                let from = source(class, six);
                ip(client, &format!("addr add {from}/{length} dev d0{nodad}"));
            }
        }
        let mut options = bed.options.clone();
        options.outside = vec!["in".into()];
        options.inside = Vec::new();
        let mut plane = Dataplane::open(&options).expect("one interface");
        plane
            .publish(&weir_fixtures::Memory::default().sources)
            .expect("a small generation");
        plane
            .set_services(&specs(&[true, true]))
            .expect("two services");
        for six in [false, true] {
            for index in 0..2 {
                mirror(&farm.servers[index], at(index, six));
            }
            answer(&bed.router, sts(six, 443), "proxy", false);
            for _ in 0..8 {
                let from = source(Class::Managed, six);
                reflect(client, from, sts(six, 443), 300_000).expect("all of it comes back");
            }
            let from = source(Class::Unmanaged, six);
            let got = ask(client, from, sts(six, 443), 1000, LONG);
            assert_eq!(got.expect("an answer"), format!("proxy {from} 1000"));
            // Weir's own connections to the same servers are its own.
            let own = weir(six);
            reflect(&bed.router, own, at(0, six), 300_000).expect("all of it comes back");
            let service = sts(six, 443).ip();
            reflect(&bed.router, service, at(0, six), 300_000).expect("all of it comes back");
        }
        // A capture of the client has the answers too, though they do not name it.
        let from = source(Class::Managed, false);
        let wanted = CaptureFilter {
            source: Some((from, 32)),
            within: LONG,
            ..CaptureFilter::default()
        };
        plane.capture(Some(&wanted)).expect("a capture");
        reflect(client, from, sts(false, 443), 10).expect("all of it comes back");
        let captured = plane.captured();
        for side in [Direction::Outside, Direction::Inside] {
            assert!(captured.iter().any(|frame| frame.direction == side));
        }
        let counters = plane.counters().expect("readable");
        let back = find(&counters, Class::Managed, Verdict::Forward, Reason::Answer);
        assert!(back.packets > 50, "{counters:?}");
    });
}

#[test]
fn large_transfers_arrive_as_they_were_sent_whoever_makes_the_checksums() {
    story(
        "large_transfers_arrive_as_they_were_sent_whoever_makes_the_checksums",
        |bed, plane| {
            let farm = Farm::new(bed, 1);
            translate(plane, &[true]);
            for six in [false, true] {
                mirror(&farm.servers[0], at(0, six));
                for leave in [true, false] {
                    offload(&bed.client, "c0", leave);
                    offload(&farm.servers[0], "d0", leave);
                    let from = source(Class::Managed, six);
                    reflect(&bed.client, from, sts(six, 443), BULK).expect("all of it comes back");
                }
            }
            let counters = plane.counters().expect("readable");
            for reason in [Reason::Class, Reason::Answer] {
                let sent = find(&counters, Class::Managed, Verdict::Forward, reason);
                assert!(sent.bytes > 4 * BULK as u64, "{counters:?}");
                // Half of it went while segments were left coalesced.
                assert!(sent.bytes / sent.packets > 1514, "{counters:?}");
            }
        },
    );
}

#[test]
fn a_server_that_dies_and_comes_back_moves_no_live_connection() {
    story(
        "a_server_that_dies_and_comes_back_moves_no_live_connection",
        |bed, plane| {
            raise_limit();
            let farm = Farm::new(bed, 3);
            translate(plane, &[true; 3]);
            serve_words(&farm);
            let with = |longs: &[Long], word| longs.iter().filter(|l| l.word == word).count();
            let mut first = begin(bed, 300);
            for word in b'a'..=b'c' {
                assert!(with(&first, word) > 100, "each has a share");
            }
            // It is taken out and back again while others come and go, and still has what it had.
            let stop = AtomicBool::new(false);
            let came = thread::scope(|scope| {
                let others = scope.spawn(|| {
                    let mut came = 0;
                    while !stop.load(Ordering::Relaxed) {
                        assert!(Long::new(bed, came % 2 == 1).holds());
                        came += 1;
                    }
                    came
                });
                for round in 0..20 {
                    translate(plane, &[true, round % 2 == 1, true]);
                    assert!(first.iter_mut().all(Long::holds), "round {round}");
                }
                stop.store(true, Ordering::Relaxed);
                others.join().expect("all of them are answered")
            });
            assert!(came > 20, "{came}");
            translate(plane, &[true, false, true]);
            // It dies.
            ip(&farm.servers[1], "link set d0 down");
            let mut second = begin(bed, 50);
            assert_eq!(with(&second, b'b'), 0);
            for long in first.iter_mut().chain(&mut second) {
                assert!(long.word == b'b' || long.holds());
            }
            // It comes back, and so does what waited for it.
            ip(&farm.servers[1], "link set d0 up");
            let address = own(1, true);
            ip(
                &farm.servers[1],
                &format!("addr replace {address}/64 dev d0 nodad"),
            );
            translate(plane, &[true; 3]);
            let mut third = begin(bed, 50);
            assert!(with(&third, b'b') > 10, "new ones meet it again");
            for long in first.iter_mut().chain(&mut second).chain(&mut third) {
                assert!(long.holds());
            }
            bed::eventually("the others are over", || {
                let usage = in_use(plane);
                let live = usage.connections - usage.resting;
                if live == 800 {
                    Ok(())
                } else {
                    Err(format!("{live} live"))
                }
            });
        },
    );
}

#[test]
fn connections_live_through_changed_lists_until_they_are_cut() {
    story(
        "connections_live_through_changed_lists_until_they_are_cut",
        |bed, plane| {
            let farm = Farm::new(bed, 2);
            translate(plane, &[true; 2]);
            serve_words(&farm);
            plane
                .publish(&KernelTables::compile(
                    &lists(Class::Managed),
                    &History::default(),
                ))
                .expect("a small generation");
            let mut longs = begin(bed, 30);
            let held = History::of(&lists(Class::Managed));
            for class in [
                Class::Unmanaged,
                Class::Bypass,
                Class::Blocked,
                Class::Managed,
            ] {
                plane
                    .publish(&KernelTables::compile(&lists(class), &held))
                    .expect("a small generation");
                assert!(longs.iter_mut().all(Long::holds), "{class:?}");
            }
            let blocked = lists(Class::Blocked);
            plane
                .publish(&KernelTables::compile(&blocked, &History::default()))
                .expect("a small generation");
            let goes = |from| blocked.find(from).class == Class::Blocked;
            assert_eq!(plane.cut(&[], &goes).expect("readable"), 60);
            assert_eq!(in_use(plane).connections, 0);
            // Managed again: what was cut stays cut, and is told so.
            plane
                .publish(&KernelTables::compile(&lists(Class::Managed), &held))
                .expect("a small generation");
            for long in &mut longs {
                let error = long.ask().expect_err("it was cut");
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            }
            let counters = plane.counters().expect("readable");
            let told = find(&counters, Class::Managed, Verdict::Reject, Reason::NoFlow);
            assert!(told.packets >= 60, "{counters:?}");
        },
    );
}

#[test]
fn a_cut_takes_what_talks_meanwhile() {
    story("a_cut_takes_what_talks_meanwhile", |bed, plane| {
        let farm = Farm::new(bed, 1);
        translate(plane, &[true]);
        for six in [false, true] {
            serve(&farm.servers[0], at(0, six), b's', false);
            let from = source(Class::Managed, six);
            let talker = within(&bed.client, || Talker::new(from, 0, sts(six, 443)));
            let mut talker = talker.expect("the server listens");
            talker.talk(GO_ON).expect("an answer");
            let talker = RefCell::new(talker);
            let units = || since_boot().as_nanos() >> UNIT;
            let first = Cell::new(true);
            // Its entry changes after it was found, and before it is removed.
            let goes = |_: IpAddr| {
                let before = units();
                while first.get() && units() == before {
                    thread::yield_now();
                }
                if first.replace(false) {
                    talker.borrow_mut().talk(GO_ON).expect("an answer");
                }
                true
            };
            assert_eq!(plane.cut(&[], &goes).expect("readable"), 1);
            assert_eq!(in_use(plane).connections, 0);
            let error = talker.borrow_mut().talk(GO_ON).expect_err("it was cut");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_restart_loses_no_connection() {
    story_of_processes("a_restart_loses_no_connection", |bed| {
        let farm = Farm::new(bed, 2);
        let mut plane = open(bed);
        translate(&mut plane, &[true; 2]);
        serve_words(&farm);
        let mut longs = begin(bed, 20);
        drop(plane);
        assert!(longs.iter_mut().all(Long::holds));
        let mut plane = Dataplane::open(&bed.options).expect("pins of this version");
        translate(&mut plane, &[true; 2]);
        assert!(longs.iter_mut().all(Long::holds));
        plane.hold().expect("readable");
        assert_eq!(in_use(&mut plane).connections, 40);
        assert!(longs.iter_mut().all(Long::holds));
    });
}

#[test]
fn connections_keep_the_address_that_their_servers_see() {
    let name = "connections_keep_the_address_that_their_servers_see";
    story(name, |bed, plane| {
        let farm = Farm::new(bed, 2);
        translate(plane, &[true; 2]);
        serve_words(&farm);
        let mut first = begin(bed, 10);
        // From now on they see another one.
        ip(&bed.router, "addr add 192.0.2.2/24 dev in");
        ip(&bed.router, "addr add 2001:db8:10::2/64 dev in nodad");
        let mut changed = specs(&[true; 2]);
        changed[0].nat.addresses = vec![
            [192, 0, 2, 2].into(),
            [0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 2].into(),
        ];
        plane.set_services(&changed).expect("two services");
        let mut second = begin(bed, 10);
        // Also after another change, and while one half of both is not in force.
        for _ in 0..2 {
            plane.set_services(&changed).expect("two services");
            for long in first.iter_mut().chain(&mut second) {
                assert!(long.holds());
            }
        }
    });
}

#[test]
fn large_answers_cross_a_narrow_way_behind_the_client() {
    story(
        "large_answers_cross_a_narrow_way_behind_the_client",
        |bed, plane| {
            let far = Far::new(bed);
            let farm = Farm::new(bed, 1);
            translate(plane, &[true]);
            for six in [false, true] {
                pour(&farm.servers[0], at(0, six), BULK, false);
                let from = Far::address(Class::Managed, six);
                let stream = within(&far.namespace, || connect(from, sts(six, 443), LONG));
                assert_eq!(drain(stream.expect("a server listens")), BULK, "six={six}");
            }
            let counters = plane.counters().expect("readable");
            let errors = find(
                &counters,
                Class::Managed,
                Verdict::Forward,
                Reason::IcmpInner,
            );
            assert!(errors.packets >= 2, "one of each family: {counters:?}");
        },
    );
}

#[test]
fn weir_says_what_does_not_fit_through_it() {
    story("weir_says_what_does_not_fit_through_it", |bed, plane| {
        let farm = Farm::new(bed, 1);
        translate(plane, &[true]);
        for six in [false, true] {
            mirror(&farm.servers[0], at(0, six));
        }
        // Towards the servers, then towards the clients; what the checksums are left to, and not.
        for (device, leave) in [("in", true), ("in", false), ("out", true), ("out", false)] {
            for (narrow, four, six) in [
                ("in", "192.0.2.0/24", "2001:db8:10::/64"),
                ("out", "203.0.113.0/24", "2001:db8:c::/64"),
            ] {
                let mtu = if narrow == device { 1300 } else { 1500 };
                let replace = |family, to, metric| {
                    let words =
                        format!("{family}route replace {to} dev {narrow} {metric}mtu lock {mtu}");
                    ip(&bed.router, &words);
                };
                replace("", four, "proto kernel scope link ");
                replace("-6 ", six, "proto kernel metric 256 ");
            }
            offload(&bed.client, "c0", leave);
            offload(&farm.servers[0], "d0", leave);
            for six in [false, true] {
                for namespace in [&bed.client, &farm.servers[0]] {
                    ip(
                        namespace,
                        if six {
                            "-6 route flush cache"
                        } else {
                            "route flush cache"
                        },
                    );
                }
                let from = source(Class::Managed, six);
                reflect(&bed.client, from, sts(six, 443), 500_000)
                    .unwrap_or_else(|error| panic!("{device} {leave} six={six}: {error}"));
            }
        }
        let counters = plane.counters().expect("readable");
        let told = find(&counters, Class::Managed, Verdict::Drop, Reason::TooBig);
        assert!(told.packets >= 4, "{counters:?}");
    });
}

#[test]
fn each_server_has_all_ports_and_who_finds_none_waits() {
    story(
        "each_server_has_all_ports_and_who_finds_none_waits",
        |bed, plane| {
            let farm = Farm::new(bed, 2);
            let mut few = specs(&[true, true]);
            few[0].nat.ports = 5000..=5003;
            few[0].nat.addresses = [false, true].map(weir).into();
            plane.set_services(&few).expect("two services");
            serve_words(&farm);
            let from = source(Class::Managed, false);
            let mut longs = Vec::new();
            let mut refused = 0;
            // The wheel may give one server more than the other one, at first.
            for _ in 0..40 {
                if longs.len() == 8 {
                    break;
                }
                match within(&bed.client, || connect(from, sts(false, 443), SHORT)) {
                    Ok(stream) => longs.push(stream),
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                        refused += 1;
                    }
                }
            }
            assert_eq!(longs.len(), 8);
            within(&bed.client, || connect(from, sts(false, 443), SHORT))
                .expect_err("no port is left");
            let counters = plane.counters().expect("readable");
            let without = find(&counters, Class::Managed, Verdict::Drop, Reason::NoPort);
            assert!(without.packets > refused, "{counters:?}");
            let usage = in_use(plane);
            assert_eq!((usage.connections, usage.ports), (8, 4));
            // Another service's ports, and another family's, are none of these.
            let six = source(Class::Managed, true);
            within(&bed.client, || connect(six, sts(true, 443), LONG)).expect("a port");
            // What ended rests, whoever closes first.
            drop(longs);
            bed::eventually("all of them end", || {
                let resting = in_use(plane).resting;
                if resting >= 8 {
                    Ok(())
                } else {
                    Err(format!("{resting}"))
                }
            });
            within(&bed.client, || connect(from, sts(false, 443), SHORT))
                .expect_err("the ports rest");
        },
    );
}

#[test]
fn who_only_begins_does_not_keep_the_ports() {
    story("who_only_begins_does_not_keep_the_ports", |bed, plane| {
        let farm = Farm::new(bed, 1);
        ip(&bed.router, "link set out address 02:00:00:00:00:01");
        let mut few = specs(&[true]);
        few[0].nat.ports = 5000..=5003;
        few[0].nat.addresses = [false, true].map(weir).into();
        plane.set_services(&few).expect("two services");
        serve_words(&farm);
        let from = source(Class::Managed, false);
        for port in 1..=4 {
            let syn = frame(&Segment::new(port, 443).between(from, sts(false, 443).ip()));
            plane
                .replay(Direction::Outside, Hook::Tcx, &syn)
                .expect("a run");
        }
        assert_eq!(in_use(plane).begun, 4);
        // Its first SYNs find no port, and then one does.
        let stream = within(&bed.client, || connect(from, sts(false, 443), 4 * LONG));
        stream.expect("a port");
        let counters = plane.counters().expect("readable");
        let without = find(&counters, Class::Managed, Verdict::Drop, Reason::NoPort);
        assert!(without.packets > 0, "{counters:?}");
    });
}

#[test]
fn this_machines_own_connections_keep_their_ports() {
    story(
        "this_machines_own_connections_keep_their_ports",
        |bed, plane| {
            let farm = Farm::new(bed, 1);
            let mut few = specs(&[true]);
            few[0].nat.ports = 40_000..=40_001;
            few[0].nat.addresses = [false, true].map(weir).into();
            plane.set_services(&few).expect("two services");
            let warnings = plane.status().warnings;
            let met = "`nat_ports` (40000-40001) meet the ports of this machine's own connections";
            assert!(warnings.iter().any(|w| w.contains(met)), "{warnings:?}");
            for six in [false, true] {
                serve(&farm.servers[0], at(0, six), b's', false);
                let begin = |namespace: &str, from, port, to| {
                    within(namespace, || Talker::new(from, port, to))
                };
                // One of both is the proxy's, say.
                let own = begin(&bed.router, weir(six), 40_000, at(0, six));
                let from = source(Class::Managed, six);
                let client = begin(&bed.client, from, 0, sts(six, 443));
                let mut talkers = [own, client].map(|talker| talker.expect("the server listens"));
                for talker in &mut talkers {
                    talker.talk(GO_ON).expect("an answer");
                    assert_eq!(talker.who(), Some(b's'));
                }
                let error = within(&bed.client, || connect(from, sts(six, 443), SHORT));
                let error = error.expect_err("no port is left");
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            }
            few[0].nat.ports = 5000..=5001;
            plane.set_services(&few).expect("two services");
            let warnings = plane.status().warnings;
            assert!(
                !warnings.iter().any(|w| w.contains("nat_ports")),
                "{warnings:?}"
            );
        },
    );
}

/// The service's port at a server's own address.
fn at(index: usize, six: bool) -> SocketAddr {
    (own(index, six), 443).into()
}

fn in_use(plane: &mut Dataplane) -> NatUse {
    plane.status().nat.expect("a service of nat")
}

/// Every server says a letter of its own, for both families.
fn serve_words(farm: &Farm) {
    for (index, (name, word)) in farm.servers.iter().zip(b'a'..).enumerate() {
        for six in [false, true] {
            echo(name, at(index, six), word);
        }
    }
}

/// So many connections of each family.
fn begin(bed: &Bed, count: usize) -> Vec<Long> {
    [false, true]
        .into_iter()
        .flat_map(|six| (0..count).map(move |_| Long::new(bed, six)))
        .collect()
}

/// A listener that sends back what it gets.
fn mirror(namespace: &str, address: SocketAddr) {
    let listener = within(namespace, || listen(address, false));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut writer = stream.try_clone()?;
                io::copy(&mut stream, &mut writer)
            });
        }
    });
}

/// Sends so many bytes to a mirror, and compares what comes back.
fn reflect(namespace: &str, from: IpAddr, to: SocketAddr, length: usize) -> io::Result<()> {
    let mut stream = within(namespace, || connect(from, to, LONG))?;
    stream.set_read_timeout(Some(LONG))?;
    // A prime, so that what is lost or twice there is not overlooked.
    let sent: Vec<u8> = (0..=250).cycle().take(length).collect();
    let mut reader = stream.try_clone()?;
    let reading = thread::spawn(move || -> io::Result<Vec<u8>> {
        let mut got = Vec::new();
        reader.read_to_end(&mut got)?;
        Ok(got)
    });
    stream.write_all(&sent)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let got = reading.join().expect("it reads")?;
    if got == sent {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} other bytes", got.len())))
    }
}

/// How many bytes come until the other side closes.
fn drain(mut stream: TcpStream) -> usize {
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("all of it");
    got.len()
}

/// The managed sources of the fixtures as this class.
fn lists(class: Class) -> Lists {
    Lists::compile(&[List {
        name: "moving".into(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: [false, true]
            .map(|six| source(Class::Managed, six).into())
            .to_vec(),
    }])
}
