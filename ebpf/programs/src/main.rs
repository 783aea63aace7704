//! The kernel programs: thin tcx entry points around [`weir_classify`].
//!
//! In: packets that enter the interfaces on either side. Out: packets redirected, marked for the proxy,
//! dropped or left alone, resets, and counters. What is decided is decided in `weir_classify`; here it
//! is carried out. Nothing here may touch a payload that goes on, or keep state of its own, except when
//! the next reset may be sent.

#![no_std]
#![no_main]

mod act;
mod maps;
mod packet;
mod reset;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_classify::{Side, classify};

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
    match classify(&packet, side, &tables) {
        Some(outcome) => act::carry_out(ctx, config, side, outcome),
        None => act::NEXT,
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
