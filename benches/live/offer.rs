//! The frames that are sent, and what is to become of them.
//!
//! Only plain ones: whole TCP segments to a service, as every filter understands them. Fragments, options, tags and
//! what is malformed is judged frame by frame elsewhere; peers that have no word for it would be compared with a
//! job that they do not do.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use weir_abi::Class;

use super::{Action, Counts, Door};
use crate::replay::mapping::replace;
use crate::replay::packet::{ACK, SYN, TCP, add, ends, fold, layout};
use crate::replay::places::Places;
use crate::replay::{Frame, Lists, Services};

/// Whom the frames come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// The very sources of the traffic.
    Itself,
    /// Others, each of the class of the one in whose place it is.
    Alike,
    /// Managed ones alone.
    Managed,
    /// A flood from blocked ones, with a few others between.
    Flood,
}

/// A frame that can be sent to all alike.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    bytes: &'a [u8],
    source: IpAddr,
    class: Class,
}

/// Frames that are not plain, by why.
pub type LeftOut = BTreeMap<&'static str, u64>;

/// Frames, and what is to become of them.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// To be sent in turn.
    pub frames: Vec<Vec<u8>>,
    /// What is to become of them.
    pub expected: Counts,
    /// Where they come from.
    pub sources: usize,
}

impl Crowd {
    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Itself => "as captured",
            Self::Alike => "classes as captured",
            Self::Managed => "all managed",
            Self::Flood => "flood, 90 % blocked",
        }
    }

    fn class(self, of: Class, random: &mut StdRng) -> Class {
        match self {
            Self::Itself | Self::Alike => of,
            Self::Managed => Class::Managed,
            Self::Flood => match random.random_range(0..100) {
                0..90 => Class::Blocked,
                90..95 => Class::Managed,
                _ => Class::Unmanaged,
            },
        }
    }
}

impl Offer {
    /// At least so many frames, or half as many again: the plain ones, over and over, from other sources each time.
    /// [`Crowd::Itself`] has no others, and sends so many of them at most, once. Nothing when a class has no
    /// sources in the lists.
    pub fn of(
        plain: &[Plain<'_>],
        crowd: Crowd,
        door: &Door,
        (lists, services): (&Lists, &Services),
        count: usize,
    ) -> Option<Self> {
        let places = Places::of(lists, services);
        let mut random = StdRng::seed_from_u64(5745);
        let mut offer = Self::default();
        let mut sources = HashSet::new();
        while !plain.is_empty() && offer.frames.len() < count {
            let mut others: HashMap<IpAddr, (IpAddr, Class)> = HashMap::new();
            for one in plain.iter().take(count) {
                let (source, class) = if let Some(known) = others.get(&one.source) {
                    *known
                } else {
                    let class = crowd.class(one.class, &mut random);
                    let other = match crowd {
                        Crowd::Itself => one.source,
                        _ => places.address(class, one.source.is_ipv6(), &mut random)?,
                    };
                    *others.entry(one.source).or_insert((other, class))
                };
                let mut bytes = one.bytes.to_vec();
                replace(&mut bytes, |address| {
                    (address == one.source).then_some(source)
                });
                sources.insert(source);
                offer.frames.push(bytes);
                *match door.action(class) {
                    Action::Forward => &mut offer.expected.forwarded,
                    Action::Proxy => &mut offer.expected.proxied,
                    Action::Drop => &mut offer.expected.dropped,
                } += 1;
            }
            if crowd == Crowd::Itself {
                break;
            }
        }
        offer.sources = sources.len();
        (!offer.frames.is_empty()).then_some(offer)
    }

    /// Bytes of a frame, on average.
    pub fn bytes(&self) -> f64 {
        let sum: u64 = self.frames.iter().map(|frame| frame.len() as u64).sum();
        super::row::float(sum) / super::row::float((self.frames.len() as u64).max(1))
    }
}

/// The plain ones of some frames that are for the service behind this door, and how many others there were.
pub fn plain<'a>(
    frames: impl Iterator<Item = &'a Frame>,
    door: &Door,
    lists: &Lists,
    services: &Services,
) -> (Vec<Plain<'a>>, LeftOut) {
    let places = Places::of(lists, services);
    let mut left_out = LeftOut::new();
    let mut plain = Vec::new();
    for frame in frames {
        match one(&frame.bytes, door, &places) {
            Ok(one) => plain.push(Plain {
                class: lists.class(one.source),
                ..one
            }),
            Err(why) => *left_out.entry(why).or_default() += 1,
        }
    }
    (plain, left_out)
}

/// What an Ethernet frame of an MTU of 1500 holds.
const LARGEST: usize = 1514;

fn one<'a>(bytes: &'a [u8], door: &Door, places: &Places<'_>) -> Result<Plain<'a>, &'static str> {
    let (Some(layout), Some(ends)) = (layout(bytes), ends(bytes)) else {
        return Err("no IP");
    };
    let is_served = door.addresses.contains(&ends.destination);
    if !is_served || ends.protocol != TCP {
        return Err("not TCP to the service");
    }
    let usual = if layout.six { 54 } else { 34 };
    if layout.l3 != 14 || layout.l4 != usual || layout.fragment {
        return Err("tags, options, extension headers or fragments");
    }
    let Some([from, to]) = ends.ports else {
        return Err("malformed");
    };
    if !door.ports.contains(&to) {
        return Err("not TCP to the service");
    }
    if layout.end > bytes.len() {
        return Err("cut or malformed");
    }
    if bytes.len() > LARGEST {
        return Err("longer than 1514 bytes");
    }
    let header = bytes
        .get(layout.l4 + 12)
        .map_or(0, |byte| usize::from(byte >> 4) * 4);
    // SYN beside FIN or RST, or nothing at all: no stack sends that.
    let absurd =
        ends.flags & (SYN | ACK | 0x05) == 0 || ends.flags & SYN != 0 && ends.flags & 0x05 != 0;
    let hops = bytes[if layout.six { 21 } else { 22 }];
    let sum = layout.six || fold(add(0, &bytes[14..34])) == 0xffff;
    if header < 20 || layout.l4 + header > layout.end || absurd || from == 0 || hops < 2 || !sum {
        return Err("malformed");
    }
    if !places.may_send(ends.source) {
        return Err("from addresses that nobody sends from, or that are the bed's own");
    }
    Ok(Plain {
        bytes,
        source: ends.source,
        class: Class::Unmanaged,
    })
}
