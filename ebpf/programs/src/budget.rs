//! What a source may still begin: the words of its buckets, and the clock.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use weir_abi::Config;
use weir_classify::budget::spend;
use weir_classify::{Outcome, Packet};

use crate::maps;

/// Whether the packet begins nothing, or its source may begin it; then it is taken from its budget.
#[inline(always)]
pub fn suffices<P: Packet>(packet: &P, config: &Config, outcome: &Outcome) -> bool {
    let Some(budget) = outcome.budget(config) else {
        return true;
    };
    let Some(buckets) = outcome.buckets(packet, config.probe) else {
        return false;
    };
    // SAFETY: takes nothing. To the tick, which is enough here, and cheaper.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let mut suffices = false;
    for index in buckets {
        // Both are charged: each counts all that its sources begin.
        if let Some(next) = maps::bucket(index) {
            suffices |= spend(next, now, budget);
        }
    }
    suffices
}
