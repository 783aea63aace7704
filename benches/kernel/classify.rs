//! What it costs to find the class of a source, beside what others ask for the same.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use serde_json::json;
use weir_abi::Class;
use weir_dataplane::{Dataplane, HookChoice};

use crate::Size;
use crate::bed::{Bed, alone};
use crate::frame::Frame;
use crate::lists::{Mix, inside, lists, mixed, outside};
use crate::peers::Peer;
use crate::plane::{Files, open, publish};
use crate::programs::{Programs, SOURCES};
use crate::report::{Limit, Report, Spread, cell};

/// Nanoseconds for one look, by who looked and for what.
type Costs = BTreeMap<&'static str, Spread>;

/// Mixes and numbers of prefixes.
fn sizes(size: &Size) -> Vec<(Mix, usize)> {
    let counts: &[usize] = if size.quick {
        &[1_000, 10_000]
    } else {
        &[1_000, 10_000, 100_000, 1_000_000]
    };
    let all = |mix| counts.iter().map(move |count| (mix, *count));
    let blocklist = all(Mix::Blocklist).filter(|(_, count)| *count >= 10_000);
    all(Mix::Routes)
        .chain(blocklist)
        .chain(all(Mix::Six))
        .collect()
}

/// Runs the bench.
pub fn run(files: &Files, size: &Size) -> Result<Report> {
    let mut report = Report::new("classify", size.runs);
    println!("{}", report.headline());
    println!("{HEADINGS}");
    let bed = Bed::raise()?;
    let missing = missing(&bed, &mut report);
    let mut costs: BTreeMap<(&str, usize), Costs> = BTreeMap::new();
    let mut slowest: f64 = 0.0;
    let mut drops = BTreeMap::new();
    for (mix, count) in sizes(size) {
        let prefixes = mix.prefixes(count);
        let mut cost = Costs::new();
        let [compiling, publishing] = bed
            .router
            .within(|| weir(files, size, &prefixes, &mut cost))?;
        if count == 1_000_000 {
            slowest = slowest.max(publishing.median);
        }
        for peer in Peer::ALL {
            // A million addresses take the peers minutes to load, and say nothing that routes do not.
            let too_long = mix == Mix::Blocklist && count > size.usual();
            if !missing.contains(&peer) && !too_long {
                of_peer(&bed, files, size, peer, mix, &prefixes, &mut cost)
                    .with_context(|| format!("{} with {count} prefixes", peer.name()))?;
            }
        }
        if mix == Mix::Routes && count == size.usual() {
            for (sources, gathered) in DROPPED {
                let what = || dropping(&bed, files, size, &prefixes, sources, &missing);
                let cost = if gathered {
                    what()
                } else {
                    scattered(&bed, files, what)
                };
                drops.insert((sources, gathered), cost?);
            }
        }
        print_row(mix, count, &cost);
        report.row(json!({
            "sources": mix.name(), "prefixes": count, "compile_s": compiling, "publish_s": publishing,
            "ns": cost,
        }));
        costs.insert((mix.name(), count), cost);
    }
    for ((sources, gathered), cost) in &drops {
        print_drops(cost, size.usual(), *sources, *gathered);
        report.row(json!({
            "drop_at_the_door": cost, "prefixes": size.usual(), "sources": sources, "gro": gathered,
        }));
    }
    targets(&mut report, size, &costs, &drops, slowest);
    notes(&mut report);
    Ok(report)
}

/// Rotating sources of the frames that are dropped: so few that what is looked up stays in the processor's
/// own cache, and so many that it does not. And whether the kernel looks for what it could coalesce (GRO)
/// first.
const DROPPED: [(usize, bool); 4] = [
    (4096, false),
    (4096, true),
    (SOURCES, false),
    (SOURCES, true),
];

const HEADINGS: &str = "
ns per lookup, 65,536 rotating sources      (in turn: each lookup waits for the one before it)
                           Weir              LPM_TRIE             nft set         ipset hash:net
           prefixes   hit in turn  miss    hit in turn  miss      hit    miss      hit    miss";

fn print_row(mix: Mix, count: usize, cost: &Costs) {
    let number = |name, width| {
        cell(
            cost.get(name).map(|cost| cost.median),
            width,
            usize::from(width <= 5),
        )
    };
    println!(
        "{:<14} {:>8} {} {} {} {} {} {}  {} {}  {} {}",
        mix.name(),
        count,
        number("weir hit", 5),
        number("weir hit chained", 5),
        number("weir miss", 5),
        number("trie hit", 6),
        number("trie hit chained", 7),
        number("trie miss", 6),
        number("nft hit", 7),
        number("nft miss", 7),
        number("ipset hit", 7),
        number("ipset miss", 7),
    );
}

fn print_drops(drops: &Costs, prefixes: usize, sources: usize, gathered: bool) {
    let gro = if gathered { "on" } else { "off" };
    println!(
        "\ndropped at the door, IPv4, {prefixes} prefixes, {sources} rotating sources, all listed, GRO {gro}"
    );
    for (
        name,
        Spread {
            median: nanoseconds,
            ..
        },
    ) in drops
    {
        println!(
            "  {name:<24} {nanoseconds:>6.0} ns/packet {:>6.2} Mpps",
            1e3 / nanoseconds
        );
    }
}

fn missing(bed: &Bed, report: &mut Report) -> Vec<Peer> {
    let mut missing = Vec::new();
    for peer in Peer::ALL {
        if let Some(why) = peer.missing(&bed.router) {
            report.note(format!("{} was left out: {why}", peer.name()));
            missing.push(peer);
        }
    }
    missing
}

/// Measures Weir's tables, and a trie with the same prefixes. Gives seconds to compile and to publish.
fn weir(files: &Files, size: &Size, prefixes: &[IpNet], cost: &mut Costs) -> Result<[Spread; 2]> {
    let mut plane = open(files, HookChoice::Tcx)?;
    let sets = mixed(prefixes);
    let (mut compiling, mut publishing) = (Vec::new(), Vec::new());
    let mut again = |plane: &mut Dataplane| {
        let (compiled, [one, other]) = publish(plane, &sets)?;
        compiling.push(one);
        publishing.push(other);
        Ok::<_, anyhow::Error>(compiled)
    };
    let compiled = again(&mut plane)?;
    let mut programs = Programs::load(&files.bench_object, Some(&files.pins))?;
    let entries: Vec<(IpNet, u8)> = sets
        .iter()
        .flat_map(|list| {
            list.prefixes
                .iter()
                .map(|prefix| (*prefix, list.class as u8))
        })
        .collect();
    programs.fill_tries(&entries)?;
    let (hits, misses) = (
        inside(prefixes, SOURCES),
        outside(prefixes, &compiled, SOURCES),
    );
    let family = if prefixes[0].addr().is_ipv6() { 6 } else { 4 };
    alone()?;
    for (sources, plain, chained) in [
        (
            &hits,
            ["weir hit", "trie hit"],
            ["weir hit chained", "trie hit chained"],
        ),
        (
            &misses,
            ["weir miss", "trie miss"],
            ["weir miss chained", "trie miss chained"],
        ),
    ] {
        programs.set_sources(sources)?;
        let right: u64 = sources
            .iter()
            .map(|source| compiled.find(*source).class as u64)
            .sum();
        for (names, suffix) in [(plain, ""), (chained, "_chained")] {
            let mut seen: [Vec<f64>; 3] = Default::default();
            for run in 0..=size.runs {
                for (who, times) in ["empty", "weir", "trie"].iter().zip(&mut seen) {
                    let looked = programs.look(&format!("v{family}_{who}{suffix}"), size.passes)?;
                    if *who != "empty" && looked.sum != right {
                        bail!("{who} answers {} where the lists say {right}", looked.sum);
                    }
                    // The first run only warms up.
                    if run > 0 {
                        times.push(looked.nanoseconds);
                    }
                }
            }
            let [empty, weir, trie] = seen.map(Spread::of);
            cost.insert(names[0], weir.above(empty));
            cost.insert(names[1], trie.above(empty));
        }
    }
    for _ in 1..size.runs {
        again(&mut plane)?;
    }
    plane.detach()?;
    Ok([Spread::of(compiling), Spread::of(publishing)])
}

/// Measures a peer's set, over the same filter without one.
fn of_peer(
    bed: &Bed,
    files: &Files,
    size: &Size,
    peer: Peer,
    mix: Mix,
    prefixes: &[IpNet],
    cost: &mut Costs,
) -> Result<()> {
    let names = match peer {
        Peer::Nft => ["nft hit", "nft miss"],
        Peer::Ipset => ["ipset hit", "ipset miss"],
    };
    let compiled = weir_tables::Lists::compile(&mixed(prefixes));
    let hits = inside(prefixes, SOURCES);
    let misses = outside(prefixes, &compiled, SOURCES);
    let family = mix.family();
    let mut programs = Programs::load(&files.bench_object, None)?;
    peer.drop_all(&bed.router, family)?;
    programs.set_sources(&hits)?;
    let bare = frames(bed, &mut programs, family, size)?;
    peer.clear(&bed.router, family)?;
    peer.drop_set(&bed.router, family, prefixes)?;
    let hit = frames(bed, &mut programs, family, size)?;
    programs.set_sources(&misses)?;
    let miss = frames(bed, &mut programs, family, size)?;
    peer.clear(&bed.router, family)?;
    for (name, value) in names.iter().zip([hit.above(bare), miss.above(bare)]) {
        cost.insert(name, value);
    }
    Ok(())
}

/// Does something while the router's door does not coalesce what it receives.
fn scattered<T>(bed: &Bed, files: &Files, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Without GRO, it is a program in the driver that makes a veth take frames that XDP sends.
    let door = bed.router.within(|| {
        let mut door = Programs::load(&files.bench_object, None)?;
        door.let_through("out")?;
        Ok(door)
    })?;
    bed.router.run("ethtool", &["-K", "out", "gro", "off"])?;
    let result = work();
    bed.router.run("ethtool", &["-K", "out", "gro", "on"])?;
    drop(door);
    result
}

/// Measures whole packets that Weir drops at tcx, that a program drops that looks nothing up, and that the
/// peers drop.
fn dropping(
    bed: &Bed,
    files: &Files,
    size: &Size,
    prefixes: &[IpNet],
    sources: usize,
    missing: &[Peer],
) -> Result<Costs> {
    let mut programs = Programs::load(&files.bench_object, None)?;
    programs.set_sources(&inside(prefixes, sources).repeat(SOURCES / sources))?;
    let mut costs = Costs::new();
    let generator = bed.source.within(|| {
        alone()?;
        made(&mut programs, size)
    })?;
    costs.insert("(frames made)", generator);
    let bare = bed.router.within(|| {
        let mut sink = Programs::load(&files.bench_object, None)?;
        sink.counting("out", false, |_| frames(bed, &mut programs, 4, size))
    })?;
    costs.insert("tcx bare", bare);
    let plane = bed.router.within(|| {
        let mut plane = open(files, HookChoice::Tcx)?;
        publish(&mut plane, &lists(prefixes, &[Class::Blocked]))?;
        Ok::<Dataplane, anyhow::Error>(plane)
    })?;
    costs.insert("tcx weir", frames(bed, &mut programs, 4, size)?);
    bed.router.within(|| Ok(plane.detach()?))?;
    for peer in Peer::ALL.into_iter().filter(|peer| !missing.contains(peer)) {
        let name = match peer {
            Peer::Nft => "nft whole",
            Peer::Ipset => "ipset whole",
        };
        peer.drop_set(&bed.router, 4, prefixes)?;
        costs.insert(name, frames(bed, &mut programs, 4, size)?);
        peer.clear(&bed.router, 4)?;
    }
    Ok(costs)
}

/// Nanoseconds to make a frame that goes nowhere.
pub fn made(programs: &mut Programs, size: &Size) -> Result<Spread> {
    let mut times = Vec::new();
    for _ in 0..size.runs {
        let seconds = programs.send("v4_from", &Frame::v4(), 0, size.frames)?;
        times.push(seconds * 1e9 / f64::from(size.frames));
    }
    Ok(Spread::of(times))
}

/// Nanoseconds for each frame that the router received, with what it takes to make it.
fn frames(bed: &Bed, programs: &mut Programs, family: u8, size: &Size) -> Result<Spread> {
    let (program, frame) = if family == 6 {
        ("v6_from", Frame::v6())
    } else {
        ("v4_from", Frame::v4())
    };
    let interface = bed.source.index("g0")?;
    let count = size.frames / 2;
    let mut times = Vec::new();
    for run in 0..=size.runs {
        let before = bed.router.received("out")?;
        let seconds = bed.source.within(|| {
            alone()?;
            programs.send(program, &frame, interface, count)
        })?;
        let received = bed.router.received("out")? - before;
        if received < u64::from(count) / 2 {
            bail!("of {count} frames only {received} were received");
        }
        if run > 0 {
            times.push(seconds * 1e9 / f64::from(u32::try_from(received)?));
        }
    }
    Ok(Spread::of(times))
}

fn targets(
    report: &mut Report,
    size: &Size,
    costs: &BTreeMap<(&str, usize), Costs>,
    drops: &BTreeMap<(usize, bool), Costs>,
    publishing: f64,
) {
    let usual = size.usual();
    let at = |mix: Mix, count, name| {
        let cost: Option<&Costs> = costs.get(&(mix.name(), count));
        cost.and_then(|cost| cost.get(name)).map(|cost| cost.median)
    };
    let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let four = at(Mix::Routes, usual, "weir hit");
    report.target(
        format!("classify IPv4, {usual} prefixes"),
        "ns",
        four,
        Limit::Most(40.0),
    );
    report.target(
        format!("  of an nft interval set, {usual} prefixes"),
        "",
        ratio(four, at(Mix::Routes, usual, "nft hit")),
        Limit::Most(0.1),
    );
    let million = at(Mix::Routes, 1_000_000, "weir hit");
    report.target(
        "classify IPv4, 1000000 prefixes",
        "ns",
        million,
        Limit::Most(60.0),
    );
    let six = at(Mix::Six, usual, "weir hit");
    report.target(
        format!("classify IPv6, {usual} prefixes"),
        "ns",
        six,
        Limit::Most(150.0),
    );
    for ((sources, gathered), drops) in drops {
        let gro = if *gathered { "on" } else { "off" };
        let whole = |name| drops.get(name).map(|cost| cost.median);
        for (peer, name, least) in [
            ("nft whole", "nftables", 3.0),
            ("ipset whole", "ipset", 1.5),
        ] {
            report.target(
                format!(
                    "drop rate at tcx, of {name}'s, {usual} prefixes, {sources} sources, GRO {gro}"
                ),
                "×",
                ratio(whole(peer), whole("tcx weir")),
                Limit::Least(least),
            );
        }
    }
    let publishing = (publishing > 0.0).then_some(publishing);
    report.target(
        "publish 1000000 prefixes (the slower family)",
        "s",
        publishing,
        Limit::Most(0.3),
    );
}

fn notes(report: &mut Report) {
    for note in [
        "Weir and LPM_TRIE: 16 lookups in a run of a tcx program (BPF_PROG_TEST_RUN), less the same loop \
         without a lookup; every answer is checked against the lists. Lookups that do not wait for each \
         other overlap in the processor; \"in turn\" they cannot.",
        "nft and ipset: whole packets (live frames into a veth, prerouting at priority raw), less the \
         same filter without a set. A miss passes one more rule.",
        "Drops: the same bed for all, so with GRO on and off. Coalescing is on by default in cards and off \
         in a veth; forwarding needs it here. For a drop it is work in front of every filter that nothing \
         comes of, and it only brings the ratios nearer to one. Without it a program in the driver lets \
         every frame through, for all alike: only so a veth takes frames that XDP sends.",
        "The prefixes are disjoint, as an interval set wants them, and of four classes in turn. Misses: \
         IPv4 anywhere, IPv6 in a /32 that has prefixes.",
    ] {
        report.note(note);
    }
}
