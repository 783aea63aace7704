//! The traffic of an edge, in memory: read from captures or made from a seed, to be judged and sent again.
//!
//! In: captures, a seed, lists and services. Out: [`Traffic`], frames in their order, each with the side that it
//! came in at; the [`Lists`] and [`Services`] that it is judged by; and what was [`Told`] of it. Nothing here
//! opens a socket or needs a privilege: who replays it is the binary `weir-bench`. The same seed makes the same
//! bytes, everywhere and always.

pub mod capture;
pub mod generate;
mod link;
pub mod mapping;
pub mod packet;
pub(crate) mod places;
mod services;
mod told;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use generate::Request;
pub use mapping::Mapping;
pub use services::{Lists, Service, Services, SettingError};
pub use told::{Amount, Course, Judged, Row, Told, Top};
pub use weir_classify::Side;

/// Where the service of the benches is, unless there is another.
pub const SERVICE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Where it is in IPv6.
pub const SERVICE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x10);
/// Its port.
pub const PORT: u16 = 443;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was captured, after the first one of its capture.
    pub time: Duration,
    /// From the Ethernet header on, without the check sequence; hardware addresses are those of the capture.
    pub bytes: Vec<u8>,
    /// Bytes that it had on the wire.
    pub wire: u32,
    /// Where it came in: from a service's address is from inside, all else is from outside.
    pub side: Side,
    /// Which of [`Traffic::files`] it was read from; zero for what was made.
    pub file: u16,
    /// Its number in that file, from 1, as other tools count.
    pub number: u32,
}

/// Frames in their order, and what is known of them.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// What it is, in a few words: `generated from seed 5745`, `3 captures`.
    pub name: String,
    /// The captures; one entry without a file where it was made.
    pub files: Vec<String>,
    /// The frames.
    pub frames: Vec<Frame>,
    /// How addresses were rewritten, if they were.
    pub mapping: Option<Mapping>,
    /// The requests that its connections carry; known only where it was made.
    pub requests: Option<Vec<Request>>,
    /// What belongs to it that numbers do not tell: frames that were cut or left out.
    pub notes: Vec<String>,
}

impl Traffic {
    /// The frames that came in at this side.
    pub fn of(&self, side: Side) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.side == side)
    }

    /// Every source of frames from outside.
    pub fn sources(&self) -> BTreeSet<IpAddr> {
        self.of(Side::Outside)
            .filter_map(|frame| Some(packet::ends(&frame.bytes)?.source))
            .collect()
    }

    /// Bytes of all frames, as they were on the wire.
    pub fn bytes(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.wire)).sum()
    }

    /// Time from the first frame to the last.
    pub fn lasts(&self) -> Duration {
        let times = self.frames.iter().map(|frame| frame.time);
        times.max().unwrap_or_default()
    }
}

/// The frame with other hardware addresses, for the interface that it is sent to.
pub fn readdress(frame: &[u8], to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some(ends) = frame.get_mut(..12) {
        ends[..6].copy_from_slice(&to);
        ends[6..].copy_from_slice(&from);
    }
    frame
}
