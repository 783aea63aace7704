//! The kernel plane as user space sees it: loads the programs, attaches them, pins everything,
//! writes services and tables into the maps, and reads the counters back.
//!
//! In: an object file, interfaces, services with their verdicts, compiled tables. Out: counters,
//! verdicts of the loaded programs for crafted packets, and a status. It never decides a class or a
//! verdict itself, never changes a sysctl or a firewall rule, and never detaches unless told:
//! dropping a [`Dataplane`] leaves everything pinned and running.
//!
//! All calls block, and must be made on one thread in the network namespace that owns the interfaces.

mod attach;
mod counters;
mod cut;
mod device;
mod error;
mod ethtool;
mod grants;
mod hook;
mod links;
mod maglev;
mod migrate;
mod nat;
mod neighbours;
mod netfilter;
mod netlink;
mod pins;
mod probe;
mod programs;
mod publish;
mod route;
mod seen;
mod servers;
mod services;
mod steps;
mod surroundings;
mod sys;
mod types;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;

use aya::Ebpf;
use aya::programs::Program;
pub use error::Error;
pub use grants::{GrantSpec, since_boot};
pub use migrate::Migration;
pub use nat::NatUse;
pub use probe::{Answer, Judged};
pub use steps::{Step, Watch};
pub use types::{
    CaptureFilter, Counter, Direction, HookChoice, InterfaceStatus, Lost, MapStatus, NatSource,
    Options, Probe, ProbeOutcome, Published, SeenPacket, ServerSpec, ServiceSpec, Status,
    SynBudget, SynBudgets, XdpStatus,
};
use weir_abi::{ABI_VERSION, Config, Count, Hook};
use weir_tables::KernelTables;

use crate::grants::Granted;
use crate::netfilter::Netfilter;
use crate::pins::{Maps, Pins};
use crate::publish::Writer;
use crate::seen::Rings;
use crate::services::Services;

/// The kernel plane of this network namespace.
#[derive(Debug)]
pub struct Dataplane {
    options: Options,
    pins: Pins,
    maps: Maps,
    writer: Writer,
    ebpf: Ebpf,
    magic: [u32; 2],
    adopted: bool,
    interfaces: Vec<InterfaceStatus>,
    cpus: usize,
    /// What was counted before a migration.
    carried: BTreeMap<u32, Count>,
    /// Families that marked packets are brought home in.
    families: Vec<u8>,
    /// A sentence for each that is switched off.
    absent: Vec<String>,
    /// Whether the programs at XDP were not told yet what has changed at the interfaces.
    behind: bool,
    rings: Rings,
    netfilter: Netfilter,
    clearing: nat::Clearing,
    /// Ports of [`weir_abi::Topology::Nat`]; none without such a service.
    nat_ports: Option<RangeInclusive<u16>>,
    granted: Granted,
}

impl Dataplane {
    /// Loads the programs or adopts what is pinned, attaches them to the interfaces, and brings the
    /// marked packets to local sockets.
    ///
    /// Maps that are pinned are adopted when their ABI version and every layout match, with all that is
    /// in them; the program under a pinned link is swapped for the one in the object file without a gap.
    pub fn open(options: &Options) -> Result<Self, Error> {
        Self::open_watched(options, &mut steps::nobody)
    }

    /// As [`Dataplane::open`], and tells each step once it is done.
    pub fn open_watched(options: &Options, watch: Watch<'_>) -> Result<Self, Error> {
        programs::probe_kernel()?;
        let pins = Pins::prepare(&options.pin_dir)?;
        let adopted = pins.maps().exists();
        let (mut ebpf, maps, config) = if adopted {
            adopt(options, &pins)?
        } else {
            let made = make(options, &pins)?;
            watch(Step::Made);
            std::fs::rename(pins.unfinished_maps(), pins.maps())
                .map_err(|e| Error::kernel("cannot pin the maps", e))?;
            watch(Step::Named);
            made
        };
        let writer = Writer::new(&maps)?;
        // Before any packet carries the mark: without them it would be forwarded to the server.
        let (families, absent) = add_routes(options)?;
        watch(Step::Routed);
        let changed = Config {
            mark: options.mark,
            table: options.table,
            proxied: options.budgets.proxied.to_abi(),
            forwarded: options.budgets.forwarded.to_abi(),
            one_arm: u32::from(options.inside.is_empty()),
            ..config
        };
        if changed != config {
            write_config(&maps, &changed)?;
        }
        if (config.mark, config.table) != (options.mark, options.table) {
            remove_routes(config.mark, config.table, config.table == options.table)?;
        }
        watch(Step::Configured);
        programs::pin(&mut ebpf, &pins)?;
        watch(Step::Pinned);
        let interfaces = attach::attach(&mut ebpf, options, &pins, true, watch)?;
        migrate::clear(&pins, &writer, watch)?;
        attach::tell(&mut ebpf, writer.config(), &interfaces)?;
        let carried = pins::carried(&pins.maps());
        let rings = Rings::open(&mut ebpf, writer.config(), options.sample)?;
        let granted = Granted::of(&maps)?;
        let cpus = aya::util::nr_cpus()
            .map_err(|(what, error)| Error::kernel(format!("cannot read {what}"), error))?;
        let plane = Self {
            options: options.clone(),
            pins,
            maps,
            writer,
            ebpf,
            magic: config.probe,
            adopted,
            interfaces,
            cpus,
            carried,
            families,
            absent,
            behind: false,
            rings,
            netfilter: Netfilter::default(),
            clearing: nat::Clearing::default(),
            nat_ports: None,
            granted,
        };
        plane.tell_of_grants();
        Ok(plane)
    }

    /// Replaces all services at once, see [`Dataplane::switch`].
    pub fn set_services(&mut self, services: &[ServiceSpec]) -> Result<(), Error> {
        self.switch(None, Some(services), &mut steps::nobody)?;
        Ok(())
    }

    /// Replaces the tables at once, see [`Dataplane::switch`].
    pub fn publish(&mut self, tables: &KernelTables) -> Result<Published, Error> {
        self.switch(Some(tables), None, &mut steps::nobody)
    }

    /// Writes tables, services (all of them) or both beside those in use, then switches every packet to
    /// them at once. An address and port may belong to one service only. Whatever fails, and at whichever
    /// step the process dies, all of it is in force afterwards or nothing.
    pub fn switch(
        &mut self,
        tables: Option<&KernelTables>,
        services: Option<&[ServiceSpec]>,
        watch: Watch<'_>,
    ) -> Result<Published, Error> {
        let mut checked = services.map(Services::new).transpose()?;
        if let Some(services) = &mut checked {
            services.keep_answers(&self.maps, self.writer.second_services())?;
        }
        let published = self
            .writer
            .publish(&self.maps, tables, checked.as_ref(), watch)?;
        if let Some(services) = services {
            self.netfilter.set_services(services);
            self.nat_ports = nat::ports(services);
        }
        Ok(published)
    }

    /// The tables that an earlier process published. Nothing when the maps were made by this one.
    pub fn inherited(&self) -> Result<Option<KernelTables>, Error> {
        if !self.adopted {
            return Ok(None);
        }
        Ok(Some(self.writer.tables(&self.maps)?))
    }

    /// Ends the connections of this machine's stack to these addresses whose other end is to go, and tells
    /// both ends; and those of `nat` whose clients are to go: their next packets belong to none. Gives how
    /// many.
    pub fn cut(
        &mut self,
        local: &[SocketAddr],
        goes: &dyn Fn(IpAddr) -> bool,
    ) -> Result<usize, Error> {
        let translated = nat::cut(&self.maps, goes)?;
        let ended = cut::cut(local, goes).map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Error::Unsupported {
                what: "ending connections",
                needs: "CONFIG_INET_DIAG_DESTROY",
            },
            _ => Error::kernel("cannot end connections", error),
        })?;
        Ok(translated + ended)
    }

    /// Whether this machine's stack has a live connection to one of these addresses whose other end is `far`.
    pub fn connected(&self, local: &[SocketAddr], far: SocketAddr) -> Result<bool, Error> {
        cut::connected(local, far).map_err(|e| Error::kernel("cannot look for a connection", e))
    }

    /// The servers that an earlier process gave no new connections, each with the number of its service.
    pub fn down(&self) -> Result<Vec<(u16, IpAddr)>, Error> {
        servers::down(&self.maps, self.writer.second_services())
    }

    /// Beginnings of flows that the programs told of since the last look, oldest first: one of
    /// [`Options::sample`], and no more than some thousand a second of each processor.
    pub fn flows(&mut self) -> Vec<SeenPacket> {
        self.rings.flows()
    }

    /// What the programs could not tell, since they were loaded.
    pub fn lost(&self) -> Result<Lost, Error> {
        self.rings.lost()
    }

    /// Begins to capture, or ends it. It ends by itself at its time, also when this process does.
    pub fn capture(&mut self, wanted: Option<&CaptureFilter>) -> Result<(), Error> {
        self.rings.capture(self.writer.config(), wanted)
    }

    /// Frames that were captured since the last look, oldest first, as they were before anything was
    /// done with them.
    pub fn captured(&mut self) -> Vec<SeenPacket> {
        self.rings.frames()
    }

    /// Asks the programs on the first outside interface for their verdict on a crafted packet, in the
    /// order in which they would see it. Nothing is counted or sent. It fails when no program is on the
    /// interface.
    pub fn probe(&self, packet: &Probe) -> Result<ProbeOutcome, Error> {
        let frame = probe::syn(packet)?;
        let interface = self.first(Direction::Outside)?;
        let lost = attach::lost(interface);
        if lost.contains(&Hook::Tcx) {
            return Err(Error::Probe(
                "the program is gone from the first outside interface, so its packets are not judged; \
                 `weir status` tells more",
            ));
        }
        let hooks = match interface.xdp {
            Some(_) if !lost.contains(&Hook::Xdp) => [Hook::Xdp, Hook::Tcx].as_slice(),
            _ => &[Hook::Tcx],
        };
        let mut left = None;
        for hook in hooks {
            let answer = self.ask(interface, *hook, Some(self.magic), &frame)?;
            if answer.judged.is_some() || *hook == Hook::Tcx {
                return Ok(probe::outcome(&answer, *hook, left, interface));
            }
            left = answer.left;
        }
        unreachable!("tcx is the last of all hooks")
    }

    /// Hands any frame to the loaded program of a side and hook, as if it had arrived on the side's first
    /// interface, and tells what the program did. Nothing is counted or sent.
    pub fn test_run(
        &self,
        direction: Direction,
        hook: Hook,
        frame: &[u8],
    ) -> Result<Answer, Error> {
        self.ask(self.first(direction)?, hook, Some(self.magic), frame)
    }

    /// As [`Dataplane::test_run`], but the program takes the frame for one from the wire: it is counted, and
    /// taken from its source's budget. The answer has no judgement; the counters tell.
    pub fn replay(&self, direction: Direction, hook: Hook, frame: &[u8]) -> Result<Answer, Error> {
        self.ask(self.first(direction)?, hook, None, frame)
    }

    /// Puts back what somebody took away since it was made: the rule and the route that bring marked
    /// packets home, and the programs on an interface that was made anew. Without them packets would
    /// pass to the servers unjudged. Gives a sentence for each thing that was put back.
    pub fn hold(&mut self) -> Result<Vec<String>, Error> {
        let mut back = Vec::new();
        for family in &self.families {
            let missing = route::put_back(*family, self.options.mark, self.options.table)
                .map_err(|e| Error::kernel("cannot put back rule and route for the mark", e))?;
            if missing {
                back.push(format!(
                    "rule or route of the mark was gone for IPv{} and is back; find out who removes \
                     it (systemd-networkd: ManageForeignRoutingPolicyRules=no)",
                    number(*family)
                ));
            }
        }
        // An interface that is not there brings no packets; status tells of it.
        let gone: Vec<String> = self
            .interfaces
            .iter()
            .filter(|interface| sys::interface(&interface.name).is_some())
            .filter(|interface| !attach::lost(interface).is_empty())
            .map(|interface| interface.name.clone())
            .collect();
        let changes = attach::look_again(&mut self.interfaces);
        if !gone.is_empty() {
            let attached = attach::attach(
                &mut self.ebpf,
                &self.options,
                &self.pins,
                false,
                &mut steps::nobody,
            )?;
            for now in attached {
                let mut before = self.interfaces.iter_mut();
                if let Some(before) = before.find(|before| before.name == now.name) {
                    *before = now;
                }
            }
            back.extend(
                gone.iter()
                    .map(|name| format!("the program was gone from {name} and is back")),
            );
        }
        self.behind |= !(gone.is_empty() && changes.is_empty());
        if self.behind {
            attach::tell(&mut self.ebpf, self.writer.config(), &self.interfaces)?;
            self.behind = false;
        }
        back.extend(changes);
        self.clearing.go_on(&self.maps)?;
        for index in attach::targets(&self.interfaces) {
            if let Err(error) = neighbours::refresh(index) {
                tracing::warn!(%error, index, "cannot ask neighbours whether they are there");
            }
        }
        Ok(back)
    }

    /// What is attached where and why, and what on this machine may hinder it.
    pub fn status(&self) -> Status {
        let mut warnings = surroundings::warnings(&self.options);
        warnings.extend(self.netfilter.warning());
        warnings.extend(self.nat_ports.as_ref().and_then(surroundings::shared_ports));
        warnings.extend(self.absent.iter().cloned());
        let off = self
            .interfaces
            .iter()
            .filter(|one| !attach::lost(one).is_empty());
        warnings.extend(off.map(|interface| {
            format!(
                "no program is on {0}, so its packets are not judged: see whether {0} exists (`ip \
                 link show {0}`), and the log of weir-control",
                interface.name
            )
        }));
        if self.options.hook == HookChoice::Xdp {
            let without = self.interfaces.iter().filter(|one| one.xdp.is_none());
            warnings.extend(without.map(|interface| {
                format!(
                    "no XDP on {}, though `hook` in [kernel] insists on it: {}",
                    interface.name, interface.why
                )
            }));
        }
        Status {
            abi: ABI_VERSION,
            adopted: self.adopted,
            slot: self.writer.active(),
            mark: self.options.mark,
            table: self.options.table,
            interfaces: self.interfaces.iter().map(attach::told).collect(),
            maps: [self.maps.status(), self.rings.status()].concat(),
            nat: self.nat_use(),
            sample: self.options.sample,
            lost: self.rings.lost().unwrap_or_default(),
            warnings,
        }
    }

    /// Connections of `nat`; nothing when there are none, and no service of that topology.
    fn nat_use(&self) -> Option<NatUse> {
        let ports = self.nat_ports.as_ref().map_or(0, |ports| {
            (ports.end().saturating_sub(*ports.start())).saturating_add(1)
        });
        let usage = nat::usage(&self.maps, ports).ok()?;
        (ports > 0 || usage.connections > 0).then_some(usage)
    }

    /// Takes the programs off the interfaces and removes pins, rule and route.
    pub fn detach(self) -> Result<(), Error> {
        // Without the programs no packet is marked, so they go first.
        self.pins
            .remove()
            .map_err(|e| Error::kernel("cannot remove the pins", e))?;
        remove_routes(self.options.mark, self.options.table, false)
    }

    fn first(&self, direction: Direction) -> Result<&InterfaceStatus, Error> {
        self.interfaces
            .iter()
            .find(|interface| interface.direction == direction)
            .ok_or(Error::Probe("no interface of this side has a program"))
    }

    fn ask(
        &self,
        interface: &InterfaceStatus,
        hook: Hook,
        magic: Option<[u32; 2]>,
        frame: &[u8],
    ) -> Result<Answer, Error> {
        let program = self.ebpf.program(programs::name(hook, interface.direction));
        match program.expect("the object has all programs") {
            Program::SchedClassifier(program) => probe::run(program, interface, magic, frame),
            Program::Xdp(program) if interface.xdp.is_some() => {
                probe::run_xdp(program, interface, magic, frame)
            }
            _ => Err(Error::Probe("no program is at XDP on this interface")),
        }
    }
}

/// New maps, complete before they get their name.
fn make(options: &Options, pins: &Pins) -> Result<(Ebpf, Maps, Config), Error> {
    let unfinished = pins.unfinished_maps();
    let failed = |e: io::Error| Error::kernel("cannot pin the maps", e);
    pins::remove_flat(&unfinished).map_err(failed)?;
    std::fs::create_dir(&unfinished).map_err(failed)?;
    let ebpf = programs::load(options, &unfinished)?;
    let maps = Maps::open(&unfinished).map_err(|error| match error {
        Error::Incompatible { path, detail } => Error::WrongObject {
            path: options.object.clone(),
            detail: format!("{}: {detail}", pins::pin_name(&path)),
        },
        error => error,
    })?;
    let magic = sys::random().map_err(|e| Error::kernel("cannot get random bits", e))?;
    let config = Config {
        abi: ABI_VERSION,
        mark: options.mark,
        table: options.table,
        probe: magic,
        proxied: options.budgets.proxied.to_abi(),
        forwarded: options.budgets.forwarded.to_abi(),
        ..Config::default()
    };
    write_config(&maps, &config)?;
    Ok((ebpf, maps, config))
}

/// The pinned maps, with all that is in them, under the programs of this version.
fn adopt(options: &Options, pins: &Pins) -> Result<(Ebpf, Maps, Config), Error> {
    let maps = Maps::adopt(&pins.maps())?;
    let config = maps
        .config
        .get(&0)
        .map_err(|e| Error::kernel("cannot read the configuration map", e))?
        .expect("an array has all its entries");
    let ebpf = programs::load(options, &pins.maps())?;
    Ok((ebpf, maps, config))
}

fn write_config(maps: &Maps, config: &Config) -> Result<(), Error> {
    maps.config
        .set(&0, config)
        .map_err(|e| Error::kernel("cannot write the configuration map", e))
}

/// Brings marked packets home. Gives the families in which it could, and a sentence for each other.
fn add_routes(options: &Options) -> Result<(Vec<u8>, Vec<String>), Error> {
    let (mut families, mut absent) = (Vec::new(), Vec::new());
    for family in route::FAMILIES {
        match route::add(family, options.mark, options.table) {
            // The family is switched off on this machine.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EACCES)
                ) =>
            {
                absent.push(format!(
                    "no IPv{} here: its marked packets do not reach the proxy ({error})",
                    number(family)
                ));
            }
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {
                return Err(Error::LoopbackDown);
            }
            Err(error) => {
                return Err(Error::kernel(
                    "cannot add rule and route for the mark",
                    error,
                ));
            }
            Ok(()) => families.push(family),
        }
    }
    Ok((families, absent))
}

/// The number that people know a family by.
fn number(family: u8) -> u8 {
    if family == route::FAMILIES[0] { 4 } else { 6 }
}

fn remove_routes(mark: u32, table: u32, keep_route: bool) -> Result<(), Error> {
    for family in route::FAMILIES {
        route::remove(family, mark, table, keep_route)
            .map_err(|e| Error::kernel("cannot remove rule and route for the mark", e))?;
    }
    Ok(())
}

/// Takes off whatever an earlier process left in a pin directory, without loading anything: for
/// `--detach`, and for pins of another version. Where the pins tell, the rule and route that belong to
/// them go too, whatever mark and table are said.
pub fn detach_pinned(pin_dir: &Path, mark: u32, table: u32) -> Result<(), Error> {
    if pin_dir.exists() {
        let pins = Pins::prepare(pin_dir)?;
        let pinned = pins::config(&pins.maps());
        pins.remove()
            .map_err(|e| Error::kernel("cannot remove the pins", e))?;
        if let Some(pinned) = pinned {
            remove_routes(pinned.mark, pinned.table, false)?;
        }
    }
    remove_routes(mark, table, false)
}
