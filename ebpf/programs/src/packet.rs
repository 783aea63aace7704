//! A packet in the kernel as [`Packet`], at either hook.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use weir_classify::Packet;

use crate::seen::Copied;

/// `PACKET_HOST`: the frame was addressed to this interface.
const HOST: u32 = 0;

/// Whether the frame was addressed to this interface.
#[inline(always)]
pub fn is_for_this_host(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid for the life of the program.
    unsafe { (*ctx.skb.skb).pkt_type == HOST }
}

/// The first buffer of a packet, in place: no call for each read, but only for offsets that the compiler
/// knows. With others the verifier would have to walk more than it does.
pub struct Plain {
    start: usize,
    end: usize,
}

impl Plain {
    /// From the first byte up to the one behind the last.
    #[inline(always)]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

impl Packet for Plain {
    #[inline(always)]
    fn len(&self) -> u32 {
        (self.end - self.start) as u32
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = self.start + offset as usize;
        if start + N > self.end {
            return None;
        }
        // SAFETY: checked to lie in the buffer, just now.
        Some(unsafe { *(start as *const [u8; N]) })
    }
}

/// A packet at tcx.
pub struct Skb<'a> {
    ctx: &'a TcContext,
    near: Plain,
}

impl<'a> Skb<'a> {
    /// The packet that the program was called for.
    #[inline(always)]
    pub fn new(ctx: &'a TcContext) -> Self {
        let near = Plain::new(ctx.data(), ctx.data_end());
        Self { ctx, near }
    }
}

impl Packet for Skb<'_> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.ctx.len()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes N bytes or fails; it also reaches what lies outside the linear
        // part of the packet, which direct access does not.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.ctx.skb.skb.cast::<c_void>(),
                offset,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        // SAFETY: written, as the helper says.
        if result == 0 {
            Some(unsafe { bytes.assume_init() })
        } else {
            None
        }
    }

    #[inline(always)]
    fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.near.read(offset)
    }

    #[inline(always)]
    fn tagged(&self) -> bool {
        // SAFETY: the context is valid for the life of the program.
        unsafe { (*self.ctx.skb.skb).vlan_present != 0 }
    }
}

impl Copied for Skb<'_> {
    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        let skb = self.ctx.skb.skb.cast::<c_void>();
        // SAFETY: the helper writes `length` bytes or fails; the caller has room for them.
        unsafe { bpf_skb_load_bytes(skb, offset, to.cast(), length) == 0 }
    }
}

/// A packet at XDP.
pub struct Frame<'a> {
    ctx: &'a XdpContext,
    near: Plain,
    length: u32,
}

impl<'a> Frame<'a> {
    /// The packet that the program was called for.
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        // SAFETY: the context is valid for the life of the program.
        let length = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
        let near = Plain::new(ctx.data(), ctx.data_end());
        Self { ctx, near, length }
    }
}

impl Packet for Frame<'_> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes N bytes or fails; it also reaches what lies in further buffers.
        let result = unsafe {
            bpf_xdp_load_bytes(self.ctx.ctx, offset, bytes.as_mut_ptr().cast(), N as u32)
        };
        // SAFETY: written, as the helper says.
        if result == 0 {
            Some(unsafe { bytes.assume_init() })
        } else {
            None
        }
    }

    #[inline(always)]
    fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.near.read(offset)
    }
}

impl Copied for Frame<'_> {
    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, length: u32) -> bool {
        // SAFETY: the helper writes `length` bytes or fails; the caller has room for them.
        unsafe { bpf_xdp_load_bytes(self.ctx.ctx, offset, to.cast(), length) == 0 }
    }
}
