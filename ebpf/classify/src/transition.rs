//! Which verdict a flow keeps while its client is in transition: while its class is another one than it
//! was within the drain window.
//!
//! No flow is remembered: the stack's own sockets are the table of the flows that the proxy has, and what
//! began otherwise was forwarded. In order:
//!
//! 1. what has a live socket here goes to the proxy, also a SYN; what meets one that is over does too,
//!    unless it is a SYN, or any class of late forwards: then the same ends may have begun anew (but a reset
//!    without an acknowledgement, while the class sends beginnings to the proxy: see [`outside`]);
//! 2. any other SYN begins a flow, and goes where the class says now;
//! 3. an acknowledgement that brings back a listener's cookie goes to the proxy;
//! 4. all else is forwarded, if any class of late forwards;
//! 5. or goes where the class says now.

use weir_abi::{Class, ClassSet, Port, Verdict};

use crate::Socket;

/// SYN of TCP (RFC 9293 §3.1).
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What becomes of a packet from a client; `now` is what its class says, `forwards` whether any class that
/// it held within the drain window forwards.
#[inline(always)]
pub(crate) const fn outside(now: Verdict, forwards: bool, flags: u8, socket: Socket) -> Verdict {
    let begins = flags & SYN != 0;
    // What waits for a FIN that went to a server answers the SYN of the ends' next connection, and is
    // answered by a reset without an acknowledgement (RFC 9293 §3.10.7.3): only that ends it.
    let denies = flags & (RST | ACK) == RST && matches!(now, Verdict::Proxy);
    match socket {
        Socket::Live => Verdict::Proxy,
        Socket::Over if !begins && (!forwards || denies) => Verdict::Proxy,
        _ if begins => now,
        Socket::Cookie => Verdict::Proxy,
        _ if forwards => Verdict::Forward,
        _ => now,
    }
}

/// Whether the port forwards one of these classes.
#[inline(always)]
pub(crate) fn forwards(port: &Port, held: ClassSet) -> bool {
    let mut any = false;
    for class in Class::ALL {
        // No branches: each would double the verifier's ways.
        any |= held.contains(class) & (port.verdict(class) as u8 == Verdict::Forward as u8);
    }
    any
}

/// Whether a segment with these flags may bring back a cookie.
#[inline(always)]
pub(crate) const fn acknowledges(flags: u8) -> bool {
    flags & (SYN | RST | ACK) == ACK
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKETS: [Socket; 4] = [Socket::None, Socket::Live, Socket::Over, Socket::Cookie];

    #[test]
    fn a_live_socket_has_its_packets_whatever_the_class() {
        for now in Verdict::ALL {
            for flags in 0..=0x3f {
                for forwards in [false, true] {
                    let verdict = outside(now, forwards, flags, Socket::Live);
                    assert_eq!(verdict, Verdict::Proxy);
                }
            }
        }
    }

    #[test]
    fn a_syn_without_one_goes_where_the_class_says_now() {
        for now in Verdict::ALL {
            for forwards in [false, true] {
                for socket in [Socket::None, Socket::Over, Socket::Cookie] {
                    assert_eq!(outside(now, forwards, SYN, socket), now);
                }
            }
        }
    }

    #[test]
    fn what_else_comes_is_forwarded_if_any_class_of_late_forwards() {
        for now in Verdict::ALL {
            assert_eq!(outside(now, true, ACK, Socket::None), Verdict::Forward);
            assert_eq!(outside(now, true, ACK, Socket::Over), Verdict::Forward);
            assert_eq!(outside(now, true, ACK, Socket::Cookie), Verdict::Proxy);
            assert_eq!(outside(now, false, ACK, Socket::None), now);
            assert_eq!(outside(now, false, ACK, Socket::Over), Verdict::Proxy);
            assert_eq!(outside(now, false, ACK, Socket::Cookie), Verdict::Proxy);
        }
    }

    #[test]
    fn a_reset_that_answers_what_is_over_gets_there_while_the_class_is_the_proxys() {
        for (now, flags, verdict) in [
            (Verdict::Proxy, RST, Verdict::Proxy),
            (Verdict::Proxy, RST | ACK, Verdict::Forward),
            (Verdict::Forward, RST, Verdict::Forward),
        ] {
            assert_eq!(outside(now, true, flags, Socket::Over), verdict);
            assert_eq!(outside(now, true, flags, Socket::None), Verdict::Forward);
        }
    }

    #[test]
    fn nothing_is_forwarded_that_no_class_of_late_forwards() {
        for socket in SOCKETS {
            for now in [Verdict::Proxy, Verdict::Drop, Verdict::Reject] {
                for flags in 0..=0x3f {
                    assert_ne!(outside(now, false, flags, socket), Verdict::Forward);
                }
            }
        }
    }
}
