//! Starting, adopting, upgrading, publishing and detaching, and what goes wrong in it.

mod bed;
mod plane;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aya::programs::tc::{SchedClassifier, TcAttachType};
use bed::{answer, ask, ip_output};
use plane::{LONG, SHORT, find, open, story, story_of_processes, sts};
use weir_abi::{Class, Config, Reason, Verdict};
use weir_dataplane::{Counter, Dataplane, Error, Options};
use weir_fixtures::source;

#[test]
fn a_process_that_ends_leaves_it_running() {
    story_of_processes("a_process_that_ends_leaves_it_running", |bed| {
        answer(&bed.server, sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        let get = |class| {
            let from = source(class, false);
            ask(&bed.client, from, sts(false, 443), 1, LONG).expect("an answer")
        };
        let names = |plane: &Dataplane| {
            let maps = plane.status().maps.into_iter();
            maps.map(|map| (map.name, map.capacity)).collect::<Vec<_>>()
        };
        let (before, maps) = {
            let plane = open(bed);
            assert!(!plane.status().adopted);
            get(Class::Managed);
            (plane.counters().expect("readable"), names(&plane))
        };
        assert!(get(Class::Managed).starts_with("server"));
        assert!(get(Class::Unmanaged).starts_with("proxy"));

        let plane = Dataplane::open(&bed.options).expect("pins of this version");
        let status = plane.status();
        assert!(status.adopted);
        assert_eq!(names(&plane), maps);
        assert!(status.maps.iter().all(|map| map.memory > 0), "{status:?}");
        assert_eq!(status.warnings, Vec::<String>::new());
        let names: Vec<&str> = status.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["out", "in"]);
        for interface in &status.interfaces {
            assert!(interface.pin.exists());
            assert_eq!(
                programs_on(&interface.name),
                [interface.program],
                "swapped, not added"
            );
        }
        // Services, tables and counters are those of before, and go on.
        assert!(get(Class::Managed).starts_with("server"));
        assert!(get(Class::Unmanaged).starts_with("proxy"));
        let after = plane.counters().expect("readable");
        let managed =
            |c: &[Counter]| find(c, Class::Managed, Verdict::Forward, Reason::Class).packets;
        assert!(
            managed(&after) >= managed(&before) + 8,
            "two more connections"
        );
    });
}

#[test]
fn an_upgrade_under_load_loses_no_connection() {
    story_of_processes("an_upgrade_under_load_loses_no_connection", |bed| {
        answer(&bed.server, sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        drop(open(bed));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let load = [Class::Managed, Class::Unmanaged].map(|class| {
                let stop = &stop;
                scope.spawn(move || {
                    let from = source(class, false);
                    let word = if class == Class::Managed {
                        "server"
                    } else {
                        "proxy"
                    };
                    let mut connections = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let got =
                            ask(&bed.client, from, sts(false, 443), 9, LONG).expect("an answer");
                        assert_eq!(got, format!("{word} {from} 9"));
                        connections += 1;
                    }
                    connections
                })
            });
            for _ in 0..5 {
                drop(Dataplane::open(&bed.options).expect("pins of this version"));
            }
            stop.store(true, Ordering::Relaxed);
            for thread in load {
                assert!(thread.join().expect("every connection was answered") > 0);
            }
        });
    });
}

#[test]
fn detaching_leaves_nothing() {
    story_of_processes("detaching_leaves_nothing", |bed| {
        let rules = || {
            let mut text = String::new();
            for family in ["-4", "-6"] {
                text += &ip_output(&bed.router, &[family, "rule"]);
                // Routes of interfaces come and go by themselves.
                let routes = ip_output(&bed.router, &[family, "route", "show", "table", "all"]);
                text.extend(
                    routes
                        .lines()
                        .filter(|line| line.contains("dev lo table 5745")),
                );
                text.extend(
                    routes
                        .lines()
                        .filter(|line| line.contains("dev lo table 300")),
                );
            }
            text
        };
        let before = rules();
        let first = open(bed);
        let with = rules();
        assert_eq!(
            with.matches("fwmark 0x5745 lookup 5745").count(),
            2,
            "{with}"
        );
        assert_eq!(
            with.matches("local default dev lo table 5745").count(),
            2,
            "{with}"
        );
        drop(first);
        // Twice is once; another mark takes the place of the first.
        let again = Dataplane::open(&bed.options).expect("pins of this version");
        assert_eq!(rules(), with);
        drop(again);
        let options = Options {
            mark: 0x77,
            table: 300,
            ..bed.options.clone()
        };
        let other = Dataplane::open(&options).expect("pins of this version");
        assert_eq!(rules().matches("5745").count(), 0);
        assert_eq!(rules().matches("fwmark 0x77 lookup 300").count(), 2);
        other.detach().expect("removed");
        assert_eq!(rules(), before);
        assert!(programs_on("out").is_empty() && programs_on("in").is_empty());
        for part in ["maps", "links", "programs"] {
            assert!(!bed.options.pin_dir.join(part).exists());
        }
    });
}

#[test]
fn pins_of_another_version_are_refused() {
    story_of_processes("pins_of_another_version_are_refused", |bed| {
        drop(open(bed));
        let config = bed.options.pin_dir.join("maps/CONFIG");
        let file = config.to_str().expect("a plain path");
        let zeros = vec!["0"; size_of::<Config>() - 1];
        let words = [
            "update", "pinned", file, "key", "0", "0", "0", "0", "value", "99",
        ];
        let arguments = words.into_iter().chain(zeros);
        let changed = Command::new("bpftool").arg("map").args(arguments).status();
        assert!(changed.is_ok_and(|status| status.success()), "bpftool");
        let error = Dataplane::open(&bed.options).expect_err("layout 99");
        assert!(matches!(&error, Error::Incompatible { path, .. } if *path == config));
        assert!(
            error
                .to_string()
                .contains("layout 99, this version has layout 5"),
            "{error}"
        );
        for way in ["weir-control --migrate", "weir-control --detach"] {
            assert!(error.to_string().contains(way), "{error}");
        }
        // One of the maps gone: the pins are no whole either.
        std::fs::remove_file(bed.options.pin_dir.join("maps/V6_NODES")).expect("removed");
        assert!(Dataplane::open(&bed.options).is_err());
        weir_dataplane::detach_pinned(&bed.options.pin_dir, bed::MARK, bed::TABLE)
            .expect("removed");
        assert!(!open(bed).status().adopted);
    });
}

#[test]
fn pins_are_taken_off_with_the_mark_they_were_made_for() {
    story_of_processes(
        "pins_are_taken_off_with_the_mark_they_were_made_for",
        |bed| {
            let options = Options {
                mark: 0x77,
                ..bed.options.clone()
            };
            drop(open(bed));
            // Another mark for the same table: the route stays.
            drop(Dataplane::open(&options).expect("pins of this version"));
            let rules = || ip_output(&bed.router, &["-4", "rule"]);
            let table = ["-4", "route", "show", "table", "5745"];
            assert!(rules().contains("fwmark 0x77 lookup 5745"), "{}", rules());
            assert!(!rules().contains("0x5745"), "{}", rules());
            assert!(ip_output(&bed.router, &table).contains("local default dev lo"));
            // The file was edited since: it says a mark that was never in force.
            weir_dataplane::detach_pinned(&bed.options.pin_dir, bed::MARK, bed::TABLE)
                .expect("removed");
            assert!(!rules().contains("5745"), "{}", rules());
            assert!(programs_on("out").is_empty() && programs_on("in").is_empty());
        },
    );
}

#[test]
fn what_somebody_takes_away_is_put_back() {
    story("what_somebody_takes_away_is_put_back", |bed, plane| {
        answer(&bed.router, sts(false, 443), "proxy", true);
        let get = || {
            let from = source(Class::Unmanaged, false);
            ask(&bed.client, from, sts(false, 443), 1, LONG).expect("an answer")
        };
        assert!(get().starts_with("proxy"));
        assert_eq!(plane.hold().expect("looked"), Vec::<String>::new());

        ip_output(&bed.router, &["-4", "rule", "del", "priority", "100"]);
        ip_output(&bed.router, &["-6", "route", "flush", "table", "5745"]);
        let back = plane.hold().expect("put back");
        assert_eq!(back.len(), 2, "{back:?}");
        assert!(
            back[0].contains("IPv4") && back[1].contains("IPv6"),
            "{back:?}"
        );
        assert!(get().starts_with("proxy"));

        // An interface of the same name is not the same interface.
        assert_eq!(plane.status().warnings, Vec::<String>::new());
        ip_output(&bed.router, &["link", "del", "in"]);
        let warnings = plane.status().warnings;
        assert!(
            warnings
                .iter()
                .any(|one| one.starts_with("no program is on in,")),
            "{warnings:?}"
        );
        ip_output(&bed.router, &["link", "add", "in", "type", "veth"]);
        let back = plane.hold().expect("put back");
        assert_eq!(back, ["the program was gone from in and is back"]);
        assert_eq!(programs_on("in").len(), 1);
        assert_eq!(plane.hold().expect("looked"), Vec::<String>::new());
    });
}

#[test]
fn an_interface_that_is_back_does_not_wait_for_another_one() {
    story(
        "an_interface_that_is_back_does_not_wait_for_another_one",
        |bed, plane| {
            for (gone, back) in [("out", "in"), ("in", "out")] {
                for name in ["out", "in"] {
                    ip_output(&bed.router, &["link", "del", name]);
                }
                ip_output(&bed.router, &["link", "add", back, "type", "veth"]);

                let put_back = plane.hold().expect("put back");

                assert_eq!(
                    put_back,
                    [format!("the program was gone from {back} and is back")]
                );
                assert_eq!(programs_on(back).len(), 1);
                let warnings = plane.status().warnings;
                assert!(
                    warnings.len() == 1
                        && warnings[0].starts_with(&format!("no program is on {gone},")),
                    "{warnings:?}"
                );
                assert_eq!(plane.hold().expect("looked"), Vec::<String>::new());

                ip_output(&bed.router, &["link", "add", gone, "type", "veth"]);
                let put_back = plane.hold().expect("put back");
                assert_eq!(
                    put_back,
                    [format!("the program was gone from {gone} and is back")]
                );
                assert_eq!(programs_on(gone).len(), 1);
                let names: Vec<_> = plane.status().interfaces;
                assert_eq!(
                    names
                        .iter()
                        .map(|one| one.name.as_str())
                        .collect::<Vec<_>>(),
                    ["out", "in"]
                );
                assert_eq!(plane.status().warnings, Vec::<String>::new());
            }
        },
    );
}

#[test]
fn mistakes_are_named() {
    story_of_processes("mistakes_are_named", |bed| {
        let open = |change: &dyn Fn(&mut Options)| {
            let mut options = bed.options.clone();
            change(&mut options);
            Dataplane::open(&options)
                .expect_err("a mistake")
                .to_string()
        };
        let error = open(&|options| options.outside = vec!["eth9".into()]);
        assert!(error.starts_with("there is no interface eth9"), "{error}");
        ip_output(
            &bed.router,
            &["tuntap", "add", "dev", "tun0", "mode", "tun"],
        );
        let error = open(&|options| options.outside = vec!["tun0".into()]);
        assert!(
            error.starts_with("interface tun0 carries no Ethernet headers"),
            "{error}"
        );
        let error = open(&|options| options.inside = vec!["out".into()]);
        assert!(
            error.starts_with("interface out is listed twice"),
            "{error}"
        );
        let error = open(&|options| options.object = "/nowhere/weir-ebpf.o".into());
        assert!(
            error.starts_with("cannot read the kernel programs at /nowhere"),
            "{error}"
        );
        let error = open(&|options| options.object = std::env::current_exe().expect("this test"));
        assert!(
            error.contains("holds no kernel programs of this version"),
            "{error}"
        );
    });
}

#[test]
fn surroundings_are_warned_of() {
    story_of_processes("surroundings_are_warned_of", |bed| {
        for (setting, value) in [
            ("ipv4/conf/out/forwarding", "0"),
            ("ipv4/conf/all/rp_filter", "1"),
            ("ipv4/conf/out/src_valid_mark", "1"),
        ] {
            std::fs::write(format!("/proc/sys/net/{setting}"), value).expect("root may");
        }
        let plane = open(bed);
        let warnings = plane.status().warnings;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("IPv4 forwarding is off on out"));
        assert!(warnings[1].contains("src_valid_mark is set"));
        // What was mended is not warned of any more.
        std::fs::write("/proc/sys/net/ipv4/conf/out/src_valid_mark", "0").expect("root may");
        assert_eq!(plane.status().warnings, warnings[..1]);
        // What cannot be forwarded goes to the stack, counted as such.
        let error = ask(
            &bed.client,
            source(Class::Managed, false),
            sts(false, 443),
            1,
            SHORT,
        );
        assert!(error.is_err());
        let counters = plane.counters().expect("readable");
        assert_eq!(
            find(&counters, Class::Managed, Verdict::Pass, Reason::NoRoute).packets,
            1
        );
    });
}

#[test]
fn the_verifier_has_room_left() {
    story("the_verifier_has_room_left", |_, _| {
        for interface in ["out", "in"] {
            let (_, programs) =
                SchedClassifier::query_tcx(interface, TcAttachType::Ingress).expect("tcx");
            let walked = programs[0]
                .verified_instruction_count()
                .expect("since Linux 5.16");
            // A million is the limit; other kernels walk somewhat more or less.
            assert!(walked < 350_000, "{interface}: {walked} instructions");
        }
    });
}

fn programs_on(interface: &str) -> Vec<u32> {
    let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress).expect("tcx");
    programs
        .iter()
        .map(aya::programs::ProgramInfo::id)
        .collect()
}
