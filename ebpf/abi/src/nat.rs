//! Connections of topology `nat`: what is remembered of each, and for how long.
//!
//! A connection has two entries: one by what its client sends ([`Translation`]), one by what its server
//! sends ([`Flow`], the client's side). It begins in two small maps, which forget the longest unused first,
//! and moves to the two large ones when its client has acknowledged the server's answer: so who only
//! begins connections takes nothing from those that are established. An entry counts only as long as the
//! other one agrees.

#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

use core::mem::size_of;

use crate::Flow;

/// Established connections at most.
pub const MAX_TRANSLATIONS: u32 = 1 << 17;
/// Connections at most that only begin; the longest unused is forgotten first.
pub const MAX_BEGUN: u32 = 1 << 14;
/// Units of [`Translation::last`] for which an established connection may be silent: a little more than
/// two hours and four minutes (RFC 5382 §5).
pub const IDLE: u32 = 6936;
/// As [`IDLE`], for one that only begins: a little more than four minutes.
pub const IDLE_BEGUN: u32 = 225;
/// As [`IDLE_BEGUN`], where another connection finds no free port: longer than a server that waits for its
/// client stays silent at first.
pub const IDLE_WANTED: u32 = 5;
/// As [`IDLE`], for one that both ends closed: its port rests as long as a server may remember it.
pub const REST_CLOSED: u32 = 113;
/// As [`IDLE`], for one that was reset: nobody remembers it, but the reset may have been lost.
pub const REST_RESET: u32 = 10;
/// How far ahead of what the other end has acknowledged a reset may be: as far as every window reaches.
pub const RESET_WINDOW: u32 = 0xffff;
/// A unit is two to this many nanoseconds: a little more than a second.
pub const UNIT: u32 = 30;

/// What the packets of an address have to do with `nat`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// The source of what goes to servers, IPv4 as IPv4-mapped IPv6.
    pub source: [u8; 16],
    /// First of the ports of that source.
    pub first: u16,
    /// How many ports there are, from the first on.
    pub count: u16,
    /// 1 when servers answer to this address.
    pub answers: u32,
}

/// A connection, as it is found by what its client sends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// What its server sends: the server's address, the source that it sees, its port and that of the
    /// source.
    pub answer: Flow,
    /// Service.
    pub service: u16,
    /// Slot of the server.
    pub slot: u16,
    /// What the server has acknowledged last: with what its client goes on. While the server has not
    /// answered, what it has to acknowledge.
    pub from_client: u32,
    /// What the client has acknowledged last: with what its server goes on. While it begins, the
    /// acknowledgement that establishes it, zero while the server has not answered.
    pub from_server: u32,
    /// When its last packet came, in units of the kernel's clock, see [`UNIT`].
    pub last: u32,
    /// What has ended: [`Translation::CLIENT_CLOSED`] and so on.
    pub ended: u32,
}

impl Translation {
    /// Bit: the client has closed its half.
    pub const CLIENT_CLOSED: u32 = 1;
    /// Bit: the server has closed its half.
    pub const SERVER_CLOSED: u32 = 2;
    /// Bit: either has reset it, and nothing else came since.
    pub const RESET: u32 = 4;
    /// Both bits of who has closed.
    pub const CLOSED: u32 = Self::CLIENT_CLOSED | Self::SERVER_CLOSED;

    /// Whether a reset of its client with this number may be one that the server takes. Anybody can forge
    /// one, but not with a number that is near what the server expects, of which it takes the very one
    /// (RFC 5961 §3).
    #[inline(always)]
    pub const fn client_may_reset(&self, sequence: u32) -> bool {
        is_near(self.from_client, sequence)
    }

    /// The same of its server. Before the server has a number of its own, what it acknowledges tells.
    #[inline(always)]
    pub const fn server_may_reset(&self, sequence: u32, acknowledged: Option<u32>) -> bool {
        match (self.from_server, acknowledged) {
            (0, Some(acknowledged)) => self.is_answer(acknowledged),
            (0, None) => false,
            (expected, _) => is_near(expected, sequence),
        }
    }

    /// Whether who acknowledges this knows with what the client begins; it may have sent some data at once
    /// (RFC 7413).
    #[inline(always)]
    pub const fn is_answer(&self, acknowledged: u32) -> bool {
        is_near(self.from_client, acknowledged)
    }

    /// The client begins with this number, perhaps again.
    #[inline(always)]
    pub const fn begin(&mut self, sequence: u32) {
        let next = sequence.wrapping_add(1);
        if self.from_client != next || self.ended != 0 {
            self.from_client = next;
            self.from_server = 0;
        }
    }

    /// Whether it is over.
    #[inline(always)]
    pub const fn is_over(&self) -> bool {
        self.ended & Self::RESET != 0 || self.ended & Self::CLOSED == Self::CLOSED
    }

    /// Whether its port may serve another connection at this moment.
    #[inline(always)]
    pub const fn is_free(&self, now: u32, idle: u32) -> bool {
        let rest = if self.ended & Self::RESET != 0 {
            REST_RESET
        } else if self.ended & Self::CLOSED == Self::CLOSED {
            REST_CLOSED
        } else {
            idle
        };
        // Another CPU may have written a later moment than this one's.
        let silent = now.wrapping_sub(self.last);
        silent > rest && silent <= u32::MAX / 2
    }
}

/// Whether a number is what is expected, or so little ahead that every window reaches it.
#[inline(always)]
const fn is_near(expected: u32, number: u32) -> bool {
    number.wrapping_sub(expected) <= RESET_WINDOW
}

const _: () = {
    assert!(size_of::<Nat>() == 24);
    assert!(size_of::<Translation>() == 56);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u32, ended: u32) -> Translation {
        Translation {
            last,
            ended,
            ..Translation::default()
        }
    }

    #[test]
    fn a_port_rests_as_long_as_the_server_may_remember() {
        for (ended, rest) in [
            (0, IDLE),
            (Translation::CLIENT_CLOSED, IDLE),
            (Translation::SERVER_CLOSED, IDLE),
            (Translation::CLOSED, REST_CLOSED),
            (Translation::RESET, REST_RESET),
            (Translation::CLOSED | Translation::RESET, REST_RESET),
        ] {
            let one = at(1000, ended);
            assert!(!one.is_free(1000 + rest, IDLE), "{ended}");
            assert!(one.is_free(1001 + rest, IDLE), "{ended}");
            assert_eq!(one.is_over(), rest != IDLE);
        }
    }

    #[test]
    fn a_clock_that_is_behind_frees_nothing() {
        assert!(!at(1000, Translation::RESET).is_free(999, IDLE));
        assert!(!at(1, 0).is_free(u32::MAX, IDLE));
    }

    #[test]
    fn a_reset_has_to_be_near_what_the_other_end_expects() {
        for expected in [1, 1000, u32::MAX] {
            let one = Translation {
                from_client: expected,
                from_server: !expected,
                ..Translation::default()
            };
            for (ahead, may) in [
                (0, true),
                (RESET_WINDOW, true),
                (RESET_WINDOW + 1, false),
                (u32::MAX, false),
            ] {
                let number = expected.wrapping_add(ahead);
                assert_eq!(one.client_may_reset(number), may);
                assert_eq!(one.is_answer(number), may);
                let silent = one.from_server == 0;
                let number = one.from_server.wrapping_add(ahead);
                assert_eq!(one.server_may_reset(number, None), may && !silent);
            }
        }
    }

    #[test]
    fn a_server_that_has_not_answered_has_to_know_what_it_was_asked() {
        let mut one = Translation::default();
        one.begin(u32::MAX);
        assert!(one.server_may_reset(0, Some(0)));
        assert!(!one.server_may_reset(0, Some(u32::MAX)));
        assert!(!one.server_may_reset(0, None));
        one.from_server = 7;
        one.begin(u32::MAX);
        assert_eq!(one.from_server, 7, "the same again");
        one.begin(9);
        assert_eq!((one.from_client, one.from_server), (10, 0));
    }

    #[test]
    fn resting_is_longer_than_time_wait() {
        let nanoseconds = u64::from(REST_CLOSED) << UNIT;
        assert!(nanoseconds >= 120_000_000_000, "also that of Windows");
        assert!(u64::from(IDLE) << UNIT >= 7_440_000_000_000);
        assert!(u64::from(IDLE_BEGUN) << UNIT >= 240_000_000_000);
    }
}
