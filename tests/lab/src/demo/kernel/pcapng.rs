//! A capture as others read it: the packets by libpcap, and their comments by the format's own description
//! (draft-ietf-opsawg-pcapng, sections 3 and 4.3), since libpcap passes over those.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::demo::capture::{ends, opening};

/// A packet of a capture.
#[derive(Debug)]
pub struct Packet {
    /// Between whom it opens a connection, if it does.
    pub opens: Option<(SocketAddr, SocketAddr)>,
    /// What whoever captured it says of it.
    pub comment: String,
    ends: Option<[IpAddr; 2]>,
}

impl Packet {
    /// Whether it comes from there, or goes there.
    pub fn is_of(&self, address: IpAddr) -> bool {
        self.ends.is_some_and(|ends| ends.contains(&address))
    }
}

/// Reads a file that is whole.
pub fn read(file: &Path) -> Result<Vec<Packet>> {
    let mut capture = pcap::Capture::from_file(file)
        .with_context(|| format!("libpcap cannot read {}", file.display()))?;
    let bytes = fs::read(file)?;
    let mut comments = comments(&bytes)?.into_iter();
    let mut packets = Vec::new();
    loop {
        match capture.next_packet() {
            Ok(packet) => packets.push(Packet {
                opens: opening(packet.data),
                ends: ends(packet.data),
                comment: comments.next().context("more packets than comments")?,
            }),
            Err(pcap::Error::NoMorePackets) => break,
            Err(error) => return Err(error).context("libpcap cannot read on"),
        }
    }
    if comments.next().is_some() {
        bail!("more comments than packets");
    }
    Ok(packets)
}

/// The comment of each packet, without one: nothing. Numbers are in the order of this machine, on which it was written.
fn comments(mut file: &[u8]) -> Result<Vec<String>> {
    const ENHANCED_PACKET: u32 = 6;
    let mut comments = Vec::new();
    while !file.is_empty() {
        let length = number(file, 4)? as usize;
        let block = file
            .get(..length.max(12))
            .context("a block that ends amid")?;
        if number(block, 0)? == ENHANCED_PACKET {
            let captured = number(block, 20)? as usize;
            let options = 28 + captured.next_multiple_of(4)..length - 4;
            comments.push(comment(
                block.get(options).context("a packet that ends amid")?,
            )?);
        }
        file = &file[block.len()..];
    }
    Ok(comments)
}

/// The option of code 1.
fn comment(mut options: &[u8]) -> Result<String> {
    while let [a, b, c, d, rest @ ..] = options {
        let (code, length) = (
            u16::from_ne_bytes([*a, *b]),
            usize::from(u16::from_ne_bytes([*c, *d])),
        );
        let value = rest.get(..length).context("an option that ends amid")?;
        if code == 1 {
            return Ok(String::from_utf8(value.to_vec())?);
        }
        options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(String::new())
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("a block that ends amid")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}
