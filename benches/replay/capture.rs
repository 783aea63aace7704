//! Captures, read and written by libpcap.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap::{Capture, Linktype, Packet, PacketHeader};

use super::link::Link;
use super::packet::{ACK, SYN, TCP, ends};
use super::{Frame, PORT, Services, Side, Traffic};

/// Why a capture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Nothing that libpcap reads.
    #[error(
        "cannot read the capture {}: {error}; it has to be a pcap or pcapng file, not packed", file.display()
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What libpcap says.
        error: pcap::Error,
    },
    /// A link layer that is not known.
    #[error(
        "the capture {} is of link type {name}, and only Ethernet, Linux cooked (SLL, SLL2) and raw IP can be \
         replayed; leave it out, or capture again on an Ethernet interface", file.display()
    )]
    Link {
        /// The file.
        file: PathBuf,
        /// The link type.
        name: String,
    },
    /// A capture without a single frame.
    #[error("the captures hold no frame that can be replayed")]
    Empty,
}

/// Bytes that are kept of all captures.
const MOST_BYTES: usize = 1 << 30;
/// The longest frame that is filled up, where a capture cut it: an IP packet cannot be longer.
const LONGEST: u32 = 14 + 0xffff;
/// Addresses that one bench serves; see [`Services::spoken_to`].
const MOST_ADDRESSES: usize = 256;

/// Reads captures one after the other, at most so many frames of all together.
pub fn read(files: &[PathBuf], limit: usize) -> Result<Traffic, CaptureError> {
    let mut traffic = Traffic {
        name: match files {
            [file] => file.display().to_string(),
            files => format!("{} captures", files.len()),
        },
        ..Traffic::default()
    };
    let mut odd = Odd::default();
    for file in files {
        read_one(file, limit, &mut traffic, &mut odd)?;
    }
    if traffic.frames.is_empty() {
        return Err(CaptureError::Empty);
    }
    for (count, what) in [
        (
            odd.cut,
            "are not whole in their captures (capture with `tcpdump -s 0`): zeros stand for what is not there",
        ),
        (
            odd.unframed,
            "were left out: they are no frames of a network card",
        ),
        (
            odd.beyond,
            "were left out: there are more than --limit allows, or than a GiB",
        ),
    ] {
        if count > 0 {
            traffic.notes.push(format!("{count} frames {what}."));
        }
    }
    for file in odd.broken {
        traffic.notes.push(file);
    }
    Ok(traffic)
}

/// Frames that are not as they should be.
#[derive(Default)]
struct Odd {
    cut: u64,
    unframed: u64,
    beyond: u64,
    bytes: usize,
    broken: Vec<String>,
}

fn read_one(
    file: &Path,
    limit: usize,
    traffic: &mut Traffic,
    odd: &mut Odd,
) -> Result<(), CaptureError> {
    let unreadable = |error| CaptureError::Unreadable {
        file: file.to_owned(),
        error,
    };
    let mut capture = Capture::from_file(file).map_err(unreadable)?;
    let kind = capture.get_datalink();
    let link = Link::of(kind.0).ok_or_else(|| CaptureError::Link {
        file: file.to_owned(),
        name: kind.get_name().unwrap_or_else(|_| kind.0.to_string()),
    })?;
    let index = u16::try_from(traffic.files.len()).unwrap_or(u16::MAX);
    traffic.files.push(file.display().to_string());
    let mut first = None;
    for number in 1.. {
        let packet = match capture.next_packet() {
            Ok(packet) => packet,
            Err(pcap::Error::NoMorePackets) => break,
            Err(error) if number == 1 => return Err(unreadable(error)),
            Err(error) => {
                odd.broken.push(format!(
                    "{} ends behind frame {}: {error}.",
                    file.display(),
                    number - 1
                ));
                break;
            }
        };
        if traffic.frames.len() >= limit || odd.bytes > MOST_BYTES {
            odd.beyond += 1;
            continue;
        }
        let time = time(packet.header);
        let first = *first.get_or_insert(time);
        let Some(mut bytes) = link.ethernet(packet.data) else {
            odd.unframed += 1;
            continue;
        };
        let header = packet.header;
        let there = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let wire = header.len.saturating_sub(link.header()).saturating_add(14);
        let wire = wire.max(there);
        if header.caplen < header.len {
            odd.cut += 1;
            bytes.resize(wire.min(LONGEST).max(there) as usize, 0);
        }
        odd.bytes += bytes.len();
        traffic.frames.push(Frame {
            time: time.saturating_sub(first),
            wire,
            bytes,
            side: Side::Outside,
            file: index,
            number,
        });
    }
    Ok(())
}

/// Writes frames as a capture.
pub fn write(file: &Path, frames: &[Frame]) -> Result<(), pcap::Error> {
    let capture = Capture::dead(Linktype::ETHERNET)?;
    let mut file = capture.savefile(file)?;
    for frame in frames {
        let header = PacketHeader {
            ts: libc::timeval {
                tv_sec: i64::try_from(frame.time.as_secs()).unwrap_or(i64::MAX),
                tv_usec: frame.time.subsec_micros().into(),
            },
            caplen: u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX),
            len: frame.wire,
        };
        file.write(&Packet::new(&header, &frame.bytes));
    }
    file.flush()
}

impl Traffic {
    /// Says of each frame at which side it came in, now that the services are known.
    pub fn settle(&mut self, services: &Services) {
        for frame in &mut self.frames {
            let answers = ends(&frame.bytes)
                .is_some_and(|ends| services.own(ends.source) && !services.own(ends.destination));
            frame.side = if answers { Side::Inside } else { Side::Outside };
        }
    }
}

impl Services {
    /// One service at every address that connections are opened to on port 443; where there is none, on the port
    /// that most are opened to.
    pub fn spoken_to(traffic: &Traffic) -> Self {
        let mut opened: BTreeMap<(IpAddr, u16), usize> = BTreeMap::new();
        for frame in &traffic.frames {
            if let Some(ends) = ends(&frame.bytes)
                && let Some([_, port]) = ends.ports
                && ends.protocol == TCP
            {
                let opens = ends.flags & (SYN | ACK) == SYN;
                if opens || port == PORT {
                    *opened.entry((ends.destination, port)).or_default() += usize::from(opens);
                }
            }
        }
        let mut by_port: BTreeMap<u16, usize> = BTreeMap::new();
        for ((_, port), count) in &opened {
            *by_port.entry(*port).or_default() += count;
        }
        let most = by_port.iter().max_by_key(|(_, count)| **count);
        let port = if by_port.contains_key(&PORT) {
            PORT
        } else {
            most.map_or(PORT, |(port, _)| *port)
        };
        let mut servers: Vec<(usize, IpAddr)> = opened
            .into_iter()
            .filter(|((_, to), _)| *to == port)
            .map(|((address, _), count)| (count, address))
            .collect();
        servers.sort_by_key(|(count, address)| (std::cmp::Reverse(*count), *address));
        servers.truncate(MOST_ADDRESSES);
        let addresses: Vec<IpAddr> = servers.into_iter().map(|(_, address)| address).collect();
        if addresses.is_empty() {
            return Self::usual();
        }
        Self::one(addresses, vec![port])
    }
}

fn time(header: &PacketHeader) -> Duration {
    let seconds = u64::try_from(header.ts.tv_sec).unwrap_or_default();
    let micros = u64::try_from(header.ts.tv_usec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
