//! How many connections one source may begin, and what a source that begins too many takes from others.

mod bed;
mod plane;

use std::net::SocketAddr;

use bed::{answer, ask, within};
use plane::{LONG, SHORT, open, story_at, sts};
use socket2::{Domain, Socket, Type};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Counter, Dataplane, HookChoice, Options, SynBudget, SynBudgets};
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
fn begin(namespace: &str, from: std::net::IpAddr, to: SocketAddr, times: usize) {
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
