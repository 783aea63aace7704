//! What else an edge meets: other ports, QUIC, floods, and every odd frame that there is a branch for.

use std::net::IpAddr;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use weir_abi::Class;
use weir_fixtures::frame::{Segment, frame as ethernet, ip, udp};
use weir_fixtures::stories;

use super::{Crowd, Frame, Side, frame, shuffled};
use crate::replay::mapping::{MappingError, replace};
use crate::replay::packet::{UDP, layout};

/// Bytes of IP packets, by how many of twelve have them: the simple IMIX.
const IMIX: [(usize, u32); 3] = [(40, 7), (576, 4), (1500, 1)];
/// Other frames for each connection.
const BACKGROUND: usize = 4;
/// One QUIC probe for so many connections.
const QUIC: usize = 10;
/// Sources that flood, and the connections that each begins within a second: well below what it may.
const FLOODS: usize = 3;
const FLOOD: usize = 150;

/// Adds it all, over the same time.
pub(super) fn add(
    made: &mut Vec<Frame>,
    crowd: &mut Crowd<'_>,
    seconds: f64,
    random: &mut StdRng,
) -> Result<(), MappingError> {
    let flows = crowd.options.flows;
    let at = |random: &mut StdRng| Duration::from_secs_f64(random.random::<f64>() * seconds);
    for _ in 0..flows * BACKGROUND {
        let (source, _) = crowd.somebody(random)?;
        let to = crowd.ends.answering(source, random).address;
        let time = at(random);
        made.push(frame(time, background(source, to, random), Side::Outside));
    }
    for _ in 0..flows.div_ceil(QUIC) {
        let (source, _) = crowd.somebody(random)?;
        let to = crowd.ends.answering(source, random).address;
        let datagram = udp(random.random_range(1024..=65_535), 443);
        let packet = ip(source, to, UDP, &datagram);
        made.push(frame(at(random), ethernet(&packet), Side::Outside));
    }
    for _ in 0..FLOODS {
        let (source, _) = crowd.somebody(random)?;
        let to = crowd.ends.answering(source, random);
        let begins = at(random);
        for number in 0..FLOOD.min(flows) {
            let segment = Segment::new(random.random_range(1024..=65_535), to.port)
                .numbers(random.random(), 0)
                .between(source, to.address);
            let after = Duration::from_micros(u64::try_from(number).expect("a few") * 6_000);
            made.push(frame(begins + after, ethernet(&segment), Side::Outside));
        }
    }
    stories(made, crowd, &at, random);
    Ok(())
}

/// Each odd frame once, from and to addresses of this traffic. What is too odd to have addresses stays as it is.
fn stories(
    made: &mut Vec<Frame>,
    crowd: &mut Crowd<'_>,
    at: &impl Fn(&mut StdRng) -> Duration,
    random: &mut StdRng,
) {
    let mut others = Vec::new();
    for six in [false, true] {
        if !crowd.ends.has(six) {
            continue;
        }
        for class in Class::ALL {
            if crowd.places.has(class, six)
                && let Some(address) = crowd.of_class(class, six, random)
            {
                let to = crowd.ends.answering(address, random);
                others.push((class, address, to.address));
            }
        }
    }
    for case in shuffled(stories::all(), random) {
        let mut bytes = case.frame;
        if let Some(layout) = layout(&bytes) {
            let class = case
                .expected
                .map_or(Class::Unmanaged, |(_, class, ..)| class);
            let found = others
                .iter()
                .find(|(of, address, _)| *of == class && address.is_ipv6() == layout.six);
            if let Some((_, client, service)) = found {
                replace(&mut bytes, |address| other(address, *client, *service));
            }
        }
        made.push(frame(at(random), bytes, case.side));
    }
}

/// The fixtures' services become the service, their clients the client.
fn other(address: IpAddr, client: IpAddr, service: IpAddr) -> Option<IpAddr> {
    use weir_fixtures::{ADFS_V4, ADFS_V6, STS_V4, STS_V6};
    let services: [IpAddr; 4] = [STS_V4.into(), STS_V6.into(), ADFS_V4.into(), ADFS_V6.into()];
    if services.contains(&address) {
        return Some(service);
    }
    Class::ALL
        .iter()
        .any(|class| weir_fixtures::source(*class, address.is_ipv6()) == address)
        .then_some(client)
}

/// A frame to another port, of one of the sizes of IMIX.
fn background(source: IpAddr, to: IpAddr, random: &mut StdRng) -> Vec<u8> {
    const PORTS: [u16; 6] = [22, 25, 53, 80, 3389, 8080];
    let mut draw = random.random_range(0..12);
    let (size, _) = IMIX
        .into_iter()
        .find(|(_, weight)| {
            let hit = draw < *weight;
            draw = draw.saturating_sub(*weight);
            hit
        })
        .expect("the weights sum up to twelve");
    let from = random.random_range(32_768..=60_999);
    let port = PORTS[random.random_range(0..PORTS.len())];
    let headers = if source.is_ipv6() { 60 } else { 40 };
    let segment = Segment::new(from, port)
        .flags(weir_fixtures::frame::ACK)
        .numbers(random.random(), random.random())
        .payload(size.saturating_sub(headers));
    ethernet(&segment.between(source, to))
}
