//! The pin directory: what lies in it, and whether it fits this version.
//!
//! ```text
//! PIN_DIR/maps/NAME                   the maps
//! PIN_DIR/programs/NAME               the programs
//! PIN_DIR/links/HOOK-SIDE-INTERFACE   the links that hold the programs on the interfaces
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use weir_abi::{
    ABI_VERSION, Address, COUNTERS, Config, Count, First, Flow, GENERATIONS, Grant, Hook,
    MAX_ADDRESSES, MAX_BEGUN, MAX_FLOWS, MAX_GRANTS, MAX_PRINCIPALS, MAX_TRANSLATIONS, Principal,
    Root, SERVERS, Server, Translation, V4_BLOCKS, V4_ROOT_BLOCKS, V6_ROOT_BLOCKS, WHEELS, Wheel,
    maps,
};

use crate::error::Error;
use crate::links;
use crate::sys::{self, ARRAY, ARRAY_OF_MAPS, HASH, Info, LRU_HASH, MMAPABLE, Map, PERCPU_ARRAY};
use crate::types::{Direction, MapStatus};

/// Where systemd, iproute2 and bpftool expect the bpffs.
const USUAL: &str = "/sys/fs/bpf";

/// The names of all maps.
pub(crate) const MAPS: [&str; 19] = [
    maps::CONFIG,
    maps::ADDRESSES[0],
    maps::ADDRESSES[1],
    maps::FIRST,
    maps::V4_BLOCKS,
    maps::V4_ROOTS,
    maps::V4_NODES,
    maps::V6_ROOTS,
    maps::V6_NODES,
    maps::COUNTERS,
    maps::SERVERS,
    maps::WHEELS,
    maps::FLOWS,
    maps::TRANSLATIONS,
    maps::ANSWERS,
    maps::BEGUN,
    maps::BEGUN_ANSWERS,
    maps::PRINCIPALS,
    maps::GRANTS,
];

/// The pin directory.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Makes the directory, and mounts a bpffs when there is none.
    pub(crate) fn prepare(root: &Path) -> Result<Self, Error> {
        let denied = |source: io::Error| {
            Error::kernel(
                format!("cannot make the pin directory {}", root.display()),
                source,
            )
        };
        let mount = if root.starts_with(USUAL) {
            Path::new(USUAL)
        } else {
            root
        };
        // In /sys, directories cannot be made by hand; elsewhere they can.
        if !mount.exists() {
            fs::create_dir_all(mount).map_err(denied)?;
        }
        if !sys::is_bpffs(mount).map_err(denied)? {
            sys::mount_bpffs(mount).map_err(|error| match error.raw_os_error() {
                Some(libc::EPERM) => Error::NotPermitted {
                    what: "mounting a bpffs",
                    capability: "CAP_SYS_ADMIN",
                },
                Some(libc::ENODEV) => Error::Unsupported {
                    what: "bpffs",
                    needs: "CONFIG_BPF_SYSCALL",
                },
                _ => denied(error),
            })?;
        }
        let pins = Self {
            root: root.to_owned(),
        };
        for directory in [
            pins.root.clone(),
            pins.root.join("programs"),
            pins.root.join("links"),
        ] {
            fs::create_dir_all(&directory).map_err(denied)?;
        }
        Ok(pins)
    }

    /// Where the maps are pinned.
    pub(crate) fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Where maps are pinned until all of them are complete.
    pub(crate) fn unfinished_maps(&self) -> PathBuf {
        self.root.join("maps-new")
    }

    /// Where a program is pinned.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.root.join("programs").join(name)
    }

    /// Where the link to an interface is pinned.
    pub(crate) fn link(&self, hook: Hook, direction: Direction, interface: &str) -> PathBuf {
        // bpffs refuses dots in names; `/` and spaces cannot be in an interface's name.
        let name = interface.replace('%', "%25").replace('.', "%2e");
        let name = format!("{}-{}-{name}", hook.name(), direction.name());
        self.root.join("links").join(name)
    }

    /// Every pinned link.
    pub(crate) fn links(&self) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(self.root.join("links")) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes everything, also what was left half made. The directory itself goes when nothing else is
    /// in it and nothing is mounted on it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for link in self.links()? {
            links::take_off(&link)?;
        }
        for part in ["links", "programs", "maps", "maps-new"] {
            remove_flat(&self.root.join(part))?;
        }
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }
}

/// Removes a directory of pins; one that is not there is no error.
pub(crate) fn remove_flat(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        fs::remove_file(entry?.path())?;
    }
    fs::remove_dir(directory)
}

/// Where what was counted before a migration is pinned, beside the maps. Only user space reads it.
const CARRIED: &str = "CARRIED";

/// What was counted before a migration, by index.
pub(crate) fn carried(directory: &Path) -> BTreeMap<u32, Count> {
    let Ok((map, _)) = Map::<u32, Count>::open(&directory.join(CARRIED)) else {
        return BTreeMap::new();
    };
    let indexes = map.keys().unwrap_or_default().into_iter();
    let counts = indexes.filter_map(|index| Some((index, map.get(&index).ok()??)));
    counts.collect()
}

/// Whether there is anything from before a migration, be it that nothing was counted.
pub(crate) fn has_carried(directory: &Path) -> bool {
    directory.join(CARRIED).exists()
}

/// Pins what was counted before a migration, whole, in the place of what is there.
pub(crate) fn pin_carried(directory: &Path, counted: &BTreeMap<u32, Count>) -> Result<(), Error> {
    let failed = |e| Error::kernel("cannot carry the counters over", e);
    let path = directory.join(CARRIED);
    let room = u32::try_from(counted.len().max(1)).expect("fewer than counters");
    let map = Map::<u32, Count>::hash(room).map_err(failed)?;
    for (index, count) in counted {
        map.set(index, count).map_err(failed)?;
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    map.pin(&path).map_err(failed)
}

/// The pinned configuration, when it has this version's layout.
pub(crate) fn config(directory: &Path) -> Option<Config> {
    let path = directory.join(maps::CONFIG);
    if *sys::first_words(&path)?.first()? != ABI_VERSION {
        return None;
    }
    let (map, _) = Map::<u32, Config>::open(&path).ok()?;
    map.get(&0).ok()?
}

/// All maps, open.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) config: Map<u32, Config>,
    pub(crate) addresses: [Map<[u8; 16], Address>; 2],
    pub(crate) first: Map<u32, First>,
    pub(crate) sources: Sources,
    pub(crate) counters: Map<u32, Count>,
    pub(crate) servers: Map<u32, Server>,
    pub(crate) wheels: Map<u32, Wheel>,
    pub(crate) flows: Map<Flow, u32>,
    pub(crate) translations: Map<Flow, Translation>,
    pub(crate) answers: Map<Flow, Flow>,
    pub(crate) begun: Map<Flow, Translation>,
    pub(crate) begun_answers: Map<Flow, Flow>,
    pub(crate) principals: Map<u32, Principal>,
    pub(crate) grants: Map<[u8; 16], Grant>,
}

/// The maps of sources, with both generations.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) v4_blocks: Map<u32, Block>,
    pub(crate) v4_roots: Map<u32, Roots>,
    pub(crate) v4_nodes: Map<u32, u32>,
    pub(crate) v6_roots: Map<u32, Roots>,
    pub(crate) v6_nodes: Map<u32, u32>,
}

/// Bytes of 256 /24.
pub(crate) type Block = [u8; 256];
/// 256 roots.
pub(crate) type Roots = [Root; 256];

impl Maps {
    /// Opens the maps that another process made, if it had this version of the layouts.
    pub(crate) fn adopt(directory: &Path) -> Result<Self, Error> {
        // The version first: every version has it at the beginning of this map, of whatever size.
        let path = directory.join(maps::CONFIG);
        if let Some([abi, ..]) = sys::first_words(&path).as_deref()
            && *abi != ABI_VERSION
        {
            return Err(Error::Incompatible {
                path,
                detail: format!("layout {abi}, this version has layout {ABI_VERSION}"),
            });
        }
        Self::open(directory)
    }

    /// Opens the maps in a directory, and checks types and sizes of all of them.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        Ok(Self {
            config: open(directory, maps::CONFIG, ARRAY, 1, MMAPABLE)?,
            addresses: [
                open(directory, maps::ADDRESSES[0], HASH, MAX_ADDRESSES, 0)?,
                open(directory, maps::ADDRESSES[1], HASH, MAX_ADDRESSES, 0)?,
            ],
            first: open(directory, maps::FIRST, ARRAY, GENERATIONS, 0)?,
            sources: Sources::open(directory)?,
            counters: open(directory, maps::COUNTERS, PERCPU_ARRAY, COUNTERS, 0)?,
            servers: open(directory, maps::SERVERS, ARRAY, GENERATIONS * SERVERS, 0)?,
            wheels: open(directory, maps::WHEELS, ARRAY, GENERATIONS * WHEELS, 0)?,
            flows: lru(directory, maps::FLOWS, MAX_FLOWS)?,
            translations: lru(directory, maps::TRANSLATIONS, MAX_TRANSLATIONS)?,
            answers: lru(directory, maps::ANSWERS, MAX_TRANSLATIONS)?,
            begun: lru(directory, maps::BEGUN, MAX_BEGUN)?,
            begun_answers: lru(directory, maps::BEGUN_ANSWERS, MAX_BEGUN)?,
            principals: open(directory, maps::PRINCIPALS, ARRAY, MAX_PRINCIPALS, MMAPABLE)?,
            grants: open(directory, maps::GRANTS, HASH, MAX_GRANTS, 0)?,
        })
    }

    /// What the kernel says of each map.
    pub(crate) fn status(&self) -> Vec<MapStatus> {
        [
            told(maps::CONFIG, &self.config),
            told(maps::ADDRESSES[0], &self.addresses[0]),
            told(maps::ADDRESSES[1], &self.addresses[1]),
            told(maps::FIRST, &self.first),
            told(maps::V4_BLOCKS, &self.sources.v4_blocks),
            told(maps::V4_ROOTS, &self.sources.v4_roots),
            told_inside(maps::V4_NODES, &self.sources.v4_nodes),
            told(maps::V6_ROOTS, &self.sources.v6_roots),
            told_inside(maps::V6_NODES, &self.sources.v6_nodes),
            told(maps::COUNTERS, &self.counters),
            told(maps::SERVERS, &self.servers),
            told(maps::WHEELS, &self.wheels),
            told(maps::FLOWS, &self.flows),
            told(maps::TRANSLATIONS, &self.translations),
            told(maps::ANSWERS, &self.answers),
            told(maps::BEGUN, &self.begun),
            told(maps::BEGUN_ANSWERS, &self.begun_answers),
            told(maps::PRINCIPALS, &self.principals),
            told(maps::GRANTS, &self.grants),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Sources {
    /// Opens the maps in a directory, and checks types and sizes of all of them.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        Ok(Self {
            v4_blocks: halves(directory, maps::V4_BLOCKS, V4_BLOCKS)?,
            v4_roots: halves(directory, maps::V4_ROOTS, V4_ROOT_BLOCKS)?,
            v4_nodes: open(directory, maps::V4_NODES, ARRAY_OF_MAPS, GENERATIONS, 0)?,
            v6_roots: halves(directory, maps::V6_ROOTS, V6_ROOT_BLOCKS)?,
            v6_nodes: open(directory, maps::V6_NODES, ARRAY_OF_MAPS, GENERATIONS, 0)?,
        })
    }
}

fn told<K: sys::Plain, V: sys::Plain>(name: &'static str, map: &Map<K, V>) -> Option<MapStatus> {
    let info = map.info().ok()?;
    Some(MapStatus {
        name,
        id: info.id,
        capacity: info.max_entries,
        memory: map.memory(),
    })
}

/// With the memory of the maps in it.
fn told_inside(name: &'static str, map: &Map<u32, u32>) -> Option<MapStatus> {
    Some(MapStatus {
        memory: map.memory_inside(),
        ..told(name, map)?
    })
}

/// A hash that forgets the longest unused.
fn lru<K: sys::Plain, V: sys::Plain>(
    directory: &Path,
    name: &str,
    entries: u32,
) -> Result<Map<K, V>, Error> {
    open(directory, name, LRU_HASH, entries, 0)
}

/// An array that holds both generations, one behind the other.
fn halves<V: sys::Plain>(
    directory: &Path,
    name: &str,
    one_half: u32,
) -> Result<Map<u32, V>, Error> {
    open(directory, name, ARRAY, GENERATIONS * one_half, MMAPABLE)
}

fn open<K: sys::Plain, V: sys::Plain>(
    directory: &Path,
    name: &str,
    kind: u32,
    max_entries: u32,
    flags: u32,
) -> Result<Map<K, V>, Error> {
    let path = directory.join(name);
    let (map, info) = Map::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::NotFound => Error::Incompatible {
            path: path.clone(),
            detail: error.to_string(),
        },
        _ => Error::kernel(format!("cannot open {}", path.display()), error),
    })?;
    let wanted = Info {
        kind,
        max_entries,
        flags,
        ..info
    };
    if info != wanted {
        return Err(Error::Incompatible {
            path,
            detail: format!(
                "type {} with {} entries and flags {:#x}, this version has type {kind} with \
                 {max_entries} entries and flags {flags:#x}",
                info.kind, info.max_entries, info.flags
            ),
        });
    }
    Ok(map)
}

/// The interface that a link's pin is for, as far as its name tells.
pub(crate) fn pin_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(OsStr::new(""))
        .to_string_lossy()
        .into_owned()
}
