//! Single packets that the programs tell of: samples of beginning flows, and the frames of a capture.
//!
//! In: two ring buffers that the programs fill and never wait for. Out: what was in them, as it was judged,
//! and how much was lost.

use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime};

use aya::Ebpf;
use aya::maps::{Array, MapData, MapError, PerCpuArray, RingBuf};
use weir_abi::{
    Class, Config, Filter, Hook, NO_SERVICE, Reason, Seen, Verdict, mapped, maps, telling,
};

use crate::error::Error;
use crate::programs::chain;
use crate::sys::{self, Mapped};
use crate::types::{CaptureFilter, Direction, Lost, MapStatus, SeenPacket};

/// Packets that one look takes out of a ring buffer at most.
const AT_ONCE: usize = 4096;

/// The maps by which the programs tell.
pub(crate) struct Rings {
    events: RingBuf<MapData>,
    frames: RingBuf<MapData>,
    filter: Array<MapData, [u64; 6]>,
    telling: PerCpuArray<MapData, u64>,
}

impl std::fmt::Debug for Rings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fds = [&self.events, &self.frames].map(AsRawFd::as_raw_fd);
        f.debug_struct("Rings")
            .field("fds", &fds)
            .finish_non_exhaustive()
    }
}

impl Rings {
    /// Takes the maps out of the loaded object, and has one of `sample` beginnings told; nothing is
    /// captured, whatever an earlier process wanted.
    pub(crate) fn open(ebpf: &mut Ebpf, config: &Mapped, sample: u32) -> Result<Self, Error> {
        let mut take = |name| ebpf.take_map(name).expect("loaded with all maps");
        let rings = Self {
            events: RingBuf::try_from(take(maps::EVENTS)).map_err(|e| failed(&e))?,
            frames: RingBuf::try_from(take(maps::CAPTURED)).map_err(|e| failed(&e))?,
            filter: Array::try_from(take(maps::CAPTURE)).map_err(|e| failed(&e))?,
            telling: PerCpuArray::try_from(take(maps::TELLING)).map_err(|e| failed(&e))?,
        };
        config.publish_word(offset_of!(Config, capture), 0);
        config.publish_word(offset_of!(Config, sample), sample);
        Ok(rings)
    }

    /// What the kernel says of the ring buffers, for status.
    pub(crate) fn status(&self) -> Vec<MapStatus> {
        let rings = [(maps::EVENTS, &self.events), (maps::CAPTURED, &self.frames)];
        let told = |(name, ring): (_, &RingBuf<MapData>)| {
            let info = sys::map_info(ring.as_raw_fd()).ok()?;
            Some(MapStatus {
                name,
                id: info.id,
                capacity: info.max_entries,
                memory: sys::map_memory(ring.as_raw_fd()),
            })
        };
        rings.into_iter().filter_map(told).collect()
    }

    /// The samples since the last look, oldest first.
    pub(crate) fn flows(&mut self) -> Vec<SeenPacket> {
        drain(&mut self.events)
    }

    /// The frames since the last look, oldest first.
    pub(crate) fn frames(&mut self) -> Vec<SeenPacket> {
        drain(&mut self.frames)
    }

    /// What was lost since the programs were loaded.
    pub(crate) fn lost(&self) -> Result<Lost, Error> {
        let sum = |place| {
            let slots = self.telling.get(&place, 0).map_err(|e| failed(&e))?;
            Ok(slots.iter().sum())
        };
        Ok(Lost {
            flows: sum(telling::LOST_EVENTS)?,
            frames: sum(telling::LOST_FRAMES)?,
        })
    }

    /// Begins to capture, or ends it. What an earlier capture left is thrown away.
    pub(crate) fn capture(
        &mut self,
        config: &Mapped,
        wanted: Option<&CaptureFilter>,
    ) -> Result<(), Error> {
        let word = offset_of!(Config, capture);
        config.publish_word(word, 0);
        let Some(wanted) = wanted else {
            return Ok(());
        };
        while self.frames.next().is_some() {}
        let words = compile(wanted).words();
        self.filter.set(0, words, 0).map_err(|e| failed(&e))?;
        config.publish_word(word, 1);
        Ok(())
    }
}

fn failed(error: &MapError) -> Error {
    Error::kernel(
        "cannot use the maps by which the programs tell of packets",
        io::Error::other(chain(error)),
    )
}

/// The filter as the programs read it.
fn compile(wanted: &CaptureFilter) -> Filter {
    let (client, mask) = match wanted.source {
        None => ([0; 16], [0; 16]),
        Some((address, length)) => {
            let (octets, length) = match address {
                IpAddr::V4(address) => (mapped(address.to_bits()), 96 + length),
                IpAddr::V6(address) => (address.octets(), length),
            };
            let mask = u128::MAX
                .checked_shl(128 - u32::from(length.min(128)))
                .unwrap_or(0)
                .to_be_bytes();
            (std::array::from_fn(|i| octets[i] & mask[i]), mask)
        }
    };
    let verdicts = if wanted.verdicts.is_empty() {
        Verdict::ALL.as_slice()
    } else {
        wanted.verdicts.as_slice()
    };
    let verdicts = verdicts
        .iter()
        .fold(0_u32, |bits, one| bits | 1 << *one as u32);
    let payload = if wanted.payload { Filter::PAYLOAD } else { 0 };
    let service = wanted.service.map_or(Filter::ANY, u32::from);
    let until = sys::since_boot() + wanted.within;
    Filter {
        until: u64::try_from(until.as_nanos()).unwrap_or(u64::MAX),
        client: halves(client),
        mask: halves(mask),
        which: payload | u64::from(verdicts) << 32 | u64::from(service),
    }
}

fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let (halves, _) = bytes.as_chunks::<8>();
    [u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])]
}

fn drain(ring: &mut RingBuf<MapData>) -> Vec<SeenPacket> {
    // One difference of clocks for all: they are moments old.
    let started = SystemTime::now()
        .checked_sub(sys::since_boot())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let mut names = Names::default();
    let mut packets = Vec::new();
    while packets.len() < AT_ONCE
        && let Some(item) = ring.next()
    {
        if let Some((seen, frame)) = Seen::from_bytes(&item) {
            let kept = frame.get(..seen.kept as usize).unwrap_or_default();
            packets.push(SeenPacket {
                time: started + Duration::from_nanos(seen.time),
                source: address(seen.source),
                destination: address(seen.destination),
                ports: seen.ports,
                protocol: seen.protocol,
                flags: seen.flags,
                service: (seen.service != NO_SERVICE).then_some(seen.service),
                class: Class::from_u8(seen.class),
                verdict: Verdict::from_u8(seen.verdict),
                reason: Reason::from_u8(seen.reason),
                hook: if seen.hook == Hook::Xdp as u8 {
                    Hook::Xdp
                } else {
                    Hook::Tcx
                },
                observed: seen.observed != 0,
                direction: if seen.inside == 0 {
                    Direction::Outside
                } else {
                    Direction::Inside
                },
                interface: names.of(seen.interface),
                length: seen.length,
                frame: kept.to_vec(),
            });
        }
    }
    packets
}

fn address(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

/// Names of interfaces, each asked for once.
#[derive(Default)]
struct Names(Vec<(u32, String)>);

impl Names {
    fn of(&mut self, index: u32) -> String {
        if let Some((_, name)) = self.0.iter().find(|(known, _)| *known == index) {
            return name.clone();
        }
        let name = sys::interface_name(index).unwrap_or_else(|| format!("#{index}"));
        self.0.push((index, name.clone()));
        name
    }
}
