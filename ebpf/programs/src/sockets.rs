//! The connections of this machine's stack, as the programs can ask for them at either hook.

use core::ffi::c_void;

use aya_ebpf::bindings::{
    BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, BPF_TCP_TIME_WAIT, bpf_sock as Found,
};
use aya_ebpf::helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie};
use weir_abi::Flow;
use weir_classify::{Ends, Family, Segment, Socket};

use crate::maps::{self, Asked, Tuple};
use crate::route::words;
use crate::seen::Copied;

/// Base headers of TCP.
const TCP_HEADER: u32 = 20;

/// The socket table of the namespace that the packet came into.
pub struct Sockets<'a, P> {
    ctx: *mut c_void,
    packet: &'a P,
}

impl<'a, P: Copied> Sockets<'a, P> {
    /// For a packet and its context.
    #[inline(always)]
    pub fn new(ctx: *mut c_void, packet: &'a P) -> Self {
        Self { ctx, packet }
    }

    /// Writes bytes of the packet into a part of what is asked.
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: u32, to: &mut [u8; N]) -> bool {
        // SAFETY: pointer and length describe `to`.
        unsafe { self.packet.copy(offset, to.as_mut_ptr(), N as u32) }
    }

    /// Whether a listener has answered a SYN with the cookie that this segment brings back (Linux 5.2; one
    /// that sent none of late knows none).
    #[inline(always)]
    fn is_cookie(
        &self,
        asked: &mut Asked,
        listener: *mut Found,
        family: Family,
        segment: Segment,
    ) -> bool {
        let length = match family {
            Family::V4 => 20,
            Family::V6 => 40,
        };
        // SAFETY: there is room for either header.
        let ip = unsafe { self.packet.copy(segment.l3, asked.ip.as_mut_ptr(), length) };
        if !ip || !self.copy(segment.l4, &mut asked.tcp) {
            return false;
        }
        // SAFETY: a socket that is held; pointers and sizes describe the headers.
        unsafe {
            bpf_tcp_check_syncookie(
                listener.cast(),
                asked.ip.as_mut_ptr().cast(),
                length,
                asked.tcp.as_mut_ptr().cast(),
                TCP_HEADER,
            ) == 0
        }
    }
}

/// Whether this machine has a connection, also one that is over, to which a packet belongs that comes from
/// the first of these ends to the second one.
#[inline(always)]
pub fn is_own(ctx: *mut c_void, ends: &Flow) -> bool {
    let Some(asked) = maps::asked() else {
        return false;
    };
    let ports = [ends.ports[0].to_be(), ends.ports[1].to_be()];
    let (tuple, size): (*mut c_void, u32) = if is_mapped(&ends.client) {
        let [.., a, b, c, d] = ends.client;
        let [.., e, f, g, h] = ends.service;
        asked.v4 = Tuple {
            addresses: [[a, b, c, d], [e, f, g, h]],
            ports,
        };
        ((&raw mut asked.v4).cast(), 12)
    } else {
        asked.v6 = Tuple {
            addresses: [ends.client, ends.service],
            ports,
        };
        ((&raw mut asked.v6).cast(), 36)
    };
    // SAFETY: the context is valid for the life of the program; pointer and size describe the tuple.
    let socket =
        unsafe { bpf_skc_lookup_tcp(ctx, tuple.cast(), size, BPF_F_CURRENT_NETNS as u64, 0) };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the kernel gave a socket, which is held until it is released, and not used afterwards.
    unsafe {
        let own = (*socket).state != BPF_TCP_LISTEN;
        bpf_sk_release(socket.cast());
        own
    }
}

/// Whether an address is one of IPv4.
#[inline(always)]
fn is_mapped(address: &[u8; 16]) -> bool {
    let [a, b, c, _] = words(address);
    a == 0 && b == 0 && c == 0xffff_u32.to_be()
}

impl<P: Copied> weir_classify::Sockets for Sockets<'_, P> {
    #[inline(always)]
    fn find(&self, ends: &Ends, acknowledgement: Option<Segment>) -> Socket {
        let Some(asked) = maps::asked() else {
            return Socket::None;
        };
        let [client, service] = ends.ports.map(u16::to_be);
        // A client's address, a service's, both ports: `struct bpf_sock_tuple`.
        let (told, size) = match ends.family {
            Family::V4 => {
                let tuple = &mut asked.v4;
                tuple.ports = [client, service];
                let [from, to] = &mut tuple.addresses;
                (
                    self.copy(ends.client, from) && self.copy(ends.service, to),
                    12,
                )
            }
            Family::V6 => {
                let tuple = &mut asked.v6;
                tuple.ports = [client, service];
                let [from, to] = &mut tuple.addresses;
                (
                    self.copy(ends.client, from) && self.copy(ends.service, to),
                    36,
                )
            }
        };
        if !told {
            return Socket::None;
        }
        let tuple = match ends.family {
            Family::V4 => (&raw mut asked.v4).cast(),
            Family::V6 => (&raw mut asked.v6).cast(),
        };
        // SAFETY: the context is valid for the life of the program; pointer and size describe the tuple.
        let socket =
            unsafe { bpf_skc_lookup_tcp(self.ctx, tuple, size, BPF_F_CURRENT_NETNS as u64, 0) };
        if socket.is_null() {
            return Socket::None;
        }
        // SAFETY: the kernel gave a socket, which is held until it is released.
        let state = unsafe { (*socket).state };
        let found = match acknowledgement {
            _ if state == BPF_TCP_TIME_WAIT => Socket::Over,
            _ if state != BPF_TCP_LISTEN => Socket::Live,
            Some(segment) if self.is_cookie(asked, socket, ends.family, segment) => Socket::Cookie,
            _ => Socket::None,
        };
        // SAFETY: it is held, and not used any more.
        unsafe { bpf_sk_release(socket.cast()) };
        found
    }
}
