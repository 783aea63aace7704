//! Answers a TCP segment with a reset, made of the segment itself.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_ns, bpf_l4_csum_replace, bpf_redirect, bpf_skb_change_tail, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use weir_classify::{Family, Headers, Packet as _};

use crate::maps;
use crate::packet::Skb;

/// Nanoseconds between two resets of one CPU in the long run: 1000 a second.
const INTERVAL: u64 = 1_000_000;
/// Resets that one CPU may send at once.
const BURST: u64 = 100;

/// Flags of TCP (RFC 9293 §3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const TCP: u8 = 6;
/// Headers of the answer.
const V4_HEADER: u32 = 20;
const V6_HEADER: u32 = 40;
const TCP_HEADER: u32 = 20;

/// Whether this CPU may send a reset now; if so, it is counted as sent.
#[inline(always)]
pub fn is_due() -> bool {
    let Some(next) = maps::next_reset() else {
        return false;
    };
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    if *next > now {
        return false;
    }
    // What was not used is kept, but no more than one burst of it.
    let earliest = now.saturating_sub((BURST - 1) * INTERVAL);
    let from = if *next < earliest { earliest } else { *next };
    *next = from + INTERVAL;
    true
}

/// Turns the segment into the reset for it (RFC 9293 §3.10.7.1), and sends it back the way it came.
/// Nothing for a reset, and for headers that are longer than their base: these are not answered.
#[inline(always)]
pub fn answer(ctx: &TcContext, headers: &Headers) -> Option<i32> {
    let skb = ctx.skb.skb;
    let packet = Skb::new(ctx);
    let l3 = headers.l3;
    let l4 = match headers.family {
        Family::V4 if headers.first[0] == 0x45 => l3 + V4_HEADER,
        Family::V6 if packet.read::<1>(l3 + 6)?[0] == TCP => l3 + V6_HEADER,
        _ => return None,
    };
    let segment: [u8; 14] = packet.read(l4)?;
    let flags = segment[13];
    if flags & RST != 0 {
        return None;
    }
    let stations: [u8; 12] = packet.read(0)?;
    let mut tcp = [0; TCP_HEADER as usize];
    tcp[0..2].copy_from_slice(&segment[2..4]);
    tcp[2..4].copy_from_slice(&segment[0..2]);
    tcp[12] = 0x50;
    if flags & ACK != 0 {
        tcp[4..8].copy_from_slice(&segment[8..12]);
        tcp[13] = RST;
    } else {
        let first = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
        let length = headers.length.wrapping_sub(headers.repeated)
            + u32::from(flags & SYN != 0)
            + u32::from(flags & FIN != 0);
        tcp[8..12].copy_from_slice(&first.wrapping_add(length).to_be_bytes());
        tcp[13] = RST | ACK;
    }
    // Linearises the packet, and takes what was coalesced apart from its offloads.
    // SAFETY: the context is valid for the life of the program.
    if unsafe { bpf_skb_change_tail(skb, l4 + TCP_HEADER, 0) } != 0 {
        return None;
    }
    let pseudo = match headers.family {
        Family::V4 => {
            let [a, b, c, d]: [u8; 4] = packet.read(headers.source())?;
            let [e, f, g, h]: [u8; 4] = packet.read(headers.destination())?;
            let mut ip = [
                0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0, e, f, g, h, a, b, c, d,
            ];
            let check = !fold(sum(&ip));
            ip[10..12].copy_from_slice(&check.to_be_bytes());
            store(skb, l3, &ip)?;
            sum(&[a, b, c, d, e, f, g, h])
        }
        Family::V6 => {
            let addresses: [u8; 32] = packet.read(headers.source())?;
            let mut ip = [0; V6_HEADER as usize];
            ip[0] = 0x60;
            ip[5] = TCP_HEADER as u8;
            ip[6] = TCP;
            ip[7] = 64;
            ip[8..24].copy_from_slice(&addresses[16..32]);
            ip[24..40].copy_from_slice(&addresses[0..16]);
            store(skb, l3, &ip)?;
            sum(&addresses)
        }
    };
    let pseudo = fold(pseudo + u32::from(TCP) + TCP_HEADER);
    let rest = sum(&tcp);
    tcp[16..18].copy_from_slice(&pseudo.to_be_bytes());
    store(skb, l4, &tcp)?;
    // The sum over the pseudo header is what belongs there when the interface completes the checksum
    // (CHECKSUM_PARTIAL: from a virtual machine or namespace, or coalesced), and this call then changes
    // nothing. Else it makes the sum P the checksum !(P + rest): !(!P + 2P + rest).
    let to = fold(2 * u32::from(pseudo) + rest).to_be();
    // SAFETY: the context is valid for the life of the program.
    if unsafe { bpf_l4_csum_replace(skb, l4 + 16, 0, u64::from(to), 2) } != 0 {
        return None;
    }
    let mut back = [0; 12];
    back[0..6].copy_from_slice(&stations[6..12]);
    back[6..12].copy_from_slice(&stations[0..6]);
    store(skb, 0, &back)?;
    // SAFETY: the context is valid for the life of the program.
    Some(unsafe { bpf_redirect((*skb).ifindex, 0) } as i32)
}

/// Writes into the packet.
#[inline(always)]
pub fn store<const N: usize>(skb: *mut __sk_buff, at: u32, bytes: &[u8; N]) -> Option<()> {
    // SAFETY: pointer and size describe `bytes`.
    let result = unsafe { bpf_skb_store_bytes(skb.cast(), at, bytes.as_ptr().cast(), N as u32, 0) };
    if result == 0 { Some(()) } else { None }
}

/// The sum of 16-bit words (RFC 1071), not folded.
#[inline(always)]
pub fn sum<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    let mut i = 0;
    while i + 1 < N {
        sum += u32::from(u16::from_be_bytes([bytes[i], bytes[i + 1]]));
        i += 2;
    }
    sum
}

/// The sum with its carries added.
#[inline(always)]
pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
