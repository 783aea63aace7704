//! What it takes to publish long lists, and to find a source in them: `cargo run --release --package
//! weir-dataplane --example publish_at_size -- 1000000`, as root, with `WEIR_EBPF_OBJECT` set. It works in
//! a network namespace of its own. Times are medians; those of a lookup are of the code that the kernel
//! runs too, here in user space, over 4,096 and 65,536 sources inside the lists and 65,536 at random.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::sched::{CloneFlags, unshare};
use weir_abi::Class;
use weir_dataplane::{Dataplane, HookChoice, Options, SynBudgets};
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

const ROUNDS: usize = 9;
const SOURCES: usize = 65_536;
/// What fits the caches better.
const FEW: usize = 4_096;
const CLASSES: [Class; 4] = [Class::Managed, Class::Bypass, Class::Blocked, Class::Relay];

/// Makes a prefix.
type Mix = fn(&mut Random) -> IpNet;

fn main() {
    let count: usize = std::env::args().nth(1).map_or(1_000_000, |text| {
        text.parse().expect("a number of prefixes")
    });
    let object = std::env::var_os("WEIR_EBPF_OBJECT").expect("the path of the kernel programs");
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: be root");
    let up = ["link", "set", "lo", "up"];
    let done = std::process::Command::new("ip").args(up).status();
    assert!(done.is_ok_and(|status| status.success()), "ip link");
    let options = Options {
        pin_dir: PathBuf::from(format!("/sys/fs/bpf/weir-publish-{}", std::process::id())),
        object: object.into(),
        outside: Vec::new(),
        inside: Vec::new(),
        mark: 0x5745,
        table: 5745,
        hook: HookChoice::Tcx,
        budgets: SynBudgets::default(),
        sample: 0,
    };
    let mut plane = Dataplane::open(&options).unwrap_or_else(|error| panic!("{error}"));
    let mixes: [(&str, Mix); 4] = [
        ("IPv4 as routed", routed),
        ("IPv4, three of four hosts", blocklist),
        ("IPv6, mixed", six),
        ("IPv6, below one /32", six_in_one),
    ];
    for (name, prefix) in mixes {
        let mut random = Random(0x5745_4952);
        let mut lists = CLASSES.map(list);
        for number in 0..count {
            // Neighbours of one class would become one range.
            lists[number % CLASSES.len()]
                .prefixes
                .push(prefix(&mut random));
        }
        let line = measure(&mut plane, &lists, &mut random);
        println!("{count} prefixes, {name}: {line}");
    }
    for map in plane.status().maps {
        println!("{:>10} KiB  {}", map.memory >> 10, map.name);
    }
    plane.detach().unwrap_or_else(|error| panic!("{error}"));
}

fn measure(plane: &mut Dataplane, given: &[List], random: &mut Random) -> String {
    let sort = median(|| drop(black_box(Lists::compile(given))));
    let lists = Lists::compile(given);
    let history = History::of(&Lists::default());
    let build = median(|| drop(black_box(KernelTables::compile(&lists, &history))));
    let tables = KernelTables::compile(&lists, &history);
    let publish = median(|| {
        plane
            .publish(&tables)
            .unwrap_or_else(|error| panic!("{error}"));
    });
    let inside: Vec<IpAddr> = (0..SOURCES)
        .map(|number| {
            let prefixes = &given[number % given.len()].prefixes;
            within(prefixes[random.below(prefixes.len())], random)
        })
        .collect();
    let anywhere: Vec<IpAddr> = inside.iter().map(|one| elsewhere(*one, random)).collect();
    let mut line = format!("compile {sort:.0?}, tables {build:.0?}, publish {publish:.0?}; lookup");
    let few = &inside[..FEW];
    for (what, sources) in [
        ("inside, few", few),
        ("inside", &inside),
        ("anywhere", &anywhere),
    ] {
        let took = median(|| {
            for source in sources {
                black_box(tables.standing(*source));
            }
        });
        let each = took.as_secs_f64() * 1e9 / f64::from(u32::try_from(sources.len()).expect("few"));
        write!(line, " {each:.1} ns {what}").expect("a String takes everything");
    }
    let kib = (size_of_val(tables.v4_nodes()) + size_of_val(tables.v6_nodes())) >> 10;
    line + &format!(", nodes {kib} KiB")
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times = [(); ROUNDS].map(|()| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn list(class: Class) -> List {
    List {
        name: class.name().to_owned(),
        class,
        scope: Scope::All,
        origin: Origin::Remote,
        prefixes: Vec::new(),
    }
}

/// The lengths of the Internet's routing table. None is longer than a block, so they take no nodes.
fn routed(random: &mut Random) -> IpNet {
    four(random, &[24, 24, 24, 24, 24, 24, 23, 22, 20, 19, 16])
}

fn blocklist(random: &mut Random) -> IpNet {
    four(random, &[32, 32, 32, 24])
}

/// A prefix with one of these lengths, wherever it lies.
fn four(random: &mut Random, lengths: &[u8]) -> IpNet {
    let length = lengths[random.below(lengths.len())];
    let net = Ipv4Net::new(Ipv4Addr::from_bits(random.bits(32)), length).expect("a length");
    net.trunc().into()
}

/// Many /48, and hosts; eight prefixes in each of the networks that are given out.
fn six(random: &mut Random) -> IpNet {
    let regions = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00];
    let region =
        regions[random.below(6)] + (random.bits(4) & if random.bits(3) == 0 { 15 } else { 7 });
    let provider = u128::from(region) << 112 | u128::from(random.bits(10)) << 102;
    in_provider(random, provider)
}

fn six_in_one(random: &mut Random) -> IpNet {
    in_provider(random, 0x2001_0db8 << 96)
}

fn in_provider(random: &mut Random, provider: u128) -> IpNet {
    let lengths = [48, 48, 48, 32, 40, 44, 56, 64, 64, 128];
    let length = lengths[random.below(lengths.len())].max(33);
    let rest = u128::from(random.bits(32)) << 64 | u128::from(random.bits(32));
    let net = Ipv6Net::new(Ipv6Addr::from_bits(provider | rest), length).expect("a length");
    net.trunc().into()
}

/// A source inside a prefix.
fn within(net: IpNet, random: &mut Random) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let host = u32::MAX.checked_shr(net.prefix_len().into()).unwrap_or(0);
            Ipv4Addr::from_bits(net.network().to_bits() | random.bits(32) & host).into()
        }
        IpNet::V6(net) => {
            let host = u128::MAX.checked_shr(net.prefix_len().into()).unwrap_or(0);
            let bits = u128::from(random.bits(32)) << 64 | u128::from(random.bits(32));
            Ipv6Addr::from_bits(net.network().to_bits() | bits & host).into()
        }
    }
}

/// Any source of the same family, of IPv6 in the space that is given out.
fn elsewhere(source: IpAddr, random: &mut Random) -> IpAddr {
    match source {
        IpAddr::V4(_) => Ipv4Addr::from_bits(random.bits(32)).into(),
        IpAddr::V6(_) => {
            let upper = u128::from(random.bits(29)) << 96 | 0x2000 << 112;
            Ipv6Addr::from_bits(upper | u128::from(random.bits(32))).into()
        }
    }
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn bits(&mut self, count: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        u32::try_from(mixed >> (64 - count)).expect("at most 32 bits")
    }

    fn below(&mut self, limit: usize) -> usize {
        self.bits(31) as usize % limit
    }
}
