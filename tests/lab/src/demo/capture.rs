//! What clients really send: a capture on `inet`'s interface towards Weir, of the packets that open connections, and of
//! datagrams.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use time::OffsetDateTime;

use crate::netns::Netns;
use crate::topology::WAN;

/// Ethernet, IPv6 and TCP headers, and some options.
const LENGTH: i32 = 128;

/// A connection that somebody opened: its first packet; or a datagram.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Opened {
    /// When the packet was seen.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// From where.
    pub from: SocketAddr,
    /// To where.
    pub to: SocketAddr,
}

/// A running capture; it ends when this is dropped.
#[derive(Debug)]
pub struct Capture {
    ask: UnixStream,
    answers: mpsc::Receiver<Result<Vec<Opened>>>,
}

impl Capture {
    /// Starts in `inet`; packets after this call are seen.
    pub fn start(inet: &Netns) -> Result<Self> {
        let (ask, asked) = UnixStream::pair().context("cannot make a socket pair")?;
        let (answer, answers) = mpsc::channel();
        let namespace = inet.clone();
        std::thread::spawn(move || {
            let inside = answer.clone();
            let end = namespace.run(move || read(&asked, &inside));
            if let Ok(Err(error)) | Err(error) = end {
                // Whoever asks next hears why there is no answer.
                let _ = answer.send(Err(error));
            }
        });
        let capture = Self { ask, answers };
        capture.answer()?;
        Ok(capture)
    }

    /// What was seen since the call before.
    pub fn take(&self) -> Result<Vec<Opened>> {
        (&self.ask)
            .write_all(&[0])
            .context("the capture has ended")?;
        self.answer()
    }

    fn answer(&self) -> Result<Vec<Opened>> {
        self.answers
            .recv()
            .map_err(|_| anyhow!("the capture has ended"))?
    }
}

/// Reads until the other end of `asked` is closed; for each byte that comes from there, answers what was seen. The first
/// answer says that the capture is open.
fn read(asked: &UnixStream, answer: &mpsc::Sender<Result<Vec<Opened>>>) -> Result<()> {
    let mut capture = pcap::Capture::from_device(WAN)
        .and_then(|capture| capture.immediate_mode(true).snaplen(LENGTH).open())
        .and_then(pcap::Capture::setnonblock)
        .with_context(|| format!("cannot capture on {WAN}"))?;
    let mut seen = Vec::new();
    // Whoever does not wait any more has ended the capture.
    while answer.send(Ok(std::mem::take(&mut seen))).is_ok() {
        loop {
            // SAFETY: the capture owns the descriptor and outlives this iteration.
            let packets = unsafe { BorrowedFd::borrow_raw(capture.as_raw_fd()) };
            let mut wait = [
                PollFd::new(packets, PollFlags::POLLIN),
                PollFd::new(asked.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut wait, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot wait for packets"),
            }
            let is_asked = wait[1].any() == Some(true);
            loop {
                match capture.next_packet() {
                    Ok(packet) => seen.extend(read_packet(&packet)?),
                    Err(pcap::Error::NoMorePackets | pcap::Error::TimeoutExpired) => break,
                    Err(error) => return Err(error).context("the capture broke"),
                }
            }
            if is_asked {
                break;
            }
        }
        if (&*asked).read(&mut [0])? == 0 {
            return Ok(());
        }
        let dropped = capture.stats().context("cannot ask the capture")?.dropped;
        if dropped > 0 {
            bail!("the capture lost {dropped} packets: the machine is too busy to observe a row");
        }
    }
    Ok(())
}

fn read_packet(packet: &pcap::Packet<'_>) -> Result<Option<Opened>> {
    let Some((from, to)) = opening(packet.data) else {
        return Ok(None);
    };
    let at = packet.header.ts;
    let nanoseconds = i128::from(at.tv_sec) * 1_000_000_000 + i128::from(at.tv_usec) * 1000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .context("a packet without a time")?;
    Ok(Some(Opened { at, from, to }))
}

/// Source and destination of a frame that is a TCP packet with SYN and without ACK, or a datagram of UDP; untagged
/// Ethernet, no extension headers, as this lab's clients send them.
pub(super) fn opening(frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let packet = frame.get(14..)?;
    let [from, to] = ends(frame)?;
    let (protocol, segment) = match from {
        IpAddr::V4(_) => {
            let length = usize::from(packet[0] & 0x0f) * 4;
            (*packet.get(9)?, packet.get(length..)?)
        }
        IpAddr::V6(_) => (*packet.get(6)?, packet.get(40..)?),
    };
    let port = |at: usize| -> Option<u16> {
        let bytes: [u8; 2] = segment.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    let (source, target) = (port(0)?, port(2)?);
    let opens = match protocol {
        TCP => segment.get(13)? & (SYN | ACK) == SYN,
        UDP => true,
        _ => false,
    };
    opens.then(|| (SocketAddr::new(from, source), SocketAddr::new(to, target)))
}

/// Source and destination address of an untagged Ethernet frame with an IP packet.
pub(super) fn ends(frame: &[u8]) -> Option<[IpAddr; 2]> {
    let packet = frame.get(14..)?;
    match packet.first()? >> 4 {
        4 => {
            let address = |at: usize| -> Option<IpAddr> {
                let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(bytes).into())
            };
            Some([address(12)?, address(16)?])
        }
        6 => {
            let address = |at: usize| -> Option<IpAddr> {
                let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(bytes).into())
            };
            Some([address(8)?, address(24)?])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flags: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend([203, 0, 113, 200, 192, 0, 2, 10]);
        frame.extend([
            0xc0, 0, 0x01, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0,
        ]);
        frame
    }

    #[test]
    fn only_the_first_packet_of_a_connection_opens_it() {
        let from: SocketAddr = "203.0.113.200:49152".parse().expect("a literal");
        let to: SocketAddr = "192.0.2.10:443".parse().expect("a literal");
        assert_eq!(opening(&frame(0x02)), Some((from, to)));
        assert_eq!(opening(&frame(0x12)), None);
        assert_eq!(opening(&frame(0x10)), None);
        assert_eq!(opening(&frame(0x02)[..40]), None);
        let mut datagram = frame(0);
        datagram[23] = 17;
        assert_eq!(opening(&datagram), Some((from, to)));
    }
}
