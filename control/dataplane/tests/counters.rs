//! Counters of a service whose number another one gets.

mod bed;
mod plane;
mod version;

use bed::Bed;
use plane::{open, services, station, story, story_of_processes};
use weir_abi::Hook;
use weir_classify::Side;
use weir_dataplane::{Counter, Dataplane, Direction, Migration};
use weir_fixtures::stories::{Case, all};
use weir_fixtures::{ADFS, Memory, STS};

#[test]
fn counters_of_one_service_are_set_to_zero_and_those_of_others_stay() {
    let name = "counters_of_one_service_are_set_to_zero_and_those_of_others_stay";
    story(name, |bed, plane| {
        count(bed, plane);
        let others = of(plane, ADFS);
        assert!(!others.is_empty() && !of(plane, STS).is_empty());
        plane.forget_counters(&[STS]).expect("they can be written");
        assert_eq!(of(plane, STS), []);
        assert_eq!(of(plane, ADFS), others);
    });
}

#[test]
fn what_was_counted_before_a_migration_is_set_to_zero_too() {
    let name = "what_was_counted_before_a_migration_is_set_to_zero_too";
    story_of_processes(name, |bed| {
        let plane = open(bed);
        count(bed, &plane);
        let both = [of(&plane, STS), of(&plane, ADFS)];
        drop(plane);
        version::pretend(&bed.options, 4);
        let migration = Migration::prepare(&bed.options).expect("looked");
        let migration = migration.expect("another version");
        let tables = &Memory::default().sources;
        let finished = migration.finish(tables, &services(), &mut |_| {});
        let mut plane = finished.expect("migrated");
        assert_eq!([of(&plane, STS), of(&plane, ADFS)], both);
        plane.forget_counters(&[STS]).expect("they can be written");
        drop(plane);
        let plane = Dataplane::open(&bed.options).expect("pins of this version");
        assert_eq!(
            [of(&plane, STS), of(&plane, ADFS)],
            [vec![], both[1].clone()]
        );
    });
}

/// Has packets of both services counted.
fn count(bed: &Bed, plane: &Dataplane) {
    let station = station(bed, Side::Outside);
    let whole = |case: &Case| case.side == Side::Outside && case.frame.len() >= 54;
    for mut case in all().into_iter().filter(whole) {
        case.frame[..6].copy_from_slice(&station);
        let run = plane.replay(Direction::Outside, Hook::Tcx, &case.frame);
        run.expect("a run");
    }
}

fn of(plane: &Dataplane, service: u16) -> Vec<Counter> {
    let counters = plane.counters().expect("readable").into_iter();
    counters.filter(|one| one.service == service).collect()
}
