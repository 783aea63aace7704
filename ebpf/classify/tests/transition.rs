//! What becomes of the packets of a client whose class has changed, by what this machine has for their
//! ends.

use std::sync::Arc;

use weir_abi::{Class, Reason, Verdict};
use weir_classify::{
    Ends, NoSockets, Segment as Place, Settled, Side, Socket, Sockets, classify, settle,
};
use weir_fixtures::frame::{Segment, frame};
use weir_fixtures::{Memory, STS_V4, STS_V6, source};
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const ALL: [Socket; 4] = [Socket::None, Socket::Live, Socket::Over, Socket::Cookie];

#[test]
fn what_was_proxied_stays_when_the_class_forwards_now() {
    let tables = moved(Class::Unmanaged, Class::Managed);
    let forward = (Verdict::Forward, Reason::Class);
    for socket in ALL {
        let verdict = |flags| outside(&tables, flags, socket);
        let stays = match socket {
            Socket::Live | Socket::Cookie => (Verdict::Proxy, Reason::Kept),
            Socket::None | Socket::Over => forward,
        };
        assert_eq!(verdict(ACK), stays, "{socket:?}");
        assert_eq!(verdict(ACK | FIN), stays, "{socket:?}");
        // Only an acknowledgement may bring back a cookie.
        let live = socket == Socket::Live;
        assert_eq!(verdict(RST), if live { stays } else { forward });
        assert_eq!(verdict(SYN), if live { stays } else { forward });
    }
}

#[test]
fn what_was_forwarded_stays_when_the_class_does_not_forward_now() {
    for (now, new) in [
        (Class::Unmanaged, Verdict::Proxy),
        (Class::Bypass, Verdict::Proxy),
        (Class::Blocked, Verdict::Drop),
    ] {
        let tables = moved(Class::Managed, now);
        let verdict = |flags, socket| outside(&tables, flags, socket);
        for flags in [ACK, ACK | FIN, RST, RST | ACK] {
            for socket in [Socket::None, Socket::Over] {
                let expected = match (flags, socket, new) {
                    // It answers what the proxy's last connection of these ends said to a SYN.
                    (RST, Socket::Over, Verdict::Proxy) => (Verdict::Proxy, Reason::Class),
                    _ => (Verdict::Forward, Reason::Kept),
                };
                let verdict = verdict(flags, socket);
                assert_eq!(verdict, expected, "{now:?} {flags} {socket:?}");
            }
        }
        for socket in [Socket::None, Socket::Over] {
            assert_eq!(verdict(SYN, socket), (new, Reason::Class), "{now:?}");
        }
        for flags in [SYN, ACK] {
            assert_eq!(verdict(flags, Socket::Live).0, Verdict::Proxy, "{now:?}");
        }
        let answer = inside(&tables);
        assert_eq!(answer, Some((Verdict::Forward, Reason::Kept)), "{now:?}");
    }
}

#[test]
fn without_a_class_that_forwards_nothing_is_forwarded() {
    let tables = moved(Class::Unmanaged, Class::Blocked);
    let verdict = |flags, socket| outside(&tables, flags, socket).0;
    assert_eq!(verdict(SYN, Socket::None), Verdict::Drop);
    assert_eq!(verdict(SYN, Socket::Over), Verdict::Drop);
    assert_eq!(verdict(ACK, Socket::None), Verdict::Drop);
    for socket in [Socket::Live, Socket::Over, Socket::Cookie] {
        assert_eq!(verdict(ACK, socket), Verdict::Proxy);
    }
    assert_eq!(inside(&tables), Some((Verdict::Drop, Reason::Answer)));
    // From one class of the proxy's to another nobody has to be asked.
    let tables = moved(Class::Unmanaged, Class::Bypass);
    for flags in [SYN, ACK, RST] {
        assert_eq!(
            judge(&tables, flags, &Nobody),
            (Verdict::Proxy, Reason::Class)
        );
    }
}

#[test]
fn stable_sources_ask_nobody() {
    for class in Class::ALL {
        let tables = moved(class, class);
        for flags in [SYN, ACK, RST, FIN | ACK] {
            let [asked, not] = [
                judge(&tables, flags, &Nobody),
                judge(&tables, flags, &NoSockets),
            ];
            assert_eq!(asked, not);
        }
    }
}

/// A machine where every question is a mistake.
struct Nobody;

impl Sockets for Nobody {
    fn find(&self, _: &Ends, _: Option<Place>) -> Socket {
        panic!("its sources pay nothing");
    }
}

/// A machine that has this for all ends; a cookie only for who may bring one back.
struct All(Socket);

impl Sockets for All {
    fn find(&self, ends: &Ends, acknowledgement: Option<Place>) -> Socket {
        assert_eq!(ends.ports, [40000, 443]);
        match (self.0, acknowledgement) {
            (Socket::Cookie, None) => Socket::None,
            (socket, _) => socket,
        }
    }
}

#[test]
fn only_who_is_not_in_transition_is_settled_without_a_look_at_sockets() {
    for before in Class::ALL {
        for now in Class::ALL {
            let tables = moved(before, now);
            for (six, answer) in [(false, false), (false, true), (true, false), (true, true)] {
                let side = if answer { Side::Inside } else { Side::Outside };
                let frame = frame(&segment(six, answer, ACK));
                let frame = frame.as_slice();
                match settle(frame, side, &tables) {
                    Settled::Judged(outcome, _) if before == now => {
                        assert_eq!(outcome, classify(frame, side, &tables, &Nobody));
                    }
                    Settled::Found(_) if before != now => {}
                    _ => panic!("{before:?} to {now:?}, {side:?}"),
                }
            }
        }
    }
}

/// Tables in which the unmanaged sources of the fixtures are of another class than before.
fn moved(before: Class, now: Class) -> Memory {
    let history = History::of(&lists(before));
    Memory {
        sources: Arc::new(KernelTables::compile(&lists(now), &history)),
        ..Memory::default()
    }
}

fn lists(class: Class) -> Lists {
    let prefixes = [false, true].map(|six| source(Class::Unmanaged, six).into());
    Lists::compile(&[List {
        name: "moved".into(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: prefixes.to_vec(),
    }])
}

/// The same of both families.
fn outside(tables: &Memory, flags: u8, socket: Socket) -> (Verdict, Reason) {
    judge(tables, flags, &All(socket))
}

fn judge(tables: &Memory, flags: u8, sockets: &impl Sockets) -> (Verdict, Reason) {
    let [four, six] = [false, true].map(|six| {
        let frame = frame(&segment(six, false, flags));
        let outcome = classify(frame.as_slice(), Side::Outside, tables, sockets);
        let outcome = outcome.expect("a service's packet");
        (outcome.verdict, outcome.reason)
    });
    assert_eq!(four, six);
    four
}

fn inside(tables: &Memory) -> Option<(Verdict, Reason)> {
    let frame = frame(&segment(false, true, ACK));
    let outcome = classify(frame.as_slice(), Side::Inside, tables, &Nobody);
    outcome.map(|outcome| (outcome.verdict, outcome.reason))
}

/// A segment of a client, or an answer to it.
fn segment(six: bool, answer: bool, flags: u8) -> Vec<u8> {
    let client = source(Class::Unmanaged, six);
    let service = if six { STS_V6.into() } else { STS_V4.into() };
    if answer {
        Segment::new(443, 40000)
            .flags(flags)
            .between(service, client)
    } else {
        Segment::new(40000, 443)
            .flags(flags)
            .between(client, service)
    }
}
