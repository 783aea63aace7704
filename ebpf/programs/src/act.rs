//! Carries an outcome out at tcx, and counts it.

use core::mem::{MaybeUninit, size_of};

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_RECOMPUTE_CSUM, TC_ACT_OK, TC_ACT_SHOT, TC_ACT_UNSPEC,
    bpf_redir_neigh as Neighbour,
};
use aya_ebpf::helpers::generated::{bpf_redirect_neigh, bpf_skb_load_bytes, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;
use weir_abi::{Config, Flow, Hook, Reason, Reply, Server, Topology, Verdict, counter_index};
use weir_classify::{Family, Headers, Outcome, Side};

use crate::budget;
use crate::maps;
use crate::packet::Skb;
use crate::reset;
use crate::route::{self, Lookup, NoWay};
use crate::seen;
use crate::servers;

/// Not Weir's: whatever is attached next sees the packet.
pub const NEXT: i32 = TC_ACT_UNSPEC;

/// The packet ends here.
pub const DROP: i32 = TC_ACT_SHOT;

/// The packet belongs to a connection of `nat`, and is not counted yet.
pub const TRANSLATE: i32 = -3;

/// `BPF_FIB_LOOKUP_SKIP_NEIGH`, since Linux 6.3 (31de4105f00d): `bpf_redirect_neigh` finds the
/// neighbour, and resolves it where necessary.
const SKIP_NEIGHBOUR: u32 = 4;

/// Does what the outcome says; what cannot be forwarded goes to the stack, and is counted as that.
#[inline(always)]
pub fn carry_out(ctx: &TcContext, config: &Config, side: Side, mut outcome: Outcome) -> i32 {
    let length = ctx.len();
    if matches!(side, Side::Outside)
        && !is_probe(ctx, config)
        && !budget::suffices(&Skb::new(ctx), config, &outcome)
    {
        outcome.refuse();
    }
    let action = match outcome.verdict {
        _ if outcome.observed => match observe(ctx, side, &mut outcome) {
            Some(action) => action,
            None => return NEXT,
        },
        Verdict::Forward if matches!(outcome.topology, Topology::Nat) => return TRANSLATE,
        Verdict::Forward if !matches!(outcome.topology, Topology::Route) => {
            match servers::deliver(ctx, config, &outcome) {
                Ok(action) => action,
                Err(reason) => {
                    outcome.verdict = Verdict::Drop;
                    outcome.reason = reason;
                    TC_ACT_SHOT
                }
            }
        }
        Verdict::Forward => match route(ctx, &outcome.headers, None) {
            Ok(mut lookup) => forward(ctx, &outcome.headers, &mut lookup),
            // The proxy's own connections: a server answers Weir, not a client.
            Err(NoWay::Local) if matches!(side, Side::Inside) => return NEXT,
            Err(no_way) => {
                leave(&mut outcome, no_way);
                TC_ACT_OK
            }
        },
        Verdict::Proxy => {
            ctx.set_mark(config.mark);
            TC_ACT_OK
        }
        Verdict::Reject if matches!(side, Side::Outside) => {
            // Only what was read as a whole TCP segment for a port of the service has this reason.
            if !matches!(outcome.reason, Reason::Class | Reason::NoFlow) {
                TC_ACT_SHOT
            } else if is_probe(ctx, config) || reset::is_due() {
                reset::answer(ctx, &outcome.headers).unwrap_or(TC_ACT_SHOT)
            } else {
                outcome.verdict = Verdict::Drop;
                outcome.reason = Reason::Rate;
                TC_ACT_SHOT
            }
        }
        Verdict::Drop | Verdict::Reject => match side {
            Side::Inside
                if !outcome.answers
                    && matches!(route(ctx, &outcome.headers, None), Err(NoWay::Local)) =>
            {
                return NEXT;
            }
            _ => TC_ACT_SHOT,
        },
        Verdict::Pass => NEXT,
    };
    finish(ctx, config, &outcome, length);
    action
}

/// Tells the probe, or counts the packet, of so many bytes.
#[inline(always)]
pub fn finish(ctx: &TcContext, config: &Config, outcome: &Outcome, length: u32) {
    if !answer_probe(ctx, config, outcome) {
        let index = counter_index(
            Hook::Tcx,
            outcome.observed,
            outcome.service,
            outcome.class,
            outcome.verdict,
            outcome.reason,
        );
        maps::count(index, length);
        seen::tell(config, Hook::Tcx, outcome);
    }
}

/// Finds out what would be done, as far as that takes no more than looking, and lets the packet go on.
/// Nothing when it would not be Weir's.
#[inline(always)]
fn observe(ctx: &TcContext, side: Side, outcome: &mut Outcome) -> Option<i32> {
    let judged = match side {
        Side::Inside => !matches!(outcome.verdict, Verdict::Pass),
        Side::Outside => matches!(
            (outcome.verdict, outcome.topology),
            (Verdict::Forward, Topology::Route)
        ),
    };
    if judged && let Err(no_way) = route(ctx, &outcome.headers, None) {
        match (side, no_way) {
            (Side::Inside, NoWay::Local) => return None,
            _ if !matches!(outcome.verdict, Verdict::Forward) => {}
            (_, no_way) => leave(outcome, no_way),
        }
    }
    Some(NEXT)
}

/// What cannot be forwarded goes to the stack.
#[inline(always)]
fn leave(outcome: &mut Outcome, no_way: NoWay) {
    outcome.verdict = Verdict::Pass;
    outcome.reason = match no_way {
        NoWay::TooBig(_) => Reason::TooBig,
        NoWay::Local | NoWay::Neighbour | NoWay::None => Reason::NoRoute,
    };
}

/// Asks the routing table for the way on, or for that to a server.
#[inline(always)]
pub fn route(ctx: &TcContext, headers: &Headers, server: Option<&Server>) -> Result<Lookup, NoWay> {
    let (length, interface) = measure(ctx, headers);
    route::find(
        ctx.skb.skb.cast(),
        &Skb::new(ctx),
        headers,
        server,
        length,
        interface,
        SKIP_NEIGHBOUR,
    )
}

/// Asks for the way of a packet that goes on between these ends.
#[inline(always)]
pub fn route_between(ctx: &TcContext, headers: &Headers, ends: &Flow) -> Result<Lookup, NoWay> {
    let (length, interface) = measure(ctx, headers);
    let skb = ctx.skb.skb.cast();
    route::between(skb, headers, ends, length, interface, SKIP_NEIGHBOUR)
}

/// What has to fit through, and where the packet came in.
#[inline(always)]
fn measure(ctx: &TcContext, headers: &Headers) -> (u32, u32) {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid for the life of the program.
    let (segment, interface) = unsafe { ((*skb).gso_size, (*skb).ifindex) };
    // A coalesced packet leaves as segments; each of them has to fit.
    let length = if segment == 0 {
        headers.length
    } else {
        headers.repeated + segment
    };
    (length, interface)
}

/// Takes one hop off and sends the packet out. What fails on the way is lost, as in any router.
#[inline(always)]
pub fn forward(ctx: &TcContext, headers: &Headers, lookup: &mut Lookup) -> i32 {
    let skb = ctx.skb.skb;
    if !take_hop(skb, headers) {
        return TC_ACT_SHOT;
    }
    // SAFETY: all-zero is a valid value of this structure of integers.
    let mut next: Neighbour = unsafe { MaybeUninit::zeroed().assume_init() };
    next.nh_family = u32::from(lookup.family);
    // SAFETY: the lookup left the address of the next hop, of the family it says, in the larger
    // member of the union; both members begin at the same place.
    next.__bindgen_anon_1.ipv6_nh = unsafe { lookup.__bindgen_anon_4.ipv6_dst };
    // SAFETY: pointer and size describe `next`.
    unsafe {
        bpf_redirect_neigh(
            lookup.ifindex,
            &raw mut next,
            size_of::<Neighbour>() as i32,
            0,
        ) as i32
    }
}

/// Lowers TTL or hop limit by one, and mends the checksum of an IPv4 header (RFC 1624).
#[inline(always)]
fn take_hop(skb: *mut __sk_buff, headers: &Headers) -> bool {
    match headers.family {
        Family::V4 => {
            // TTL, protocol, checksum.
            let mut word = [0u8; 4];
            // SAFETY: pointers and sizes describe `word`.
            let loaded = unsafe {
                bpf_skb_load_bytes(skb.cast(), headers.l3 + 8, word.as_mut_ptr().cast(), 4)
            };
            if loaded != 0 {
                return false;
            }
            let word = route::take_hop(word);
            // SAFETY: as above. The sum over the header stays zero, so the packet's does not change.
            unsafe {
                bpf_skb_store_bytes(skb.cast(), headers.l3 + 8, word.as_ptr().cast(), 4, 0) == 0
            }
        }
        Family::V6 => {
            let limit = [headers.ttl.wrapping_sub(1)];
            // SAFETY: pointer and size describe `limit`.
            unsafe {
                bpf_skb_store_bytes(
                    skb.cast(),
                    headers.l3 + 7,
                    limit.as_ptr().cast(),
                    1,
                    u64::from(BPF_F_RECOMPUTE_CSUM),
                ) == 0
            }
        }
    }
}

/// Whether user space asks what would be decided.
///
/// What is left in the control block by lower layers is theirs, and may even follow from packet bytes:
/// hence the 64 random bits.
#[inline(always)]
pub fn is_probe(ctx: &TcContext, config: &Config) -> bool {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid for the life of the program.
    unsafe { (*skb).cb[0] == config.probe[0] && (*skb).cb[1] == config.probe[1] }
}

/// Tells a probe what was decided; false for packets from the wire.
#[inline(always)]
fn answer_probe(ctx: &TcContext, config: &Config, outcome: &Outcome) -> bool {
    if !is_probe(ctx, config) {
        return false;
    }
    let mut reply = Reply::new(
        config.probe,
        outcome.service,
        outcome.class,
        outcome.verdict,
        outcome.reason,
    );
    if outcome.observed {
        reply.judgement |= Reply::OBSERVED;
    }
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid for the life of the program; its control block may be written.
    unsafe {
        (*skb).cb[2] = reply.service;
        (*skb).cb[3] = reply.class;
        (*skb).cb[4] = reply.judgement;
    }
    true
}
