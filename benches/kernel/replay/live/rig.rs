//! One way through a router of its own, ready to be sent frames.

use std::cell::Cell;
use std::net::{IpAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use weir_abi::Verdict;
use weir_benches::live::{Counts, Door, float};
use weir_benches::replay::Lists;
use weir_dataplane::{Dataplane, HookChoice, ServiceSpec, SynBudget, SynBudgets};

use super::peers::{self, Way};
use super::receiver::{Rank, Receiver, Sysfs, own_time};
use crate::bed::{Bed, SINK_MAC, ahead, stay};
use crate::plane::{Files, open_for};
use crate::programs::Programs;

/// What a rig is raised for.
pub struct Job<'a> {
    /// The programs.
    pub files: &'a Files,
    /// The service, as filters see it.
    pub door: &'a Door,
    /// The same, as Weir does.
    pub services: &'a [ServiceSpec],
    /// Whom the sources are on.
    pub lists: &'a Lists,
    /// Where frames are made, and where they are received.
    pub processors: [usize; 2],
}

/// One way, raised.
pub struct Rig<'a> {
    /// Whose it is.
    pub way: Way,
    job: &'a Job<'a>,
    bed: Bed,
    plane: Option<(Dataplane, Pins)>,
    sink: Programs,
    /// In the driver of the router's door: what lets frames through, or drops them all.
    door: Option<Programs>,
    router: Receiver,
    behind: Receiver,
    /// Drops that nftables told of: it tells each once.
    blocked: Cell<u64>,
    delivered: Cell<u64>,
    _listeners: Vec<TcpListener>,
    _sysfs: [Sysfs; 2],
}

/// What one run of frames came to.
pub struct Run {
    /// Frames that were sent.
    pub offered: u64,
    /// Seconds that it took to send them, without those between bursts.
    pub seconds: f64,
    /// Seconds of the sender's processor.
    pub sending: f64,
    /// What became of them.
    pub counts: Counts,
    /// Seconds of the router's processor.
    pub routing: f64,
    /// Frames that were lost on the way to the sink.
    pub lost_behind: u64,
}

impl Run {
    /// Frames sent in a second.
    pub fn offered_rate(&self) -> f64 {
        float(self.offered) / self.seconds
    }

    /// Frames taken up in a second.
    pub fn handled_rate(&self) -> f64 {
        float(self.counts.sum()) / self.seconds
    }

    /// Nanoseconds of the router's processor for a frame that was taken up.
    pub fn router_ns(&self) -> f64 {
        self.routing * 1e9 / float(self.counts.sum().max(1))
    }

    /// The share of the time that the router's processor worked for frames.
    pub fn router_busy(&self) -> f64 {
        self.routing / self.seconds
    }

    /// Nanoseconds of the sender's processor for a frame.
    pub fn sender_ns(&self) -> f64 {
        self.sending * 1e9 / float(self.offered.max(1))
    }

    /// The share of the frames that found the queue full.
    pub fn overrun(&self) -> f64 {
        float(
            self.offered
                .saturating_sub(self.counts.sum() + self.lost_behind),
        ) / float(self.offered.max(1))
    }

    /// The share of the frames taken up that was lost on the way to the sink.
    pub fn lost_share(&self) -> f64 {
        float(self.lost_behind) / float(self.counts.sum().max(1))
    }
}

/// What stands on the counters at one moment.
struct Stand {
    counts: Counts,
    ran: f64,
    dropped_behind: u64,
}

/// A folder with a bpffs.
struct Pins(TempDir);

impl Drop for Pins {
    fn drop(&mut self) {
        let bpffs = self.0.path().join("bpf");
        let _ = nix::mount::umount2(&bpffs, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Frames that are sent before the clock is looked at: many, because nothing is sent for a while before and after them.
const BURST: u32 = 262_144;
/// Frames that the router has to take up before a run says anything.
const LEAST: u64 = 20_000;
/// After so long without a frame, none comes any more.
const QUIET: Duration = Duration::from_millis(100);
/// So long one waits for frames that must not be lost: the router's thread may have to wait for its processor.
const PATIENCE: Duration = Duration::from_secs(1);
/// Frames that are sent before one waits for the router, when none may be lost: a veth's queue holds 256.
const STEP: u32 = 128;

impl<'a> Rig<'a> {
    /// Raises the way in namespaces of its own.
    pub fn raise(way: Way, job: &'a Job<'a>) -> Result<Self> {
        let bed = Bed::raise()?;
        prepare(&bed, job.door)?;
        let sysfs = [Sysfs::of(&bed.router)?, Sysfs::of(&bed.sink)?];
        let [_, processor] = job.processors;
        let router = Receiver::of(&sysfs[0], "out", processor, Rank::First)?;
        let behind = Receiver::of(&sysfs[1], "s0", processor, Rank::AtOnce)?;
        let listeners = peers::listening(way, job.door).into_iter();
        let listeners = listeners.map(|at| peers::listener(&bed.router, at));
        let listeners = listeners.collect::<Result<_>>()?;
        peers::catch(&bed.router)?;
        let mut sink = Programs::load(&job.files.bench_object, None)?;
        bed.sink.within(|| sink.swallow("s0"))?;
        let plane = match way {
            Way::Nothing | Way::Kernel => None,
            Way::Nft => peers::nft(&bed.router, job.door).map(|()| None)?,
            Way::Ipset => peers::ipset(&bed.router, job.door).map(|()| None)?,
            Way::Tcx => Some(plane(&bed, job, HookChoice::Tcx)?),
            Way::Xdp => Some(plane(&bed, job, HookChoice::Xdp)?),
        };
        let door = if way.in_driver() {
            None
        } else {
            let mut door = Programs::load(&job.files.bench_object, None)?;
            bed.router.within(|| match way {
                Way::Nothing => door.swallow("out"),
                _ => door.let_through("out"),
            })?;
            Some(door)
        };
        // What coalesces frames would count several as one; with a program in the driver, a veth does without.
        bed.router.run("ethtool", &["-K", "out", "gro", "off"])?;
        Ok(Self {
            way,
            job,
            bed,
            plane,
            sink,
            door,
            router,
            behind,
            blocked: Cell::new(0),
            delivered: Cell::new(0),
            _listeners: listeners,
            _sysfs: sysfs,
        })
    }

    /// Sends each frame so many times, as slowly as the router takes them.
    pub fn send_each(&self, frames: &mut Programs, count: usize) -> Result<Run> {
        self.send(frames, count, |frames, router| {
            let mut left = u32::try_from(count)?;
            let mut seconds = 0.0;
            while left > 0 {
                let step = left.min(STEP);
                let before = router.taken()?;
                seconds += frames.replay(step)?;
                router.wait_for(before, step.into(), PATIENCE)?;
                left -= step;
            }
            Ok((u64::try_from(count)?, seconds))
        })
    }

    /// Sends frames for a while, as fast as they can be made.
    pub fn send_for(&self, frames: &mut Programs, count: usize, time: Duration) -> Result<Run> {
        let (least, most) = (time.as_secs_f64(), 20.0 * time.as_secs_f64());
        self.send(frames, count, |frames, router| {
            let before = router.taken()?;
            let (mut offered, mut seconds) = (0, 0.0);
            // On a machine that is busy otherwise, the router's thread may have to wait.
            while seconds < least || router.taken()? - before < LEAST && seconds < most {
                seconds += frames.replay(BURST)?;
                offered += u64::from(BURST);
            }
            Ok((offered, seconds))
        })
    }

    /// Lets a program send that is started in the namespace of the source, on the sender's processor. `work` gives
    /// how many frames it sent.
    pub fn send_with(&self, work: impl FnOnce() -> Result<u64> + Send) -> Result<Run> {
        let before = self.stand()?;
        let start = Instant::now();
        let [processor, _] = self.job.processors;
        let offered = self.bed.source.within(|| {
            stay(0, processor)?;
            work()
        })?;
        self.told(&before, offered, start.elapsed().as_secs_f64(), 0.0)
    }

    /// A queue in front of the interface that frames leave by, so that who sends through the stack waits instead
    /// of losing them.
    pub fn queue(&self) -> Result<()> {
        let words = [
            "qdisc", "replace", "dev", "g0", "root", "pfifo", "limit", "1000",
        ];
        self.bed.source.run("tc", &words).map(drop)
    }

    /// Takes the way away.
    pub fn lower(self) -> Result<()> {
        if let Some((plane, pins)) = self.plane {
            self.bed.router.within(|| Ok(plane.detach()?))?;
            drop(pins);
        }
        Ok(())
    }

    fn send(
        &self,
        frames: &mut Programs,
        count: usize,
        work: impl FnOnce(&mut Programs, &Receiver) -> Result<(u64, f64)> + Send,
    ) -> Result<Run> {
        let interface = self.bed.source.index("g0")?;
        frames.rewind(interface, count)?;
        let before = self.stand()?;
        let ([processor, _], router) = (self.job.processors, &self.router);
        let (offered, seconds, sending) = self.bed.source.within(|| {
            stay(0, processor)?;
            ahead()?;
            let before = own_time()?;
            let (offered, seconds) = work(frames, router)?;
            Ok((offered, seconds, own_time()? - before))
        })?;
        self.told(&before, offered, seconds, sending)
    }

    /// What came since `before`, once nothing comes any more.
    fn told(&self, before: &Stand, offered: u64, seconds: f64, sending: f64) -> Result<Run> {
        let now = self.router.taken()?;
        self.router.wait_for(now, u64::MAX - now, QUIET)?;
        let after = self.stand()?;
        Ok(Run {
            offered,
            seconds,
            sending,
            counts: after.counts.since(&before.counts),
            routing: after.ran - before.ran,
            lost_behind: after.dropped_behind - before.dropped_behind,
        })
    }

    fn stand(&self) -> Result<Stand> {
        let router = &self.bed.router;
        let add = |sum: &Cell<u64>, table, counter| {
            let more = peers::counted(router, table, counter)?;
            sum.set(sum.get() + more);
            Ok::<u64, anyhow::Error>(sum.get())
        };
        let dropped = match (&self.plane, &self.door) {
            (Some((plane, _)), _) => refused(plane)?,
            (None, Some(door)) if self.way == Way::Nothing => door.received()?,
            _ if self.way == Way::Nft => add(&self.blocked, "peer", "blocked")?,
            _ if self.way == Way::Ipset => peers::dropped(router, self.job.door)?,
            _ => 0,
        };
        Ok(Stand {
            counts: Counts {
                forwarded: self.sink.received()?,
                proxied: add(&self.delivered, "bed", "delivered")?,
                dropped,
            },
            // Together: see `receiver`.
            ran: self.router.ran()? + self.behind.ran()?,
            dropped_behind: self.behind.dropped()?,
        })
    }
}

/// Brings the addresses of the service behind the router, and keeps the bed quiet.
fn prepare(bed: &Bed, door: &Door) -> Result<()> {
    let sink = SINK_MAC.map(|byte| format!("{byte:02x}")).join(":");
    for address in &door.addresses {
        let (family, length) = match address {
            IpAddr::V4(_) => ("-4", 32),
            IpAddr::V6(_) => ("-6", 128),
        };
        bed.router
            .ip(&format!("{family} route replace {address}/{length} dev in"))
            .with_context(|| format!("the bed cannot have the service at {address}"))?;
        bed.router.ip(&format!(
            "{family} neigh replace {address} lladdr {sink} dev in nud permanent"
        ))?;
    }
    Ok(())
}

/// Weir's plane, with no bound on how many connections one source may begin: the peers have none.
fn plane(bed: &Bed, job: &Job<'_>, hook: HookChoice) -> Result<(Dataplane, Pins)> {
    let pins = Pins(tempfile::tempdir()?);
    let files = Files {
        pins: pins.0.path().join("bpf"),
        ..job.files.clone()
    };
    let budgets = SynBudgets {
        proxied: SynBudget::of(0),
        forwarded: SynBudget::of(0),
    };
    let plane = bed.router.within(|| {
        let mut plane = open_for(&files, hook, budgets, job.services)?;
        plane.publish(job.lists.tables())?;
        Ok(plane)
    })?;
    Ok((plane, pins))
}

/// Packets that Weir dropped so far.
fn refused(plane: &Dataplane) -> Result<u64> {
    let counters = plane.counters()?;
    let dropped = counters
        .iter()
        .filter(|counter| matches!(counter.verdict, Verdict::Drop | Verdict::Reject));
    Ok(dropped.map(|counter| counter.packets).sum())
}
