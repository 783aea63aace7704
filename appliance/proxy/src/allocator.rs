//! The allocator of the process: mimalloc, without asking it for what it does anyway.
//!
//! The crate asks for an alignment every time. For most sizes that leads away from the lists of free blocks, to a
//! larger block and a pointer into the middle of it, whenever such a list is empty for a moment; and what lies in a
//! page with such blocks is slower to free. Nearly all that Rust asks for is aligned to a word at most, and every
//! block of mimalloc is.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_malloc, mi_realloc, mi_zalloc};
use mimalloc::MiMalloc;

/// See the module.
pub struct Allocator;

/// Whether every block is aligned well enough for this, even the smallest.
fn is_plain(layout: Layout) -> bool {
    layout.align() <= size_of::<usize>()
}

// SAFETY: each call has one in mimalloc that does the same, whose block is aligned to a word without being asked to
// be. None of them unwinds.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_plain(layout) {
            // SAFETY: any size will do.
            return unsafe { mi_malloc(layout.size()) }.cast();
        }
        // SAFETY: the caller keeps to the same.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_plain(layout) {
            // SAFETY: any size will do.
            return unsafe { mi_zalloc(layout.size()) }.cast();
        }
        // SAFETY: the caller keeps to the same.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the same, and every block is mimalloc's.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_plain(layout) {
            // SAFETY: the block is mimalloc's.
            return unsafe { mi_realloc(block.cast(), size) }.cast();
        }
        // SAFETY: the caller keeps to the same, and every block is mimalloc's.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }
}
