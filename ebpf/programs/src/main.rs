//! The kernel programs: thin XDP and tcx entry points around [`weir_classify`].
//!
//! In: packets that enter the interfaces on either side. Out: packets redirected, marked for the proxy,
//! dropped or left alone, resets, counters, and what is told of single packets. What is decided is decided
//! in `weir_classify`; here it is carried out: by XDP what it can finish, by tcx all that XDP leaves.
//! Nothing here may touch a payload that goes on, or keep state of its own, except when the next reset may
//! be sent, when a source may begin its next connection, and which server a connection began with.

#![no_std]
#![no_main]

mod act;
mod budget;
mod maps;
mod outcome;
mod packet;
mod reset;
mod route;
mod seen;
mod servers;
mod sockets;
mod xdp;

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use weir_classify::Side;

/// The functions for a side, at both hooks. The kernel verifies those that others can see each by itself,
/// whatever calls them and in whichever state, and each has a stack of its own.
macro_rules! stages {
    (
        $side:expr, $tcx:ident, $find:ident, $judge:ident, $remember:ident, $carry_out:ident,
        $xdp:ident, $find_early:ident, $judge_early:ident, $remember_early:ident, $carry_out_early:ident
    ) => {
        /// Packets from this side.
        #[classifier]
        pub fn $tcx(ctx: TcContext) -> i32 {
            let skb = ctx.skb.skb;
            if $find(skb) == 0 || $judge(skb) == 0 {
                return act::NEXT;
            }
            $remember(skb);
            $carry_out(skb)
        }

        /// Packets from this side, in the driver.
        #[xdp(frags)]
        pub fn $xdp(ctx: XdpContext) -> u32 {
            let md = ctx.ctx;
            if $find_early(md) == 0 || $judge_early(md) == 0 {
                return xdp::PASS;
            }
            $remember_early(md);
            $carry_out_early(md)
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

/// Finds out whose the packet is, and keeps it; false when it is to stay untouched.
#[inline(always)]
fn find(skb: *mut __sk_buff, side: Side) -> bool {
    let ctx = TcContext::new(skb);
    let Some(config) = maps::config() else {
        return false;
    };
    // What the interface only overhears (promiscuous, flooded by a switch) is not Weir's to forward.
    if !packet::is_for_this_host(&ctx) && !act::is_probe(&ctx, config) {
        return false;
    }
    let packet = packet::Skb::new(&ctx);
    let found = weir_classify::find(&packet, side, &maps::Generation::new(config));
    found.is_some_and(outcome::keep_found)
}

#[inline(always)]
fn find_early(md: *mut xdp_md, side: Side) -> bool {
    let ctx = XdpContext::new(md);
    let Some(config) = maps::config() else {
        return false;
    };
    let frame = packet::Frame::new(&ctx);
    let found = weir_classify::find(&frame, side, &maps::Generation::new(config));
    found.is_some_and(outcome::keep_found)
}

/// Judges the packet, and keeps the outcome; false when it is to stay untouched.
#[inline(always)]
fn judge(skb: *mut __sk_buff, side: Side) -> bool {
    let ctx = TcContext::new(skb);
    let (Some(config), Some(found)) = (maps::config(), outcome::found()) else {
        return false;
    };
    let packet = packet::Skb::new(&ctx);
    let tables = maps::Generation::new(config);
    let sockets = sockets::Sockets::new(skb.cast(), &packet);
    weir_classify::judge(&packet, side, found, &tables, &sockets).is_some_and(outcome::keep_outcome)
}

/// As [`judge`]; false also for what tcx has to do, which judges it again.
#[inline(always)]
fn judge_early(md: *mut xdp_md, side: Side) -> bool {
    let ctx = XdpContext::new(md);
    let (Some(config), Some(found)) = (maps::config(), outcome::found()) else {
        return false;
    };
    let frame = packet::Frame::new(&ctx);
    let tables = maps::Generation::new(config);
    let sockets = sockets::Sockets::new(md.cast(), &frame);
    weir_classify::judge(&frame, side, found, &tables, &sockets)
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
