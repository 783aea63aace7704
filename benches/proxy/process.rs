//! Processes, each on its processors: what is measured has one to itself, and everything else the others.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The processors of this machine, shared out.
#[derive(Clone, Copy)]
pub struct Processors {
    /// Of the proxy that is measured.
    pub proxy: CpuSet,
    /// Of clients, backend and this process.
    pub others: CpuSet,
    /// Whether the others have any that the proxy has not.
    pub apart: bool,
}

/// A process that ends with this.
pub struct Process {
    child: Child,
    name: String,
}

impl Processors {
    /// The first for the proxy. This thread, and all that it starts from now on, moves to the others.
    pub fn share_out() -> Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let mut own = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false));
        let mut proxy = CpuSet::new();
        proxy.set(own.next().context("this process may run nowhere")?)?;
        let mut others = CpuSet::new();
        let mut apart = false;
        for cpu in own {
            others.set(cpu)?;
            apart = true;
        }
        if !apart {
            others = proxy;
        }
        sched_setaffinity(Pid::from_raw(0), &others)?;
        Ok(Self {
            proxy,
            others,
            apart,
        })
    }

    /// Starts a process on the proxy's processor.
    pub fn proxy(&self, name: &str, command: &mut Command) -> Result<Process> {
        // Inherited: nothing has to happen between fork and exec.
        sched_setaffinity(Pid::from_raw(0), &self.proxy)?;
        let started = Process::start(name, command);
        sched_setaffinity(Pid::from_raw(0), &self.others)?;
        started
    }
}

impl Process {
    /// Starts a process on the processors of this thread.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
        })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The one process that it has started.
    pub fn only_child(&self) -> Result<Pid> {
        let pid = self.pid();
        let list = format!("/proc/{pid}/task/{pid}/children");
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let children = std::fs::read_to_string(&list)?;
            if let Some(child) = children.split_whitespace().next() {
                return Ok(Pid::from_raw(child.parse()?));
            }
            if Instant::now() > until {
                bail!("{} starts no worker", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails when it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}", self.name),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already, if it cannot be told.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU that a process has taken, with all threads that it has or had, in seconds; the kernel's work for it too.
pub fn cpu(process: Pid) -> Result<f64> {
    let clock = clock_getcpuclockid(process)?;
    Ok(Duration::from(clock_gettime(clock)?).as_secs_f64())
}

/// Memory of a process, what it shares counted in part (PSS), in bytes.
pub fn memory(process: Pid) -> Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next())
        .with_context(|| format!("{path} tells of no memory"))?;
    Ok(kilobytes.parse::<u64>()? << 10)
}
