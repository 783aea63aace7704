//! The frames through real interfaces at full speed, beside others who do the same job.
//!
//! In: traffic, lists, services. Out: rows. For each set of lists every way gets namespaces and rules of its own at
//! once, so that the runs can be interleaved: forwards in one round, backwards in the next. First each frame is sent
//! once, slowly, and every counter has to be right; then as many as can be made, for a while.

mod peers;
mod receiver;
mod rig;
mod tcpreplay;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use weir_abi::Verdict;
use weir_benches::live::{Counts, Crowd, Door, LeftOut, Offer, Plain, Row, Witness, plain};
use weir_benches::replay::{Lists, Side};
use weir_benches::report::Spread;
use weir_dataplane::ServiceSpec;

use super::Setting;
use crate::Size;
use crate::bed::{Namespace, OUT_MAC, SOURCE_MAC, last};
use crate::lists::{Mix, mixed};
use crate::plane::Files;
use crate::programs::Programs;
use crate::report::Report;
use peers::Way;
use rig::{Job, Rig, Run};

/// Everything that was measured.
#[derive(Default)]
struct Live {
    /// One way, one set of lists, one mix of classes each.
    rows: Vec<Row>,
    /// The same frames from another sender, where it is installed.
    witness: Option<Witness>,
}

/// What all sets of lists have in common.
struct Bench<'a> {
    files: &'a Files,
    size: &'a Size,
    setting: &'a Setting,
    services: Vec<ServiceSpec>,
    plain: Vec<Plain<'a>>,
    ways: Vec<Way>,
    witness: bool,
    processors: [usize; 2],
}

/// A mix of classes, with what was measured of each way.
struct Mixed {
    crowd: Crowd,
    offer: Offer,
    frames: Programs,
    ways: Vec<Measured>,
}

/// What was measured of one way.
struct Measured {
    counts: Counts,
    invalid: Option<String>,
    runs: Vec<Run>,
}

/// Shares of what became of frames may differ by so much at full speed: which ones found the queue full is chance.
const APART: f64 = 0.02;
/// Of the frames that reached the router's door, so many may be lost behind it.
const LOST: f64 = 0.001;

/// Sends the frames that came in outside.
pub fn run(files: &Files, size: &Size, setting: &Setting, report: &mut Report) -> Result<()> {
    let services = same(setting, report);
    let Some(first) = services.first() else {
        bail!("there is no service to send frames to");
    };
    let door = door(&services, &setting.lists);
    let outside = || setting.traffic.of(Side::Outside);
    let (plain, left_out) = plain(outside(), &door, &setting.lists, &setting.services);
    if plain.is_empty() {
        report.note(format!(
            "Nothing was sent: no frame is a plain TCP segment to {}. Say with --service where the service is, or \
             rewrite addresses with --map.",
            first.name
        ));
        return Ok(());
    }
    let mut bench = Bench {
        files,
        size,
        setting,
        services,
        plain,
        ways: Way::ALL.to_vec(),
        witness: true,
        processors: [0, last()?],
    };
    bench.find_missing(report)?;
    for (name, program, arguments) in [
        ("nftables", "nft", ["--version"].as_slice()),
        ("ipset", "ipset", &["version"]),
        ("iptables", "iptables", &["--version"]),
        ("tcpreplay", "tcpreplay", &["--version"]),
    ] {
        report.ask_version(name, program, arguments);
    }
    let mut live = Live::default();
    println!("{HEADINGS}");
    for (lists, crowds) in bench.sets() {
        bench.measure(&lists, &crowds, &mut live, report)?;
    }
    for row in &live.rows {
        report.row(row.json());
    }
    if let Some(witness) = &live.witness {
        report.row(witness.json());
    }
    notes(report, &left_out);
    Ok(())
}

const HEADINGS: &str = "
at full speed               prefixes  mix                     M/s offered  M/s taken   ns/frame (min-max)      busy   became";

/// The services that judge by the same verdicts as the first one; the bed has one door. They do not only observe,
/// and refuse silently: so the peers do.
fn same(setting: &Setting, report: &mut Report) -> Vec<ServiceSpec> {
    let mut specs = setting.services.specs();
    for spec in &mut specs {
        spec.observe = false;
        for verdict in &mut spec.verdicts {
            *verdict = match verdict {
                Verdict::Pass | Verdict::Forward => Verdict::Forward,
                Verdict::Proxy => Verdict::Proxy,
                Verdict::Drop | Verdict::Reject => Verdict::Drop,
            };
        }
    }
    let all = specs.len();
    if let Some((verdicts, ports)) = specs
        .first()
        .map(|spec| (spec.verdicts, spec.ports.clone()))
    {
        specs.retain(|spec| spec.verdicts == verdicts && spec.ports == ports);
    }
    if specs.len() < all {
        report.note(format!(
            "Frames were sent to {} of {all} services only: those with the ports and verdicts of the first one.",
            specs.len()
        ));
    }
    specs
}

fn door(services: &[ServiceSpec], lists: &Lists) -> Door {
    let first = &services[0];
    let addresses = services.iter().flat_map(|spec| spec.addresses.clone());
    Door::new(
        addresses.collect(),
        first.ports.clone(),
        first.verdicts,
        lists,
    )
}

impl Bench<'_> {
    /// Leaves out what is not installed.
    fn find_missing(&mut self, report: &mut Report) -> Result<()> {
        let scratch = Namespace::new()?;
        if let Err(why) = scratch.run("nft", &["list", "tables"]) {
            bail!(
                "nft counts what the router's own stack takes up: {why:#}; `apt-get install nftables`"
            );
        }
        for (program, arguments) in [
            ("ipset", ["list", "-name"].as_slice()),
            ("iptables", &["-t", "mangle", "-S"]),
        ] {
            if let Err(why) = scratch.run(program, arguments) {
                report.note(format!("ipset was left out: {why:#}"));
                self.ways.retain(|way| *way != Way::Ipset);
            }
        }
        if let Err(why) = scratch.run("tcpreplay", &["--version"]) {
            report.note(format!("tcpreplay was left out: {why:#}"));
            self.witness = false;
        }
        Ok(())
    }

    /// Lists, and the mixes that are sent with them: the traffic as it is, with the lists that it was judged by;
    /// and where those were made here, larger ones.
    fn sets(&self) -> Vec<(Lists, Vec<Crowd>)> {
        let own = self.setting.lists.clone();
        let mut sets = vec![(own, vec![Crowd::Itself, Crowd::Managed, Crowd::Flood])];
        if self.setting.made {
            let counts: &[usize] = if self.size.quick {
                &[10_000]
            } else {
                &[1_000, 100_000, 1_000_000]
            };
            sets.extend(counts.iter().map(|count| {
                let mut named = mixed(&Mix::Routes.prefixes(*count));
                named.extend(mixed(&Mix::Six.prefixes((count / 10).max(1_000))));
                let crowds = vec![Crowd::Alike, Crowd::Managed, Crowd::Flood];
                (Lists::compile(named), crowds)
            }));
        }
        sets
    }

    /// Measures all ways with one set of lists.
    fn measure(
        &self,
        lists: &Lists,
        crowds: &[Crowd],
        live: &mut Live,
        report: &mut Report,
    ) -> Result<()> {
        let door = door(&self.services, lists);
        let job = Job {
            files: self.files,
            door: &door,
            services: &self.services,
            lists,
            processors: self.processors,
        };
        let mut rigs = Vec::new();
        for way in &self.ways {
            let rig = Rig::raise(*way, &job);
            rigs.push(rig.with_context(|| {
                format!(
                    "cannot raise {} with {} prefixes",
                    way.name(),
                    lists.prefixes()
                )
            })?);
        }
        for crowd in crowds {
            let Some(mut mixed) = self.mixed(*crowd, &door, lists)? else {
                report.note(format!(
                    "The mix \"{}\" was left out: the lists have no sources of its classes.",
                    crowd.name()
                ));
                continue;
            };
            mixed.prove(&rigs)?;
            for round in 0..self.size.runs {
                mixed.round(&rigs, round, self.time())?;
            }
            for (rig, measured) in rigs.iter().zip(&mixed.ways) {
                let row = mixed.row(rig.way, measured, lists.prefixes());
                print(&row);
                live.rows.push(row);
            }
            if self.witness && live.witness.is_none() {
                let rig = rigs.iter().find(|rig| rig.way == Way::Tcx);
                let rig = rig.expect("Weir is not left out");
                let loops = (WITNESSED / mixed.offer.frames.len().max(1)).max(1);
                let witness =
                    tcpreplay::witness(rig, &mixed.offer, crowd.name(), u64::try_from(loops)?)?;
                print_witness(&witness);
                live.witness = Some(witness);
            }
        }
        rigs.into_iter().try_for_each(Rig::lower)
    }

    fn mixed(&self, crowd: Crowd, door: &Door, lists: &Lists) -> Result<Option<Mixed>> {
        let count = if self.size.quick { 8_192 } else { 16_384 };
        let of = (lists, &self.setting.services);
        let Some(mut offer) = Offer::of(&self.plain, crowd, door, of, count) else {
            return Ok(None);
        };
        for frame in &mut offer.frames {
            *frame = weir_benches::replay::readdress(frame, OUT_MAC, SOURCE_MAC);
        }
        Ok(Some(Mixed {
            crowd,
            frames: Programs::with_frames(&self.files.bench_object, &offer.frames)?,
            offer,
            ways: Vec::new(),
        }))
    }

    fn time(&self) -> Duration {
        Duration::from_millis(if self.size.quick { 60 } else { 300 })
    }
}

/// Frames that tcpreplay sends, about.
const WITNESSED: usize = 200_000;

impl Mixed {
    /// Sends each frame once by every way, and holds the counters against what is to become of them.
    fn prove(&mut self, rigs: &[Rig<'_>]) -> Result<()> {
        let count = self.offer.frames.len();
        for rig in rigs {
            let run = rig
                .send_each(&mut self.frames, count)
                .with_context(|| format!("frames by way of: {}", rig.way.name()))?;
            self.ways.push(Measured {
                counts: run.counts,
                invalid: run.counts.against(&self.expected(rig.way)),
                runs: Vec::new(),
            });
        }
        Ok(())
    }

    /// Sends as much as can be sent by every way; in every other round from the last way to the first.
    fn round(&mut self, rigs: &[Rig<'_>], round: usize, time: Duration) -> Result<()> {
        let mut order: Vec<usize> = (0..rigs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        let count = self.offer.frames.len();
        for at in order {
            let rig = &rigs[at];
            let run = rig
                .send_for(&mut self.frames, count, time)
                .with_context(|| format!("frames by way of: {}", rig.way.name()))?;
            let apart = run.counts.apart(&self.expected(rig.way));
            let way = &mut self.ways[at];
            if way.invalid.is_none() && run.counts.sum() == 0 {
                way.invalid = Some("the router never had the processor".into());
            } else if way.invalid.is_none() && run.lost_share() > LOST {
                way.invalid = Some(format!(
                    "{:.2} % were lost behind the router",
                    run.lost_share() * 100.0
                ));
            } else if way.invalid.is_none() && apart > APART {
                way.invalid = Some(format!(
                    "at full speed shares differ from what was to be by {:.1} %",
                    apart * 100.0
                ));
            }
            way.runs.push(run);
        }
        Ok(())
    }

    fn expected(&self, way: Way) -> Counts {
        let all = self.offer.expected.sum();
        match way {
            Way::Nothing => Counts {
                dropped: all,
                ..Counts::default()
            },
            Way::Kernel => Counts {
                forwarded: all,
                ..Counts::default()
            },
            _ => self.offer.expected,
        }
    }

    fn row(&self, way: Way, measured: &Measured, prefixes: usize) -> Row {
        let of = |number: fn(&Run) -> f64| Spread::of(measured.runs.iter().map(number).collect());
        Row {
            way: way.name(),
            judges: way.judges(),
            mix: self.crowd.name(),
            prefixes,
            frames: self.offer.frames.len(),
            sources: self.offer.sources,
            bytes: self.offer.bytes(),
            offered: of(Run::offered_rate),
            handled: of(Run::handled_rate),
            router_ns: of(Run::router_ns),
            router_busy: of(Run::router_busy),
            sender_ns: of(Run::sender_ns),
            overrun: of(Run::overrun),
            counts: measured.counts,
            expected: self.expected(way),
            invalid: measured.invalid.clone(),
        }
    }
}

fn print(row: &Row) {
    let [forwarded, proxied, dropped] =
        [row.counts.forwarded, row.counts.proxied, row.counts.dropped];
    println!(
        "{:<24} {:>11}  {:<22} {:>12.2} {:>10.2} {:>8.0} {:<13} {:>4.0} %   {forwarded} forwarded, {proxied} proxied, \
         {dropped} dropped{}",
        row.way,
        row.prefixes,
        row.mix,
        row.offered.median / 1e6,
        row.handled.median / 1e6,
        row.router_ns.median,
        format!("({:.0}-{:.0})", row.router_ns.min, row.router_ns.max),
        row.router_busy.median * 100.0,
        row.invalid
            .as_ref()
            .map_or(String::new(), |why| format!("; NOT COMPARABLE: {why}")),
    );
}

fn print_witness(witness: &Witness) {
    println!(
        "tcpreplay beside it: {} frames by way of {}, {:.2} M/s, {} found the queue full; {}",
        witness.sent,
        witness.way,
        witness.rate / 1e6,
        witness.overrun,
        witness
            .differs
            .as_deref()
            .unwrap_or("what it says it sent was counted"),
    );
}

fn notes(report: &mut Report, left_out: &LeftOut) {
    for note in [
        "At full speed: live frames (BPF_F_TEST_XDP_LIVE_FRAMES) of the capture's own bytes into a veth, made on one \
         processor and received on another by a kernel thread (threaded NAPI). Nanoseconds for a frame are what that \
         thread and the sink's ran, by the kernel's own clock, divided by the frames that were taken up: receiving, \
         judging, forwarding, handing over and counting in the sink; not making the frames. What the router could \
         not take up found its queue full, and is shown beside.",
        "Busy is the share of the time that those two threads ran. On a machine with nothing else to do that is all of \
         it, where frames are made faster than they are taken up; where it is less, frames taken up in a second say \
         what the machine left them, and nanoseconds for a frame still what a frame costs.",
        "Proxied frames are counted and dropped where the router's stack has accepted them, in front of TCP, for \
         Weir and the peers alike: both have brought them to a transparent listener by then, and what answers \
         them costs the same. GRO is off on the way in, else several frames would count as one.",
        "nftables asks one map with intervals for each frame, and iptables one ipset for each action, without \
         conntrack: that is the least they need for the job. Weir counts every frame by class and reason; the peers \
         count what they drop.",
    ] {
        report.note(note);
    }
    let left: u64 = left_out.values().sum();
    if left > 0 {
        let parts: Vec<String> = left_out
            .iter()
            .map(|(why, count)| format!("{count} {why}"))
            .collect();
        report.note(format!(
            "{left} frames from outside were judged, but not sent at full speed, because not every peer has a word \
             for them: {}.",
            parts.join("; ")
        ));
    }
}
