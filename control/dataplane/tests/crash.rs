//! Whoever publishes, opens or migrates dies at each of its steps: packets are judged wholly by what was or
//! wholly by what comes, never by a mix, and who comes next goes on as if nothing had been.

mod bed;
mod child;
mod plane;
mod version;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use bed::Bed;
use nix::sys::signal::{Signal, raise};
use plane::{services, station, story_of_processes};
use weir_abi::{Class, Hook, Topology, Verdict};
use weir_classify::Side;
use weir_dataplane::{
    Dataplane, Direction, Judged, Migration, Options, ServerSpec, ServiceSpec, Step,
};
use weir_fixtures::frame::{Segment, frame};
use weir_fixtures::{ADFS_V4, ADFS_V6, Memory, STS_V4, STS_V6, source};
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

/// The flag of a first segment (RFC 9293 §3.1).
const SYN: u8 = 0x02;

#[test]
fn a_crash_at_any_step_of_a_publication_leaves_no_mix() {
    const NAME: &str = "a_crash_at_any_step_of_a_publication_leaves_no_mix";
    if let Some((step, options)) = child::job() {
        let mut plane = Dataplane::open(&options).expect("pins of this version");
        let mut die = child::die_at(step);
        plane
            .switch(Some(&next_tables()), Some(&next_services()), &mut die)
            .expect("published");
        return;
    }
    story_of_processes(NAME, |bed| {
        let plane = open(bed);
        let before = judged(&plane);
        let names = pinned(&bed.options);
        let after = {
            let mut plane = Dataplane::open(&bed.options).expect("pins of this version");
            let switched = plane.switch(Some(&next_tables()), Some(&next_services()), &mut |_| {});
            switched.expect("published");
            judged(&plane)
        };
        let memory = back(bed, &before);
        assert!(
            before.iter().zip(&after).all(|(one, other)| one != other),
            "each tells a mix: {before:?} {after:?}"
        );

        let mut seen = [0; 2];
        let mut step = 1;
        while child::dies_at(step, NAME, bed) {
            let now = judged(&plane);
            assert!(now == before || now == after, "step {step}: {now:?}");
            seen[usize::from(now == after)] += 1;
            assert_eq!(pinned(&bed.options), names, "step {step}");
            assert_eq!(back(bed, &before), memory, "step {step}");
            assert_eq!(judged(&plane), before, "step {step}");
            step += 1;
        }

        // All but the last step lead to it.
        assert!(seen[0] > 20 && seen[1] == 1, "{seen:?}");
        assert_eq!(judged(&plane), after, "the last one came to its end");
    });
}

#[test]
fn a_crash_at_any_step_of_a_start_leaves_what_the_next_one_mends() {
    const NAME: &str = "a_crash_at_any_step_of_a_start_leaves_what_the_next_one_mends";
    if let Some((step, options)) = child::job() {
        let mut die = child::die_at(step);
        Dataplane::open_watched(&options, &mut die).expect("opened");
        return;
    }
    story_of_processes(NAME, |bed| {
        let reference = judged(&open(bed));
        let names = pinned(&bed.options);
        for adopted in [false, true] {
            let mut step = 1;
            loop {
                if !adopted {
                    detach(bed);
                }
                if !child::dies_at(step, NAME, bed) {
                    break;
                }
                let plane = open(bed);
                assert_eq!(judged(&plane), reference, "adopted: {adopted}, step {step}");
                assert_eq!(
                    pinned(&bed.options),
                    names,
                    "adopted: {adopted}, step {step}"
                );
                step += 1;
            }
            assert!(step > 5, "adopted: {adopted}, {step} steps");
            open(bed);
        }
    });
}

#[test]
fn a_crash_at_any_step_of_a_migration_leaves_one_of_the_two_versions() {
    const NAME: &str = "a_crash_at_any_step_of_a_migration_leaves_one_of_the_two_versions";
    if let Some((step, options)) = child::job() {
        let mut die = child::die_at_kind(step);
        if let Some(migration) = Migration::prepare(&options).expect("looked") {
            migration
                .finish(&next_tables(), &next_services(), &mut die)
                .expect("migrated");
        }
        return;
    }
    story_of_processes(NAME, |bed| {
        let reference = open(bed);
        let before = judged(&reference);
        let names = pinned(&bed.options);
        let mut carried = names.clone();
        carried.insert("maps/CARRIED".into());
        drop(reference);
        let mut refused = 0;
        let mut step = 1;
        loop {
            detach(bed);
            // Whose programs are on the interfaces now and judge packets of the old version.
            drop(open(bed));
            version::pretend(&bed.options, 4);
            if !child::dies_at(step, NAME, bed) {
                break;
            }
            let fits = match Dataplane::open(&bed.options) {
                Ok(_) => true,
                Err(error) => {
                    assert!(error.to_string().contains("--migrate"), "{error}");
                    refused += 1;
                    false
                }
            };
            // Again, as the message says; behind the one step there may be nothing left to do.
            let again = Migration::prepare(&bed.options).expect("looked");
            assert!(fits || again.is_some(), "step {step}");
            if let Some(migration) = again {
                let plane = migration.finish(&next_tables(), &next_services(), &mut |_| {});
                drop(plane.expect("migrated"));
            }
            let plane = Dataplane::open(&bed.options).expect("pins of this version");
            let now = judged(&plane);
            assert!(
                now.iter().zip(&before).all(|(now, before)| now != before),
                "step {step}: wholly new"
            );
            assert_eq!(pinned(&bed.options), carried, "step {step}");
            step += 1;
        }
        assert!(refused > 5 && step > refused + 5, "{refused} of {step}");
    });
}

#[test]
fn a_crash_while_the_old_maps_go_loses_no_count() {
    const NAME: &str = "a_crash_while_the_old_maps_go_loses_no_count";
    // They go in no order.
    const GONE: [&str; 3] = ["COUNTERS", "CONFIG", "CARRIED"];
    if let Some((which, options)) = child::job() {
        let mut die = |step| {
            if step == Step::Carried {
                let gone = options.pin_dir.join("maps-new").join(GONE[which]);
                std::fs::remove_file(gone).expect("it was pinned");
                raise(Signal::SIGKILL).expect("nobody can refuse it");
            }
        };
        let migration = Migration::prepare(&options).expect("looked");
        let migration = migration.expect("another version");
        let _ = migration.finish(&Memory::default().sources, &services(), &mut die);
        return;
    }
    story_of_processes(NAME, |bed| {
        let plane = open(bed);
        let syn = Segment::new(50_000, 443).flags(SYN);
        let mut syn = frame(&syn.between(source(Class::Managed, false), STS_V4.into()));
        syn[..6].copy_from_slice(&station(bed, Side::Outside));
        let count = |plane: &Dataplane| {
            plane
                .replay(Direction::Outside, Hook::Tcx, &syn)
                .expect("the programs are loaded");
        };
        count(&plane);
        drop(plane);
        // From here on there is also what an earlier migration carried.
        version::pretend(&bed.options, 4);
        let migration = Migration::prepare(&bed.options).expect("looked");
        let migration = migration.expect("another version");
        let plane = migration.finish(&Memory::default().sources, &services(), &mut |_| {});
        let mut plane = plane.expect("migrated");
        for (which, gone) in GONE.iter().enumerate() {
            count(&plane);
            let before = plane.counters().expect("readable");
            let counted: u64 = before.iter().map(|counter| counter.packets).sum();
            assert_eq!(counted, which as u64 + 2, "{before:?}");
            drop(plane);
            version::pretend(&bed.options, 4);
            assert!(child::dies_at(which, NAME, bed), "{gone}");
            plane = Dataplane::open(&bed.options).expect("pins of this version");
            assert_eq!(plane.counters().expect("readable"), before, "{gone}");
        }
    });
}

/// Publishes what was before, as a new process does, and gives what the kernel holds then.
fn back(bed: &Bed, before: &[Option<Judged>]) -> Vec<(&'static str, u64)> {
    let plane = open(bed);
    assert_eq!(judged(&plane), before);
    let maps = plane.status().maps.into_iter();
    maps.map(|map| (map.name, map.memory)).collect()
}

fn detach(bed: &Bed) {
    weir_dataplane::detach_pinned(&bed.options.pin_dir, bed::MARK, bed::TABLE).expect("removed");
}

/// What the loaded programs say of every source at every address and port that is or was served.
fn judged(plane: &Dataplane) -> Vec<Option<Judged>> {
    let addresses = [STS_V4.into(), STS_V6.into(), ADFS_V4.into(), ADFS_V6.into()];
    let more = (0..8).flat_map(|number| [old_address(number), new_address(number)]);
    let mut outcomes = Vec::new();
    for destination in addresses.into_iter().chain(more) {
        for class in Class::ALL {
            for port in [443, 49443] {
                let from = source(class, destination.is_ipv6());
                let syn = Segment::new(50_000, port).flags(SYN);
                let syn = frame(&syn.between(from, destination));
                let answer = plane.test_run(Direction::Outside, Hook::Tcx, &syn);
                outcomes.push(answer.expect("the programs are loaded").judged);
            }
        }
    }
    outcomes
}

fn old_address(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 100 + number).into()
}

fn new_address(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 200 + number).into()
}

/// A plane with what is in force before.
fn open(bed: &Bed) -> Dataplane {
    let mut plane = Dataplane::open(&bed.options).unwrap_or_else(|error| panic!("{error}"));
    let [sts, mut adfs] = services();
    adfs.addresses.extend((0..8).map(old_address));
    adfs.ports = vec![443, 49443];
    let tables = Memory::default().sources;
    plane
        .switch(Some(&tables), Some(&[sts, adfs]), &mut |_| {})
        .expect("a small generation");
    plane
}

/// Other verdicts, addresses, numbers and servers; every address that stays has another service.
fn next_services() -> Vec<ServiceSpec> {
    let [sts, adfs] = services();
    let servers = (1..=3).map(|host| ServerSpec {
        address: Ipv4Addr::new(192, 0, 2, 50 + host).into(),
        up: host != 2,
    });
    let addresses = adfs.addresses.iter().copied();
    vec![
        ServiceSpec {
            id: 9,
            verdicts: [Verdict::Reject; Class::COUNT],
            ..sts
        },
        ServiceSpec {
            id: 10,
            ports: vec![443, 49443],
            addresses: addresses.chain((0..8).map(new_address)).collect(),
            verdicts: [Verdict::Forward; Class::COUNT],
            topology: Topology::Dsr,
            servers: servers.collect(),
            ..adfs
        },
    ]
}

/// Everybody is blocked.
fn next_tables() -> KernelTables {
    let list = List {
        name: "all".into(),
        class: Class::Blocked,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: vec![
            "0.0.0.0/0".parse().expect("a prefix"),
            "::/0".parse().expect("a prefix"),
        ],
    };
    KernelTables::compile(&Lists::compile(&[list]), &History::default())
}

/// Everything under the pin directory.
fn pinned(options: &Options) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for part in std::fs::read_dir(&options.pin_dir).expect("a bpffs") {
        let part = part.expect("readable");
        let directory = part.file_name().into_string().expect("a plain name");
        // The kernel has files of its own there.
        let Ok(inside) = std::fs::read_dir(part.path()) else {
            continue;
        };
        names.extend(inside.map(|entry| {
            let name = entry.expect("readable").file_name();
            format!("{directory}/{}", name.to_string_lossy())
        }));
        names.insert(directory);
    }
    names
}
