//! How often one source may begin connections.
//!
//! Each source owns a word in each of two rows of [`BUCKETS`], found by hashing: when it may begin its
//! next connection. Nothing is ever inserted, so forged sources cannot fill anything. Sources that share
//! a word share its budget, so a source is refused only when both of its words are spent: whoever floods
//! takes from another source only if they share both.

use weir_abi::{Budget, Config, Reason, Verdict};

use crate::{Family, Outcome, Packet};

/// Words in one row: as many as sixteen bits tell apart.
pub const BUCKETS: u32 = 1 << 16;
/// Rows.
pub const ROWS: u32 = 2;

/// Flags of TCP (RFC 9293 §3.1).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

impl Outcome {
    /// The budget that the packet takes from: that of connections which it begins, to the proxy or
    /// through.
    #[inline(always)]
    pub const fn budget(&self, config: &Config) -> Option<Budget> {
        if self.headers.flags & (SYN | ACK) != SYN {
            return None;
        }
        let budget = match self.verdict {
            Verdict::Proxy => config.proxied,
            Verdict::Forward => config.forwarded,
            Verdict::Pass | Verdict::Drop | Verdict::Reject => return None,
        };
        if budget.interval == 0 {
            None
        } else {
            Some(budget)
        }
    }

    /// Where the two words of the packet's source are, for the seed of this machine. IPv6 sources are
    /// taken by their /64, which is what one host has.
    #[inline(always)]
    pub fn buckets<P: Packet + ?Sized>(&self, packet: &P, seed: [u32; 2]) -> Option<[u32; 2]> {
        let at = self.headers.source();
        let source = match self.headers.family {
            Family::V4 => u64::from(u32::from_be_bytes(packet.read(at)?)),
            Family::V6 => u64::from_be_bytes(packet.read(at)?),
        };
        let seed = u64::from(seed[0]) << 32 | u64::from(seed[1]);
        let seed = match self.verdict {
            Verdict::Forward => seed.rotate_left(32),
            _ => seed,
        };
        let [a, b, c, d, ..] = mix(source ^ seed).to_ne_bytes();
        Some([
            u32::from(u16::from_ne_bytes([a, b])),
            BUCKETS + u32::from(u16::from_ne_bytes([c, d])),
        ])
    }

    /// Makes it a packet whose source has begun its share of connections.
    #[inline(always)]
    pub const fn refuse(&mut self) {
        self.verdict = Verdict::Drop;
        self.reason = Reason::SynBudget;
    }
}

/// Takes one beginning from the word of a bucket, at this moment in nanoseconds; false when it is spent.
#[inline(always)]
pub const fn spend(next: &mut u64, now: u64, budget: Budget) -> bool {
    let from = if *next > now { *next } else { now };
    if from - now + budget.interval > budget.burst {
        return false;
    }
    *next = from + budget.interval;
    true
}

/// Spreads every bit of a word over all of them (the last steps of MurmurHash3).
#[inline(always)]
const fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}
