//! Tells user space of single packets: samples of beginning flows, and the frames of a capture.
//!
//! A packet is looked at before anything is done with it, and told of when it is known what was done. In
//! between it lies in memory of this CPU. While nobody asks, all this is one word read.

use aya_ebpf::btf_maps::{Array, PerCpuArray, RingBuf};
use aya_ebpf::helpers::generated::{
    bpf_get_prandom_u32, bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns,
};
use aya_ebpf::macros::btf_map;
use weir_abi::{
    CAPTURED_SIZE, Config, EVENTS_SIZE, Filter, Hook, NO_SERVICE, Reason, SNAP, Seen, Verdict,
    mapped, telling,
};
use weir_classify::{Family, Outcome, Packet, Side};

use crate::nat;

use crate::maps;

// None of these is pinned: they begin anew with the program.

#[btf_map(name = "EVENTS")]
static EVENTS: RingBuf<Seen, { EVENTS_SIZE as usize }> = RingBuf::new();

#[btf_map(name = "CAPTURED")]
static CAPTURED: RingBuf<Seen, { CAPTURED_SIZE as usize }> = RingBuf::new();

/// Which packets the capture takes, while there is one.
#[btf_map(name = "CAPTURE")]
static CAPTURE: Array<Filter, 1> = Array::new();

#[btf_map(name = "TELLING")]
static TELLING: PerCpuArray<u64, { telling::PLACES as usize }> = PerCpuArray::new();

#[btf_map(name = "MEMORY")]
static MEMORY: PerCpuArray<Memory, 1> = PerCpuArray::new();

/// Flags of TCP (RFC 9293 §3.1).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Transport protocols of errors.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Nanoseconds between two samples of one CPU in the long run: 1000 a second.
const INTERVAL: u64 = 1_000_000;
/// Samples that one CPU may tell at once.
const BURST: u64 = 200;

/// A packet that can be copied past the stack, which has no room.
pub trait Copied: Packet {
    /// Copies `length` bytes, at least one, from `offset` on; false when there are not so many.
    ///
    /// # Safety
    ///
    /// There has to be room for `length` bytes.
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool;
}

/// What stands in front of an IPv4 address.
const MAPPED: [u8; 16] = mapped(0);

/// What is remembered of a packet until it is known what was done with it.
#[repr(C)]
pub struct Memory {
    seen: Seen,
    frame: [u8; SNAP],
}

/// Whether anybody asks for packets, so that they have to be remembered.
#[inline(always)]
pub fn is_wanted() -> bool {
    maps::config().is_some_and(is_asked)
}

/// Remembers the packet.
#[inline(always)]
pub fn remember<P: Copied>(
    packet: &P,
    config: &Config,
    side: Side,
    interface: u32,
    outcome: &Outcome,
) {
    let Some(memory) = memory() else {
        return;
    };
    memory.seen.wanted = 0;
    let mut wanted = 0;
    if is_sampled(config, outcome) {
        wanted |= Seen::EVENT;
    }
    let headers = &outcome.headers;
    let inside = matches!(side, Side::Inside);
    let seen = &mut memory.seen;
    copy_address(packet, headers.family, headers.source(), &mut seen.source);
    copy_address(
        packet,
        headers.family,
        headers.destination(),
        &mut seen.destination,
    );
    let client = match nat::work() {
        // It does not stand in the packet.
        Some(work) if outcome.answers => &work.flow.client,
        _ if inside => &seen.destination,
        _ => &seen.source,
    };
    let length = packet.len();
    seen.kept = 0;
    if config.capture != 0 && is_captured(client, outcome) {
        let mut kept = length;
        if !is_payload_captured() && kept > header_bytes(outcome) {
            kept = header_bytes(outcome);
        }
        if kept > SNAP as u32 {
            kept = SNAP as u32;
        }
        // SAFETY: there is room for so much.
        if kept > 0 && unsafe { packet.copy(0, memory.frame.as_mut_ptr(), kept) } {
            seen.kept = kept;
            wanted |= Seen::FRAME;
        }
    }
    seen.length = length;
    seen.interface = interface;
    seen.ports = headers.ports;
    seen.protocol = headers.protocol;
    seen.flags = headers.flags;
    seen.inside = u8::from(inside);
    seen.reserved = [0; 5];
    seen.wanted = wanted;
}

/// Tells of the packet that was remembered, now that it is known what was done with it.
#[inline(always)]
pub fn tell(config: &Config, hook: Hook, outcome: &Outcome) {
    if !is_asked(config) {
        return;
    }
    let Some(memory) = memory() else {
        return;
    };
    let wanted = memory.seen.wanted;
    if wanted == 0 {
        return;
    }
    memory.seen.wanted = 0;
    // SAFETY: takes nothing.
    memory.seen.time = unsafe { bpf_ktime_get_boot_ns() };
    memory.seen.service = outcome.service;
    memory.seen.class = outcome.class as u8;
    memory.seen.verdict = outcome.verdict as u8;
    memory.seen.reason = outcome.reason as u8;
    memory.seen.hook = hook as u8;
    memory.seen.observed = u8::from(outcome.observed);
    if wanted & Seen::EVENT != 0
        && !(is_due() && EVENTS.output_untyped::<Seen>(&memory.seen, 0).is_ok())
    {
        lose(telling::LOST_EVENTS);
    }
    if wanted & Seen::FRAME != 0 && is_verdict_captured(outcome.verdict) {
        let mut kept = memory.seen.kept;
        if kept > SNAP as u32 {
            kept = SNAP as u32;
        }
        let start: *const Memory = memory;
        let length = Seen::SIZE + kept as usize;
        // SAFETY: the frame lies behind what is said of it, and so much of it was copied.
        let bytes = unsafe { core::slice::from_raw_parts(start.cast::<u8>(), length) };
        if CAPTURED.output_untyped::<[u8]>(bytes, 0).is_err() {
            lose(telling::LOST_FRAMES);
        }
    }
}

/// Whether anybody asks for packets.
#[inline(always)]
fn is_asked(config: &Config) -> bool {
    // SAFETY: the words are valid for the life of the program; user space may store to them at any
    // moment.
    unsafe {
        core::ptr::read_volatile(&raw const config.sample)
            | core::ptr::read_volatile(&raw const config.capture)
            != 0
    }
}

/// Whether the packet is one of those that are told of, by chance.
#[inline(always)]
fn is_sampled(config: &Config, outcome: &Outcome) -> bool {
    let sample = config.sample;
    if sample == 0 || !begins(outcome) {
        return false;
    }
    // SAFETY: takes nothing.
    sample == 1 || unsafe { bpf_get_prandom_u32() } % sample == 0
}

/// Whether the packet begins a flow, or is none of one that goes on.
#[inline(always)]
fn begins(outcome: &Outcome) -> bool {
    match outcome.verdict {
        Verdict::Drop | Verdict::Reject => true,
        Verdict::Pass | Verdict::Forward | Verdict::Proxy => match outcome.reason {
            Reason::Answer => false,
            Reason::Class => outcome.headers.flags & (SYN | ACK) == SYN,
            _ => outcome.headers.flags & ACK == 0,
        },
    }
}

/// Whether a capture wants packets of this client and service.
#[inline(always)]
fn is_captured(client: &[u8; 16], outcome: &Outcome) -> bool {
    let Some(filter) = CAPTURE.get(0) else {
        return false;
    };
    // SAFETY: takes nothing.
    if unsafe { bpf_ktime_get_boot_ns() } >= filter.until {
        return false;
    }
    let service = filter.which as u32;
    if service != Filter::ANY
        && (outcome.service == NO_SERVICE || service != outcome.service as u32)
    {
        return false;
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *client;
    let upper = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    let lower = u64::from_ne_bytes([i, j, k, l, m, n, o, p]);
    upper & filter.mask[0] == filter.client[0] && lower & filter.mask[1] == filter.client[1]
}

#[inline(always)]
fn is_verdict_captured(verdict: Verdict) -> bool {
    match CAPTURE.get(0) {
        Some(filter) => filter.which >> (32 + verdict as u32) & 1 != 0,
        None => false,
    }
}

#[inline(always)]
fn is_payload_captured() -> bool {
    match CAPTURE.get(0) {
        Some(filter) => filter.which & Filter::PAYLOAD != 0,
        None => false,
    }
}

/// Bytes of a packet up to the payload of TCP. Of others as many as a TCP header without options has behind
/// the IP header, but none of a fragment, which may begin anywhere; of ICMP with the headers of the packet
/// that an error is about, up to its ports.
#[inline(always)]
fn header_bytes(outcome: &Outcome) -> u32 {
    let headers = &outcome.headers;
    let (ip, fragment) = match headers.family {
        Family::V4 => (20, 20),
        Family::V6 => (40, 48),
    };
    let length = match headers.protocol {
        _ if headers.repeated > 0 => headers.repeated,
        _ if matches!(outcome.reason, Reason::Fragment) => fragment,
        ICMP | ICMPV6 => ip + 8 + ip + 8,
        _ => ip + 20,
    };
    headers.l3 + length
}

/// Whether this CPU may tell a sample now; if so, it counts as told.
#[inline(always)]
fn is_due() -> bool {
    let Some(next) = place(telling::NEXT) else {
        return false;
    };
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let from = if *next > now { *next } else { now };
    if from - now > BURST * INTERVAL {
        return false;
    }
    *next = from + INTERVAL;
    true
}

/// What this CPU remembers.
#[inline(always)]
fn memory() -> Option<&'static mut Memory> {
    // SAFETY: the kernel gave a pointer to this CPU's own slot, and a program is not moved to another
    // CPU while it runs.
    MEMORY.get_ptr_mut(0).map(|memory| unsafe { &mut *memory })
}

/// A place of this CPU.
#[inline(always)]
fn place(index: u32) -> Option<&'static mut u64> {
    // SAFETY: as above.
    TELLING
        .get_ptr_mut(index)
        .map(|place| unsafe { &mut *place })
}

#[inline(always)]
fn lose(index: u32) {
    if let Some(lost) = place(index) {
        *lost += 1;
    }
}

/// Copies an address of the packet; zero where it has none.
#[inline(always)]
fn copy_address<P: Copied>(packet: &P, family: Family, at: u32, to: &mut [u8; 16]) {
    // SAFETY: there is room for four and sixteen bytes.
    let there = unsafe {
        match family {
            Family::V4 => {
                *to = MAPPED;
                packet.copy(at, to.as_mut_ptr().add(12), 4)
            }
            Family::V6 => packet.copy(at, to.as_mut_ptr(), 16),
        }
    };
    if !there {
        *to = [0; 16];
    }
}
