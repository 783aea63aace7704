//! What becomes of the packets of a client that was granted a class.

use weir_abi::{Class, ClassSet, Grant, Principal, Reason, Verdict, mapped};
use weir_classify::{Ends, NoSockets, Segment as Place, Side, Socket, Sockets, classify};
use weir_fixtures::frame::{Segment, frame};
use weir_fixtures::{Memory, STS_V4, STS_V6, source};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

const FORWARD: (Verdict, Reason) = (Verdict::Forward, Reason::Class);
const KEPT: (Verdict, Reason) = (Verdict::Forward, Reason::Kept);
const PROXY: (Verdict, Reason) = (Verdict::Proxy, Reason::Class);
const STAYS: (Verdict, Reason) = (Verdict::Proxy, Reason::Kept);

#[test]
fn a_live_grant_forwards_what_begins_and_leaves_what_was_proxied() {
    let tables = granted(Class::Unmanaged, Class::Managed, 5);
    for flags in [SYN, ACK] {
        assert_eq!(outside(&tables, flags, Socket::None), FORWARD);
        assert_eq!(outside(&tables, flags, Socket::Live), STAYS);
    }
    assert_eq!(outside(&tables, ACK, Socket::Cookie), STAYS);
    assert_eq!(inside(&tables), Some((Verdict::Forward, Reason::Answer)));
}

#[test]
fn an_expired_grant_keeps_what_was_forwarded_until_its_rest_is_over() {
    let tables = granted(Class::Unmanaged, Class::Managed, 15);
    assert_eq!(outside(&tables, SYN, Socket::None), PROXY);
    assert_eq!(outside(&tables, ACK, Socket::None), KEPT);
    assert_eq!(outside(&tables, ACK, Socket::Live), PROXY);
    assert_eq!(inside(&tables), Some((Verdict::Forward, Reason::Kept)));
    let over = granted(Class::Unmanaged, Class::Managed, 20);
    for flags in [SYN, ACK] {
        assert_eq!(outside(&over, flags, Socket::None), PROXY);
    }
    assert_eq!(inside(&over), None);
}

#[test]
fn what_is_taken_from_the_principal_is_cut_at_once() {
    for may in [Class::Unmanaged, Class::Bypass] {
        let mut tables = granted(Class::Unmanaged, Class::Managed, 5);
        tables.principal = Principal::up_to(may);
        for flags in [SYN, ACK] {
            assert_eq!(outside(&tables, flags, Socket::None).0, Verdict::Proxy);
        }
        assert_eq!(inside(&tables), None, "left to the stack");
        for grant in tables.grants.values_mut() {
            *grant = grant.cut();
        }
        assert_eq!(inside(&tables), Some((Verdict::Drop, Reason::Answer)));
        assert_eq!(outside(&tables, ACK, Socket::None).0, Verdict::Proxy);
    }
}

#[test]
fn a_grant_of_bypass_goes_through_the_proxy() {
    let tables = granted(Class::Unmanaged, Class::Bypass, 5);
    for (flags, socket) in [
        (SYN, Socket::None),
        (ACK, Socket::Live),
        (ACK, Socket::None),
    ] {
        let outcome = outside(&tables, flags, socket);
        assert_eq!(outcome, PROXY);
    }
    let frame = frame(&segment(Class::Unmanaged, false, false, SYN));
    let outcome = classify(frame.as_slice(), Side::Outside, &tables, &NoSockets);
    assert_eq!(outcome.expect("a service's").class, Class::Bypass);
}

#[test]
fn lists_that_name_a_class_beat_a_grant() {
    for (class, expected) in [
        (Class::Managed, FORWARD),
        (Class::Bypass, PROXY),
        (Class::Blocked, (Verdict::Drop, Reason::Class)),
        (Class::Relay, PROXY),
    ] {
        let tables = granted(class, Class::Managed, 5);
        let of = |flags| judge(&tables, class, flags, &All(Socket::None));
        assert_eq!(of(SYN), expected, "{class:?}");
        // What the grant forwarded before the lists named a class goes on, unless they block it.
        let goes_on = match class {
            Class::Managed | Class::Blocked => expected,
            _ => KEPT,
        };
        assert_eq!(of(ACK), goes_on, "{class:?}");
    }
}

#[test]
fn without_a_grant_nobody_is_asked() {
    let mut tables = granted(Class::Bypass, Class::Managed, 5);
    for flags in [SYN, ACK] {
        assert_eq!(judge(&tables, Class::Unmanaged, flags, &Nobody), PROXY);
    }
    tables.grants.clear();
    assert_eq!(judge(&tables, Class::Bypass, ACK, &Nobody), PROXY);
}

/// A machine where every question is a mistake.
struct Nobody;

impl Sockets for Nobody {
    fn find(&self, _: &Ends, _: Option<Place>) -> Socket {
        panic!("they pay nothing for the grants of others");
    }
}

/// A machine that has this for all ends.
struct All(Socket);

impl Sockets for All {
    fn find(&self, _: &Ends, _: Option<Place>) -> Socket {
        self.0
    }
}

/// The sources of this class have a grant that expires at 10 and rests until 20; it is `now`.
fn granted(of: Class, class: Class, now: u64) -> Memory {
    let mut tables = Memory {
        principal: Principal::up_to(Class::Managed),
        now,
        ..Memory::default()
    };
    for six in [false, true] {
        let address = match source(of, six) {
            std::net::IpAddr::V4(four) => mapped(four.to_bits()),
            std::net::IpAddr::V6(six) => six.octets(),
        };
        let grant = Grant::new(class, ClassSet::EMPTY, 0).until(10, 20);
        tables.grants.insert(address, grant);
    }
    tables
}

fn outside(tables: &Memory, flags: u8, socket: Socket) -> (Verdict, Reason) {
    judge(tables, Class::Unmanaged, flags, &All(socket))
}

/// The same of both families.
fn judge(tables: &Memory, of: Class, flags: u8, sockets: &impl Sockets) -> (Verdict, Reason) {
    let [four, six] = [false, true].map(|six| {
        let frame = frame(&segment(of, six, false, flags));
        let outcome = classify(frame.as_slice(), Side::Outside, tables, sockets);
        let outcome = outcome.expect("a service's packet");
        (outcome.verdict, outcome.reason)
    });
    assert_eq!(four, six);
    four
}

fn inside(tables: &Memory) -> Option<(Verdict, Reason)> {
    let frame = frame(&segment(Class::Unmanaged, true, true, ACK));
    let outcome = classify(frame.as_slice(), Side::Inside, tables, &NoSockets);
    outcome.map(|outcome| (outcome.verdict, outcome.reason))
}

/// A segment of a client, or an answer to it.
fn segment(of: Class, six: bool, answer: bool, flags: u8) -> Vec<u8> {
    let client = source(of, six);
    let service = if six { STS_V6.into() } else { STS_V4.into() };
    let (ends, ports) = if answer {
        ((service, client), [443, 40000])
    } else {
        ((client, service), [40000, 443])
    };
    Segment::new(ports[0], ports[1])
        .flags(flags)
        .between(ends.0, ends.1)
}
