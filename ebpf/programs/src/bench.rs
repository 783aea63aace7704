//! What the benches run in the kernel: the lookup of a class by itself, beside a trie of the kernel's own;
//! a source of frames; and places where frames are counted.
//!
//! In: the maps of the loaded kernel plane, sources to look up, the headers of a frame. Out: the sum of what
//! was found, frames, counts. It is an object of its own, so that what is shipped carries none of it, and
//! shares the maps and their [`Sources`](weir_classify::Sources) with it.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "only the tables of sources are looked at")]
mod maps;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{BPF_F_MMAPABLE, TC_ACT_SHOT};
use aya_ebpf::btf_maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_xdp_adjust_tail, bpf_xdp_store_bytes};
use aya_ebpf::macros::{btf_map, classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use weir_classify::{standing_v4, standing_v6};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
/// Sources that are looked up in one run of a program.
const ROUND: usize = 16;
/// Rounds in the maps of sources; a power of two.
const ROUNDS: usize = 4096;
/// Bytes of a frame's headers: Ethernet, IPv6 and TCP, rounded up.
const HEADERS: usize = 80;
/// Prefixes that a trie has room for.
const PREFIXES: usize = 1 << 20;
/// Bytes that a frame of a capture has room for: what fits into an MTU of 1500, rounded up.
const LARGEST: usize = 1520;
/// Bytes of the shortest one: an Ethernet header.
const SHORTEST: u32 = 14;
/// Bytes of the frame that is handed in to be made into it: what the verifier lets nobody reckon from its ends.
const TEMPLATE: i32 = 64;

/// What a program keeps between two runs.
#[repr(C)]
struct Progress {
    /// Round to look up next, or source to send from next.
    next: u32,
    /// Zero, which the compiler does not know: what makes each lookup wait for the one before it.
    zero: u32,
    /// Sum of what was found, so that it can be checked, and is not optimised away.
    sum: u64,
}

/// A frame, without the address that rotates.
#[repr(C)]
struct Frame {
    headers: [u64; HEADERS / 8],
    /// Interface that it leaves by; 0 is none: the frame is made, and dropped.
    interface: u32,
    /// Sum over the IPv4 header without the address that rotates, as its checksum has it.
    header: u32,
    /// The same for the checksum of TCP.
    segment: u32,
    pad: u32,
}

/// A frame of a capture.
#[repr(C)]
struct Captured {
    length: u32,
    pad: u32,
    bytes: [u8; LARGEST],
}

/// What is sent of a capture.
#[repr(C)]
struct Replay {
    /// Frame to send next.
    next: u32,
    /// How many there are.
    count: u32,
    /// Interface that they leave by.
    interface: u32,
    pad: u32,
}

/// An IPv6 address as it stands in a packet.
#[repr(C)]
struct Six([u64; 2]);

#[btf_map(name = "V4_SOURCES")]
static V4_SOURCES: Array<[u32; ROUND], ROUNDS, MMAPABLE> = Array::new();

#[btf_map(name = "V6_SOURCES")]
static V6_SOURCES: Array<[Six; ROUND], ROUNDS, MMAPABLE> = Array::new();

#[btf_map(name = "V4_TRIE")]
static V4_TRIE: LpmTrie<[u8; 4], u8, PREFIXES> = LpmTrie::new();

#[btf_map(name = "V6_TRIE")]
static V6_TRIE: LpmTrie<[u8; 16], u8, PREFIXES> = LpmTrie::new();

#[btf_map(name = "PROGRESS")]
static PROGRESS: Array<Progress, 1, MMAPABLE> = Array::new();

#[btf_map(name = "FRAME")]
static FRAME: Array<Frame, 1, MMAPABLE> = Array::new();

/// Made larger by who loads it.
#[btf_map(name = "CAPTURED")]
static CAPTURED: Array<Captured, 1> = Array::new();

#[btf_map(name = "REPLAY")]
static REPLAY: Array<Replay, 1, MMAPABLE> = Array::new();

#[btf_map(name = "RECEIVED")]
static RECEIVED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Two programs that look a round of sources up: each source at once, and each after the one before it.
macro_rules! rounds {
    ($($each:ident $chained:ident $over:ident $look:ident)*) => {$(
        #[classifier]
        pub fn $each(_: TcContext) -> i32 {
            round::<false, _>(&$over, $look)
        }

        #[classifier]
        pub fn $chained(_: TcContext) -> i32 {
            round::<true, _>(&$over, $look)
        }
    )*};
}

rounds! {
    v4_empty v4_empty_chained V4_SOURCES v4_nothing
    v4_weir v4_weir_chained V4_SOURCES v4_class
    v4_trie v4_trie_chained V4_SOURCES v4_longest
    v6_empty v6_empty_chained V6_SOURCES v6_nothing
    v6_weir v6_weir_chained V6_SOURCES v6_class
    v6_trie v6_trie_chained V6_SOURCES v6_longest
}

impl Six {
    /// Its bytes, changed by what is zero.
    #[inline(always)]
    fn octets(&self, zero: u32) -> [u8; 16] {
        // SAFETY: both are 16 bytes, of which every pattern is valid.
        unsafe { core::mem::transmute([self.0[0] ^ u64::from(zero), self.0[1]]) }
    }
}

/// Makes a frame from the next source.
#[xdp]
pub fn v4_from(ctx: XdpContext) -> u32 {
    v4_frame::<26>(&ctx)
}

/// Makes a frame to the next source.
#[xdp]
pub fn v4_to(ctx: XdpContext) -> u32 {
    v4_frame::<30>(&ctx)
}

/// Makes a frame from the next source.
#[xdp]
pub fn v6_from(ctx: XdpContext) -> u32 {
    let (Some(frame), Some(progress)) = (FRAME.get(0), progress()) else {
        return XDP_ABORTED;
    };
    let next = progress.next as usize;
    progress.next = progress.next.wrapping_add(1);
    let Some(round) = V6_SOURCES.get((next / ROUND % ROUNDS) as u32) else {
        return XDP_ABORTED;
    };
    let start = ctx.data();
    if start + HEADERS > ctx.data_end() {
        return XDP_ABORTED;
    }
    // SAFETY: checked to lie within the frame, just now.
    unsafe {
        *(start as *mut [u64; HEADERS / 8]) = frame.headers;
        *((start + 22) as *mut [u8; 16]) = round[next % ROUND].octets(0);
    }
    send(frame)
}

/// Sends the next frame of a capture.
#[xdp]
pub fn captured(ctx: XdpContext) -> u32 {
    let Some(replay) = REPLAY.get_ptr_mut(0) else {
        return XDP_ABORTED;
    };
    // SAFETY: one program runs at a time, on one CPU.
    let replay = unsafe { &mut *replay };
    let next = replay.next;
    replay.next = if next + 1 < replay.count { next + 1 } else { 0 };
    let Some(frame) = CAPTURED.get(next) else {
        return XDP_ABORTED;
    };
    let length = frame.length;
    if length < SHORTEST || length > LARGEST as u32 {
        return XDP_ABORTED;
    }
    // SAFETY: the kernel changes and fills what is the frame's; the length was checked just now.
    unsafe {
        if bpf_xdp_adjust_tail(ctx.ctx, length as i32 - TEMPLATE) != 0 {
            return XDP_ABORTED;
        }
        let bytes = frame.bytes.as_ptr().cast_mut().cast();
        if bpf_xdp_store_bytes(ctx.ctx, 0, bytes, length) != 0 {
            return XDP_ABORTED;
        }
        bpf_redirect(replay.interface, 0) as u32
    }
}

/// Counts the frames of TCP, and drops all, in the driver.
#[xdp]
pub fn tcp_sink(ctx: XdpContext) -> u32 {
    let start = ctx.data();
    if start + 24 <= ctx.data_end() {
        // SAFETY: checked to lie within the frame, just now.
        let (kind, six, four) = unsafe {
            (
                u16::from_be(*((start + 12) as *const u16)),
                *((start + 20) as *const u8),
                *((start + 23) as *const u8),
            )
        };
        if (kind == 0x0800 && four == 6) || (kind == 0x86dd && six == 6) {
            received();
        }
    }
    XDP_DROP
}

/// Counts and drops, in the driver.
#[xdp]
pub fn sink(_: XdpContext) -> u32 {
    received();
    XDP_DROP
}

/// Lets everything through.
#[xdp]
pub fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Counts and drops, behind the driver.
#[classifier]
pub fn sink_skb(_: TcContext) -> i32 {
    received();
    TC_ACT_SHOT
}

#[inline(always)]
fn round<const CHAINED: bool, S: 'static>(
    over: &'static Array<[S; ROUND], ROUNDS, MMAPABLE>,
    look: impl Fn(&S, u32) -> u32,
) -> i32 {
    let Some(progress) = progress() else {
        return 0;
    };
    let Some(round) = over.get(progress.next % ROUNDS as u32) else {
        return 0;
    };
    let (mut sum, mut found) = (0, 0);
    let mut i = 0;
    while i < ROUND {
        let before = if CHAINED { found & progress.zero } else { 0 };
        found = look(&round[i], before);
        sum += found;
        i += 1;
    }
    progress.next = progress.next.wrapping_add(1);
    progress.sum += u64::from(sum);
    0
}

#[inline(always)]
fn v4_nothing(source: &u32, before: u32) -> u32 {
    (source ^ before) & 1
}

#[inline(always)]
fn v4_class(source: &u32, before: u32) -> u32 {
    let Some(config) = maps::config() else {
        return 0;
    };
    u32::from(standing_v4(&maps::Generation::new(config), source ^ before).class() as u8)
}

#[inline(always)]
fn v4_longest(source: &u32, before: u32) -> u32 {
    let key = Key::new(32, (source ^ before).to_be_bytes());
    V4_TRIE.get(&key).map_or(0, |class| u32::from(*class))
}

#[inline(always)]
fn v6_nothing(source: &Six, before: u32) -> u32 {
    (source.0[1] as u32 ^ source.0[0] as u32 ^ before) & 1
}

#[inline(always)]
fn v6_class(source: &Six, before: u32) -> u32 {
    let Some(config) = maps::config() else {
        return 0;
    };
    let source = source.octets(before);
    u32::from(standing_v6(&maps::Generation::new(config), &source).class() as u8)
}

#[inline(always)]
fn v6_longest(source: &Six, before: u32) -> u32 {
    let source = source.octets(before);
    V6_TRIE
        .get(&Key::new(128, source))
        .map_or(0, |class| u32::from(*class))
}

#[inline(always)]
fn v4_frame<const AT: usize>(ctx: &XdpContext) -> u32 {
    let (Some(frame), Some(progress)) = (FRAME.get(0), progress()) else {
        return XDP_ABORTED;
    };
    let next = progress.next as usize;
    progress.next = progress.next.wrapping_add(1);
    let Some(round) = V4_SOURCES.get((next / ROUND % ROUNDS) as u32) else {
        return XDP_ABORTED;
    };
    let source = round[next % ROUND];
    let start = ctx.data();
    if start + 56 > ctx.data_end() {
        return XDP_ABORTED;
    }
    let sum = (source >> 16) + (source & 0xffff);
    let (high, low) = ((source >> 16) as u16, source as u16);
    // SAFETY: checked to lie within the frame, just now.
    unsafe {
        let mut i = 0;
        while i < 7 {
            *((start + 8 * i) as *mut u64) = frame.headers[i];
            i += 1;
        }
        *((start + AT) as *mut u16) = high.to_be();
        *((start + AT + 2) as *mut u16) = low.to_be();
        *((start + 24) as *mut u16) = checksum(frame.header + sum).to_be();
        *((start + 50) as *mut u16) = checksum(frame.segment + sum).to_be();
    }
    send(frame)
}

/// The checksum that goes with a sum of words (RFC 1071).
#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

#[inline(always)]
fn send(frame: &Frame) -> u32 {
    if frame.interface == 0 {
        return XDP_DROP;
    }
    // SAFETY: takes an index and flags.
    unsafe { bpf_redirect(frame.interface, 0) as u32 }
}

#[inline(always)]
fn progress() -> Option<&'static mut Progress> {
    // SAFETY: one program runs at a time, on one CPU.
    PROGRESS
        .get_ptr_mut(0)
        .map(|progress| unsafe { &mut *progress })
}

#[inline(always)]
fn received() {
    if let Some(count) = RECEIVED.get_ptr_mut(0) {
        // SAFETY: the kernel gave a pointer to this CPU's own slot.
        unsafe { *count += 1 };
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
