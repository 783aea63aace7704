//! The connections of this machine's stack, as tcx can ask for them.

use core::mem::{MaybeUninit, size_of};

use aya_ebpf::bindings::{
    BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, bpf_sock_tuple as Tuple,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as V4,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as V6,
};
use aya_ebpf::helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::TcContext;
use weir_classify::{Ends, Family};

/// The socket table of the namespace that the packet came into.
pub struct Sockets<'a> {
    ctx: &'a TcContext,
}

impl<'a> Sockets<'a> {
    /// For a packet.
    #[inline(always)]
    pub fn new(ctx: &'a TcContext) -> Self {
        Self { ctx }
    }
}

impl weir_classify::Sockets for Sockets<'_> {
    #[inline(always)]
    fn has_connection(&self, ends: &Ends) -> bool {
        // SAFETY: all-zero is a valid value of this union of integers.
        let mut tuple: Tuple = unsafe { MaybeUninit::zeroed().assume_init() };
        let [client, service] = ends.ports.map(u16::to_be);
        let size = match ends.family {
            Family::V4 => {
                tuple.__bindgen_anon_1.ipv4 = V4 {
                    saddr: word(&ends.client, 12),
                    daddr: word(&ends.service, 12),
                    sport: client,
                    dport: service,
                };
                size_of::<V4>()
            }
            Family::V6 => {
                tuple.__bindgen_anon_1.ipv6 = V6 {
                    saddr: [0, 4, 8, 12].map(|at| word(&ends.client, at)),
                    daddr: [0, 4, 8, 12].map(|at| word(&ends.service, at)),
                    sport: client,
                    dport: service,
                };
                size_of::<V6>()
            }
        };
        // SAFETY: the context is valid for the life of the program; pointer and size describe `tuple`.
        let socket = unsafe {
            bpf_skc_lookup_tcp(
                self.ctx.skb.skb.cast(),
                &raw mut tuple,
                size as u32,
                BPF_F_CURRENT_NETNS as u64,
                0,
            )
        };
        if socket.is_null() {
            return false;
        }
        // SAFETY: the kernel gave a socket, which is held until it is released, once, here.
        let state = unsafe {
            let state = (*socket).state;
            bpf_sk_release(socket.cast());
            state
        };
        state != BPF_TCP_LISTEN
    }
}

/// Four bytes of an address as they stand in a packet.
#[inline(always)]
fn word(address: &[u8; 16], at: usize) -> u32 {
    u32::from_ne_bytes([
        address[at],
        address[at + 1],
        address[at + 2],
        address[at + 3],
    ])
}
