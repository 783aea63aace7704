//! The maps, and one generation of them as [`Tables`].

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, DevMapHash, HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::btf_map;
use weir_abi::{
    Address, COUNTERS as COUNTER_COUNT, Config, Count, First, Flow, Grant, MAX_ADDRESSES,
    MAX_FLOWS, MAX_GRANTS, MAX_PRINCIPALS, MAX_STATIONS, Principal, Root, SERVERS as SERVER_PLACES,
    Server, V4_BLOCKS as BLOCKS, V4_ROOT_BLOCKS, V4Node, V6_ROOT_BLOCKS, V6Node,
    WHEELS as WHEEL_COUNT, Wheel,
};
use weir_classify::budget::{BUCKETS, ROWS};
use weir_classify::{Grants, Sources, Tables};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
/// Nodes: a map of each generation's own size.
const INNER: usize = MMAPABLE | BPF_F_INNER_MAP as usize;

#[btf_map(name = "CONFIG")]
static CONFIG: Array<Config, 1, MMAPABLE> = Array::new();

#[btf_map(name = "ADDRESSES_0")]
static ADDRESSES_0: HashMap<[u8; 16], Address, { MAX_ADDRESSES as usize }> = HashMap::new();

#[btf_map(name = "ADDRESSES_1")]
static ADDRESSES_1: HashMap<[u8; 16], Address, { MAX_ADDRESSES as usize }> = HashMap::new();

#[btf_map(name = "FIRST")]
static FIRST: Array<First, 2> = Array::new();

#[btf_map(name = "V4_BLOCKS")]
static V4_BLOCKS: Array<[u8; 256], { 2 * BLOCKS as usize }, MMAPABLE> = Array::new();

#[btf_map(name = "V4_ROOTS")]
static V4_ROOTS: Array<[Root; 256], { 2 * V4_ROOT_BLOCKS as usize }, MMAPABLE> = Array::new();

#[btf_map(name = "V4_NODES")]
static V4_NODES: ArrayOfMaps<Array<V4Node, 1, INNER>, 2> = ArrayOfMaps::new();

#[btf_map(name = "V6_ROOTS")]
static V6_ROOTS: Array<[Root; 256], { 2 * V6_ROOT_BLOCKS as usize }, MMAPABLE> = Array::new();

#[btf_map(name = "V6_NODES")]
static V6_NODES: ArrayOfMaps<Array<V6Node, 1, INNER>, 2> = ArrayOfMaps::new();

#[btf_map(name = "COUNTERS")]
static COUNTERS: PerCpuArray<Count, { COUNTER_COUNT as usize }> = PerCpuArray::new();

#[btf_map(name = "SERVERS")]
static SERVERS: Array<Server, { 2 * SERVER_PLACES as usize }> = Array::new();

#[btf_map(name = "WHEELS")]
static WHEELS: Array<Wheel, { 2 * WHEEL_COUNT as usize }> = Array::new();

#[btf_map(name = "FLOWS")]
static FLOWS: LruHashMap<Flow, u32, { MAX_FLOWS as usize }> = LruHashMap::new();

#[btf_map(name = "PRINCIPALS")]
static PRINCIPALS: Array<Principal, { MAX_PRINCIPALS as usize }, MMAPABLE> = Array::new();

#[btf_map(name = "GRANTS")]
static GRANTS: HashMap<[u8; 16], Grant, { MAX_GRANTS as usize }> = HashMap::new();

/// What is asked of this CPU's sockets. Not pinned: it is written anew for each question.
#[btf_map(name = "ASKED")]
static ASKED: PerCpuArray<Asked, 1> = PerCpuArray::new();

/// When this CPU may send its next reset. Not pinned: it may begin anew with the program.
#[btf_map(name = "RESETS")]
static RESETS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// When sources may begin their next connection, see [`weir_classify::budget`]. Not pinned: it may begin
/// anew with the program.
#[btf_map(name = "SYN_BUDGETS")]
static SYN_BUDGETS: Array<u64, { (ROWS * BUCKETS) as usize }> = Array::new();

/// Interfaces that take what XDP redirects, by their index. Not pinned: it is filled for each program,
/// and while it is empty tcx forwards.
#[btf_map(name = "EGRESS")]
static EGRESS: DevMapHash<MAX_STATIONS> = DevMapHash::new();

/// What the kernel is asked about sockets: the stack of a program has no room for it.
#[repr(C)]
pub struct Asked {
    /// Two ends of IPv4.
    pub v4: Tuple<4>,
    /// Two ends of IPv6.
    pub v6: Tuple<16>,
    /// An IP header without options.
    pub ip: [u8; 40],
    /// A TCP header without options.
    pub tcp: [u8; 20],
}

/// Addresses and ports of a client and a service, as they stand in packets (`struct bpf_sock_tuple`).
#[repr(C)]
pub struct Tuple<const N: usize> {
    /// The addresses.
    pub addresses: [[u8; N]; 2],
    /// The ports.
    pub ports: [u16; 2],
}

/// Room for what is asked about sockets.
#[inline(always)]
pub fn asked() -> Option<&'static mut Asked> {
    // SAFETY: the kernel gave a pointer to this CPU's own slot, and a program is not moved to another
    // CPU while it runs. Integers of any value are valid.
    ASKED.get_ptr_mut(0).map(|asked| unsafe { &mut *asked })
}

/// What user space set; absent only when the map has no entry, which cannot be.
#[inline(always)]
pub fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// Adds a packet to a counter of this CPU.
#[inline(always)]
pub fn count(index: u32, bytes: u32) {
    if let Some(count) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the kernel gave a pointer to this CPU's own slot, and a program is not moved to
        // another CPU while it runs.
        unsafe {
            (*count).packets += 1;
            (*count).bytes += u64::from(bytes);
        }
    }
}

/// The moment from which this CPU may send its next reset, in nanoseconds of the kernel's clock.
#[inline(always)]
pub fn next_reset() -> Option<&'static mut u64> {
    // SAFETY: the kernel gave a pointer to this CPU's own slot, and a program is not moved to another
    // CPU while it runs.
    RESETS.get_ptr_mut(0).map(|next| unsafe { &mut *next })
}

/// The word of a bucket: when those who share it may begin their next connection, in nanoseconds of the
/// kernel's clock.
#[inline(always)]
pub fn bucket(index: u32) -> Option<&'static mut u64> {
    // SAFETY: the kernel gave a pointer to an entry that lives as long as the map. Two CPUs may write the
    // word at once; what is lost then is one beginning that was not counted.
    SYN_BUDGETS
        .get_ptr_mut(index)
        .map(|next| unsafe { &mut *next })
}

/// The place of the server that a flow of `dsr` began with; nothing for those that are forgotten.
#[inline(always)]
pub fn flow(flow: &Flow) -> Option<&'static u32> {
    // SAFETY: the map is preallocated: an entry that is replaced stays readable, and at worst names the
    // place of another flow's server for this one packet.
    unsafe { FLOWS.get(flow) }
}

/// Remembers the place of a flow's server. What fails is only not remembered: the flow follows the wheel.
#[inline(always)]
pub fn remember(flow: &Flow, place: u32) {
    let _ = FLOWS.insert(flow, place, 0);
}

/// Tells the kernel to send the frame out at an interface; nothing when it takes no redirected frames.
#[inline(always)]
pub fn redirect(interface: u32) -> Option<u32> {
    EGRESS.redirect(interface, u64::from(XDP_PASS)).ok()
}

/// The generations that were active when the packet came in.
#[derive(Clone, Copy)]
pub struct Generation(u32);

impl Generation {
    /// Reads which generations are active, once for the packet.
    #[inline(always)]
    pub fn new(config: &Config) -> Self {
        // SAFETY: the word is valid for the life of the program; user space may store to it at any
        // moment, so it is read exactly once.
        Self(unsafe { core::ptr::read_volatile(&raw const config.active) })
    }

    /// The server at this place, or what an empty place holds.
    #[inline(always)]
    pub fn server(self, place: u32) -> Option<&'static Server> {
        SERVERS.get(self.services() * SERVER_PLACES + place)
    }

    /// The wheel of a service for a family.
    #[inline(always)]
    pub fn wheel(self, index: u32) -> Option<&'static Wheel> {
        WHEELS.get(self.services() * WHEEL_COUNT + index)
    }

    #[inline(always)]
    fn sources(self) -> u32 {
        self.0 & Config::SOURCES
    }

    #[inline(always)]
    fn services(self) -> u32 {
        (self.0 & Config::SERVICES) >> 1
    }
}

impl Tables for Generation {
    #[inline(always)]
    fn address(&self, address: &[u8; 16]) -> Option<&Address> {
        // SAFETY: user space writes a generation only while no program reads it.
        unsafe {
            if self.services() == 0 {
                ADDRESSES_0.get(address)
            } else {
                ADDRESSES_1.get(address)
            }
        }
    }

    #[inline(always)]
    fn first(&self) -> Option<&First> {
        FIRST.get(self.services())
    }
}

impl Sources for Generation {
    #[inline(always)]
    fn v4_block(&self, address: u32) -> u8 {
        match V4_BLOCKS.get(self.sources() * BLOCKS + (address >> 16)) {
            Some(block) => block[((address >> 8) & 0xff) as usize],
            None => 0,
        }
    }

    #[inline(always)]
    fn v4_root(&self, address: u32) -> Root {
        match V4_ROOTS.get(self.sources() * V4_ROOT_BLOCKS + (address >> 24)) {
            Some(block) => block[((address >> 16) & 0xff) as usize],
            None => Root::default(),
        }
    }

    #[inline(always)]
    fn v4_node(&self, index: u32) -> Option<&V4Node> {
        V4_NODES.get(self.sources())?.get(index)
    }

    #[inline(always)]
    fn v6_root(&self, slot: u32) -> Root {
        match V6_ROOTS.get(self.sources() * V6_ROOT_BLOCKS + (slot >> 8)) {
            Some(block) => block[(slot & 0xff) as usize],
            None => Root::default(),
        }
    }

    #[inline(always)]
    fn v6_node(&self, index: u32) -> Option<&V6Node> {
        V6_NODES.get(self.sources())?.get(index)
    }
}

impl Grants for Generation {
    #[inline(always)]
    fn any(&self) -> bool {
        matches!(config(), Some(config) if config.grants != 0)
    }

    #[inline(always)]
    fn grant(&self, address: &[u8; 16]) -> Option<&Grant> {
        // SAFETY: the map is preallocated: an entry that user space replaces stays readable, and at worst
        // tells of another address for this one packet.
        unsafe { GRANTS.get(address) }
    }

    #[inline(always)]
    fn principal(&self, index: u32) -> Option<&Principal> {
        PRINCIPALS.get(index)
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: takes nothing.
        unsafe { bpf_ktime_get_boot_ns() }
    }
}
