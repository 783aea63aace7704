//! What is known of the packet at hand, in memory of this CPU: what finds out whose it is, what judges it
//! and what carries the outcome out are functions of their own, which the kernel verifies one by one, and
//! because the stack of one has no room for all.

use core::mem::size_of;

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use weir_classify::{Found, Outcome};

use crate::maps::Generation;

/// Words that there is room for.
const WORDS: usize = 16;

const _: () = assert!(size_of::<Outcome>() <= 8 * WORDS && size_of::<InHand>() <= 8 * WORDS);

/// Not pinned: nothing in them outlives a packet.
#[btf_map(name = "FOUND")]
static FOUND: PerCpuArray<[u64; WORDS], 1> = PerCpuArray::new();
#[btf_map(name = "OUTCOME")]
static OUTCOME: PerCpuArray<[u64; WORDS], 1> = PerCpuArray::new();

/// Whose the packet is, and the generations by which it is judged: all functions go by the same.
pub struct InHand {
    /// Whose the packet is.
    pub found: Found,
    /// The generations.
    pub generation: Generation,
}

/// Keeps whose the packet is; false when it cannot, which cannot be.
#[inline(always)]
pub fn keep_found(found: Found, generation: Generation) -> bool {
    keep(&FOUND, InHand { found, generation })
}

/// Whose the packet is.
#[inline(always)]
pub fn in_hand() -> Option<&'static InHand> {
    kept(&FOUND)
}

/// The generations by which a packet of a client is judged.
#[inline(always)]
pub fn generation() -> Option<Generation> {
    Some(in_hand()?.generation)
}

/// Keeps the outcome; false when it cannot, which cannot be.
#[inline(always)]
pub fn keep_outcome(outcome: Outcome) -> bool {
    keep(&OUTCOME, outcome)
}

/// What was judged.
#[inline(always)]
pub fn outcome() -> Option<&'static Outcome> {
    kept(&OUTCOME)
}

/// What was judged, for who finds out more.
#[inline(always)]
pub fn outcome_mut() -> Option<&'static mut Outcome> {
    let place = OUTCOME.get_ptr_mut(0)?;
    // SAFETY: as for `kept`, and nobody else has it while a program runs on this CPU.
    Some(unsafe { &mut *place.cast::<Outcome>() })
}

#[inline(always)]
fn keep<T>(place: &PerCpuArray<[u64; WORDS], 1>, value: T) -> bool {
    let Some(place) = place.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the kernel gave a pointer to this CPU's own slot, which is large enough and aligned, and a
    // program is not moved to another CPU while it runs.
    unsafe { place.cast::<T>().write(value) };
    true
}

#[inline(always)]
fn kept<T>(place: &PerCpuArray<[u64; WORDS], 1>) -> Option<&'static T> {
    let place = place.get_ptr(0)?;
    // SAFETY: as above; it was written for this very packet, by the function before.
    Some(unsafe { &*place.cast::<T>() })
}
