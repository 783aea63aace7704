//! Writes a generation beside the one in use, and switches to it with one store: of the sources, of the
//! services with their servers, or of both together.

use std::mem::{offset_of, size_of, size_of_val};

use weir_abi::{Config, GENERATIONS, MAX_NODES, V6_ROOT_BLOCKS};
use weir_tables::{KernelTables, Parts};

use crate::error::Error;
use crate::pins::{Maps, Sources};
use crate::services::Services;
use crate::steps::{Step, Watch};
use crate::sys::{Map, Mapped, Plain};
use crate::types::Published;

/// The maps as user space writes them.
#[derive(Debug)]
pub(crate) struct Writer {
    config: Mapped,
    grace: Grace,
}

/// What makes the kernel wait: it does so whenever a map takes a place in an array of maps, whichever
/// that is. Nothing that programs read changes by it.
#[derive(Debug)]
struct Grace {
    place: Map<u32, u32>,
    map: Map<u32, u32>,
}

impl Grace {
    fn new() -> Result<Self, Error> {
        let failed = |e| Error::kernel("cannot make the maps to wait with", e);
        let map = Map::nodes(1).map_err(failed)?;
        let place = Map::place_for(&map).map_err(failed)?;
        Ok(Self { place, map })
    }

    /// Waits until every program that is running has ended.
    fn wait(&self) -> Result<(), Error> {
        self.place
            .set_inner(0, &self.map)
            .map_err(|e| Error::kernel("cannot wait for running programs", e))
    }
}

impl Writer {
    /// Maps the configuration word into memory.
    pub(crate) fn new(maps: &Maps) -> Result<Self, Error> {
        let config = Mapped::new(&maps.config, size_of::<Config>())
            .map_err(|e| Error::kernel("cannot map the configuration map", e))?;
        let grace = Grace::new()?;
        Ok(Self { config, grace })
    }

    /// The configuration map in memory.
    pub(crate) fn config(&self) -> &Mapped {
        &self.config
    }

    /// Half that packets are classified by.
    pub(crate) fn active(&self) -> u32 {
        self.word() & Config::SOURCES
    }

    /// Whether packets are judged by the second generation of the services.
    pub(crate) fn second_services(&self) -> bool {
        self.word() & Config::SERVICES != 0
    }

    /// The generations in force, as the programs read them.
    fn word(&self) -> u32 {
        self.config
            .word(offset_of!(Config, active))
            .load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Publishes the tables, the services, or both. Until the one store packets are judged by the
    /// generations before, also when this fails or the process dies on the way.
    pub(crate) fn publish(
        &self,
        maps: &Maps,
        tables: Option<&KernelTables>,
        services: Option<&Services>,
        watch: Watch<'_>,
    ) -> Result<Published, Error> {
        let before = self.word();
        let mut after = before;
        // A program that began before the last switch may still read the halves that are not in force now.
        self.grace.wait()?;
        watch(Step::Waited);
        let slot = 1 - (before & Config::SOURCES);
        if let Some(tables) = tables {
            hang(&maps.sources.v4_nodes, slot, tables.v4_nodes(), "IPv4")?;
            watch(Step::Nodes);
            hang(&maps.sources.v6_nodes, slot, tables.v6_nodes(), "IPv6")?;
            watch(Step::Nodes);
            write(
                &maps.sources.v4_roots,
                slot,
                tables.v4_roots(),
                "IPv4 roots",
            )?;
            watch(Step::Roots);
            write(
                &maps.sources.v6_roots,
                slot,
                tables.v6_roots(),
                "IPv6 roots",
            )?;
            watch(Step::Roots);
            write(
                &maps.sources.v4_blocks,
                slot,
                tables.v4_blocks(),
                "IPv4 blocks",
            )?;
            watch(Step::Blocks);
            after ^= Config::SOURCES;
        }
        if let Some(services) = services {
            services.write(maps, before & Config::SERVICES != 0, watch)?;
            after ^= Config::SERVICES;
            after &= !Config::NAT;
            if services.translate() {
                after |= Config::NAT;
            }
        }
        self.config.publish_word(offset_of!(Config, active), after);
        watch(Step::Switched);
        Ok(Published {
            slot: after & Config::SOURCES,
            v4_nodes: tables.map_or(0, |tables| tables.v4_nodes().len()),
            v6_nodes: tables.map_or(0, |tables| tables.v6_nodes().len()),
        })
    }

    /// Waits until every program that is running has ended.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        self.grace.wait()
    }

    /// The tables that packets are classified by.
    pub(crate) fn tables(&self, maps: &Maps) -> Result<KernelTables, Error> {
        tables(&maps.sources, self.active())
    }
}

/// The tables in one half.
pub(crate) fn tables(sources: &Sources, slot: u32) -> Result<KernelTables, Error> {
    let v6_roots = V6_ROOT_BLOCKS as usize * 256;
    Ok(KernelTables::of(Parts {
        v4_blocks: read(&sources.v4_blocks, slot, 1 << 24, "IPv4 blocks")?,
        v4_roots: read(&sources.v4_roots, slot, 1 << 16, "IPv4 roots")?,
        v4_nodes: hung(&sources.v4_nodes, slot, "IPv4")?,
        v6_roots: read(&sources.v6_roots, slot, v6_roots, "IPv6 roots")?,
        v6_nodes: hung(&sources.v6_nodes, slot, "IPv6")?,
    }))
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
