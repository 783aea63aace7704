//! Carries an outcome out at XDP, as far as [`Outcome::ends_at_xdp`]; everything else goes on to tcx,
//! untouched and uncounted.

use core::mem::size_of;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use weir_abi::{Config, Hook, Left, MAX_STATIONS, Reply, Topology, Verdict, counter_index};
use weir_classify::{Family, Outcome, Packet as _, Side};

use crate::budget;
use crate::maps;
use crate::packet::{Frame, Plain};
use crate::route::{self, NoWay};
use crate::seen;
use crate::servers;

/// Left to tcx.
pub const PASS: u32 = XDP_PASS;

/// Ethernet header without tags; nothing else is forwarded here.
const ETHERNET: u32 = 14;
/// Longer than any buffer of a driver.
const LONGEST: u32 = 0x7fff;

/// Does what the outcome says, or leaves the packet to tcx.
#[inline(always)]
pub fn carry_out(
    ctx: &XdpContext,
    config: &Config,
    side: Side,
    frame: &Frame<'_>,
    mut outcome: Outcome,
) -> u32 {
    if !outcome.ends_at_xdp(side) {
        return PASS;
    }
    let probe = probe(ctx, config);
    // What the interface only overhears (promiscuous, flooded by a switch) is not Weir's to forward.
    if probe.is_none() && !is_for_this_host(ctx, config) {
        return PASS;
    }
    let action = match outcome.verdict {
        Verdict::Forward => match forward(ctx, config, frame, probe.is_some(), &mut outcome) {
            Ok(action) => action,
            Err(left) => {
                if let Some(reply) = probe {
                    // SAFETY: checked to lie between the beginning of the metadata and that of the frame.
                    unsafe { (*reply).class = left as u32 };
                }
                return PASS;
            }
        },
        _ => XDP_DROP,
    };
    let (service, class) = (outcome.service, outcome.class);
    if let Some(reply) = probe {
        // SAFETY: checked to lie between the beginning of the metadata and that of the frame.
        unsafe {
            *reply = Reply::new(
                config.probe,
                service,
                class,
                outcome.verdict,
                outcome.reason,
            );
        }
    } else {
        let index = counter_index(
            Hook::Xdp,
            false,
            service,
            class,
            outcome.verdict,
            outcome.reason,
        );
        maps::count(index, frame.len());
        seen::tell(config, Hook::Xdp, &outcome);
    }
    action
}

/// Sends the frame to the next hop, or says why tcx has to. The frame is changed last. What its source may
/// not begin is dropped, but not before it is sure that tcx does not see it too.
#[inline(always)]
fn forward(
    ctx: &XdpContext,
    config: &Config,
    frame: &Frame<'_>,
    probe: bool,
    outcome: &mut Outcome,
) -> Result<u32, Left> {
    let headers = &outcome.headers;
    let (start, end) = (ctx.data(), ctx.data_end());
    let plain = Plain::new(start, end);
    // Not every interface sends frames of several buffers. (The verifier asks for the limit.)
    let length = frame.len();
    if length > LONGEST || start + length as usize > end || headers.l3 != ETHERNET {
        return Err(Left::Other);
    }
    outcome.headers.l3 = ETHERNET;
    let headers = &outcome.headers;
    let interface = ctx.ingress_ifindex() as u32;
    let length = headers.length;
    let server = if matches!(outcome.topology, Topology::Route) {
        None
    } else {
        // No error ends here, so it is in front.
        outcome.client = headers.source();
        Some(servers::of(&plain, outcome, !probe).ok_or(Left::Other)?)
    };
    let headers = &outcome.headers;
    let way = match route::find(
        ctx.ctx.cast(),
        &plain,
        headers,
        server,
        length,
        interface,
        0,
    ) {
        Ok(way) if server.is_none_or(|server| route::is_neighbour(&way, headers, server)) => way,
        Ok(_) => return Err(Left::Other),
        Err(NoWay::Neighbour) => return Err(Left::Neighbour),
        Err(_) => return Err(Left::Other),
    };
    // TTL and checksum of IPv4, or the hop limit of IPv6, lie within it.
    let (start, end) = (ctx.data(), ctx.data_end());
    let header = start + ETHERNET as usize;
    if header + 12 > end {
        return Err(Left::Other);
    }
    let Some(action) = maps::redirect(way.ifindex) else {
        return Err(Left::Egress);
    };
    if !probe && !budget::suffices(&plain, config, outcome) {
        outcome.refuse();
        return Ok(XDP_DROP);
    }
    // SAFETY: all within the bytes that were just checked to be there.
    unsafe {
        *(start as *mut [u8; 6]) = way.dmac;
        *((start + 6) as *mut [u8; 6]) = way.smac;
        match headers.family {
            Family::V4 => {
                let word = (header + 8) as *mut [u8; 4];
                *word = route::take_hop(*word);
            }
            Family::V6 => *((header + 7) as *mut u8) = headers.ttl.wrapping_sub(1),
        }
    }
    Ok(action)
}

/// Whether the frame was addressed to the interface that it entered at.
#[inline(always)]
fn is_for_this_host(ctx: &XdpContext, config: &Config) -> bool {
    let Some([a, b, c, d, e, f]) = Plain::new(ctx.data(), ctx.data_end()).read(0) else {
        return false;
    };
    let first = u32::from_ne_bytes([a, b, c, d]);
    let last = u32::from(u16::from_ne_bytes([e, f]));
    let interface = ctx.ingress_ifindex() as u32;
    for i in 0..MAX_STATIONS {
        let station = &config.stations[i];
        if station.interface == interface {
            return station.first == first && station.last == last;
        }
        if station.interface == 0 {
            break;
        }
    }
    false
}

/// Where a probe wants its answer; nothing for frames from the wire. What a driver or another program
/// left as metadata is theirs: hence the 64 random bits.
#[inline(always)]
fn probe(ctx: &XdpContext, config: &Config) -> Option<*mut Reply> {
    let start = ctx.metadata();
    if start + size_of::<Reply>() > ctx.metadata_end() {
        return None;
    }
    let reply = start as *mut Reply;
    // SAFETY: checked to be there, just now.
    let words = unsafe { (*reply).probe };
    if words[0] == config.probe[0] && words[1] == config.probe[1] {
        Some(reply)
    } else {
        None
    }
}
