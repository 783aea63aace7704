//! The kernel programs: thin XDP and tcx entry points around [`weir_classify`].
//!
//! In: packets that enter the interfaces on either side. Out: packets redirected, marked for the proxy,
//! dropped or left alone, resets, and counters. What is decided is decided in `weir_classify`; here it
//! is carried out: by XDP what it can finish, by tcx all that XDP leaves. Nothing here may touch a payload
//! that goes on, or keep state of its own, except
//! when the next reset may be sent, and when a source may begin its next connection.

#![no_std]
#![no_main]

mod act;
mod budget;
mod maps;
mod packet;
mod reset;
mod route;
mod sockets;
mod xdp;

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use weir_classify::{NoSockets, Side, classify};

/// Packets from the Internet.
#[classifier]
pub fn weir_outside(ctx: TcContext) -> i32 {
    run(&ctx, Side::Outside)
}

/// Packets from the side of the federation servers.
#[classifier]
pub fn weir_inside(ctx: TcContext) -> i32 {
    run(&ctx, Side::Inside)
}

/// Packets from the Internet, in the driver.
#[xdp(frags)]
pub fn weir_outside_xdp(ctx: XdpContext) -> u32 {
    run_early(&ctx, Side::Outside)
}

/// Packets from the side of the federation servers, in the driver.
#[xdp(frags)]
pub fn weir_inside_xdp(ctx: XdpContext) -> u32 {
    run_early(&ctx, Side::Inside)
}

#[inline(always)]
fn run(ctx: &TcContext, side: Side) -> i32 {
    let Some(config) = maps::config() else {
        return act::NEXT;
    };
    // What the interface only overhears (promiscuous, flooded by a switch) is not Weir's to forward.
    if !packet::is_for_this_host(ctx) && !act::is_probe(ctx, config) {
        return act::NEXT;
    }
    let packet = packet::Skb::new(ctx);
    let tables = maps::Generation::new(config);
    match classify(&packet, side, &tables, &sockets::Sockets::new(ctx)) {
        Some(outcome) => act::carry_out(ctx, config, side, outcome),
        None => act::NEXT,
    }
}

#[inline(always)]
fn run_early(ctx: &XdpContext, side: Side) -> u32 {
    let Some(config) = maps::config() else {
        return xdp::PASS;
    };
    let frame = packet::Frame::new(ctx);
    let tables = maps::Generation::new(config);
    // What depends on connections never ends here.
    match classify(&frame, side, &tables, &NoSockets) {
        Some(outcome) => xdp::carry_out(ctx, config, side, &frame, outcome),
        None => xdp::PASS,
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
