//! The kernel threads that receive for an interface, and what they cost.
//!
//! A veth is told to poll in threads of its own (threaded NAPI). Everything that a frame meets from then on until
//! it is handed to the next interface or dropped runs in such a thread, and the kernel counts its nanoseconds.
//!
//! Only the sum of the router's thread and the sink's is right. The router wakes the sink with the first frame of a batch
//! and goes on with the batch; because a switch is due from then on, the kernel leaves out reading the clock at the
//! switch (`rq_clock_skip_update`), and what the router did since the wake-up is charged to the sink.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::bed::{Namespace, put_ahead, stay};

/// The sysfs of a namespace, as long as this lives.
pub struct Sysfs(TempDir);

/// The threads that receive for one interface.
pub struct Receiver {
    threads: Vec<i32>,
    packets: File,
    dropped: File,
}

/// How a thread goes before others on its processor.
#[derive(Clone, Copy)]
pub enum Rank {
    /// It has more of it than others.
    First,
    /// It has it as soon as there is something to do.
    AtOnce,
}

impl Sysfs {
    /// Mounts the sysfs of a namespace for this process alone, whose mounts are its own.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        namespace.within(|| {
            mount(
                Some("sysfs"),
                folder.path(),
                Some("sysfs"),
                MsFlags::empty(),
                None::<&str>,
            )
            .context("cannot mount a sysfs")
        })?;
        Ok(Self(folder))
    }

    fn device(&self, device: &str) -> PathBuf {
        self.0.path().join("class/net").join(device)
    }
}

impl Drop for Sysfs {
    fn drop(&mut self) {
        // Else the folder below it cannot be removed.
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

impl Receiver {
    /// Lets an interface receive in threads of its own, on one processor.
    pub fn of(sysfs: &Sysfs, device: &str, processor: usize, rank: Rank) -> Result<Self> {
        let folder = sysfs.device(device);
        let before = threads(device)?;
        fs::write(folder.join("threaded"), "1")
            .with_context(|| format!("{device} does not receive in a thread (Linux 5.12)"))?;
        let threads: Vec<i32> = threads(device)?.difference(&before).copied().collect();
        if threads.is_empty() {
            bail!("{device} has no thread that receives: is there neither GRO nor XDP?");
        }
        for thread in &threads {
            stay(*thread, processor)?;
            match rank {
                Rank::First => put_ahead(thread.unsigned_abs())?,
                Rank::AtOnce => at_once(*thread)?,
            }
        }
        let open = |name: &str| {
            let file = folder.join("statistics").join(name);
            File::open(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        Ok(Self {
            threads,
            packets: open("rx_packets")?,
            dropped: open("rx_dropped")?,
        })
    }

    /// Seconds that the threads ran so far.
    pub fn ran(&self) -> Result<f64> {
        self.threads.iter().map(|thread| ran(*thread)).sum()
    }

    /// Frames that they took up so far.
    pub fn taken(&self) -> Result<u64> {
        number(&self.packets)
    }

    /// Waits until they took up so many frames more, or nothing came for a while.
    pub fn wait_for(&self, before: u64, frames: u64, quiet: Duration) -> Result<()> {
        let mut taken = self.taken()?;
        let mut changed = Instant::now();
        while taken - before < frames && changed.elapsed() < quiet {
            std::thread::yield_now();
            let now = self.taken()?;
            if now != taken {
                (taken, changed) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Frames that were lost between the queue and the stack so far.
    pub fn dropped(&self) -> Result<u64> {
        number(&self.dropped)
    }
}

/// Seconds that this thread of this process ran so far.
pub fn own_time() -> Result<f64> {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Seconds that a kernel thread ran so far.
fn ran(thread: i32) -> Result<f64> {
    let mut id = 0;
    // SAFETY: takes a number, and writes to what is lent to it.
    let failed = unsafe { libc::clock_getcpuclockid(thread, &raw mut id) };
    if failed != 0 {
        bail!("the thread {thread} that receives is gone");
    }
    clock(id)
}

fn clock(id: libc::clockid_t) -> Result<f64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: takes a number, and writes to what is lent to it.
    if unsafe { libc::clock_gettime(id, &raw mut time) } != 0 {
        bail!(
            "cannot read a clock of a processor: {}",
            std::io::Error::last_os_error()
        );
    }
    let seconds = Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?);
    Ok(seconds.as_secs_f64())
}

/// Lets a thread run whenever it has something to do.
fn at_once(thread: i32) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: takes numbers, and reads what is lent to it.
    let failed =
        unsafe { libc::sched_setscheduler(thread, libc::SCHED_FIFO, &raw const parameters) };
    if failed != 0 {
        bail!(
            "cannot let a thread run at once: {}",
            std::io::Error::last_os_error()
        );
    }
    Ok(())
}

/// Every kernel thread that receives for an interface of this name, in any namespace.
fn threads(device: &str) -> Result<BTreeSet<i32>> {
    let begins = format!("napi/{device}-");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Processes end while one looks.
        if is_called(&entry.path(), &begins) {
            found.insert(id);
        }
    }
    Ok(found)
}

fn is_called(process: &Path, begins: &str) -> bool {
    fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with(begins))
}

/// The number in a file of sysfs, which makes it anew whenever it is read from its beginning.
fn number(file: &File) -> Result<u64> {
    let mut text = [0; 24];
    let length = file.read_at(&mut text, 0)?;
    Ok(std::str::from_utf8(&text[..length])?.trim().parse()?)
}
