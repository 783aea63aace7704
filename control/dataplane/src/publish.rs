//! Writes a generation beside the one in use, and switches to it with one store.

use std::mem::{offset_of, size_of, size_of_val};

use weir_abi::{Config, GENERATIONS, MAX_NODES, V6_ROOT_BLOCKS};
use weir_tables::{KernelTables, Parts};

use crate::error::Error;
use crate::pins::Maps;
use crate::sys::{Map, Mapped, Plain};
use crate::types::Published;

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

    /// Publishes the tables. Until the last store packets are classified by the generation before, also
    /// when this fails or the process dies on the way.
    pub(crate) fn publish(&self, maps: &Maps, tables: &KernelTables) -> Result<Published, Error> {
        let slot = 1 - self.active();
        // Replacing the nodes waits until every program that was running has ended, so from then on none
        // reads the roots and blocks of this half either.
        hang(&maps.v4_nodes, slot, tables.v4_nodes(), "IPv4")?;
        hang(&maps.v6_nodes, slot, tables.v6_nodes(), "IPv6")?;
        write(&maps.v4_roots, slot, tables.v4_roots(), "IPv4 roots")?;
        write(&maps.v6_roots, slot, tables.v6_roots(), "IPv6 roots")?;
        write(&maps.v4_blocks, slot, tables.v4_blocks(), "IPv4 blocks")?;
        self.config.publish_word(offset_of!(Config, active), slot);
        Ok(Published {
            slot,
            v4_nodes: tables.v4_nodes().len(),
            v6_nodes: tables.v6_nodes().len(),
        })
    }
}

impl Writer {
    /// The tables that packets are classified by.
    pub(crate) fn tables(&self, maps: &Maps) -> Result<KernelTables, Error> {
        let slot = self.active();
        Ok(KernelTables::of(Parts {
            v4_blocks: read(&maps.v4_blocks, slot, 1 << 24, "IPv4 blocks")?,
            v4_roots: read(&maps.v4_roots, slot, 1 << 16, "IPv4 roots")?,
            v4_nodes: hung(&maps.v4_nodes, slot, "IPv4")?,
            v6_roots: read(
                &maps.v6_roots,
                slot,
                V6_ROOT_BLOCKS as usize * 256,
                "IPv6 roots",
            )?,
            v6_nodes: hung(&maps.v6_nodes, slot, "IPv6")?,
        }))
    }
}

/// The nodes in a slot of the array of maps.
fn hung<N: Plain>(outer: &Map<u32, u32>, slot: u32, family: &str) -> Result<Vec<N>, Error> {
    let failed = |e| Error::kernel(format!("cannot read the nodes of {family} ranges"), e);
    let Some(map) = outer.inner::<u32, N>(slot).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let count = map.info().map_err(failed)?.max_entries as usize;
    let mapped = Mapped::new(&map, count * size_of::<N>()).map_err(failed)?;
    Ok(mapped.read(0, count))
}

/// One half, of so many values, of an array that holds both generations.
fn read<V: Plain, T: Plain>(
    map: &Map<u32, V>,
    slot: u32,
    count: usize,
    what: &str,
) -> Result<Vec<T>, Error> {
    let length = count * size_of::<T>();
    let mapped = Mapped::new(map, length * GENERATIONS as usize)
        .map_err(|e| Error::kernel(format!("cannot map the {what}"), e))?;
    Ok(mapped.read(slot as usize * length, count))
}

/// A new map with these nodes, in the slot of the array of maps.
fn hang<N: Plain>(
    outer: &Map<u32, u32>,
    slot: u32,
    nodes: &[N],
    family: &str,
) -> Result<(), Error> {
    if nodes.len() > MAX_NODES as usize {
        return Err(Error::TooMany {
            what: format!("nodes of {family} ranges"),
            given: nodes.len(),
            limit: MAX_NODES as usize,
        });
    }
    let entries = u32::try_from(nodes.len()).expect("checked against the limit");
    let failed = |e| {
        Error::kernel(
            format!("cannot write {entries} nodes of {family} ranges"),
            e,
        )
    };
    let map = Map::<u32, N>::nodes(entries).map_err(failed)?;
    Mapped::new(&map, size_of_val(nodes))
        .map_err(failed)?
        .write(0, nodes);
    outer.set_inner(slot, &map).map_err(failed)
}

/// Writes one half of an array that holds both generations.
fn write<V: Plain, T: Plain>(
    map: &Map<u32, V>,
    slot: u32,
    half: &[T],
    what: &str,
) -> Result<(), Error> {
    let length = size_of_val(half);
    Mapped::new(map, length * GENERATIONS as usize)
        .map_err(|e| Error::kernel(format!("cannot map the {what}"), e))?
        .write(slot as usize * length, half);
    Ok(())
}
