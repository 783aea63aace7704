//! Sources that become blocked: their flows go on in the drain window, or are cut at once. And what a
//! restart finds of both.

mod bed;
mod crowd;
mod plane;

use std::io;
use std::net::SocketAddr;

use bed::{ask, within};
use crowd::{GO_ON, Talker, serve};
use plane::{SHORT, open, sts};
use weir_abi::{Class, ClassSet, Reason, Standing, Verdict};
use weir_dataplane::{Dataplane, HookChoice};
use weir_fixtures::source;
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

#[test]
fn flows_of_blocked_sources_are_cut_at_once_or_drained() {
    plane::story_at_both_hooks(
        "flows_of_blocked_sources_are_cut_at_once_or_drained",
        |bed, plane| {
            for six in [false, true] {
                serve(&bed.server, sts(six, 443), b's', false);
                serve(&bed.router, sts(six, 443), b'p', true);
            }
            plane.publish(&before()).expect("a small generation");
            let begin = |class, six| {
                let begin = || Talker::new(source(class, six), 0, sts(six, 443));
                within(&bed.client, begin).expect("somebody answers")
            };
            let both = [Class::Managed, Class::Unmanaged];
            let mut talkers: Vec<Talker> = [false, true]
                .into_iter()
                .flat_map(|six| both.map(|class| begin(class, six)))
                .collect();
            for (talker, who) in talkers.iter_mut().zip([b's', b'p'].into_iter().cycle()) {
                talker.talk(GO_ON).expect("an answer");
                assert_eq!(talker.who(), Some(who));
            }

            // Of those that are forwarded, this machine has none.
            let near = [false, true].map(|six| sts(six, 443));
            for (talker, who) in talkers.iter().zip([b's', b'p'].into_iter().cycle()) {
                let connected = plane.connected(&near, talker.address());
                assert_eq!(connected.expect("sockets are told"), who == b'p');
            }

            let held = History::of(&lists(Class::Managed));
            let drained = KernelTables::compile(&lists(Class::Blocked), &held);
            plane.publish(&drained).expect("a small generation");
            for talker in &mut talkers {
                talker.talk(GO_ON).expect("it goes on");
            }
            let from = source(Class::Managed, false);
            let refused = ask(&bed.client, from, sts(false, 443), 1, SHORT);
            let refused = refused.expect_err("nobody answers");
            assert_eq!(refused.kind(), io::ErrorKind::TimedOut);

            let cut = KernelTables::compile(&lists(Class::Blocked), &History::default());
            plane.publish(&cut).expect("a small generation");
            let local: Vec<SocketAddr> = [false, true].map(|six| sts(six, 443)).to_vec();
            let blocked = lists(Class::Blocked);
            let goes = |from| blocked.find(from).class == Class::Blocked;
            assert_eq!(plane.cut(&local, &goes).expect("sockets are told"), 2);
            assert_eq!(plane.cut(&local, &goes).expect("sockets are told"), 0);
            for (talker, who) in talkers.iter_mut().zip([b's', b'p'].into_iter().cycle()) {
                talker.be_patient(SHORT);
                let error = talker.talk(GO_ON).expect_err("it was cut");
                let expected: &[io::ErrorKind] = if who == b'p' {
                    &[io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]
                } else {
                    &[io::ErrorKind::WouldBlock]
                };
                assert!(expected.contains(&error.kind()), "{error:?}");
            }
            let counters = plane.counters().expect("readable");
            let dropped = plane::find(&counters, Class::Blocked, Verdict::Drop, Reason::Class);
            assert!(dropped.packets >= 2, "{counters:?}");
        },
    );
}

#[test]
fn whoever_only_begins_is_not_connected() {
    plane::story("whoever_only_begins_is_not_connected", |bed, plane| {
        let near = sts(false, 443);
        serve(&bed.router, near, b'p', true);
        // The client's word that it has got the answer to its SYN is lost.
        let lost = "chain out {\ntype filter hook output priority 0;\ntcp flags & (syn | ack) == ack drop\n}";
        bed.nft(&bed.client, &format!("table inet lost {{\n{lost}\n}}\n"));
        let begin = || Talker::new(source(Class::Unmanaged, false), 0, near);
        let mut talker = within(&bed.client, begin).expect("its SYN is answered");
        let far = talker.address();
        assert!(!plane.connected(&[near], far).expect("sockets are told"));
        bed.nft(&bed.client, "delete table inet lost\n");
        talker.talk(GO_ON).expect("an answer");
        assert!(plane.connected(&[near], far).expect("sockets are told"));
    });
}

#[test]
fn a_restart_finds_what_was_held() {
    plane::story_at(HookChoice::Tcx, "a_restart_finds_what_was_held", |bed| {
        let plane = open(bed);
        assert!(plane.inherited().expect("nothing to read").is_none());
        let history = History::of(&lists(Class::Managed)).and(&History::of(&lists(Class::Relay)));
        let mut plane = plane;
        let tables = KernelTables::compile(&lists(Class::Blocked), &history);
        plane.publish(&tables).expect("a small generation");
        drop(plane);
        let plane = Dataplane::open(&bed.options).expect("pins of this version");
        let found = plane.inherited().expect("readable").expect("adopted");
        let found = History::read(&found);
        assert_eq!(found, history.and(&History::of(&lists(Class::Blocked))));
        let again = KernelTables::compile(&lists(Class::Bypass), &found);
        let held = [Class::Managed, Class::Relay, Class::Blocked];
        let held = held.into_iter().fold(ClassSet::EMPTY, ClassSet::with);
        for six in [false, true] {
            assert_eq!(
                again.standing(source(Class::Managed, six)),
                Standing::new(Class::Bypass, held)
            );
        }
    });
}

fn before() -> KernelTables {
    KernelTables::compile(&lists(Class::Managed), &History::default())
}

/// The managed sources as this class; those that are unmanaged at first are blocked when these are.
fn lists(class: Class) -> Lists {
    let mut prefixes = [false, true]
        .map(|six| source(Class::Managed, six).into())
        .to_vec();
    if class == Class::Blocked {
        prefixes.extend([false, true].map(|six| ipnet::IpNet::from(source(Class::Unmanaged, six))));
    }
    Lists::compile(&[List {
        name: "moving".into(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes,
    }])
}
