//! The kernel programs: thin XDP and tcx entry points around [`weir_classify`].
//!
//! In: packets that enter the interfaces on either side. Out: packets redirected, marked for the proxy,
//! dropped or left alone, resets, counters, and what is told of single packets. What is decided is decided
//! in `weir_classify`; here it is carried out: by XDP what it can finish, by tcx all that XDP leaves.
//! Nothing here may touch a payload that goes on, or keep state of its own, except when the next reset may
//! be sent, when a source may begin its next connection, which server a connection began with, and how it is
//! translated.

#![no_std]
#![no_main]

mod act;
mod budget;
mod maps;
mod nat;
mod outcome;
mod packet;
mod reset;
mod route;
mod seen;
mod servers;
mod sockets;
mod too_big;
mod translate;
mod xdp;

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use weir_classify::{Settled, Side};

/// The functions for a side, at both hooks. The kernel verifies those that others can see each by itself,
/// whatever calls them and in whichever state, and each has a stack of its own.
macro_rules! stages {
    (
        $side:expr, $tcx:ident, $settle:ident, $find:ident, $judge:ident, $remember:ident, $carry_out:ident,
        $xdp:ident, $find_early:ident, $judge_early:ident, $remember_early:ident, $carry_out_early:ident
    ) => {
        /// Packets from this side.
        #[classifier]
        pub fn $tcx(ctx: TcContext) -> i32 {
            let skb = ctx.skb.skb;
            let step = $settle(skb);
            if step == Step::Ended as i32 {
                return act::DROP;
            }
            if step == Step::Left as i32 {
                return act::NEXT;
            }
            if step == Step::Judged as i32 {
                // It only has to be carried out.
            } else if step == Step::Foreign as i32
                || (step == Step::Unusual as i32 && $find(skb) == 0)
            {
                if !nat::is_used($side) || nat_find(skb) == 0 || nat_judge() == 0 {
                    return act::NEXT;
                }
            } else if $judge(skb) == 0 {
                return act::NEXT;
            }
            if seen::is_wanted() {
                $remember(skb);
            }
            let action = $carry_out(skb);
            if action != act::TRANSLATE {
                return action;
            }
            let mut assigned = nat_assign(skb);
            if assigned == nat::Assigned::Begins as i32 {
                assigned = nat_begin(skb);
            }
            if assigned == nat::Assigned::Nothing as i32 {
                return $carry_out(skb);
            }
            let action = nat_send(skb);
            if action == translate::TOO_BIG {
                return nat_too_big(skb);
            }
            action
        }

        /// Packets from this side, in the driver.
        #[xdp(frags)]
        pub fn $xdp(ctx: XdpContext) -> u32 {
            let md = ctx.ctx;
            if $find_early(md) == 0 || $judge_early(md) == 0 {
                return xdp::PASS;
            }
            if seen::is_wanted() {
                $remember_early(md);
            }
            $carry_out_early(md)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $settle(skb: *mut __sk_buff) -> i32 {
            settle(skb, $side) as i32
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $find(skb: *mut __sk_buff) -> i32 {
            i32::from(find(skb, $side))
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $judge(skb: *mut __sk_buff) -> i32 {
            i32::from(judge(skb, $side))
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $remember(skb: *mut __sk_buff) -> i32 {
            remember(skb, $side);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $carry_out(skb: *mut __sk_buff) -> i32 {
            carry_out(skb, $side)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $find_early(md: *mut xdp_md) -> i32 {
            i32::from(find_early(md, $side))
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $judge_early(md: *mut xdp_md) -> i32 {
            i32::from(judge_early(md, $side))
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $remember_early(md: *mut xdp_md) -> i32 {
            remember_early(md, $side);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $carry_out_early(md: *mut xdp_md) -> u32 {
            carry_out_early(md, $side)
        }
    };
}

stages!(
    Side::Outside,
    weir_outside,
    settle_outside,
    find_outside,
    judge_outside,
    remember_outside,
    carry_out_outside,
    weir_outside_xdp,
    find_outside_early,
    judge_outside_early,
    remember_outside_early,
    carry_out_outside_early
);
stages!(
    Side::Inside,
    weir_inside,
    settle_inside,
    find_inside,
    judge_inside,
    remember_inside,
    carry_out_inside,
    weir_inside_xdp,
    find_inside_early,
    judge_inside_early,
    remember_inside_early,
    carry_out_inside_early
);

/// The functions for connections of `nat`, for both sides.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_find(skb: *mut __sk_buff) -> i32 {
    i32::from(nat::find(skb))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_judge() -> i32 {
    i32::from(nat::judge())
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_assign(skb: *mut __sk_buff) -> i32 {
    nat::assign(skb) as i32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_begin(skb: *mut __sk_buff) -> i32 {
    i32::from(nat::begin(skb))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_own(skb: *mut __sk_buff) -> i32 {
    i32::from(nat::is_own(skb))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_send(skb: *mut __sk_buff) -> i32 {
    translate::send(skb)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn nat_too_big(skb: *mut __sk_buff) -> i32 {
    too_big::answer(skb)
}

/// How far [`settle`] came.
#[repr(i32)]
enum Step {
    /// It is not as nearly all packets are.
    Unusual,
    /// It is no service's.
    Foreign,
    /// It is kept whose it is.
    Found,
    /// The outcome is kept.
    Judged,
    /// It is to stay untouched.
    Left,
    /// It is counted, and has only to be dropped.
    Ended,
}

/// Does all at once for nearly all packets, as far as that takes no more than looking.
#[inline(always)]
fn settle(skb: *mut __sk_buff, side: Side) -> Step {
    let ctx = TcContext::new(skb);
    let Some(config) = maps::config() else {
        return Step::Left;
    };
    // What the interface only overhears (promiscuous, flooded by a switch) is not Weir's to forward.
    if !packet::is_for_this_host(&ctx) && !act::is_probe(&ctx, config) {
        return Step::Foreign;
    }
    let packet = packet::Skb::new(&ctx);
    let generation = maps::Generation::new(config);
    match weir_classify::settle(&packet, side, &generation) {
        Settled::Unusual => Step::Unusual,
        Settled::Foreign => Step::Foreign,
        Settled::Found(found) if outcome::keep_found(found, generation) => Step::Found,
        Settled::Judged(Some(judged), _) if judged.is_dropped(side) && !seen::is_wanted() => {
            act::finish(&ctx, config, &judged, ctx.len());
            Step::Ended
        }
        Settled::Judged(Some(judged), found)
            if outcome::keep_found(found, generation) && outcome::keep_outcome(judged) =>
        {
            Step::Judged
        }
        Settled::Found(_) | Settled::Judged(..) => Step::Left,
    }
}

/// Finds out whose a packet is that is not as nearly all are, and keeps it; false when it is to stay
/// untouched.
#[inline(always)]
fn find(skb: *mut __sk_buff, side: Side) -> bool {
    let ctx = TcContext::new(skb);
    let Some(config) = maps::config() else {
        return false;
    };
    let packet = packet::Skb::new(&ctx);
    let generation = maps::Generation::new(config);
    weir_classify::find_unusual(&packet, side, &generation)
        .is_some_and(|found| outcome::keep_found(found, generation))
}

#[inline(always)]
fn find_early(md: *mut xdp_md, side: Side) -> bool {
    let ctx = XdpContext::new(md);
    let Some(config) = maps::config() else {
        return false;
    };
    let frame = packet::Frame::new(&ctx);
    let generation = maps::Generation::new(config);
    weir_classify::find(&frame, side, &generation)
        .is_some_and(|found| outcome::keep_found(found, generation))
}

/// Judges the packet, and keeps the outcome; false when it is to stay untouched.
#[inline(always)]
fn judge(skb: *mut __sk_buff, side: Side) -> bool {
    let ctx = TcContext::new(skb);
    let Some(outcome::InHand { found, generation }) = outcome::in_hand() else {
        return false;
    };
    let packet = packet::Skb::new(&ctx);
    let sockets = sockets::Sockets::new(skb.cast(), &packet);
    weir_classify::judge(&packet, side, found, generation, &sockets)
        .is_some_and(outcome::keep_outcome)
}

/// As [`judge`]; false also for what tcx has to do, which judges it again.
#[inline(always)]
fn judge_early(md: *mut xdp_md, side: Side) -> bool {
    let ctx = XdpContext::new(md);
    let Some(outcome::InHand { found, generation }) = outcome::in_hand() else {
        return false;
    };
    let frame = packet::Frame::new(&ctx);
    let sockets = sockets::Sockets::new(md.cast(), &frame);
    weir_classify::judge(&frame, side, found, generation, &sockets)
        .is_some_and(|judged| judged.ends_at_xdp(side) && outcome::keep_outcome(judged))
}

/// Remembers the packet before anything is done with it, if anybody asks for such.
#[inline(always)]
fn remember(skb: *mut __sk_buff, side: Side) {
    let ctx = TcContext::new(skb);
    if let (Some(config), Some(outcome)) = (maps::config(), outcome::outcome()) {
        // SAFETY: the context is valid for the life of the program.
        let interface = unsafe { (*skb).ifindex };
        let packet = packet::Skb::new(&ctx);
        // With one interface, answers of servers come in at it too.
        let side = if outcome.answers { Side::Inside } else { side };
        seen::remember(&packet, config, side, interface, outcome);
    }
}

#[inline(always)]
fn remember_early(md: *mut xdp_md, side: Side) {
    let ctx = XdpContext::new(md);
    if let (Some(config), Some(outcome)) = (maps::config(), outcome::outcome()) {
        let interface = ctx.ingress_ifindex() as u32;
        let frame = packet::Frame::new(&ctx);
        seen::remember(&frame, config, side, interface, outcome);
    }
}

/// Does what the outcome says that was kept.
#[inline(always)]
fn carry_out(skb: *mut __sk_buff, side: Side) -> i32 {
    match (maps::config(), outcome::outcome()) {
        (Some(config), Some(outcome)) => {
            act::carry_out(&TcContext::new(skb), config, side, *outcome)
        }
        _ => act::NEXT,
    }
}

#[inline(always)]
fn carry_out_early(md: *mut xdp_md, side: Side) -> u32 {
    let ctx = XdpContext::new(md);
    let frame = packet::Frame::new(&ctx);
    match (maps::config(), outcome::outcome()) {
        (Some(config), Some(outcome)) => xdp::carry_out(&ctx, config, side, &frame, *outcome),
        _ => xdp::PASS,
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
