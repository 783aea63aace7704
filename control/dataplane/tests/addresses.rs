//! Services at more addresses than are found without hashing: each packet is judged by what is served at its
//! address, at both hooks, from either side, also when services change and for who adopts them.

mod bed;
mod plane;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plane::{services, station, story_at};
use weir_abi::{Class, FIRST, Hook, Verdict};
use weir_classify::Side;
use weir_dataplane::{Dataplane, Direction, HookChoice, ServiceSpec};
use weir_fixtures::frame::{Segment, frame};
use weir_fixtures::{Memory, source};

/// Addresses of each family that are asked for.
const MANY: u16 = 10;

const _: () = assert!(MANY as usize > FIRST + 1);

#[test]
fn every_address_has_its_service() {
    story_at(HookChoice::Xdp, "every_address_has_its_service", |bed| {
        let mut plane = Dataplane::open(&bed.options).unwrap_or_else(|error| panic!("{error}"));
        let stations = [Side::Outside, Side::Inside].map(|side| station(bed, side));
        let tables = Memory::default().sources;
        plane.publish(&tables).expect("a small generation");
        let up: Vec<u16> = (0..MANY).collect();
        let down: Vec<u16> = (0..MANY).rev().collect();
        let few = FIRST.min(2);
        // None, few, as many as are found so, more, all; each family alone; and the other way round.
        for [four, six] in [
            [&up[..0], &up[..0]],
            [&up[..few], &up[..few]],
            [&up[..FIRST], &up[..FIRST]],
            [&up[..=FIRST], &up[..=FIRST]],
            [&up, &down],
            [&up[..0], &up[..3]],
            [&down[..3], &down[..0]],
            [&down, &up],
            [&down[..few], &up[..few]],
        ] {
            plane
                .set_services(&at(four, six))
                .expect("few services at few addresses");
            judge(&plane, stations, [four, six]);
            plane = Dataplane::open(&bed.options).expect("pins of this version");
            judge(&plane, stations, [four, six]);
        }
    });
}

/// A service for each place in the order, at the addresses of both families that have it; which service it
/// is changes with the order, the address in one place stays.
fn at(four: &[u16], six: &[u16]) -> Vec<ServiceSpec> {
    let [usual, _] = services();
    let longest = four.len().max(six.len());
    let spec = |place: usize| {
        let place_of = |family: &[u16], six| Some(address(six, *family.get(place)?));
        ServiceSpec {
            id: place.try_into().expect("few services"),
            name: format!("number-{place}"),
            addresses: place_of(four, false)
                .into_iter()
                .chain(place_of(six, true))
                .collect(),
            ports: vec![443],
            verdicts: [Verdict::Drop; Class::COUNT],
            ..usual.clone()
        }
    };
    (0..longest).map(spec).collect()
}

/// Asks for every address, also for those that nothing is served at.
fn judge(plane: &Dataplane, [outside, inside]: [[u8; 6]; 2], order: [&[u16]; 2]) {
    for (family, six) in order.into_iter().zip([false, true]) {
        for number in 0..MANY {
            let at = family.iter().position(|one| *one == number);
            let expected = at.map(|place| u16::try_from(place).expect("few services"));
            let (client, service) = (source(Class::Unmanaged, six), address(six, number));
            let there = Segment::new(50_000, 443).between(client, service);
            let back = Segment::new(443, 50_000).between(service, client);
            for (direction, station, packet, hooks) in [
                (Direction::Outside, outside, there, &Hook::ALL[..]),
                // XDP leaves to tcx what the way in does not forward.
                (Direction::Inside, inside, back, &[Hook::Tcx]),
            ] {
                let mut frame = frame(&packet);
                frame[..6].copy_from_slice(&station);
                for hook in hooks {
                    let answer = plane.test_run(direction, *hook, &frame).expect("a run");
                    let judged = answer.judged.map(|judged| (judged.service, judged.verdict));
                    let expected = expected.map(|service| (service, Verdict::Drop));
                    assert_eq!(
                        judged, expected,
                        "{order:?}, {service}, {hook:?}, {direction:?}"
                    );
                }
            }
        }
    }
}

fn address(six: bool, number: u16) -> IpAddr {
    if six {
        Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x100 + number).into()
    } else {
        Ipv4Addr::from([192, 0, 2, 100 + number.to_be_bytes()[1]]).into()
    }
}
