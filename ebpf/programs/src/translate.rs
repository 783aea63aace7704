//! Sends a packet of a connection of `nat` on, with the addresses and ports that it goes on with.
//!
//! Checksums are changed by what changes under them, by the kernel's own helpers: so they come out right
//! whether they are there already, are left to the interface (`CHECKSUM_PARTIAL`), or were told by it.

use aya_ebpf::bindings::{__sk_buff, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::{
    bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_load_bytes,
    bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use weir_abi::{Flow, Reason, Verdict};
use weir_classify::{Family, Headers, Outcome, Quoted};

use crate::act;
use crate::maps;
use crate::nat::{Work, work};
use crate::outcome;
use crate::packet::Skb;
use crate::route::NoWay;

/// The packet does not fit through, and its sender is to be told.
pub const TOO_BIG: i32 = -2;

/// A bit of the helpers' flags: the change is one of the pseudo header.
const PSEUDO: u64 = BPF_F_PSEUDO_HDR as u64;
/// Another one: the kernel's sum over the packet, where it has one, follows. No checksum of an IPv6 header
/// makes up for its change, and that of the transport does so only together with this.
const FOLLOW: u64 = BPF_F_RECOMPUTE_CSUM as u64;

/// Sends the packet on; [`TOO_BIG`] when it does not fit.
#[inline(always)]
pub fn send(skb: *mut __sk_buff) -> i32 {
    let ctx = TcContext::new(skb);
    let (Some(config), Some(outcome), Some(work)) =
        (maps::config(), outcome::outcome_mut(), work())
    else {
        return TC_ACT_SHOT;
    };
    let length = ctx.len();
    let action = match act::route_between(&ctx, &outcome.headers, &work.next) {
        Ok(mut lookup) => {
            if rewrite(skb, outcome, work).is_some() {
                act::forward(&ctx, &outcome.headers, &mut lookup)
            } else {
                TC_ACT_SHOT
            }
        }
        Err(NoWay::TooBig(mtu)) => {
            work.mtu = mtu;
            return TOO_BIG;
        }
        Err(_) => {
            outcome.verdict = Verdict::Drop;
            outcome.reason = Reason::NoRoute;
            TC_ACT_SHOT
        }
    };
    act::finish(&ctx, config, outcome, length);
    action
}

/// Changes addresses and ports, also in the packet that an error is about.
#[inline(always)]
fn rewrite(skb: *mut __sk_buff, outcome: &Outcome, work: &Work) -> Option<()> {
    let headers = &outcome.headers;
    if !matches!(outcome.reason, Reason::IcmpInner) {
        return match headers.family {
            Family::V4 => segment_v4(skb, headers, &work.next),
            Family::V6 => segment_v6(skb, headers, &work.next),
        };
    }
    let ctx = TcContext::new(skb);
    let quoted = outcome.quoted(&Skb::new(&ctx))?;
    // The packet that it is about went the other way.
    let about = if outcome.answers {
        &work.flow
    } else {
        &work.answer
    };
    match headers.family {
        Family::V4 => error_v4(skb, headers, &quoted, &work.next, about),
        Family::V6 => error_v6(skb, headers, &quoted, &work.next, about),
    }
}

#[inline(always)]
fn segment_v4(skb: *mut __sk_buff, headers: &Headers, next: &Flow) -> Option<()> {
    let check = headers.l4 + 16;
    let diff = addresses_v4(skb, headers.l3, next)?;
    l4(skb, check, 0, diff, PSEUDO)?;
    let (old, new) = ports(skb, headers.l4, next)?;
    l4(skb, check, old, new, 4)
}

#[inline(always)]
fn segment_v6(skb: *mut __sk_buff, headers: &Headers, next: &Flow) -> Option<()> {
    let check = headers.l4 + 16;
    let diff = addresses_v6(skb, headers.l3, next, FOLLOW)?;
    l4(skb, check, 0, diff, PSEUDO)?;
    let (old, new) = ports(skb, headers.l4, next)?;
    l4(skb, check, old, new, 4)
}

#[inline(always)]
fn error_v4(
    skb: *mut __sk_buff,
    headers: &Headers,
    quoted: &Quoted,
    next: &Flow,
    about: &Flow,
) -> Option<()> {
    addresses_v4(skb, headers.l3, next)?;
    // The sum over the inner header stays what it is, because its own checksum makes up for the change.
    let diff = addresses_v4(skb, quoted.l3, about)?;
    let diff = quote(skb, quoted, diff, about)?;
    l4(skb, quoted.l3 - 6, 0, diff, 0)
}

#[inline(always)]
fn error_v6(
    skb: *mut __sk_buff,
    headers: &Headers,
    quoted: &Quoted,
    next: &Flow,
    about: &Flow,
) -> Option<()> {
    let check = quoted.l3 - 6;
    let diff = addresses_v6(skb, headers.l3, next, FOLLOW)?;
    l4(skb, check, 0, diff, PSEUDO)?;
    let inner = addresses_v6(skb, quoted.l3, about, 0)?;
    let diff = quote(skb, quoted, inner, about)?;
    l4(skb, check, 0, inner, 0)?;
    l4(skb, check, 0, diff, 0)
}

/// Changes ports, and the checksum of TCP where it is there, in the packet that an error is about. Gives
/// the change of what the error's own checksum goes over.
#[inline(always)]
fn quote(skb: *mut __sk_buff, quoted: &Quoted, addresses: u64, about: &Flow) -> Option<u64> {
    let check = quoted.l4 + 16;
    let mut before = [0_u32; 2];
    let mut after = [0_u32; 2];
    if quoted.summed {
        before[1] = u32::from(u16::from_ne_bytes(load(skb, check)?));
        l4(skb, check, 0, addresses, 0)?;
    }
    let (old, new) = ports(skb, quoted.l4, about)?;
    if quoted.summed {
        l4(skb, check, old, new, 4)?;
        after[1] = u32::from(u16::from_ne_bytes(load(skb, check)?));
    }
    before[0] = old as u32;
    after[0] = new as u32;
    difference(&mut before, &mut after)
}

/// Changes the addresses of an IPv4 header and its checksum. Gives the change.
#[inline(always)]
fn addresses_v4(skb: *mut __sk_buff, l3: u32, next: &Flow) -> Option<u64> {
    let mut old: [u32; 2] = words(load::<8>(skb, l3 + 12)?);
    let [.., a, b, c, d] = next.client;
    let [.., e, f, g, h] = next.service;
    let mut new = [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ];
    let diff = difference(&mut old, &mut new)?;
    store(skb, l3 + 12, &[a, b, c, d, e, f, g, h], 0)?;
    // SAFETY: the context is valid for the life of the program.
    if unsafe { bpf_l3_csum_replace(skb, l3 + 10, 0, diff, 0) } == 0 {
        Some(diff)
    } else {
        None
    }
}

/// Changes the addresses of an IPv6 header, with these flags. Gives the change.
#[inline(always)]
fn addresses_v6(skb: *mut __sk_buff, l3: u32, next: &Flow, flags: u64) -> Option<u64> {
    let mut diff = 0;
    for (at, address) in [(8, &next.client), (24, &next.service)] {
        let mut old: [u32; 4] = words4(load::<16>(skb, l3 + at)?);
        let mut new: [u32; 4] = words4(*address);
        // SAFETY: pointers and sizes describe both.
        let next =
            unsafe { bpf_csum_diff(old.as_mut_ptr(), 16, new.as_mut_ptr(), 16, diff as u32) };
        diff = u64::try_from(next).ok()?;
        store(skb, l3 + at, address, flags)?;
    }
    Some(diff)
}

/// Changes both ports. Gives what they were, and are.
#[inline(always)]
fn ports(skb: *mut __sk_buff, l4: u32, next: &Flow) -> Option<(u64, u64)> {
    let old = u32::from_ne_bytes(load(skb, l4)?);
    let [a, b] = next.ports[0].to_be_bytes();
    let [c, d] = next.ports[1].to_be_bytes();
    store(skb, l4, &[a, b, c, d], 0)?;
    Some((u64::from(old), u64::from(u32::from_ne_bytes([a, b, c, d]))))
}

/// What is added to a checksum's sum by changing one into the other.
#[inline(always)]
fn difference<const N: usize>(old: &mut [u32; N], new: &mut [u32; N]) -> Option<u64> {
    let size = 4 * N as u32;
    // SAFETY: pointers and sizes describe both.
    let diff = unsafe { bpf_csum_diff(old.as_mut_ptr(), size, new.as_mut_ptr(), size, 0) };
    u64::try_from(diff).ok()
}

#[inline(always)]
fn l4(skb: *mut __sk_buff, at: u32, from: u64, to: u64, flags: u64) -> Option<()> {
    // SAFETY: the context is valid for the life of the program.
    if unsafe { bpf_l4_csum_replace(skb, at, from, to, flags) } == 0 {
        Some(())
    } else {
        None
    }
}

/// Bytes of the packet.
#[inline(always)]
pub fn load<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: pointer and size describe `bytes`.
    let result = unsafe { bpf_skb_load_bytes(skb.cast(), at, bytes.as_mut_ptr().cast(), N as u32) };
    if result == 0 { Some(bytes) } else { None }
}

#[inline(always)]
fn store<const N: usize>(skb: *mut __sk_buff, at: u32, bytes: &[u8; N], flags: u64) -> Option<()> {
    // SAFETY: pointer and size describe `bytes`.
    let result =
        unsafe { bpf_skb_store_bytes(skb.cast(), at, bytes.as_ptr().cast(), N as u32, flags) };
    if result == 0 { Some(()) } else { None }
}

#[inline(always)]
fn words([a, b, c, d, e, f, g, h]: [u8; 8]) -> [u32; 2] {
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}

#[inline(always)]
fn words4(bytes: [u8; 16]) -> [u32; 4] {
    crate::route::words(&bytes)
}
