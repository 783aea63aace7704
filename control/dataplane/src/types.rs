//! What callers hand in and get back.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use weir_abi::{Budget, Class, Hook, Reason, Topology, Verdict};

use crate::nat::NatUse;

/// Where the kernel plane comes from and where it goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The object file with the programs.
    pub object: PathBuf,
    /// Directory for pins, in a bpffs; one is mounted when there is none.
    pub pin_dir: PathBuf,
    /// Interfaces towards the Internet.
    pub outside: Vec<String>,
    /// Interfaces towards the federation servers.
    pub inside: Vec<String>,
    /// Mark on packets for the proxy's listeners.
    pub mark: u32,
    /// Number of the routing table that brings marked packets to local sockets.
    pub table: u32,
    /// Where the programs are to act.
    pub hook: HookChoice,
    /// How many connections one source may begin.
    pub budgets: SynBudgets,
    /// One of so many beginnings of flows is told of; 0 is none.
    pub sample: u32,
}

/// How many connections one source may begin: an IPv4 address, or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynBudgets {
    /// To the proxy.
    pub proxied: SynBudget,
    /// Through to the servers.
    pub forwarded: SynBudget,
}

/// How many connections one source may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynBudget {
    /// In a second, in the long run; 0 sets no bound.
    pub per_second: u32,
    /// At once.
    pub at_once: u32,
}

/// Thousands of people may stand behind one address of a carrier, and everybody behind one of their own
/// organisation's.
impl Default for SynBudgets {
    fn default() -> Self {
        Self {
            proxied: SynBudget::of(500),
            forwarded: SynBudget::of(5000),
        }
    }
}

impl SynBudget {
    /// So many in a second, and those of four seconds at once.
    pub const fn of(per_second: u32) -> Self {
        Self {
            per_second,
            at_once: per_second.saturating_mul(4),
        }
    }

    pub(crate) const fn to_abi(self) -> Budget {
        Budget::new(self.per_second, self.at_once)
    }
}

/// Where the programs are to act. At tcx they always do: XDP leaves there what it cannot finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// Also at XDP, on each interface where it runs in the driver and the offloads allow it.
    #[default]
    Auto,
    /// At tcx alone.
    Tcx,
    /// Also at XDP, on every interface; where it cannot run in the driver, [`crate::Error::NoXdp`].
    Xdp,
}

/// One service as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Below [`weir_abi::MAX_SERVICES`]; counters are kept by it.
    pub id: u16,
    /// For error messages.
    pub name: String,
    /// Addresses that the service owns.
    pub addresses: Vec<IpAddr>,
    /// TCP ports, at most [`weir_abi::MAX_PORTS`] for one address.
    pub ports: Vec<u16>,
    /// Verdict by class.
    pub verdicts: [Verdict; Class::COUNT],
    /// How forwarded packets get to the servers.
    pub topology: Topology,
    /// The servers, for every topology but [`Topology::Route`]; at most [`weir_abi::MAX_SERVERS`].
    pub servers: Vec<ServerSpec>,
    /// Packets are judged and counted, and go on untouched.
    pub observe: bool,
    /// How its packets go on to servers, for [`Topology::Nat`].
    pub nat: NatSource,
}

/// What servers see instead of the client, for [`Topology::Nat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatSource {
    /// Addresses of this machine, at most one of each family; where there is none, the service's own.
    pub addresses: Vec<IpAddr>,
    /// Their ports.
    pub ports: RangeInclusive<u16>,
}

/// Below what Linux gives to its own connections (`ip_local_port_range`), and above what services listen
/// on.
impl Default for NatSource {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            ports: 4096..=32767,
        }
    }
}

/// One server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Its own address.
    pub address: IpAddr,
    /// Whether new connections may go to it; those that it has go on.
    pub up: bool,
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Half of the maps that is in use now, 0 or 1.
    pub slot: u32,
    /// Nodes of the IPv4 ranges.
    pub v4_nodes: usize,
    /// Nodes of the IPv6 ranges.
    pub v6_nodes: usize,
}

/// One kernel counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// Id of the service; [`weir_abi::NO_SERVICE`] when none is concerned.
    pub service: u16,
    /// Class of the source (of the destination, for answers).
    pub class: Class,
    /// What was done.
    pub verdict: Verdict,
    /// And why.
    pub reason: Reason,
    /// Which program did it; a packet is counted at one hook only.
    pub hook: Hook,
    /// Whether it was not done, but only would have been: the service was observed.
    pub observed: bool,
    /// Packets; several segments that the interface coalesced count once.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// A packet that the programs told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenPacket {
    /// When it was judged.
    pub time: SystemTime,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source and destination port; zero for what has none.
    pub ports: [u16; 2],
    /// Transport protocol.
    pub protocol: u8,
    /// Flags of TCP.
    pub flags: u8,
    /// Id of the service; nothing when none is concerned.
    pub service: Option<u16>,
    /// Class of the client.
    pub class: Class,
    /// What was done.
    pub verdict: Verdict,
    /// And why.
    pub reason: Reason,
    /// Which program did it.
    pub hook: Hook,
    /// Whether it was not done, but only would have been.
    pub observed: bool,
    /// Side that it came from.
    pub direction: Direction,
    /// Interface that it came in at.
    pub interface: String,
    /// Bytes in it, from the Ethernet header on.
    pub length: u32,
    /// Its first bytes, in a capture.
    pub frame: Vec<u8>,
}

/// Which packets a capture takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureFilter {
    /// Address and prefix length of clients; all when there is none.
    pub source: Option<(IpAddr, u8)>,
    /// Id of a service; all when there is none.
    pub service: Option<u16>,
    /// Verdicts; all when there is none.
    pub verdicts: Vec<Verdict>,
    /// Whether what follows the headers is kept, too.
    pub payload: bool,
    /// How long it goes on when nobody ends it.
    pub within: Duration,
}

/// What the programs could not tell, since they were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Samples of flows: no room in the ring buffer, or more in a second than a processor tells.
    pub flows: u64,
    /// Frames of captures: no room in the ring buffer.
    pub frames: u64,
}

/// A TCP SYN to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where it would come from.
    pub source: IpAddr,
    /// Where it would go, of the same family.
    pub destination: IpAddr,
    /// Its destination port.
    pub port: u16,
}

/// The loaded programs' answer to a [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeOutcome {
    /// Service that owns destination and port.
    pub service: Option<u16>,
    /// Class of the source.
    pub class: Class,
    /// What would be done.
    pub verdict: Verdict,
    /// And why.
    pub reason: Reason,
    /// Hook that would act.
    pub hook: Hook,
    /// Whether it would not be done, because the service is only observed.
    pub observed: bool,
    /// Why it is not the hook before, where that would have forwarded.
    pub hook_why: Option<&'static str>,
    /// Interface whose programs were asked.
    pub interface: String,
}

/// Which side of Weir an interface is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Towards the Internet: packets to services enter here.
    Outside,
    /// Towards the federation servers: their answers enter here.
    Inside,
}

impl Direction {
    /// The word used in configuration, status and pins.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

/// The kernel plane at a glance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Version of the layouts in the maps.
    pub abi: u32,
    /// Whether maps of an earlier process were taken over.
    pub adopted: bool,
    /// Half of the maps that packets are classified by.
    pub slot: u32,
    /// Mark on packets for the proxy.
    pub mark: u32,
    /// Routing table for marked packets.
    pub table: u32,
    /// Each interface with a program.
    pub interfaces: Vec<InterfaceStatus>,
    /// Each map.
    pub maps: Vec<MapStatus>,
    /// Connections of topology `nat`; nothing when no service is of it, and none are left.
    pub nat: Option<NatUse>,
    /// One of so many beginnings of flows is told of; 0 is none.
    pub sample: u32,
    /// What could not be told, since the programs were loaded.
    pub lost: Lost,
    /// What on this machine may hinder the kernel plane, each with what to do about it.
    pub warnings: Vec<String>,
}

/// One interface with a program.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its side.
    pub direction: Direction,
    /// The hooks in use: `tcx`, or `xdp+tcx`.
    pub hook: &'static str,
    /// Why these.
    pub why: String,
    /// The kernel's id of the program that runs at tcx.
    pub program: u32,
    /// Where its link is pinned.
    pub pin: PathBuf,
    /// What runs at XDP.
    pub xdp: Option<XdpStatus>,
}

/// The program at XDP on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct XdpStatus {
    /// The kernel's id of the program.
    pub program: u32,
    /// Where its link is pinned.
    pub pin: PathBuf,
    /// The interface's own address: frames for another one are left to tcx.
    pub address: [u8; 6],
    /// Whether the interface sends what XDP redirects to it; if not, tcx forwards what leaves by it.
    pub takes_redirected: bool,
    /// Whether the driver hides to which VLAN frames belong, since there are VLANs on the interface: then
    /// what enters by it is left to tcx.
    pub hides_tags: bool,
}

/// One map.
#[derive(Clone, Debug, Serialize)]
pub struct MapStatus {
    /// Its name.
    pub name: &'static str,
    /// The kernel's id.
    pub id: u32,
    /// Entries that fit; in a ring buffer bytes.
    pub capacity: u32,
    /// Bytes that the kernel holds for it, the maps inside it included, as far as it tells.
    pub memory: u64,
}
