//! The books of grants: what they refuse, what a reboot ends and keeps, and whom they watch. And all of it against a
//! model.

mod model;

use std::net::IpAddr;
use std::time::Duration;

use weir_abi::Class;
use weir_control::ledger::{
    Asked, Clocks, Kernel, LONGEST, Ledger, Moment, Reach, Refused, Revocation, Rules,
};
use weir_link::PrincipalId;

const MINUTE: Moment = 60_000;
const LOOK_BACK: Moment = 120 * MINUTE;
const DRAIN: Moment = 30 * MINUTE;
/// Somebody has watched since then.
const LONG_AGO: Moment = -LOOK_BACK;

/// Inside the declared prefixes, twice; and outside of them.
const SOURCES: [[u8; 4]; 3] = [[10, 0, 0, 1], [10, 0, 0, 2], [203, 0, 113, 9]];

#[test]
fn only_what_opens_is_granted_and_for_an_hour_at_most() {
    let mut ledger = Ledger::new(rules(), LONG_AGO);
    let earn = |ledger: &mut Ledger, class, lasts| {
        let asked = asked(class, lasts, true);
        ledger
            .earn(id(0), address(0), &asked, 0)
            .map(|grant| grant.kernel)
    };
    for class in [Class::Unmanaged, Class::Blocked, Class::Relay] {
        assert_eq!(earn(&mut ledger, class, MINUTE), Err(Refused::Class(class)));
    }
    let hour = Moment::try_from(LONGEST.as_millis()).expect("an hour");
    for lasts in [0, 999, hour + 1] {
        assert_eq!(
            earn(&mut ledger, Class::Managed, lasts),
            Err(Refused::Duration)
        );
    }
    assert_eq!(earn(&mut ledger, Class::Managed, hour), Ok(Kernel::Open));
    assert_eq!(ledger.next(), Some(hour));
}

#[test]
fn a_full_ledger_refuses_and_remembers_that_it_did_not_see() {
    let mut ledger = Ledger::new(Rules { room: 2, ..rules() }, LONG_AGO);
    let asked = asked(Class::Managed, MINUTE, true);
    let source = |last| IpAddr::from([10, 0, 0, last]);
    for last in [1, 2] {
        ledger.see(id(0), source(last), 0);
        assert!(ledger.earn(id(0), source(last), &asked, 0).is_ok());
    }
    assert_eq!(ledger.see(id(1), source(3), 0), None);
    assert_eq!(ledger.earn(id(1), source(3), &asked, 0), Err(Refused::Full));
    assert_eq!(ledger.watch().blind_until(), Some(LOOK_BACK));
    // When there is room again, nobody knows who was on the address meanwhile.
    ledger.look(LOOK_BACK - 1);
    for last in [1, 2] {
        ledger.take(source(last), LOOK_BACK - 1);
    }
    ledger.look(LOOK_BACK - 1);
    ledger.see(id(2), source(2), LOOK_BACK - 1);
    let again = ledger.earn(id(2), source(2), &asked, LOOK_BACK - 1);
    let kernel = again.map(|grant| grant.kernel);
    assert_eq!(kernel, Ok(Kernel::Shared), "this one was watched");
    ledger.look(3 * LOOK_BACK);
    assert_eq!((ledger.watched(), ledger.watch().blind_until()), (0, None));
    ledger.lose_sight(3 * LOOK_BACK);
    ledger.see(id(1), source(3), 3 * LOOK_BACK);
    let late = ledger.earn(id(1), source(3), &asked, 3 * LOOK_BACK);
    assert_eq!(late.map(|grant| grant.kernel), Ok(Kernel::Unwatched));
}

#[test]
fn a_reboot_ends_grants_and_keeps_revocations_and_who_was_seen() {
    let mut ledger = Ledger::new(rules(), LONG_AGO);
    let asked = asked(Class::Managed, 60 * MINUTE, true);
    for source in [0, 1] {
        ledger.see(id(0), address(source), 100 * MINUTE);
        ledger
            .earn(id(0), address(source), &asked, 100 * MINUTE)
            .expect("room");
    }
    ledger.revoke(id(2), why(), 100 * MINUTE).expect("room");
    let before = Clocks {
        boot_id: "one".into(),
        since_boot: 110 * MINUTE,
        wall: 1_000 * MINUTE,
    };
    let saved = ledger.save(before);
    let clocks = |wall| Clocks {
        boot_id: "two".into(),
        since_boot: MINUTE,
        wall,
    };

    for (wall, shared) in [(1_020 * MINUTE, true), (2_000 * MINUTE, false), (0, true)] {
        let mut ledger = Ledger::open(rules(), saved.clone(), &clocks(wall));
        ledger.look(MINUTE);
        assert_eq!(ledger.grants().count(), 0);
        assert_eq!(ledger.held().count(), 0);
        assert_eq!(
            ledger.revoked().map(|(who, _)| who).collect::<Vec<_>>(),
            [id(2)]
        );
        assert_eq!(
            ledger.earn(id(2), address(0), &asked, MINUTE),
            Err(Refused::Principal)
        );
        ledger.see(id(1), address(1), MINUTE);
        let kernel = ledger
            .earn(id(1), address(1), &asked, MINUTE)
            .map(|grant| grant.kernel);
        let expected = if shared { Kernel::Shared } else { Kernel::Open };
        assert_eq!(kernel, Ok(expected), "{wall}");
    }
}

#[test]
fn prefixes_that_are_declared_no_longer_end_what_the_kernel_goes_by() {
    let mut ledger = Ledger::new(rules(), LONG_AGO);
    ledger.see(id(0), address(0), 0);
    let asked = asked(Class::Managed, 60 * MINUTE, true);
    ledger.earn(id(0), address(0), &asked, 0).expect("room");
    let none = Rules {
        single_user: Vec::new(),
        ..rules()
    };
    ledger.set_rules(none, MINUTE);
    let grant = ledger.grant(address(0)).expect("it goes on for the proxy");
    assert_eq!(grant.kernel, Kernel::NotSingleUser);
    let entry = ledger.entry(address(0)).expect("its flows rest");
    assert!(entry.expires <= MINUTE && entry.rests == MINUTE + DRAIN && !entry.cut);
    assert!(entry.held.contains(Class::Managed));
}

#[test]
fn what_is_declared_anew_is_watched_for_a_look_back_first() {
    let net = |text: &str| text.parse().expect("a prefix");
    let declared = |prefixes: &[&str], hours: u64| Rules {
        single_user: prefixes.iter().map(|prefix| net(prefix)).collect(),
        look_back: Duration::from_hours(hours),
        ..rules()
    };
    let earn = |ledger: &mut Ledger, source: [u8; 4], now: Moment| {
        let source = source.into();
        ledger.look(now);
        ledger.see(id(0), source, now);
        let asked = asked(Class::Managed, MINUTE, true);
        let grant = ledger.earn(id(0), source, &asked, now).expect("room");
        grant.kernel
    };
    let clocks = |now| Clocks {
        boot_id: "one".into(),
        since_boot: now,
        wall: now,
    };
    let hour = 60 * MINUTE;
    // A first start.
    let mut ledger = Ledger::new(declared(&["10.0.0.0/16"], 2), 0);
    assert_eq!(earn(&mut ledger, [10, 0, 0, 1], 2 * hour - 1), Kernel::New);
    assert_eq!(earn(&mut ledger, [10, 0, 0, 2], 2 * hour), Kernel::Open);

    // A part of what was declared is known, and what is around it is not.
    let mut parts = declared(&["10.0.0.0/17", "10.1.0.0/16"], 2);
    ledger.set_rules(parts.clone(), 3 * hour);
    assert_eq!(earn(&mut ledger, [10, 0, 0, 3], 3 * hour), Kernel::Open);
    assert_eq!(earn(&mut ledger, [10, 1, 0, 1], 3 * hour), Kernel::New);
    let new: Vec<_> = ledger.watch().new_prefixes(3 * hour).collect();
    assert_eq!(new, [(net("10.1.0.0/16"), 5 * hour)]);

    // So it is for the next process, also when other prefixes were declared meanwhile.
    parts.single_user.push(net("10.2.0.0/16"));
    let saved = ledger.save(clocks(4 * hour));
    let mut ledger = Ledger::open(parts.clone(), saved, &clocks(4 * hour));
    assert_eq!(earn(&mut ledger, [10, 1, 0, 2], 4 * hour), Kernel::New);
    assert_eq!(earn(&mut ledger, [10, 1, 0, 3], 5 * hour), Kernel::Open);
    assert_eq!(earn(&mut ledger, [10, 2, 0, 1], 6 * hour - 1), Kernel::New);
    assert_eq!(earn(&mut ledger, [10, 2, 0, 2], 6 * hour), Kernel::Open);

    // What was declared no longer for a while was not watched meanwhile.
    ledger.set_rules(declared(&[], 2), 7 * hour);
    ledger.set_rules(parts, 7 * hour + 1);
    assert_eq!(earn(&mut ledger, [10, 2, 0, 3], 9 * hour), Kernel::New);
    assert_eq!(earn(&mut ledger, [10, 2, 0, 4], 9 * hour + 1), Kernel::Open);

    // Nobody remembers more than two hours; but of who is still there, everything is known.
    let here = [10, 0, 0, 9];
    assert_eq!(earn(&mut ledger, here, 9 * hour + 1), Kernel::Open);
    assert_eq!(earn(&mut ledger, here, 11 * hour), Kernel::Open);
    let longer = declared(&["10.0.0.0/17"], 4);
    ledger.set_rules(longer, 12 * hour);
    assert_eq!(earn(&mut ledger, here, 13 * hour), Kernel::New);
    assert_eq!(earn(&mut ledger, here, 13 * hour + 1), Kernel::Open);
    assert_eq!(earn(&mut ledger, [10, 0, 0, 4], 14 * hour - 1), Kernel::New);
    assert_eq!(earn(&mut ledger, [10, 0, 0, 5], 14 * hour), Kernel::Open);
}

#[test]
fn whoever_else_is_on_an_address_keeps_the_connections() {
    let cut = |ledger: &mut Ledger| ledger.cut().into_iter().collect::<Vec<_>>();
    let here = address(0);
    let begin = || {
        let mut ledger = Ledger::new(rules(), LONG_AGO);
        ledger.see(id(0), here, 0);
        let asked = asked(Class::Managed, 30 * MINUTE, true);
        let grant = ledger.earn(id(0), here, &asked, 0).expect("room");
        assert_eq!(grant.kernel, Kernel::Open);
        ledger
    };
    let mut ledger = begin();
    ledger.revoke(id(0), why(), 1).expect("room");
    assert_eq!(cut(&mut ledger), [here], "it was theirs alone");

    // What a stranger has ended is cut already; what goes on there may be the stranger's.
    let mut ledger = begin();
    ledger.see(id(1), here, 1);
    ledger.take(here, 2);
    assert_eq!(cut(&mut ledger), [] as [IpAddr; 0]);

    // It turned out that many share the address.
    let mut ledger = begin();
    let shared = Rules {
        single_user: Vec::new(),
        ..rules()
    };
    ledger.set_rules(shared.clone(), 1);
    ledger.revoke(id(0), why(), 2).expect("room");
    assert_eq!(cut(&mut ledger), [] as [IpAddr; 0]);
    let entry = ledger.entry(here).expect("it is cut");
    assert!(entry.cut && entry.held.is_empty(), "its own flows are cut");

    let mut ledger = begin();
    ledger.set_rules(shared, 1);
    ledger.set_reach(id(0), Reach::UpTo(Class::Bypass), 2);
    assert_eq!(cut(&mut ledger), [] as [IpAddr; 0]);
}

#[test]
fn what_was_saved_by_another_version_or_makes_no_sense_is_refused() {
    let mut ledger = Ledger::new(rules(), LONG_AGO);
    ledger.see(id(0), address(0), 0);
    ledger
        .earn(id(0), address(0), &asked(Class::Managed, MINUTE, true), 0)
        .expect("room");
    let clocks = Clocks {
        boot_id: "one".into(),
        since_boot: 0,
        wall: 0,
    };
    let text = serde_json::to_string(&ledger.save(clocks)).expect("plain data");
    let check = |text: &str| {
        let saved: weir_control::ledger::Saved = serde_json::from_str(text).expect("the shape");
        saved.check(100)
    };
    check(&text).expect("as it was written");
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("\"index\":0", "\"index\":100"),
        ("\"until\":60000", "\"until\":9223372036854775807"),
        (
            "\"shared_until\":0",
            "\"shared_until\":-9223372036854775808",
        ),
        ("\"wall\":0", "\"wall\":-9223372036854775808"),
        (
            "\"10.0.0.0/8\":-7200000",
            "\"10.0.0.0/8\":9223372036854775807",
        ),
        ("\"look_back\":7200000", "\"look_back\":9223372036854775807"),
        ("\"blind\":null", "\"blind\":[0,9223372036854775807]"),
    ] {
        assert!(text.contains(from), "{text}");
        assert!(check(&text.replace(from, to)).is_err());
    }
}

fn rules() -> Rules {
    Rules {
        single_user: vec!["10.0.0.0/8".parse().expect("a prefix")],
        look_back: Duration::from_millis(LOOK_BACK.unsigned_abs()),
        drain: Duration::from_millis(DRAIN.unsigned_abs()),
        room: 100,
    }
}

fn asked(class: Class, lasts: Moment, kernel: bool) -> Asked {
    Asked {
        class,
        lasts: Duration::from_millis(lasts.unsigned_abs()),
        kernel,
        direct: true,
        connected: true,
        rule: "own/grant".to_owned(),
        service: "sts".to_owned(),
        reach: Reach::UpTo(Class::Managed),
        ago: Duration::ZERO,
    }
}

fn why() -> Revocation {
    Revocation {
        by: "alice (uid 1000)".to_owned(),
        time: "2026-01-01T00:00:00.000Z".to_owned(),
        reason: "left".to_owned(),
    }
}

fn id(number: usize) -> PrincipalId {
    format!("00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-00000000000{number}")
        .parse()
        .expect("two ids")
}

fn address(number: usize) -> IpAddr {
    SOURCES[number].into()
}
