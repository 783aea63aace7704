//! Servers that have the service's address on their loopback, and answer clients themselves.

mod bed;
mod far;
mod farm;
mod plane;
mod version;

use std::io::Read as _;

use bed::{answer, ask, connect, offload, pour, within};
use far::Far;
use farm::{Farm, Long, echo, ip, own, serve};
use plane::{
    LONG, SHORT, find, find_at, open, services, story, story_at_both_hooks, story_of_processes, sts,
};
use weir_abi::{Class, Hook, Reason, Topology, Verdict};
use weir_dataplane::{Dataplane, HookChoice, Migration, ServerSpec};
use weir_fixtures::{STS, source};

/// More than every buffer on the way.
const BULK: usize = 2_000_000;

#[test]
fn one_server_sees_the_clients_own_address() {
    story_at_both_hooks("one_server_sees_the_clients_own_address", |bed, plane| {
        let farm = Farm::new(bed, 1);
        farm.own_the_service();
        serve(plane, Topology::Dsr, &[true]);
        for six in [false, true] {
            answer(&farm.servers[0], sts(six, 443), "server", false);
            answer(&bed.router, sts(six, 443), "proxy", true);
            for (class, word) in [(Class::Managed, "server"), (Class::Unmanaged, "proxy")] {
                let from = source(class, six);
                for _ in 0..3 {
                    let got = ask(&bed.client, from, sts(six, 443), 200_000, LONG);
                    assert_eq!(got.expect("an answer"), format!("{word} {from} 200000"));
                }
            }
        }
        let counters = plane.counters().expect("readable");
        let forwarded = find(&counters, Class::Managed, Verdict::Forward, Reason::Class);
        assert!(forwarded.packets > 6, "{counters:?}");
        let hook = match bed.options.hook {
            HookChoice::Xdp => Hook::Xdp,
            _ => Hook::Tcx,
        };
        let there = find_at(
            hook,
            &counters,
            Class::Managed,
            Verdict::Forward,
            Reason::Class,
        );
        assert!(there.packets > forwarded.packets / 2, "{counters:?}");
        for reason in [Reason::NoServer, Reason::NoRoute, Reason::TooBig] {
            let lost = find(&counters, Class::Managed, Verdict::Drop, reason);
            assert_eq!(lost.packets, 0, "{counters:?}");
        }
    });
}

#[test]
fn checksums_left_to_the_interface_arrive_whole() {
    story(
        "checksums_left_to_the_interface_arrive_whole",
        |bed, plane| {
            let farm = Farm::new(bed, 1);
            farm.own_the_service();
            serve(plane, Topology::Dsr, &[true]);
            for six in [false, true] {
                answer(&farm.servers[0], sts(six, 443), "server", false);
                for leave in [true, false] {
                    offload(&bed.client, "c0", leave);
                    offload(&farm.servers[0], "d0", leave);
                    let from = source(Class::Managed, six);
                    let got = ask(&bed.client, from, sts(six, 443), 50_000, LONG);
                    assert_eq!(got.expect("an answer"), format!("server {from} 50000"));
                }
            }
        },
    );
}

#[test]
fn a_server_that_dies_and_comes_back_moves_no_flow_of_the_others() {
    story_at_both_hooks(
        "a_server_that_dies_and_comes_back_moves_no_flow_of_the_others",
        |bed, plane| {
            let farm = Farm::new(bed, 3);
            farm.own_the_service();
            serve(plane, Topology::Dsr, &[true, true, true]);
            for (name, word) in farm.servers.iter().zip(b'a'..) {
                for six in [false, true] {
                    echo(name, sts(six, 443), word);
                }
            }
            for six in [false, true] {
                let begin =
                    |count| -> Vec<Long> { (0..count).map(|_| Long::new(bed, six)).collect() };
                let with = |longs: &[Long], word| longs.iter().filter(|l| l.word == word).count();
                let mut first = begin(90);
                for word in b'a'..=b'c' {
                    assert!(with(&first, word) > 10, "each has a share");
                }
                // It is taken out, and still has what it had.
                serve(plane, Topology::Dsr, &[true, false, true]);
                assert!(first.iter_mut().all(Long::holds), "six={six}");
                // It dies.
                ip(&farm.servers[1], "link set d0 down");
                let mut second = begin(60);
                assert_eq!(with(&second, b'b'), 0);
                for long in first.iter_mut().chain(&mut second) {
                    assert!(long.word == b'b' || long.holds(), "six={six}");
                }
                // It comes back, and so does what waited for it.
                ip(&farm.servers[1], "link set d0 up");
                if six {
                    let address = own(1, true);
                    ip(
                        &farm.servers[1],
                        &format!("addr replace {address}/64 dev d0 nodad"),
                    );
                    ip(
                        &farm.servers[1],
                        "-6 route replace default via 2001:db8:10::1",
                    );
                } else {
                    ip(&farm.servers[1], "route replace default via 192.0.2.1");
                }
                serve(plane, Topology::Dsr, &[true, true, true]);
                for long in first.iter_mut().chain(&mut second) {
                    assert!(long.holds(), "six={six}");
                }
                assert!(with(&begin(60), b'b') > 5, "new ones meet it again");
                // The links' IPv6 addresses went with them.
                let address = own(1, true);
                ip(
                    &farm.servers[1],
                    &format!("addr replace {address}/64 dev d0 nodad"),
                );
                ip(
                    &farm.servers[1],
                    "-6 route replace default via 2001:db8:10::1",
                );
            }
        },
    );
}

#[test]
fn a_restart_moves_no_flow_whatever_order_the_servers_have_then() {
    story_of_processes(
        "a_restart_moves_no_flow_whatever_order_the_servers_have_then",
        |bed| {
            let farm = Farm::new(bed, 3);
            farm.own_the_service();
            for (name, word) in farm.servers.iter().zip(b'a'..) {
                echo(name, sts(false, 443), word);
            }
            let begin = || -> Vec<Long> { (0..40).map(|_| Long::new(bed, false)).collect() };
            let mut plane = open(bed);
            serve(&mut plane, Topology::Dsr, &[true, false, true]);
            let mut first = begin();
            assert!(first.iter().all(|long| long.word != b'b'));
            drop(plane);
            // Some of the places of the others change hands now.
            let mut plane = open_without_services(bed);
            let down = [false, true].map(|six| (STS, own(1, six)));
            assert_eq!(plane.down().expect("readable"), down);
            serve(&mut plane, Topology::Dsr, &[true, true, true]);
            let mut second = begin();
            assert!(second.iter().any(|long| long.word == b'b'));
            for long in first.iter_mut().chain(&mut second) {
                assert!(long.holds());
            }
            // The first leaves for good: the slots of the others stay.
            serve_others(&mut plane);
            for long in first.iter_mut().chain(&mut second) {
                assert!(long.word == b'a' || long.holds());
            }
            assert!(begin().iter().all(|long| long.word != b'a'));
        },
    );
}

#[test]
fn another_version_tells_which_servers_are_silent() {
    story_of_processes("another_version_tells_which_servers_are_silent", |bed| {
        let mut plane = open(bed);
        serve(&mut plane, Topology::Dsr, &[true, false]);
        drop(plane);
        version::pretend(&bed.options, 4);
        let migration = Migration::prepare(&bed.options).expect("looked");
        let migration = migration.expect("another version");
        let down = [false, true].map(|six| (STS, own(1, six)));
        assert_eq!(migration.down().expect("readable"), down);
    });
}

#[test]
fn errors_reach_the_server_that_they_are_for() {
    story_at_both_hooks("errors_reach_the_server_that_they_are_for", |bed, plane| {
        let far = Far::new(bed);
        let farm = Farm::new(bed, 3);
        farm.own_the_service();
        serve(plane, Topology::Dsr, &[true, true, true]);
        for six in [false, true] {
            for name in &farm.servers {
                pour(name, sts(six, 443), BULK, false);
            }
            for _ in 0..6 {
                let from = Far::address(Class::Managed, six);
                let mut stream = within(&far.namespace, || connect(from, sts(six, 443), LONG))
                    .expect("a server listens");
                stream.set_read_timeout(Some(LONG)).expect("a timeout");
                let mut got = Vec::new();
                stream
                    .read_to_end(&mut got)
                    .expect("an answer that fits through");
                assert_eq!(got.len(), BULK, "six={six}");
            }
        }
        let counters = plane.counters().expect("readable");
        let errors = find(
            &counters,
            Class::Managed,
            Verdict::Forward,
            Reason::IcmpInner,
        );
        assert!(errors.packets >= 2, "one of each family: {counters:?}");
    });
}

#[test]
fn a_server_behind_a_router_gets_nothing() {
    story("a_server_behind_a_router_gets_nothing", |bed, plane| {
        let farm = Farm::new(bed, 2);
        farm.own_the_service();
        // The second server has become a router on the way to the first.
        let (first, router) = (own(0, false), own(1, false));
        ip(&bed.router, &format!("route add {first}/32 via {router}"));
        serve(plane, Topology::Dsr, &[true, false]);
        answer(&farm.servers[1], sts(false, 443), "wrong", false);
        let from = source(Class::Managed, false);
        ask(&bed.client, from, sts(false, 443), 1, SHORT).expect_err("nobody answers");
        let counters = plane.counters().expect("readable");
        let lost = find(&counters, Class::Managed, Verdict::Drop, Reason::NoRoute);
        assert!(lost.packets >= 1, "{counters:?}");
    });
}

#[test]
fn without_a_server_nothing_is_let_through() {
    story("without_a_server_nothing_is_let_through", |bed, plane| {
        let farm = Farm::new(bed, 1);
        farm.own_the_service();
        answer(&farm.servers[0], sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        serve(plane, Topology::Dsr, &[false]);
        let from = source(Class::Managed, false);
        ask(&bed.client, from, sts(false, 443), 1, SHORT).expect_err("nobody answers");
        let counters = plane.counters().expect("readable");
        let lost = find(&counters, Class::Managed, Verdict::Drop, Reason::NoServer);
        assert!(lost.packets >= 1, "{counters:?}");
        serve(plane, Topology::Dsr, &[true]);
        let got = ask(&bed.client, from, sts(false, 443), 1, LONG);
        assert_eq!(got.expect("an answer"), format!("server {from} 1"));
    });
}

/// The plane that an earlier process left, as it is.
fn open_without_services(bed: &bed::Bed) -> Dataplane {
    Dataplane::open(&bed.options).expect("pins of this version")
}

/// Puts the first service in force without its first server.
fn serve_others(plane: &mut Dataplane) {
    let mut services = services();
    services[0].topology = Topology::Dsr;
    services[0].servers = [2, 1]
        .map(|index| ServerSpec {
            address: own(index, false),
            up: true,
        })
        .into();
    plane.set_services(&services).expect("two services");
}
