//! Reads all entries of a map, many with each call.

use std::io;
use std::mem::{size_of, zeroed};
use std::ptr;

use super::{Map, Plain, bpf};

const MAP_LOOKUP_BATCH: libc::c_long = 24;

/// Entries that one batch reads.
const READ_BATCH: usize = 1024;

impl<K: Plain, V: Plain> Map<K, V> {
    /// Calls `visit` with each entry of a hash. Those that come or go meanwhile may be left out.
    pub(crate) fn each(&self, mut visit: impl FnMut(&K, &V)) -> io::Result<()> {
        self.batches(1, |key, values| visit(key, &values[0]))
    }

    /// Calls `visit` with the index and the slots of all CPUs, for each entry of a per-CPU array.
    pub(crate) fn each_per_cpu(
        &self,
        cpus: usize,
        mut visit: impl FnMut(K, &[V]),
    ) -> io::Result<()> {
        // The kernel rounds each CPU's slot up to eight bytes; counters are a multiple of that.
        assert_eq!(size_of::<V>() % 8, 0, "slots without a gap");
        self.batches(cpus, |key, values| visit(*key, values))
    }

    /// Calls `visit` with each key and its `slots` values.
    fn batches(&self, slots: usize, mut visit: impl FnMut(&K, &[V])) -> io::Result<()> {
        // SAFETY: every bit pattern of K is valid, zero too.
        let mut keys = vec![unsafe { zeroed::<K>() }; READ_BATCH];
        // SAFETY: every bit pattern of V is valid, zero too.
        let mut values = vec![unsafe { zeroed::<V>() }; READ_BATCH * slots];
        let mut position = 0_u32;
        let mut first = true;
        loop {
            let mut next = 0_u32;
            let mut attr = Batch {
                position: if first {
                    0
                } else {
                    ptr::from_ref(&position) as u64
                },
                next_position: ptr::from_mut(&mut next) as u64,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: u32::try_from(READ_BATCH).expect("a small constant"),
                fd: self.raw(),
                ..Batch::default()
            };
            let end = match bpf(MAP_LOOKUP_BATCH, &mut attr) {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) => return Err(error),
            };
            for (i, key) in keys.iter().take(attr.count as usize).enumerate() {
                visit(key, &values[i * slots..(i + 1) * slots]);
            }
            if end || attr.count == 0 {
                return Ok(());
            }
            (position, first) = (next, false);
        }
    }
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    position: u64,
    next_position: u64,
    keys: u64,
    values: u64,
    count: u32,
    fd: u32,
    element_flags: u64,
    flags: u64,
}
