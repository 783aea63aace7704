//! Traffic of an edge, made from a seed: sign-ins over TLS as captures of them look, and what else an edge meets.
//!
//! In: a seed, how much of what, lists and services. Out: [`Traffic`] as it would be without Weir: everybody gets
//! their answer, also whom Weir would block. Sources are drawn from the lists, by class in the stated shares and
//! within a class by Zipf's law. Each connection is a whole one: handshake of TCP, a `ClientHello` as rustls writes
//! it, records as large as a sign-in makes them (their contents are random bytes, as encrypted ones look), FIN or
//! RST. Between them lie frames to other ports in the sizes of IMIX, probes over QUIC, floods that stay within the
//! budget of a source, and one frame for every odd thing that the programs have a branch for. The same seed, options,
//! lists and services make the same bytes.

mod hello;
mod odd;
mod requests;
mod talk;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use weir_abi::Class;

use super::mapping::{MappingError, Shares};
use super::places::Places;
use super::{Frame, Lists, Services, Side, Traffic};
use hello::Hellos;
pub use requests::{Judgement, Kind, Request};
use talk::Talk;

/// How much of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Connections.
    pub flows: usize,
    /// Shares of the classes, by connections.
    pub classes: Shares,
    /// Per cent of the sources that have IPv6 addresses.
    pub ipv6: u8,
}

/// Of the connections of a class, one in so many has a source of its own; the others share theirs by Zipf's law.
const FLOWS_PER_SOURCE: usize = 3;
/// Connections that begin in a second.
const RATE: f64 = 200.0;

/// Makes traffic.
pub fn generate(
    options: &Options,
    lists: &Lists,
    services: &Services,
) -> Result<Traffic, MappingError> {
    let mut random = StdRng::seed_from_u64(options.seed);
    let places = Places::of(lists, services);
    let ends = Ends::of(services);
    let mut crowd = Crowd {
        options,
        places: &places,
        ends: &ends,
        sources: BTreeMap::new(),
    };
    let hellos = Hellos::new(&ends.hosts);
    let mut made = Vec::new();
    let mut requests = Vec::new();
    let mut begins = 0.0;
    for _ in 0..options.flows {
        // Beginnings are as far apart as those of people who know nothing of each other.
        begins += -(1.0 - random.random::<f64>()).ln() / RATE;
        let time = Duration::from_secs_f64(begins);
        let (source, class) = crowd.somebody(&mut random)?;
        let kinds = requests::session(class, &mut random);
        let to = ends.answering(source, &mut random);
        let talk = Talk::begin(&mut made, source, (to.address, to.port), time, &mut random);
        talk.sign_in(&hellos, to.host, &kinds, &mut random);
        let forwarded = (class == Class::Relay)
            .then(|| crowd.somebody_else(&mut random))
            .flatten();
        requests.extend(kinds.into_iter().map(|kind| Request {
            kind,
            source,
            service: to.service,
            forwarded,
        }));
    }
    odd::add(&mut made, &mut crowd, begins, &mut random)?;
    // In the order of time; what is simultaneous stays as it was made.
    made.sort_by_key(|frame: &Frame| frame.time);
    for (number, frame) in (1..).zip(&mut made) {
        frame.number = number;
    }
    Ok(Traffic {
        name: format!(
            "generated from seed {}: {} connections, {}, {} % IPv6",
            options.seed, options.flows, options.classes, options.ipv6
        ),
        files: vec!["generated".into()],
        frames: made,
        mapping: None,
        requests: Some(requests),
        notes: places.note(&options.classes),
    })
}

/// A place where a service answers.
#[derive(Clone, Copy)]
struct End<'a> {
    service: u16,
    address: IpAddr,
    port: u16,
    host: &'a str,
}

/// Where the services answer.
struct Ends<'a> {
    all: Vec<End<'a>>,
    hosts: Vec<&'a str>,
}

impl<'a> Ends<'a> {
    fn of(services: &'a Services) -> Self {
        let all: Vec<End<'a>> = services
            .iter()
            .flat_map(|service| {
                let spec = &service.spec;
                spec.addresses.iter().flat_map(move |address| {
                    spec.ports.iter().map(move |port| End {
                        service: spec.id,
                        address: *address,
                        port: *port,
                        host: &service.host,
                    })
                })
            })
            .collect();
        let mut hosts: Vec<&str> = all.iter().map(|end| end.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Self { all, hosts }
    }

    fn has(&self, six: bool) -> bool {
        self.all.iter().any(|end| end.address.is_ipv6() == six)
    }

    /// One of the source's family.
    fn answering(&self, source: IpAddr, random: &mut StdRng) -> End<'a> {
        let of_family: Vec<&End<'a>> = self
            .all
            .iter()
            .filter(|end| end.address.is_ipv6() == source.is_ipv6())
            .collect();
        **of_family
            .choose(random)
            .expect("sources are drawn of families that are served")
    }
}

/// Everybody who connects, by class and family.
struct Crowd<'a> {
    options: &'a Options,
    places: &'a Places<'a>,
    ends: &'a Ends<'a>,
    sources: BTreeMap<(Class, bool), Vec<IpAddr>>,
}

impl Crowd<'_> {
    /// Somebody who connects, of a class by its share.
    fn somebody(&mut self, random: &mut StdRng) -> Result<(IpAddr, Class), MappingError> {
        let wants_six = random.random_range(0..100) < self.options.ipv6;
        let six = if wants_six {
            self.ends.has(true)
        } else {
            !self.ends.has(false)
        };
        let family = if six { 6 } else { 4 };
        let there = |class| self.places.has(class, six);
        let class = self.options.classes.draw(random, there);
        let class = class.ok_or(MappingError::NoLists { family })?;
        let source = self
            .of_class(class, six, random)
            .ok_or(MappingError::Full { class, family })?;
        Ok((source, class))
    }

    /// One of a class, the first of them most often (Zipf's law).
    fn of_class(&mut self, class: Class, six: bool, random: &mut StdRng) -> Option<IpAddr> {
        let share: u64 = Class::ALL
            .iter()
            .map(|class| u64::from(self.options.classes.of(*class)))
            .sum();
        let flows = u64::try_from(self.options.flows).unwrap_or(u64::MAX);
        let flows = flows.saturating_mul(self.options.classes.of(class).into()) / share.max(1);
        let most = usize::try_from(flows).unwrap_or(usize::MAX) / FLOWS_PER_SOURCE + 1;
        let rank = zipf(most, random);
        let known = self.sources.entry((class, six)).or_default();
        if rank < known.len() {
            return Some(known[rank]);
        }
        let address = self.places.address(class, six, random)?;
        known.push(address);
        Some(address)
    }

    /// Somebody who stands behind a relay.
    fn somebody_else(&mut self, random: &mut StdRng) -> Option<IpAddr> {
        let class = *[Class::Managed, Class::Unmanaged].choose(random)?;
        let class = if self.places.has(class, false) {
            class
        } else {
            Class::Unmanaged
        };
        self.places.address(class, false, random)
    }
}

/// A rank from 0, that has one over rank plus one for weight: by inversion of the integral.
fn zipf(count: usize, random: &mut StdRng) -> usize {
    let most = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let rank = (most + 1.0).powf(random.random::<f64>()).floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the count"
    )]
    let rank = rank as usize;
    rank.saturating_sub(1).min(count.saturating_sub(1))
}

/// A frame that was made.
fn frame(time: Duration, bytes: Vec<u8>, side: Side) -> Frame {
    Frame {
        time,
        wire: u32::try_from(bytes.len()).expect("frames are small"),
        bytes,
        side,
        file: 0,
        number: 0,
    }
}

/// Puts things in any order.
fn shuffled<T>(mut things: Vec<T>, random: &mut StdRng) -> Vec<T> {
    things.shuffle(random);
    things
}
