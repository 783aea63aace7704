//! How many connections one source may begin, and what a source that begins too many takes from others.

mod bed;
mod plane;

use std::fs;
use std::net::{IpAddr, SocketAddr};

use bed::{Bed, answer, ask, must, within};
use plane::{LONG, SHORT, open, story_at, sts};
use socket2::{Domain, Protocol, Socket, Type};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Counter, Dataplane, HookChoice, Options, SynBudget, SynBudgets};
use weir_fixtures::frame::Segment;
use weir_fixtures::source;

#[test]
fn a_source_that_floods_takes_from_nobody_else() {
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        story_at(hook, "a_source_that_floods_takes_from_nobody_else", |bed| {
            let mut plane = open(bed);
            drop(plane);
            plane = Dataplane::open(&few(&bed.options)).expect("pins of this version");
            for six in [false, true] {
                answer(&bed.server, sts(six, 443), "server", false);
                answer(&bed.router, sts(six, 443), "proxy", true);
                // Neighbours are known before the flood.
                let get = |class, patience| {
                    ask(&bed.client, source(class, six), sts(six, 443), 9, patience)
                };
                get(Class::Managed, LONG).expect("an answer");
                for (class, verdict, at_once) in [
                    (Class::Unmanaged, Verdict::Proxy, 8),
                    (Class::Managed, Verdict::Forward, 30),
                ] {
                    let before = refused(&plane, class);
                    begin(&bed.client, source(class, six), sts(six, 443), 60);
                    let now = refused(&plane, class) - before;
                    assert!(
                        (1..=61 - at_once).contains(&now),
                        "{verdict:?} six={six}: {now}"
                    );
                    let error = get(class, SHORT).expect_err("its share is used up");
                    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                }
                // IPv6 sources are one /64: who shares it shares the budget.
                // A second gives one more.
                begin(
                    &bed.client,
                    source(Class::Unmanaged, six),
                    sts(six, 443),
                    60,
                );
                let other = get(Class::Bypass, SHORT);
                assert_eq!(other.is_ok(), !six, "{other:?}");
                // A refused source is let in again: its SYN is sent again.
                let got = get(Class::Managed, LONG).expect("an answer");
                assert!(got.starts_with("server"), "{got}");
            }
            let wrong: Vec<Counter> = (plane.counters().expect("readable").into_iter())
                .filter(|c| c.reason == Reason::SynBudget && c.verdict != Verdict::Drop)
                .collect();
            assert_eq!(wrong, []);
            let at_xdp = hook == HookChoice::Xdp;
            let refused_at = |hook| {
                let counters = plane.counters().expect("readable");
                (counters.iter())
                    .filter(|c| {
                        (c.hook, c.class, c.reason) == (hook, Class::Managed, Reason::SynBudget)
                    })
                    .map(|c| c.packets)
                    .sum::<u64>()
            };
            assert_eq!(
                refused_at(Hook::Xdp) > 0,
                at_xdp,
                "the hook that would forward refuses"
            );
            assert_eq!(refused_at(Hook::Tcx) > 0, !at_xdp);
        });
    }
}

#[test]
fn established_connections_cost_nothing() {
    story_at(
        HookChoice::Tcx,
        "established_connections_cost_nothing",
        |bed| {
            drop(open(bed));
            let plane = Dataplane::open(&few(&bed.options)).expect("pins of this version");
            let at = sts(false, 443);
            answer(&bed.router, at, "proxy", true);
            let from = source(Class::Unmanaged, false);
            // Far more segments than the source may begin connections.
            let got = ask(&bed.client, from, at, 2_000_000, LONG).expect("an answer");
            assert_eq!(got, format!("proxy {from} 2000000"));
            assert_eq!(refused(&plane, Class::Unmanaged), 0);
        },
    );
}

#[test]
fn honest_sources_get_through_when_the_listener_is_flooded() {
    let name = "honest_sources_get_through_when_the_listener_is_flooded";
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        story_at(hook, name, |bed| {
            drop(open(bed));
            let plane = Dataplane::open(&few(&bed.options)).expect("pins of this version");
            within(&bed.router, || {
                fs::write("/proc/sys/net/ipv4/tcp_syncookies", "1").expect("root may");
            });
            // Who is invented answers nobody, so that its connections stay half open.
            ip(
                &bed.router,
                &["route", "add", "100.64.0.0/10", "via", "203.0.113.10"],
            );
            ip(
                &bed.router,
                &["-6", "route", "add", "fd64::/16", "via", "2001:db8:c::a"],
            );
            for six in [false, true] {
                answer(&bed.router, sts(six, 443), "proxy", true);
                let (sent, brought_back) = cookies(bed);
                // More than the listener has room for, none of which begins more than one; and one that does.
                invent(&bed.client, sts(six, 443), 1000);
                let loud = source(Class::Unmanaged, six);
                begin(&bed.client, loud, sts(six, 443), 100);
                assert!(refused(&plane, Class::Unmanaged) > 50, "six={six}");
                let (more, _) = cookies(bed);
                assert!(more > sent, "the listener has no room left");
                // IPv6 sources are one /64, which has used up its share: those beside it wait, others do not.
                let from = if six {
                    ip(
                        &bed.client,
                        &["addr", "add", "fd65::1/64", "dev", "c0", "nodad"],
                    );
                    ip(
                        &bed.router,
                        &["-6", "route", "add", "fd65::/64", "dev", "out"],
                    );
                    "fd65::1".parse().expect("a literal")
                } else {
                    source(Class::Bypass, six)
                };
                for _ in 0..5 {
                    let got = ask(&bed.client, from, sts(six, 443), 50_000, LONG);
                    assert_eq!(got.expect("an answer"), format!("proxy {from} 50000"));
                }
                let (_, more) = cookies(bed);
                assert!(more > brought_back, "honest ones brought theirs back");
            }
        });
    }
}

/// SYN cookies that the router's listeners sent, and those that came back.
fn cookies(bed: &Bed) -> (u64, u64) {
    let text = within(&bed.router, || {
        fs::read_to_string("/proc/thread-self/net/netstat").expect("readable")
    });
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let value = |name: &str| {
        let mut columns = names.split(' ').zip(values.split(' '));
        let (_, value) = columns
            .find(|(column, _)| *column == name)
            .expect("it is counted");
        value.parse().expect("a number")
    };
    (value("SyncookiesSent"), value("SyncookiesRecv"))
}

/// Sends a SYN from each of so many sources that are nowhere, each in a network of its own.
fn invent(namespace: &str, to: SocketAddr, count: u16) {
    const HEADERS_ARE_THERE: i32 = 255;
    within(namespace, || {
        let raw = Protocol::from(HEADERS_ARE_THERE);
        let socket =
            Socket::new(Domain::for_address(to), Type::RAW, Some(raw)).expect("root may have one");
        for number in 0..count {
            let [high, low] = number.to_be_bytes();
            let from: IpAddr = match to {
                SocketAddr::V4(_) => [100, 64 + high, low, 7].into(),
                SocketAddr::V6(_) => [0xfd64, 0, 0, number, 0, 0, 0, 7].into(),
            };
            let syn = Segment::new(40_000, to.port());
            let packet = syn.between(from, to.ip());
            let no_port = SocketAddr::new(to.ip(), 0);
            socket.send_to(&packet, &no_port.into()).expect("sent");
        }
    });
}

/// Runs ip(8) in a namespace.
fn ip(namespace: &str, words: &[&str]) {
    must("ip", &[&["-n", namespace], words].concat());
}

/// Budgets that a test can spend.
fn few(options: &Options) -> Options {
    Options {
        budgets: SynBudgets {
            proxied: SynBudget {
                per_second: 1,
                at_once: 8,
            },
            forwarded: SynBudget {
                per_second: 1,
                at_once: 30,
            },
        },
        ..options.clone()
    }
}

/// Sends so many SYNs, each once.
fn begin(namespace: &str, from: IpAddr, to: SocketAddr, times: usize) {
    within(namespace, || {
        for _ in 0..times {
            let socket =
                Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
            socket.bind(&SocketAddr::new(from, 0).into()).expect("free");
            socket.set_nonblocking(true).expect("a socket");
            let _ = socket.connect(&to.into());
        }
    });
}

/// Connections of a class that were refused because their source had begun too many.
fn refused(plane: &Dataplane, class: Class) -> u64 {
    let counters = plane.counters().expect("readable");
    counters
        .iter()
        .filter(|c| c.class == class && c.reason == Reason::SynBudget)
        .map(|c| c.packets)
        .sum()
}
