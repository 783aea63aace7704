//! Tells the sender of a packet of `nat` that it does not fit through.
//!
//! The stack cannot: it does not know to whom the packet goes on. The answer quotes the packet as it came,
//! up to the end of its TCP header, and comes from where it was sent to (RFC 792, RFC 1191 §4; RFC 4443
//! §3.2).

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_skb_change_head, bpf_skb_change_tail};
use aya_ebpf::programs::TcContext;
use weir_abi::{Reason, Verdict};
use weir_classify::{Family, Headers, Packet as _};

use crate::act;
use crate::maps;
use crate::nat;
use crate::outcome;
use crate::packet::Skb;
use crate::reset::{self, fold, store, sum};
use crate::translate::load;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// What stands in front of the quoted packet.
const V4: u32 = 20 + 8;
const V6: u32 = 40 + 8;
const TCP_HEADER: u32 = 20;

/// Answers the packet, if one may be sent now, and counts it as dropped.
#[inline(always)]
pub fn answer(skb: *mut __sk_buff) -> i32 {
    let ctx = TcContext::new(skb);
    let (Some(config), Some(outcome), Some(work)) =
        (maps::config(), outcome::outcome_mut(), nat::work())
    else {
        return TC_ACT_SHOT;
    };
    let length = ctx.len();
    let headers = &outcome.headers;
    let action = if matches!(outcome.reason, Reason::IcmpInner) {
        // Nobody answers an error (RFC 1122 §3.2.2).
        None
    } else if act::is_probe(&ctx, config) || reset::is_due() {
        match headers.family {
            Family::V4 => v4(&ctx, headers, work.mtu),
            Family::V6 => v6(&ctx, headers, work.mtu),
        }
    } else {
        None
    };
    outcome.verdict = Verdict::Drop;
    outcome.reason = Reason::TooBig;
    act::finish(&ctx, config, outcome, length);
    action.unwrap_or(TC_ACT_SHOT)
}

#[inline(always)]
fn v4(ctx: &TcContext, headers: &Headers, mtu: u32) -> Option<i32> {
    let l3 = headers.l3;
    if headers.first[0] != 0x45 || headers.l4 != l3 + 20 {
        return None;
    }
    let stations = make_room(ctx, headers, V4)?;
    let skb = ctx.skb.skb;
    let quoted: [u8; 20] = load(skb, l3 + V4)?;
    let tcp = settle(skb, headers.l4 + V4)?;
    let [a, b, c, d] = [quoted[12], quoted[13], quoted[14], quoted[15]];
    let [e, f, g, h] = [quoted[16], quoted[17], quoted[18], quoted[19]];
    let length = (20 + 8 + 20 + TCP_HEADER) as u8;
    let mut ip = [
        0x45, 0, 0, length, 0, 0, 0x40, 0, 64, ICMP, 0, 0, e, f, g, h, a, b, c, d,
    ];
    let check = !fold(sum(&ip));
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    store(skb, l3, &ip)?;
    let [high, low] = (mtu as u16).to_be_bytes();
    // Destination unreachable: fragmentation needed.
    let mut icmp = [3, 4, 0, 0, 0, 0, high, low];
    let check = !fold(sum(&icmp) + sum(&quoted) + u32::from(tcp));
    icmp[2..4].copy_from_slice(&check.to_be_bytes());
    store(skb, l3 + 20, &icmp)?;
    send(skb, &stations)
}

#[inline(always)]
fn v6(ctx: &TcContext, headers: &Headers, mtu: u32) -> Option<i32> {
    let l3 = headers.l3;
    if headers.l4 != l3 + 40 {
        return None;
    }
    let stations = make_room(ctx, headers, V6)?;
    let skb = ctx.skb.skb;
    let quoted: [u8; 40] = load(skb, l3 + V6)?;
    let tcp = settle(skb, headers.l4 + V6)?;
    let length = (8 + 40 + TCP_HEADER) as u8;
    let mut ip = [0; 40];
    ip[0] = 0x60;
    ip[5] = length;
    ip[6] = ICMPV6;
    ip[7] = 64;
    ip[8..24].copy_from_slice(&quoted[24..40]);
    ip[24..40].copy_from_slice(&quoted[8..24]);
    store(skb, l3, &ip)?;
    let [high, low] = (mtu as u16).to_be_bytes();
    // Packet too big.
    let mut icmp = [2, 0, 0, 0, 0, 0, high, low];
    let mut addresses = [0; 32];
    addresses.copy_from_slice(&ip[8..40]);
    let pseudo = sum(&addresses) + u32::from(length) + u32::from(ICMPV6);
    let check = !fold(pseudo + sum(&icmp) + sum(&quoted) + u32::from(tcp));
    icmp[2..4].copy_from_slice(&check.to_be_bytes());
    store(skb, l3 + 40, &icmp)?;
    send(skb, &stations)
}

/// Cuts the packet behind its TCP header, and makes room in front. Gives its stations.
#[inline(always)]
fn make_room(ctx: &TcContext, headers: &Headers, room: u32) -> Option<[u8; 14]> {
    let skb = ctx.skb.skb;
    let stations = Skb::new(ctx).read(0)?;
    // SAFETY: the context is valid for the life of the program. The first also takes what was coalesced
    // apart from its offloads.
    unsafe {
        if bpf_skb_change_tail(skb, headers.l4 + TCP_HEADER, 0) != 0
            || bpf_skb_change_head(skb, room, 0) != 0
        {
            return None;
        }
    }
    Some(stations)
}

/// Writes a checksum of TCP with which the quoted header sums up to the same, whether the interface that
/// the answer leaves by makes that checksum anew (CHECKSUM_PARTIAL: this was asked for when the packet was
/// made, and cannot be taken back) or not. Nobody looks at a quoted checksum. Gives the sum.
///
/// Made anew it is !(rest + check), and the sum -check; else the sum is rest + check. Both are the same
/// when check is -rest / 2, in the arithmetic of these sums: halves are there, since 2 * 0x8000 = 1.
#[inline(always)]
fn settle(skb: *mut __sk_buff, l4: u32) -> Option<u16> {
    let mut tcp: [u8; TCP_HEADER as usize] = load(skb, l4)?;
    tcp[16..18].fill(0);
    let rest = fold(sum(&tcp));
    let check = (u64::from(!rest) * 0x8000 % 0xffff) as u16;
    store(skb, l4 + 16, &check.to_be_bytes())?;
    Some(fold(u32::from(rest) + u32::from(check)))
}

/// Sends the packet back the way it came.
#[inline(always)]
fn send(skb: *mut __sk_buff, stations: &[u8; 14]) -> Option<i32> {
    let mut back = *stations;
    back[0..6].copy_from_slice(&stations[6..12]);
    back[6..12].copy_from_slice(&stations[0..6]);
    store(skb, 0, &back)?;
    // SAFETY: the context is valid for the life of the program.
    Some(unsafe { bpf_redirect((*skb).ifindex, 0) } as i32)
}
