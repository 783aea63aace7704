//! Writes a generation beside the one in use, and switches to it with one store.

use std::mem::{offset_of, size_of};

use weir_abi::{Config, V4_BLOCKS, V6_LENGTHS, V6Key, V6Lengths, v6_key};
use weir_tables::{KernelTables, MAX_V4_EXACT};

use crate::error::Error;
use crate::pins::Maps;
use crate::sys::{Map, Mapped, Plain};
use crate::types::Published;

/// Bytes of one IPv4 generation.
const V4_BYTES: usize = V4_BLOCKS as usize * 256;
/// IPv6 prefixes at most.
const MAX_V6: usize = 1 << 21;

/// The maps as user space writes them.
#[derive(Debug)]
pub(crate) struct Writer {
    config: Mapped,
}

impl Writer {
    /// Maps the configuration word into memory.
    pub(crate) fn new(maps: &Maps) -> Result<Self, Error> {
        let config = Mapped::new(&maps.config, size_of::<Config>())
            .map_err(|e| Error::kernel("cannot map the configuration map", e))?;
        Ok(Self { config })
    }

    /// The configuration map in memory.
    pub(crate) fn config(&self) -> &Mapped {
        &self.config
    }

    /// Half that packets are classified by.
    pub(crate) fn active(&self) -> u32 {
        self.config
            .word(offset_of!(Config, active))
            .load(std::sync::atomic::Ordering::SeqCst)
            & 1
    }

    /// Publishes the tables.
    pub(crate) fn publish(&self, maps: &Maps, tables: &KernelTables) -> Result<Published, Error> {
        if tables.v4_blocks.len() != V4_BYTES {
            return Err(Error::Tables {
                detail: format!("{} IPv4 blocks, not {V4_BYTES}", tables.v4_blocks.len()),
            });
        }
        too_many("exact IPv4 addresses", tables.v4_exact.len(), MAX_V4_EXACT)?;
        too_many("IPv6 prefixes", tables.v6.len(), MAX_V6)?;
        let (v6_keys, v6_classes, lengths) = v6(tables)?;
        let (v4_keys, v4_classes): (Vec<u32>, Vec<u8>) = tables.v4_exact.iter().copied().unzip();

        let slot = 1 - self.active();
        // Replacing an inner map waits until every program that was running has ended, so from here on
        // none reads the blocks and lengths of this half either.
        fill(
            &maps.v4_exact,
            slot,
            &v4_keys,
            &v4_classes,
            "exact IPv4 table",
        )?;
        fill(&maps.v6_prefixes, slot, &v6_keys, &v6_classes, "IPv6 table")?;
        maps.v6_lengths
            .set(&slot, &lengths)
            .map_err(|e| Error::kernel("cannot write the IPv6 prefix lengths", e))?;
        Mapped::new(&maps.v4_blocks, 2 * V4_BYTES)
            .map_err(|e| Error::kernel("cannot map the IPv4 table", e))?
            .write(slot as usize * V4_BYTES, &tables.v4_blocks);
        self.config.publish_word(offset_of!(Config, active), slot);
        Ok(Published {
            slot,
            v4_exact: v4_keys.len(),
            v6: v6_keys.len(),
        })
    }
}

/// A new table with these entries, in the slot of the array of tables.
fn fill<K: Plain>(
    outer: &Map<u32, u32>,
    slot: u32,
    keys: &[K],
    classes: &[u8],
    what: &str,
) -> Result<(), Error> {
    let entries = u32::try_from(keys.len().max(1)).expect("checked against the limit");
    let failed = |e| {
        Error::kernel(
            format!("cannot write the {what} of {} entries", keys.len()),
            e,
        )
    };
    let table = Map::<K, u8>::hash(entries).map_err(failed)?;
    table.set_many(keys, classes).map_err(failed)?;
    outer.set_inner(slot, &table).map_err(failed)
}

/// IPv6 prefixes as keys, their classes, and the lengths that occur, longest first.
fn v6(tables: &KernelTables) -> Result<(Vec<V6Key>, Vec<u8>, V6Lengths), Error> {
    let mut present = [false; V6_LENGTHS];
    let mut keys = Vec::with_capacity(tables.v6.len());
    let mut classes = Vec::with_capacity(tables.v6.len());
    for (length, network, class) in &tables.v6 {
        let Some(present) = present.get_mut(usize::from(*length)) else {
            return Err(Error::Tables {
                detail: format!("an IPv6 prefix of length {length}"),
            });
        };
        *present = true;
        let network = u128::from_be_bytes(*network);
        let word = |shift: u32| u32::try_from(network >> shift & 0xffff_ffff).expect("masked");
        keys.push(v6_key(*length, [word(96), word(64), word(32), word(0)]));
        classes.push(*class);
    }
    Ok((keys, classes, V6Lengths::new(&present)))
}

fn too_many(what: &str, given: usize, limit: usize) -> Result<(), Error> {
    if given > limit {
        return Err(Error::TooMany {
            what: what.into(),
            given,
            limit,
        });
    }
    Ok(())
}
