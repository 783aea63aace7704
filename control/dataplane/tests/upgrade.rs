//! weir-control is started anew, killed, upgraded and migrated while connections are made and talk: no
//! connection breaks, no packet of a forwarded one is lost, and every packet stays counted.

mod bed;
mod child;
mod crowd;
mod plane;
mod version;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bed::{Bed, eventually, within};
use crowd::{Crowd, Size, raise_limit, serve};
use plane::{introduce, services, story_at, sts};
use weir_abi::{Class, Reason, Verdict};
use weir_dataplane::{Counter, Dataplane, HookChoice, Migration, Options};
use weir_fixtures::{Memory, STS, source};

/// How often each of them happens.
const ROUNDS: usize = 3;
/// Connections of each source and family that last from the beginning to the end.
const LASTING: usize = 20;

#[test]
fn nothing_is_lost_to_a_new_process_at_tcx() {
    nothing_is_lost("nothing_is_lost_to_a_new_process_at_tcx", HookChoice::Tcx);
}

#[test]
fn nothing_is_lost_to_a_new_process_at_xdp() {
    nothing_is_lost("nothing_is_lost_to_a_new_process_at_xdp", HookChoice::Xdp);
}

fn nothing_is_lost(name: &str, hook: HookChoice) {
    if let Some((step, options)) = child::job() {
        let options = Options { hook, ..options };
        let mut die = child::die_at(step);
        let mut plane = Dataplane::open_watched(&options, &mut die).expect("pins of this version");
        publish(&mut plane, &mut die);
        return;
    }
    story_at(hook, name, |bed| {
        raise_limit();
        for six in [false, true] {
            serve(&bed.server, sts(six, 443), b's', false);
            serve(&bed.router, sts(six, 443), b'p', true);
        }
        count(bed);
        introduce(bed);
        let options = Options {
            budgets: child::UNBOUNDED,
            ..bed.options.clone()
        };
        // Of the same layout, from another place.
        let other = bed.options.pin_dir.with_file_name("other.o");
        std::fs::copy(&options.object, &other).expect("a temporary directory");
        let upgraded = Options {
            object: other,
            ..options.clone()
        };
        let start = |options: &Options| {
            let mut plane = Dataplane::open(options).expect("pins of this version");
            publish(&mut plane, &mut |_| {});
            plane
        };
        let first = start(&options);
        let ids = |plane: &Dataplane| {
            let interfaces = plane.status().interfaces;
            interfaces.iter().map(|one| one.program).collect::<Vec<_>>()
        };
        let before = ids(&first);
        drop(first);

        let stop = AtomicBool::new(false);
        let crowds = thread::scope(|scope| {
            let crowds = [Class::Managed, Class::Unmanaged].map(|class| {
                [false, true].map(|six| {
                    let stop = &stop;
                    let size = Size {
                        lasting: LASTING,
                        returning: 0,
                    };
                    scope.spawn(move || {
                        within(&bed.client, || {
                            Crowd::live(source(class, six), sts(six, 443), &size, stop)
                        })
                    })
                })
            });
            for round in 1..=ROUNDS {
                drop(start(&options));
                assert!(child::dies_at(4 * round, name, bed), "round {round}");
                let plane = start(&upgraded);
                assert_ne!(ids(&plane), before, "the programs were swapped");
                drop(plane);
                migrate(&options);
            }
            stop.store(true, Ordering::Relaxed);
            crowds.map(|families| families.map(|crowd| crowd.join().expect("it tells")))
        });

        for (families, who) in crowds.iter().zip([0, 1]) {
            for crowd in families {
                assert_eq!(crowd.troubles, Vec::<String>::new());
                assert_eq!(crowd.lasting, LASTING, "they lived to the end");
                assert!(crowd.began > 0, "new ones began meanwhile");
                assert_eq!(crowd.answered_by[1 - who], 0, "{crowd:?}");
            }
        }
        let plane = Dataplane::open(&options).expect("pins of this version");
        // The last segments may still be under way.
        eventually("what was sent arrives, and is counted", || {
            let counters = plane.counters().expect("readable");
            let [sent, arrived] = [&bed.client, &bed.server].map(|namespace| {
                ["requests", "answers"].map(|which| Bed::nft_counter(namespace, which).0)
            });
            let counted =
                [Reason::Class, Reason::Answer].map(|reason| forwarded(&counters, reason));
            if sent == arrived && counted == sent {
                Ok(())
            } else {
                Err(format!(
                    "client {sent:?}, server {arrived:?}, Weir {counted:?}"
                ))
            }
        });
    });
}

/// Has the pins be of another version, and takes them over.
fn migrate(options: &Options) {
    version::pretend(options, 4);
    let error = Dataplane::open(options).expect_err("another version");
    assert!(error.to_string().contains("--migrate"), "{error}");
    let migration = Migration::prepare(options).expect("looked");
    let migration = migration.expect("another version");
    assert_eq!(migration.from(), Some(4));
    let tables = migration.inherited().expect("readable");
    let tables = tables.expect("of a version with these tables");
    assert!(tables == *Memory::default().sources, "those of before");
    let finished = migration.finish(&tables, &services(), &mut |_| {});
    drop(finished.expect("migrated"));
    let again = Migration::prepare(options).expect("looked");
    assert!(again.is_none(), "nothing is left to do");
}

/// Packets of managed clients that were forwarded, at both hooks.
fn forwarded(counters: &[Counter], reason: Reason) -> u64 {
    let wanted = (STS, Class::Managed, Verdict::Forward, reason);
    let same = |one: &&Counter| (one.service, one.class, one.verdict, one.reason) == wanted;
    counters.iter().filter(same).map(|one| one.packets).sum()
}

/// Counts what managed clients and the server send each other, at both ends.
fn count(bed: &Bed) {
    for (namespace, out, back) in [
        (&bed.client, ("output", "d"), ("input", "s")),
        (&bed.server, ("input", "d"), ("output", "s")),
    ] {
        let mut rules =
            String::from("table inet count {\ncounter requests {}\ncounter answers {}\n");
        for ((hook, port), counter) in [(out, "requests"), (back, "answers")] {
            let client = if port == "d" { "saddr" } else { "daddr" };
            let _ = writeln!(
                rules,
                "chain {hook} {{\ntype filter hook {hook} priority 0;"
            );
            for (family, six) in [("ip", false), ("ip6", true)] {
                let address = source(Class::Managed, six);
                let _ = writeln!(
                    rules,
                    "{family} {client} {address} tcp {port}port 443 counter name {counter}"
                );
            }
            rules += "}\n";
        }
        bed.nft(namespace, &(rules + "}\n"));
    }
}

fn publish(plane: &mut Dataplane, watch: &mut dyn FnMut(weir_dataplane::Step)) {
    let tables = Memory::default().sources;
    plane
        .switch(Some(&tables), Some(&services()), watch)
        .expect("a small generation");
}
