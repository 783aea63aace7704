//! Lists change under load, or grants come and expire, and every flow keeps its verdict: long connections live on where they began,
//! new ones never fail, whoever answers them.
//!
//! `WEIR_LONG=1` makes it a test of many thousand connections and minutes.

mod bed;
mod crowd;
mod plane;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bed::{Bed, eventually, within};
use crowd::{Crowd, GO_ON, Size, Talker, moving, raise_limit, serve};
use plane::{services, sts};
use weir_abi::{Class, ClassSet, Hook, Reason, Verdict};
use weir_dataplane::{Dataplane, GrantSpec, HookChoice, SynBudget, SynBudgets, since_boot};
use weir_fixtures::source;
use weir_tables::{History, KernelTables, Lists};

/// What becomes of the one source from which everything comes, in turns.
const TURNS: [Class; 4] = [
    Class::Managed,
    Class::Unmanaged,
    Class::Managed,
    Class::Bypass,
];

#[test]
fn flows_keep_their_verdict_at_tcx() {
    flows_keep_their_verdict(
        "flows_keep_their_verdict_at_tcx",
        HookChoice::Tcx,
        false,
        by_lists(),
    );
}

#[test]
fn flows_keep_their_verdict_at_xdp() {
    flows_keep_their_verdict(
        "flows_keep_their_verdict_at_xdp",
        HookChoice::Xdp,
        false,
        by_lists(),
    );
}

#[test]
fn flows_keep_their_verdict_with_cookies_at_tcx() {
    let name = "flows_keep_their_verdict_with_cookies_at_tcx";
    flows_keep_their_verdict(name, HookChoice::Tcx, true, by_lists());
}

#[test]
fn flows_keep_their_verdict_with_cookies_at_xdp() {
    let name = "flows_keep_their_verdict_with_cookies_at_xdp";
    flows_keep_their_verdict(name, HookChoice::Xdp, true, by_lists());
}

#[test]
fn flows_keep_their_verdict_while_grants_expire_at_tcx() {
    let name = "flows_keep_their_verdict_while_grants_expire_at_tcx";
    flows_keep_their_verdict(name, HookChoice::Tcx, false, by_grants);
}

#[test]
fn flows_keep_their_verdict_while_grants_expire_at_xdp() {
    let name = "flows_keep_their_verdict_while_grants_expire_at_xdp";
    flows_keep_their_verdict(name, HookChoice::Xdp, false, by_grants);
}

#[test]
fn flows_keep_their_verdict_while_grants_expire_with_cookies() {
    let name = "flows_keep_their_verdict_while_grants_expire_with_cookies";
    flows_keep_their_verdict(name, HookChoice::Xdp, true, by_grants);
}

/// What waits for the FIN of a client that is gone answers the next SYN from its port, and the reset that
/// this earns must reach it (RFC 9293 §3.10.7.3), also while flows from there may have been forwarded.
#[test]
fn a_connection_that_returns_is_rid_of_what_the_proxys_last_one_left() {
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        let name = "a_connection_that_returns_is_rid_of_what_the_proxys_last_one_left";
        plane::story_at(hook, name, |bed| {
            let mut plane = unbounded(bed);
            let take_turn = by_lists();
            for turn in [0, 1] {
                take_turn(&mut plane, turn, Duration::ZERO);
            }
            for six in [false, true] {
                serve(&bed.server, sts(six, 443), b's', false);
                serve(&bed.router, sts(six, 443), b'p', true);
                let (from, to) = (source(Class::Unmanaged, six), sts(six, 443));
                let returns = || {
                    let mut first = Talker::new(from, 20_000, to)?;
                    let began = Instant::now();
                    first.close()?;
                    eventually("a socket of the proxy's waits for a FIN", || {
                        let sockets = within(&bed.router, || sockets(six));
                        if sockets.contains(" 05 ") {
                            Ok(())
                        } else {
                            Err(sockets)
                        }
                    });
                    bed.nft(
                        &bed.client,
                        "table inet mute {
                            chain output { type filter hook output priority 0; tcp flags rst drop; }
                        }",
                    );
                    first.abort();
                    bed.nft(&bed.client, "delete table inet mute\n");
                    // Beginnings move through the sequence by the clock (RFC 6528), here out of the window.
                    thread::sleep(Duration::from_millis(200).saturating_sub(began.elapsed()));
                    let mut second = Talker::new(from, 20_000, to)?;
                    second.talk(GO_ON)?;
                    Ok::<_, std::io::Error>(second.who())
                };
                let who = within(&bed.client, returns);
                assert_eq!(who.expect("it lives"), Some(b'p'), "{hook:?} six={six}");
            }
        });
    }
}

/// What the kernel tells of the TCP sockets of this namespace; 05 is FIN_WAIT2.
fn sockets(six: bool) -> String {
    let file = if six { "tcp6" } else { "tcp" };
    std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("readable")
}

/// In each turn the lists give the source another class.
fn by_lists() -> impl Fn(&mut Dataplane, usize, Duration) + Sync {
    let turns = turns();
    move |plane, turn, _| {
        let tables = &turns[turn % turns.len()];
        plane.publish(tables).expect("a small generation");
    }
}

/// In every other turn the source is granted a class, which expires by itself at the end of the turn.
fn by_grants(plane: &mut Dataplane, turn: usize, lasts: Duration) {
    plane
        .set_principal(0, Class::Managed)
        .expect("there is room");
    for six in [false, true].into_iter().filter(|_| turn % 2 == 1) {
        let grant = GrantSpec {
            principal: 0,
            class: Class::Managed,
            held: ClassSet::EMPTY,
            expires: since_boot() + lasts,
            rests: since_boot() + Duration::from_hours(1),
            cut: false,
        };
        let from = source(Class::Unmanaged, six);
        plane.grant(from, Some(&grant)).expect("there is room");
    }
}

fn flows_keep_their_verdict(
    name: &str,
    hook: HookChoice,
    cookies: bool,
    take_turn: impl Fn(&mut Dataplane, usize, Duration) + Sync,
) {
    let long = std::env::var_os("WEIR_LONG").is_some();
    let (size, time, pause) = if long {
        let size = Size {
            lasting: 3000,
            returning: 100,
        };
        (size, Duration::from_mins(1), Duration::from_secs(1))
    } else {
        let size = Size {
            lasting: 500,
            returning: 25,
        };
        (size, Duration::from_secs(4), Duration::from_millis(400))
    };
    plane::story_at(hook, name, |bed| {
        raise_limit();
        if cookies {
            within(&bed.router, || {
                std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").expect("root may");
            });
        }
        for six in [false, true] {
            serve(&bed.server, sts(six, 443), b's', false);
            serve(&bed.router, sts(six, 443), b'p', true);
        }
        let mut plane = unbounded(bed);
        take_turn(&mut plane, 0, pause);
        let stop = AtomicBool::new(false);
        let crowds = thread::scope(|scope| {
            let crowds = [false, true].map(|six| {
                let from = source(Class::Unmanaged, six);
                let (size, stop, client) = (&size, &stop, &bed.client);
                scope.spawn(move || {
                    let live = move || Crowd::live(from, sts(six, 443), size, stop);
                    within(client, live)
                })
            });
            let end = Instant::now() + time;
            for turn in 0.. {
                take_turn(&mut plane, turn, pause);
                if Instant::now() > end {
                    break;
                }
                thread::sleep(pause);
            }
            stop.store(true, Ordering::Relaxed);
            crowds.map(|crowd| crowd.join().expect("a crowd tells what it saw"))
        });
        for (crowd, family) in crowds.into_iter().zip(["IPv4", "IPv6"]) {
            println!("{name}: {family}: {crowd:?}");
            assert_eq!(crowd.troubles, Vec::<String>::new(), "{family}");
            assert!(
                crowd.lasting == size.lasting && crowd.began > 100,
                "{crowd:?}"
            );
            let [by_server, by_proxy] = crowd.answered_by;
            assert!(
                by_server > 10 && by_proxy > 10,
                "both were in it: {crowd:?}"
            );
            assert!(crowd.returned > size.returning, "{crowd:?}");
        }
        let counters = plane.counters().expect("readable");
        let kept = |hook, verdict| {
            counters
                .iter()
                .filter(|c| (c.hook, c.verdict, c.reason) == (hook, verdict, Reason::Kept))
                .map(|c| c.packets)
                .sum::<u64>()
        };
        let forwards = if hook == HookChoice::Xdp {
            Hook::Xdp
        } else {
            Hook::Tcx
        };
        assert!(kept(Hook::Tcx, Verdict::Proxy) > 0, "{counters:?}");
        assert!(kept(forwards, Verdict::Forward) > 0, "{counters:?}");
    });
}

/// A plane that refuses no beginning.
fn unbounded(bed: &Bed) -> Dataplane {
    let none = SynBudget::of(0);
    let mut options = bed.options.clone();
    options.budgets = SynBudgets {
        proxied: none,
        forwarded: none,
    };
    let mut plane = Dataplane::open(&options).unwrap_or_else(|error| panic!("{error}"));
    plane.set_services(&services()).expect("two services");
    plane
}

/// The tables for each turn; in all of them the source has held every class of the others.
fn turns() -> Vec<KernelTables> {
    let lists: Vec<Lists> = TURNS.iter().map(|class| moving(*class)).collect();
    let history = lists
        .iter()
        .map(History::of)
        .reduce(|one, other| one.and(&other))
        .expect("some turns");
    lists
        .iter()
        .map(|lists| KernelTables::compile(lists, &history))
        .collect()
}
