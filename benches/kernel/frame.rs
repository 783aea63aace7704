//! The frame that is sent again and again: a TCP acknowledgement to the service, or back.

pub use weir_benches::replay::{PORT, SERVICE_V4, SERVICE_V6};

use crate::bed::{IN_MAC, OUT_MAC, SINK_MAC, SOURCE_MAC};

/// Bytes of what the kernel programs are told of a frame.
pub const FRAME: usize = 96;

/// A client's port.
const CLIENT: u16 = 40_000;
/// Bytes of the headers in the template.
const HEADERS: usize = 80;

/// A frame, with zeros where the address that rotates stands.
pub struct Frame {
    /// From the Ethernet header on, without the frame's own check sequence: IPv4 takes 64 bytes with it.
    pub bytes: Vec<u8>,
    header: u32,
    segment: u32,
}

impl Frame {
    /// IPv4, from sources to the service.
    pub fn v4() -> Self {
        Self::make_v4(OUT_MAC, SOURCE_MAC, [CLIENT, PORT], |ip| {
            ip[16..20].copy_from_slice(&SERVICE_V4.octets());
        })
    }

    /// IPv4, from the service back to the sources.
    pub fn v4_back() -> Self {
        Self::make_v4(IN_MAC, SINK_MAC, [PORT, CLIENT], |ip| {
            ip[12..16].copy_from_slice(&SERVICE_V4.octets());
        })
    }

    /// IPv6, from sources to the service. What measures with it does not look at the checksum of TCP.
    pub fn v6() -> Self {
        let mut bytes = ethernet(OUT_MAC, SOURCE_MAC, 0x86dd);
        let mut ip = [0; 40];
        ip[0] = 0x60;
        ip[5] = 20;
        ip[6] = 6;
        ip[7] = 64;
        ip[24..40].copy_from_slice(&SERVICE_V6.octets());
        bytes.extend(ip);
        bytes.extend(acknowledgement([CLIENT, PORT]));
        bytes.resize(HEADERS, 0);
        Self {
            bytes,
            header: 0,
            segment: 0,
        }
    }

    fn make_v4(to: [u8; 6], from: [u8; 6], ports: [u16; 2], address: impl Fn(&mut [u8])) -> Self {
        let mut bytes = ethernet(to, from, 0x0800);
        let mut ip = [
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        address(&mut ip);
        let tcp = acknowledgement(ports);
        let (header, segment) = (sum(&ip), sum(&ip[12..]) + 6 + 20 + sum(&tcp));
        bytes.extend(ip);
        bytes.extend(tcp);
        bytes.resize(60, 0);
        Self {
            bytes,
            header,
            segment,
        }
    }

    /// As the kernel programs read it: headers, interface, and the sums for both checksums.
    pub fn template(&self, interface: u32) -> [u8; FRAME] {
        let mut template = [0; FRAME];
        template[..self.bytes.len()].copy_from_slice(&self.bytes);
        let words = [interface, self.header, self.segment, 0];
        for (slot, word) in template[HEADERS..].chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        template
    }
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    [to.as_slice(), &from, &kind.to_be_bytes()].concat()
}

fn acknowledgement([source, destination]: [u16; 2]) -> [u8; 20] {
    let mut tcp = [0; 20];
    tcp[0..2].copy_from_slice(&source.to_be_bytes());
    tcp[2..4].copy_from_slice(&destination.to_be_bytes());
    tcp[7] = 1;
    tcp[11] = 1;
    tcp[12] = 0x50;
    tcp[13] = 0x10;
    tcp[14] = 0xff;
    tcp
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}
