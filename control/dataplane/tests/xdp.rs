//! What XDP does, what it leaves to tcx, and who says which.

mod bed;
mod plane;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aya::programs::loaded_programs;
use bed::{Bed, answer, ask, ethtool, ip_output};
use plane::{LONG, SHORT, find_at, open, story_at, sts};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Counter, Dataplane, Error, HookChoice, Options, Probe};
use weir_fixtures::{ADFS_V4, ADFS_V6, STS, STS_VERDICTS, source};

fn story(name: &str, tell: impl FnOnce(&Bed, &mut Dataplane) + Send) {
    story_at(HookChoice::Xdp, name, |bed| tell(bed, &mut open(bed)));
}

#[test]
fn xdp_forwards_both_ways_and_leaves_the_rest_to_tcx() {
    story(
        "xdp_forwards_both_ways_and_leaves_the_rest_to_tcx",
        |bed, plane| {
            serve(bed);
            let at = |hook, class, verdict, reason| {
                let counters = plane.counters().expect("readable");
                find_at(hook, &counters, class, verdict, reason).packets
            };
            let forwarded = |hook| {
                [Reason::Class, Reason::Answer]
                    .map(|reason| at(hook, Class::Managed, Verdict::Forward, reason))
            };
            for six in [false, true] {
                let get = |class, patience| {
                    ask(
                        &bed.client,
                        source(class, six),
                        sts(six, 443),
                        200_000,
                        patience,
                    )
                };
                // Who asks first makes tcx look for the neighbours.
                get(Class::Managed, LONG).expect("an answer");
                let (by_tcx, by_xdp) = (forwarded(Hook::Tcx), forwarded(Hook::Xdp));
                for _ in 0..3 {
                    let got = get(Class::Managed, LONG).expect("an answer");
                    assert!(got.starts_with("server"), "{got}");
                }
                assert_eq!(forwarded(Hook::Tcx), by_tcx, "six={six}");
                let [out, back] = forwarded(Hook::Xdp);
                // 600,000 bytes make more than 400 segments one way, and a few acknowledgements back.
                assert!(out > by_xdp[0] + 400 && back > by_xdp[1] + 9, "six={six}");

                let error = get(Class::Blocked, SHORT).expect_err("nobody answers");
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                let got = get(Class::Unmanaged, LONG).expect("an answer");
                assert!(got.starts_with("proxy"), "{got}");
                let adfs: SocketAddr = if six {
                    (ADFS_V6, 443).into()
                } else {
                    (ADFS_V4, 443).into()
                };
                let error = ask(&bed.client, source(Class::Relay, six), adfs, 1, LONG)
                    .expect_err("a reset");
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            }
            assert_eq!(
                at(Hook::Xdp, Class::Blocked, Verdict::Drop, Reason::Class),
                2
            );
            assert_eq!(
                at(Hook::Tcx, Class::Blocked, Verdict::Drop, Reason::Class),
                0
            );
            assert!(at(Hook::Tcx, Class::Unmanaged, Verdict::Proxy, Reason::Class) > 10);
            let others: Vec<Counter> = plane
                .counters()
                .expect("readable")
                .into_iter()
                .filter(|c| {
                    c.hook == Hook::Xdp && !matches!(c.class, Class::Managed | Class::Blocked)
                })
                .collect();
            assert_eq!(
                others,
                [],
                "what goes to the proxy or is refused is left to tcx"
            );
        },
    );
}

#[test]
fn probes_ask_the_hooks_in_order() {
    story("probes_ask_the_hooks_in_order", |bed, plane| {
        serve(bed);
        // Nobody has asked for the server's hardware address yet, so XDP cannot forward, and says so.
        for six in [false, true] {
            let outcome = plane.probe(&probe(Class::Managed, six)).expect("programs");
            assert_eq!(outcome.verdict, Verdict::Forward);
            let why = outcome.hook_why.expect("a reason");
            assert!(
                outcome.hook == Hook::Tcx && why.contains("not known yet"),
                "{why}"
            );
        }
        meet(bed);
        let before = plane.counters().expect("readable");
        for six in [false, true] {
            for class in Class::ALL {
                let outcome = plane.probe(&probe(class, six)).expect("loaded programs");
                let verdict = STS_VERDICTS[class as usize];
                let hook = match verdict {
                    Verdict::Forward | Verdict::Drop => Hook::Xdp,
                    _ => Hook::Tcx,
                };
                assert_eq!(outcome.service, Some(STS));
                assert_eq!((outcome.class, outcome.verdict), (class, verdict));
                assert_eq!(
                    (outcome.reason, outcome.hook),
                    (Reason::Class, hook),
                    "{class:?}"
                );
                assert_eq!(outcome.hook_why, None, "{class:?}");
            }
        }
        assert_eq!(plane.counters().expect("readable"), before);
        // Nobody is asked who is not there.
        ip_output(&bed.router, &["link", "del", "out"]);
        let error = plane
            .probe(&probe(Class::Managed, false))
            .expect_err("no program");
        assert!(matches!(error, Error::Probe(_)), "{error}");
    });
}

#[test]
fn hooks_are_switched_by_a_restart() {
    story_at(HookChoice::Xdp, "hooks_are_switched_by_a_restart", |bed| {
        serve(bed);
        let hooks = |plane: &Dataplane| {
            let status = plane.status();
            assert_eq!(status.warnings, Vec::<String>::new());
            status
                .interfaces
                .iter()
                .map(|one| one.hook)
                .collect::<Vec<_>>()
        };
        let with = |hook| Options {
            hook,
            ..bed.options.clone()
        };
        let plane = open(bed);
        assert_eq!(hooks(&plane), ["xdp+tcx"; 2]);
        drop(plane);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut connections = 0;
                while !stop.load(Ordering::Relaxed) {
                    let from = source(Class::Managed, false);
                    let got = ask(&bed.client, from, sts(false, 443), 9, LONG).expect("an answer");
                    assert_eq!(got, format!("server {from} 9"));
                    connections += 1;
                }
                connections
            });
            for (hook, word) in [
                (HookChoice::Xdp, "xdp+tcx"),
                (HookChoice::Tcx, "tcx"),
                (HookChoice::Xdp, "xdp+tcx"),
                // On veth.
                (HookChoice::Auto, "tcx"),
            ] {
                let plane = Dataplane::open(&with(hook)).expect("pins of this version");
                assert!(plane.status().adopted);
                assert_eq!(hooks(&plane), [word; 2], "{hook:?}");
                let links = std::fs::read_dir(bed.options.pin_dir.join("links"))
                    .expect("a directory")
                    .count();
                assert_eq!(links, 2 * word.split('+').count());
            }
            stop.store(true, Ordering::Relaxed);
            assert!(load.join().expect("every connection was answered") > 0);
        });
        let plane = Dataplane::open(&with(HookChoice::Xdp)).expect("pins of this version");
        let at = |hook| {
            let counters = plane.counters().expect("readable");
            find_at(
                hook,
                &counters,
                Class::Managed,
                Verdict::Forward,
                Reason::Class,
            )
            .packets
        };
        let before = at(Hook::Xdp);
        let from = source(Class::Managed, false);
        ask(&bed.client, from, sts(false, 443), 9, LONG).expect("an answer");
        assert!(at(Hook::Xdp) > before);
        plane.detach().expect("removed");
        let links = ip_output(&bed.router, &["link"]);
        assert!(!links.contains("xdp"), "{links}");
    });
}

#[test]
fn reasons_for_a_hook_are_named() {
    story_at(HookChoice::Xdp, "reasons_for_a_hook_are_named", |bed| {
        let why = |hook, outside: &str| {
            let options = Options {
                hook,
                outside: vec![outside.into()],
                ..bed.options.clone()
            };
            Dataplane::open(&options).map(|plane| {
                let interface = plane.status().interfaces.swap_remove(0);
                (interface.hook, interface.why)
            })
        };
        let (hook, text) = why(HookChoice::Auto, "out").expect("tcx at least");
        assert!(hook == "tcx" && text.contains("veth"), "{text}");
        let (hook, text) = why(HookChoice::Tcx, "out").expect("tcx");
        assert!(hook == "tcx" && text.contains("`hook`"), "{text}");
        let (hook, text) = why(HookChoice::Xdp, "out").expect("a veth runs XDP");
        assert!(hook == "xdp+tcx" && text.contains("driver veth"), "{text}");

        ip_output(&bed.router, &["link", "add", "br0", "type", "bridge"]);
        let (hook, text) = why(HookChoice::Auto, "br0").expect("tcx at least");
        assert!(hook == "tcx" && text.contains("driver bridge"), "{text}");
        let error = why(HookChoice::Xdp, "br0").expect_err("a bridge has none");
        assert!(matches!(error, Error::NoXdp { .. }), "{error}");
        assert!(error.to_string().contains("hook = \"auto\""), "{error}");
    });
}

#[test]
fn the_verifier_has_room_left_at_xdp() {
    story("the_verifier_has_room_left_at_xdp", |_, plane| {
        for interface in plane.status().interfaces {
            let id = interface.xdp.expect("XDP").program;
            let program = loaded_programs()
                .filter_map(Result::ok)
                .find(|program| program.id() == id)
                .expect("it is loaded");
            let walked = program
                .verified_instruction_count()
                .expect("since Linux 5.16");
            // A million is the limit; other kernels walk somewhat more or less.
            assert!(
                walked < 250_000,
                "{}: {walked} instructions",
                interface.name
            );
        }
    });
}

#[test]
fn what_changes_under_xdp_is_seen() {
    story("what_changes_under_xdp_is_seen", |bed, plane| {
        serve(bed);
        let get = || managed(bed);
        meet(bed);
        assert_eq!(plane.hold().expect("looked"), Vec::<String>::new());

        // Without NAPI at its peer a veth takes no redirected frames.
        ethtool(&bed.server, "s0", &["gro", "off"]);
        assert_eq!(
            plane.hold().expect("looked"),
            ["what leaves by in is forwarded by tcx"]
        );
        let outcome = plane
            .probe(&probe(Class::Managed, false))
            .expect("programs");
        let why = outcome.hook_why.expect("a reason");
        assert!(
            outcome.hook == Hook::Tcx && why.contains("no redirected"),
            "{why}"
        );
        let (xdp, tcx) = (forwarded(plane, Hook::Xdp), forwarded(plane, Hook::Tcx));
        get();
        assert_eq!(forwarded(plane, Hook::Xdp), xdp);
        assert!(forwarded(plane, Hook::Tcx) > tcx);
        let why = plane.status().interfaces.swap_remove(1).why;
        assert!(why.contains("gro on"), "{why}");
        ethtool(&bed.server, "s0", &["gro", "on"]);
        assert_eq!(
            plane.hold().expect("looked"),
            ["what leaves by in is forwarded by XDP again"]
        );

        // The stack asks a neighbour again when it sends to it, which it does not do here.
        let state = |arguments: &[&str]| ip_output(&bed.router, arguments);
        for (server, family) in [("192.0.2.10", "-4"), ("2001:db8:10::10", "-6")] {
            state(&[
                family, "neigh", "change", server, "nud", "stale", "dev", "in",
            ]);
            assert!(state(&["neigh", "show", server]).contains("STALE"));
            assert_eq!(plane.hold().expect("looked"), Vec::<String>::new());
            let now = state(&["neigh", "show", server]);
            assert!(!now.is_empty() && !now.contains("STALE"), "{now}");
        }

        // What is sent to an address of before is only overheard.
        let address = "02:00:00:00:00:42";
        ip_output(&bed.router, &["link", "set", "out", "address", address]);
        assert_eq!(
            plane.hold().expect("looked"),
            ["out has another hardware address"]
        );
        let neighbour = [
            "neigh",
            "replace",
            "203.0.113.1",
            "lladdr",
            address,
            "dev",
            "c0",
        ];
        ip_output(&bed.client, &neighbour);
        get();
        let xdp = forwarded(plane, Hook::Xdp);
        get();
        assert!(forwarded(plane, Hook::Xdp) > xdp);
    });
}

#[test]
fn a_vlan_that_comes_later_is_left_to_tcx() {
    story("a_vlan_that_comes_later_is_left_to_tcx", |bed, plane| {
        serve(bed);
        meet(bed);
        let link = |change: &[&str]| ip_output(&bed.router, &[&["link"], change].concat());
        // The driver takes tags off, so XDP could not tell what belongs to the VLAN.
        link(&[
            "add", "link", "out", "name", "out.7", "type", "vlan", "id", "7",
        ]);
        if !link(&["show"]).contains("out.7") {
            let test = "a_vlan_that_comes_later_is_left_to_tcx";
            let why = "the kernel has no VLAN interfaces (CONFIG_VLAN_8021Q)";
            let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
            return;
        }
        assert_eq!(
            plane.hold().expect("looked"),
            ["what enters at out is left to tcx"]
        );
        let (xdp, tcx) = (forwarded(plane, Hook::Xdp), forwarded(plane, Hook::Tcx));
        managed(bed);
        assert_eq!(forwarded(plane, Hook::Xdp), xdp);
        assert!(forwarded(plane, Hook::Tcx) > tcx);
        let why = plane.status().interfaces.swap_remove(0).why;
        assert!(why.contains("rxvlan off"), "{why}");
        link(&["del", "out.7"]);
        assert_eq!(
            plane.hold().expect("looked"),
            ["XDP acts on what enters at out again"]
        );
        managed(bed);
        assert!(forwarded(plane, Hook::Xdp) > xdp);
    });
}

#[test]
fn what_somebody_takes_from_xdp_is_put_back() {
    story("what_somebody_takes_from_xdp_is_put_back", |bed, plane| {
        serve(bed);
        let get = || managed(bed);
        get();
        // Somebody takes the link off.
        let link = plane
            .status()
            .interfaces
            .swap_remove(0)
            .xdp
            .expect("XDP")
            .pin;
        let detached = Command::new("bpftool")
            .args(["link", "detach", "pinned"])
            .arg(&link)
            .status();
        assert!(detached.is_ok_and(|status| status.success()), "bpftool");
        let warnings = plane.status().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        get();
        assert_eq!(
            plane.hold().expect("put back"),
            ["the program was gone from out and is back"]
        );
        assert_eq!(plane.status().warnings, Vec::<String>::new());
        let xdp = forwarded(plane, Hook::Xdp);
        get();
        assert!(forwarded(plane, Hook::Xdp) > xdp);

        // What runs no XDP takes the place: tcx goes on alone, and status says so.
        ip_output(&bed.router, &["link", "del", "in"]);
        ip_output(&bed.router, &["link", "add", "in", "type", "bridge"]);
        assert_eq!(
            plane.hold().expect("put back"),
            ["the program was gone from in and is back"]
        );
        let status = plane.status();
        assert_eq!(status.interfaces[1].hook, "tcx");
        assert!(
            status
                .warnings
                .iter()
                .any(|one| one.starts_with("no XDP on in,")),
            "{:?}",
            status.warnings
        );
    });
}

/// Makes neighbours known to each other: XDP leaves what goes to unknown ones to tcx, which looks for them.
fn meet(bed: &Bed) {
    for six in [false, true] {
        let from = source(Class::Managed, six);
        ask(&bed.client, from, sts(six, 443), 1, LONG).expect("an answer");
    }
}

/// One connection of a managed source, over IPv4.
fn managed(bed: &Bed) {
    let from = source(Class::Managed, false);
    let got = ask(&bed.client, from, sts(false, 443), 9, LONG).expect("an answer");
    assert_eq!(got, format!("server {from} 9"));
}

/// Packets of managed sources that were forwarded at a hook.
fn forwarded(plane: &Dataplane, hook: Hook) -> u64 {
    let counters = plane.counters().expect("readable");
    find_at(
        hook,
        &counters,
        Class::Managed,
        Verdict::Forward,
        Reason::Class,
    )
    .packets
}

fn serve(bed: &Bed) {
    for six in [false, true] {
        answer(&bed.server, sts(six, 443), "server", false);
        answer(&bed.router, sts(six, 443), "proxy", true);
    }
}

fn probe(class: Class, six: bool) -> Probe {
    Probe {
        source: source(class, six),
        destination: sts(six, 443).ip(),
        port: 443,
    }
}
