//! What it costs to forward a frame, and how fast one stream of TCP is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use serde_json::json;
use weir_abi::Class;
use weir_dataplane::{Dataplane, HookChoice};

use crate::Size;
use crate::bed::{Bed, ahead, alone};
use crate::classify::made;
use crate::frame::{Frame, PORT, SERVICE_V4};
use crate::lists::{Mix, inside, lists};
use crate::peers::{Peer, nft_flowtable, nft_forward, nft_forwarded};
use crate::plane::{Files, open, publish};
use crate::programs::{Programs, SOURCES};
use crate::report::{Limit, Report, Spread, cell};

/// A way through the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Kernel,
    Flowtable,
    Set,
    Tcx,
    Xdp,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Kernel,
        Self::Flowtable,
        Self::Set,
        Self::Tcx,
        Self::Xdp,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Flowtable => "nft flowtable",
            Self::Set => "kernel + nft set",
            Self::Tcx => "Weir at tcx",
            Self::Xdp => "Weir at XDP",
        }
    }

    fn of_nft(self) -> bool {
        matches!(self, Self::Flowtable | Self::Set)
    }
}

/// What is measured with.
struct Rig<'a> {
    bed: &'a Bed,
    files: &'a Files,
    size: &'a Size,
    prefixes: Vec<IpNet>,
    source: Programs,
}

/// Nanoseconds for a frame, by the way and whether the sink is in the driver.
type Costs = BTreeMap<(Way, bool), Spread>;

/// Runs the bench.
pub fn run(files: &Files, size: &Size) -> Result<Report> {
    let mut report = Report::new("forward", size.runs);
    println!("{}", report.headline());
    let bed = Bed::raise()?;
    let ways = possible(&bed, &mut report)?;
    let prefixes = Mix::Routes.prefixes(size.usual());
    let mut source = Programs::load(&files.bench_object, None)?;
    source.set_sources(&inside(&prefixes, SOURCES))?;
    let mut rig = Rig {
        bed: &bed,
        files,
        size,
        prefixes,
        source,
    };
    let generator = bed.source.within(|| {
        alone()?;
        made(&mut rig.source, size)
    })?;
    let mut times: BTreeMap<(Way, bool), Vec<f64>> = BTreeMap::new();
    let mut shares: BTreeMap<(Way, bool), Vec<f64>> = BTreeMap::new();
    // One after the other in each run, so that what disturbs the machine disturbs all.
    for _ in 0..size.runs {
        for way in ways.iter().copied() {
            let plane = rig.raise(way)?;
            for early in [true, false] {
                let (nanoseconds, share) = rig
                    .measure(way, early)
                    .with_context(|| format!("{} into a sink", way.name()))?;
                times.entry((way, early)).or_default().push(nanoseconds);
                shares.entry((way, early)).or_default().push(share);
            }
            rig.lower(way, plane)?;
        }
    }
    let costs: Costs = times
        .into_iter()
        .map(|(key, times)| (key, Spread::of(times)))
        .collect();
    println!(
        "\nforwarding TCP frames of 64 bytes, {SOURCES} sources, {} prefixes, one processor\n\
         making a frame takes {:.0} ns of what is shown\n\n\
         {:<20} {:>12} {:>7} {:>10} {:>12} {:>7} {:>10}\n{:<20} {:>12} {:>7} {:>10} {:>12} {:>7} {:>10}",
        size.usual(),
        generator.median,
        "",
        "XDP sink",
        "",
        "",
        "skb sink",
        "",
        "",
        "",
        "ns/received",
        "Mpps",
        "arrived",
        "ns/received",
        "Mpps",
        "arrived",
    );
    for way in Way::ALL {
        let mut line = format!("{:<20}", way.name());
        let mut row = json!({ "way": way.name(), "prefixes": size.usual() });
        for (early, name) in [(true, "xdp_sink"), (false, "skb_sink")] {
            let cost = costs.get(&(way, early)).copied();
            let arrived = shares.get(&(way, early)).cloned().map(Spread::of);
            let nanoseconds = cost.map(|cost| cost.median);
            let _ = write!(
                line,
                " {} {} {} %",
                cell(nanoseconds, 12, 0),
                cell(nanoseconds.map(|ns| 1e3 / ns), 7, 2),
                cell(arrived.map(|share| share.median * 100.0), 8, 1),
            );
            row[name] = json!({ "ns": cost, "arrived": arrived });
        }
        println!("{line}");
        report.row(row);
    }
    report.row(json!({ "generator_ns": generator }));
    let bulk = bulk(&mut rig)?;
    report.row(json!({ "bulk_tcp_gbit_s": { "kernel": bulk[0], "weir at tcx": bulk[1] } }));
    println!(
        "\none stream of TCP: kernel {:.1} Gbit/s, Weir at tcx {:.1} Gbit/s",
        bulk[0].median, bulk[1].median
    );
    targets(&mut report, &costs, bulk);
    report.note(
        "Frames are live frames into a veth; all of the way, from making a frame to counting it behind \
         the router, runs on one processor, and is divided by the frames that arrived. XDP on veth says \
         little of a network card, in either direction, and nothing of bulk TCP.",
    );
    Ok(report)
}

/// The ways that this machine knows.
fn possible(bed: &Bed, report: &mut Report) -> Result<Vec<Way>> {
    let mut ways = Way::ALL.to_vec();
    if let Some(why) = Peer::Nft.missing(&bed.router) {
        report.note(format!("nft was left out: {why}"));
        ways.retain(|way| !way.of_nft());
    } else if let Err(why) = nft_flowtable(&bed.router) {
        report.note(format!("nft flowtable was left out: {why:#}"));
        ways.retain(|way| *way != Way::Flowtable);
    } else {
        Peer::Nft.clear(&bed.router, 4)?;
    }
    Ok(ways)
}

impl Rig<'_> {
    /// Makes the way, and nothing else, forward.
    fn raise(&mut self, way: Way) -> Result<Option<Dataplane>> {
        let router = &self.bed.router;
        match way {
            Way::Kernel => Ok(None),
            Way::Set => nft_forward(router, &self.prefixes).map(|()| None),
            Way::Flowtable => {
                nft_flowtable(router)?;
                self.establish()?;
                Ok(None)
            }
            Way::Tcx => self.plane(HookChoice::Tcx).map(Some),
            Way::Xdp => self.plane(HookChoice::Xdp).map(Some),
        }
    }

    fn lower(&self, way: Way, plane: Option<Dataplane>) -> Result<()> {
        let router = &self.bed.router;
        if let Some(plane) = plane {
            router.within(|| Ok(plane.detach()?))?;
        }
        if way.of_nft() {
            Peer::Nft.clear(router, 4)?;
        }
        Ok(())
    }

    fn plane(&self, hook: HookChoice) -> Result<Dataplane> {
        let mut sets = lists(&self.prefixes, &[Class::Managed]);
        sets[0].prefixes.push(IpNet::new(CLIENT.into(), 32)?);
        self.bed.router.within(|| {
            let mut plane = open(self.files, hook)?;
            publish(&mut plane, &sets)?;
            Ok(plane)
        })
    }

    /// Lets conntrack see each flow from both sides, so that it enters the table of flows.
    fn establish(&mut self) -> Result<()> {
        let count = u32::try_from(SOURCES)?;
        let (bed, source) = (self.bed, &mut self.source);
        bed.router.within(|| {
            let liberal = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";
            std::fs::write(liberal, "1").context("conntrack takes no settings")
        })?;
        let (there, back) = (bed.source.index("g0")?, bed.sink.index("s0")?);
        for _ in 0..2 {
            bed.source
                .within(|| source.send("v4_from", &Frame::v4(), there, count))?;
            bed.sink
                .within(|| source.send("v4_to", &Frame::v4_back(), back, count))?;
        }
        let before = nft_forwarded(&bed.router)?;
        bed.source
            .within(|| source.send("v4_from", &Frame::v4(), there, count))?;
        let slow = nft_forwarded(&bed.router)? - before;
        if slow > u64::from(count) / 20 {
            bail!("of {count} flows {slow} did not enter the table of flows");
        }
        Ok(())
    }

    /// Nanoseconds for each frame that arrived, and which share of them did.
    fn measure(&mut self, way: Way, early: bool) -> Result<(f64, f64)> {
        let (bed, size, source) = (self.bed, self.size, &mut self.source);
        let interface = bed.source.index("g0")?;
        let mut sink = Programs::load(&self.files.bench_object, None)?;
        bed.sink.within(|| {
            sink.counting("s0", early, |sink| {
                let mut send = |count| {
                    bed.source.within(|| {
                        alone()?;
                        source.send("v4_from", &Frame::v4(), interface, count)
                    })
                };
                // Warms up.
                send(size.frames / 10)?;
                let before = sink.received()?;
                let seconds = send(size.frames)?;
                let received = u32::try_from(sink.received()? - before)?;
                if received < size.frames / 2 {
                    bail!(
                        "{}: of {} frames only {received} arrived",
                        way.name(),
                        size.frames
                    );
                }
                Ok((
                    seconds * 1e9 / f64::from(received),
                    f64::from(received) / f64::from(size.frames),
                ))
            })
        })
    }
}

/// Where the stream comes from.
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// Gbit/s of one stream, by the kernel and by Weir at tcx.
fn bulk(rig: &mut Rig<'_>) -> Result<[Spread; 2]> {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rig.size.runs {
        for (way, rates) in [Way::Kernel, Way::Tcx].into_iter().zip(&mut rates) {
            let plane = rig.raise(way)?;
            rates.push(
                stream(rig.bed, rig.size.seconds)
                    .with_context(|| format!("a stream of TCP by way of: {}", way.name()))?,
            );
            rig.lower(way, plane)?;
        }
    }
    Ok(rates.map(Spread::of))
}

fn stream(bed: &Bed, seconds: f64) -> Result<f64> {
    let address = SocketAddr::from((SERVICE_V4, PORT));
    let listener = bed.sink.within(|| Ok(TcpListener::bind(address)?))?;
    let client = bed.source.within(|| {
        Ok(TcpStream::connect_timeout(
            &address,
            Duration::from_secs(5),
        )?)
    })?;
    let (mut server, _) = listener.accept()?;
    ahead()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            ahead()?;
            let mut client = client;
            let bytes = vec![0_u8; 1 << 18];
            let start = Instant::now();
            while start.elapsed().as_secs_f64() < seconds {
                client.write_all(&bytes)?;
            }
            Ok::<(), anyhow::Error>(())
        });
        let mut buffer = vec![0_u8; 1 << 18];
        let mut bits = 0.0;
        let start = Instant::now();
        loop {
            match server.read(&mut buffer)? {
                0 => break,
                length => bits += 8.0 * f64::from(u32::try_from(length)?),
            }
        }
        let took = start.elapsed().as_secs_f64();
        sender.join().expect("it does not panic")?;
        Ok(bits / took / 1e9)
    })
}

fn targets(report: &mut Report, costs: &Costs, bulk: [Spread; 2]) {
    let cost = |way, early| costs.get(&(way, early)).map(|cost| cost.median);
    let ratio = |way, early| Some(cost(Way::Set, early)? / cost(way, early)?);
    for (what, way, early, least) in [
        (
            "Weir at XDP, of kernel + nft set, XDP sink",
            Way::Xdp,
            true,
            2.5,
        ),
        (
            "Weir at XDP, of kernel + nft set, skb sink",
            Way::Xdp,
            false,
            2.0,
        ),
        (
            "Weir at tcx, of kernel + nft set, XDP sink",
            Way::Tcx,
            true,
            1.5,
        ),
        (
            "Weir at tcx, of kernel + nft set, skb sink",
            Way::Tcx,
            false,
            1.5,
        ),
    ] {
        report.target(what, "×", ratio(way, early), Limit::Least(least));
    }
    let share = Some(bulk[1].median / bulk[0].median);
    report.target(
        "bulk TCP through tcx, of the kernel's own",
        "×",
        share,
        Limit::Least(0.95),
    );
}
