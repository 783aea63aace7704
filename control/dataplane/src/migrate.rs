//! Takes over what another version of Weir has pinned, so that no packet meets no program.
//!
//! New maps are made and filled beside the old ones, under the programs of this version, which no packet
//! meets yet. Then the two directories of maps change names, in one step, and the ordinary opening goes on
//! from there: it swaps the programs under the living links, carries over what the old programs have
//! counted to their end, and removes the old maps. Dying before that one step leaves the old version in
//! force, and what is new is made anew by the next try; dying after it leaves each interface with the old
//! programs and their maps or with the new ones, and whoever opens next goes on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use weir_abi::{COUNTERS, Config, Count, Reason, SERVERS, Server, maps, since};
use weir_tables::KernelTables;

use crate::error::Error;
use crate::grants::Granted;
use crate::pins::{self, Maps, Pins};
use crate::programs;
use crate::publish::{self, Writer};
use crate::servers;
use crate::services::Services;
use crate::steps::{Step, Watch};
use crate::sys::{self, Map};
use crate::types::{Options, ServiceSpec};
use crate::{Dataplane, counters, make};

/// Reasons of this version.
#[expect(clippy::cast_possible_truncation, reason = "they fit into a byte")]
const REASONS: u32 = Reason::COUNT as u32;
/// Counters of one reason, in every version that has them where this one has.
const PLACES_OF_REASON: u32 = COUNTERS / REASONS;
/// Maps whose entries go over one by one, each with the oldest version that has it as this one does. What is
/// granted comes before the flows that go by it.
const KEPT: [(&str, u32); 7] = [
    (maps::PRINCIPALS, since::GRANTS),
    (maps::GRANTS, since::GRANTS),
    (maps::FLOWS, since::FLOWS),
    (maps::ANSWERS, since::NAT),
    (maps::TRANSLATIONS, since::NAT),
    (maps::BEGUN_ANSWERS, since::NAT),
    (maps::BEGUN, since::NAT),
];

/// Pins of another version that are to be taken over.
#[derive(Debug)]
pub struct Migration {
    options: Options,
    pins: Pins,
    old: Option<Old>,
}

impl Migration {
    /// Looks at what is pinned. Nothing when nothing is, or when it fits this version.
    pub fn prepare(options: &Options) -> Result<Option<Self>, Error> {
        programs::probe_kernel()?;
        let pins = Pins::prepare(&options.pin_dir)?;
        if !pins.maps().exists() {
            return Ok(None);
        }
        let old = match Maps::adopt(&pins.maps()) {
            // Somebody died behind the one step.
            Ok(_) if pins.unfinished_maps().exists() => None,
            Ok(_) => return Ok(None),
            Err(Error::Incompatible { .. }) => Some(Old::at(pins.maps())),
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            options: options.clone(),
            pins,
            old,
        }))
    }

    /// Version of the layouts that are pinned; nothing when that cannot be read.
    pub fn from(&self) -> Option<u32> {
        Some(self.old.as_ref()?.word(0)).filter(|abi| *abi != 0)
    }

    /// The tables by which packets are classified until now, where their layout is this version's.
    pub fn inherited(&self) -> Result<Option<KernelTables>, Error> {
        let Some(old) = &self.old else {
            let maps = Maps::adopt(&self.pins.maps())?;
            return Ok(Some(Writer::new(&maps)?.tables(&maps)?));
        };
        if !old.has(since::SOURCES) {
            tracing::warn!("the old tables cannot be read: flows whose class has changed are lost");
            return Ok(None);
        }
        let second = old.word(1) & Config::SOURCES;
        match pins::Sources::open(&old.directory) {
            Ok(sources) => Ok(Some(publish::tables(&sources, second)?)),
            Err(Error::Incompatible { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The servers that get no new connections until now, each with the number of its service.
    pub fn down(&self) -> Result<Vec<(u16, IpAddr)>, Error> {
        let Some(old) = &self.old else {
            let maps = Maps::adopt(&self.pins.maps())?;
            return servers::down(&maps, Writer::new(&maps)?.second_services());
        };
        let all = old.servers()?;
        Ok(all.into_iter().filter_map(servers::is_down).collect())
    }

    /// Makes new maps with these tables and services, puts them and the programs of this version in force,
    /// and removes what the other version had.
    pub fn finish(
        self,
        tables: &KernelTables,
        services: &[ServiceSpec],
        watch: Watch<'_>,
    ) -> Result<Dataplane, Error> {
        let Some(old) = &self.old else {
            let mut plane = Dataplane::open_watched(&self.options, watch)?;
            plane.switch(Some(tables), Some(services), watch)?;
            return Ok(plane);
        };
        // Also shows that the kernel takes the new programs, while the old ones work.
        let filled = self.fill(old, tables, services, watch);
        let _programs = filled.inspect_err(|_| {
            // Memory for whoever tries again; who dies before leaves it to that one.
            let _ = pins::remove_flat(&self.pins.unfinished_maps());
        })?;
        sys::exchange(&self.pins.unfinished_maps(), &self.pins.maps())
            .map_err(|e| Error::kernel("cannot put the new maps in the place of the old", e))?;
        watch(Step::Named);
        Dataplane::open_watched(&self.options, watch)
    }

    fn fill(
        &self,
        old: &Old,
        tables: &KernelTables,
        services: &[ServiceSpec],
        watch: Watch<'_>,
    ) -> Result<(Ebpf, Maps), Error> {
        let services = Services::new(services)?;
        let (programs, maps, config) = make(&self.options, &self.pins)?;
        watch(Step::Made);
        // Opening compares with what it is to have, and removes the rule of another mark.
        if old.has(since::MARK) {
            let config = Config {
                mark: old.word(2),
                table: old.word(3),
                ..config
            };
            crate::write_config(&maps, &config)?;
        }
        old.carry_servers(&maps)?;
        for name in old.carry_kept(&self.pins.unfinished_maps())? {
            tracing::warn!(
                name,
                "lies otherwise in the old maps: what it held begins anew"
            );
        }
        let writer = Writer::new(&maps)?;
        Granted::of(&maps)?.tell(&writer);
        writer.publish(&maps, Some(tables), Some(&services), watch)?;
        Ok((programs, maps))
    }
}

/// After a migration, once no packet meets the old programs: carries over what they counted and remembered
/// to their end, and removes their maps.
pub(crate) fn clear(pins: &Pins, writer: &Writer, watch: Watch<'_>) -> Result<(), Error> {
    let directory = pins.unfinished_maps();
    if !directory.exists() {
        return Ok(());
    }
    writer.wait()?;
    let old = Old::at(directory.clone());
    // Once: who died behind this may have left a part of the old maps.
    if !pins::has_carried(&pins.maps()) {
        pins::pin_carried(&pins.maps(), &old.counted())?;
    }
    old.carry_kept(&pins.maps())?;
    watch(Step::Carried);
    pins::remove_flat(&directory).map_err(|e| Error::kernel("cannot remove the old maps", e))?;
    watch(Step::Removed);
    Ok(())
}

/// Maps of another version.
#[derive(Debug)]
struct Old {
    directory: PathBuf,
    words: Vec<u32>,
}

impl Old {
    fn at(directory: PathBuf) -> Self {
        let words = sys::first_words(&directory.join(maps::CONFIG)).unwrap_or_default();
        Self { directory, words }
    }

    /// A word of its configuration; zero where it has none.
    fn word(&self, index: usize) -> u32 {
        self.words.get(index).copied().unwrap_or_default()
    }

    /// Whether it has what has been the same since this version.
    fn has(&self, since: u32) -> bool {
        (since..=weir_abi::ABI_VERSION).contains(&self.word(0))
    }

    /// Puts the servers into the slots that they have, where flows remember them.
    fn carry_servers(&self, to: &Maps) -> Result<(), Error> {
        for (index, server) in self.servers()? {
            to.servers
                .set(&index, &server)
                .map_err(|e| Error::kernel("cannot carry the servers over", e))?;
        }
        Ok(())
    }

    /// The servers in force, by slot. Empty where they lie otherwise.
    fn servers(&self) -> Result<Vec<(u32, Server)>, Error> {
        let path = self.directory.join(maps::SERVERS);
        let Ok((map, info)) = Map::<u32, Server>::open(&path) else {
            return Ok(Vec::new());
        };
        if !self.has(since::FLOWS) {
            return Ok(Vec::new());
        }
        let second = info.max_entries > SERVERS && self.word(1) & Config::SERVICES != 0;
        let start = if second { SERVERS } else { 0 };
        servers::all(&map, start, info.max_entries)
    }

    /// Copies the entries of maps that are kept; those that are there already are newer. Gives the maps
    /// that could not be.
    fn carry_kept(&self, to: &Path) -> Result<Vec<&'static str>, Error> {
        let mut lost = Vec::new();
        for (name, since) in KEPT {
            let copied = self.has(since)
                && sys::copy_entries(&self.directory.join(name), &to.join(name))
                    .map_err(|e| Error::kernel(format!("cannot carry {name} over"), e))?;
            if !copied {
                lost.push(name);
            }
        }
        Ok(lost)
    }

    /// What it counted, and what it had from those before it, by this version's indexes. Empty where the
    /// counters lie otherwise.
    fn counted(&self) -> BTreeMap<u32, Count> {
        let mut counted = BTreeMap::new();
        let path = self.directory.join(maps::COUNTERS);
        let Ok((map, info)) = Map::<u32, Count>::open(&path) else {
            return counted;
        };
        let reasons = info.max_entries / PLACES_OF_REASON;
        if !self.has(since::COUNTERS) || reasons * PLACES_OF_REASON != info.max_entries {
            tracing::warn!("the counters lie otherwise in the old maps: they begin anew");
            return counted;
        }
        let mut add = |index: u32, count: Count| {
            let (place, reason) = (index / reasons, index % reasons);
            if reason < REASONS && count != Count::default() {
                let sum = counted
                    .entry(place * REASONS + reason)
                    .or_insert_with(Count::default);
                *sum = counters::sum([&*sum, &count]);
            }
        };
        for (index, count) in pins::carried(&self.directory) {
            add(index, count);
        }
        let visit = |index, slots: &[Count]| add(index, counters::sum(slots));
        let read = aya::util::nr_cpus()
            .map_err(|(_, error)| error)
            .and_then(|cpus| map.each_per_cpu(cpus, visit));
        if let Err(error) = read {
            tracing::warn!(%error, "the counters of the old maps cannot be read: some begin anew");
        }
        counted
    }
}
