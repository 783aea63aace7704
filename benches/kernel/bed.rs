//! Three network namespaces without names in a row: frames are made in `source`, pass `router`, and are
//! counted in `sink`. They are gone with the process.
//!
//! ```text
//! source g0 203.0.113.2 ── out 203.0.113.1  router  in 192.0.2.1 ── s0 192.0.2.10  sink
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns, unshare};
use nix::unistd::Pid;

/// Hardware addresses: where frames leave, and the router's side towards them.
pub const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The router's interface `out`.
pub const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The router's interface `in`.
pub const IN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
/// The interface of the sink.
pub const SINK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];

/// The namespaces.
pub struct Bed {
    /// Where frames are made: `g0`.
    pub source: Namespace,
    /// What is measured: `out` and `in`.
    pub router: Namespace,
    /// Where frames end: `s0`.
    pub sink: Namespace,
}

/// A network namespace without a name.
pub struct Namespace(File);

impl Bed {
    /// Raises the namespaces, with addresses and neighbours.
    pub fn raise() -> Result<Self> {
        let bed = Self {
            source: Namespace::new()?,
            router: Namespace::new()?,
            sink: Namespace::new()?,
        };
        let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        let (source, out) = (mac(SOURCE_MAC), mac(OUT_MAC));
        let (inner, sink) = (mac(IN_MAC), mac(SINK_MAC));
        let router = bed.router.path();
        bed.source.ip(&format!(
            "link add g0 address {source} type veth peer name out address {out} netns {router}"
        ))?;
        bed.sink.ip(&format!(
            "link add s0 address {sink} type veth peer name in address {inner} netns {router}"
        ))?;
        bed.source
            .up("g0", &["203.0.113.2/24", "2001:db8:c::2/64"])?;
        bed.router
            .up("out", &["203.0.113.1/24", "2001:db8:c::1/64"])?;
        bed.router
            .up("in", &["192.0.2.1/24", "2001:db8:10::1/64"])?;
        bed.sink
            .up("s0", &["192.0.2.10/24", "2001:db8:10::10/64"])?;
        bed.source.ip("route add default via 203.0.113.1")?;
        bed.sink.ip("route add default via 192.0.2.1")?;
        bed.router.ip("route add default via 203.0.113.2")?;
        bed.router
            .ip(&format!("neigh replace 192.0.2.10 lladdr {sink} dev in"))?;
        bed.router.ip(&format!(
            "neigh replace 203.0.113.2 lladdr {source} dev out"
        ))?;
        bed.router.within(|| {
            for (name, value) in [
                ("ipv4/ip_forward", "1"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/out/rp_filter", "0"),
                ("ipv6/conf/all/forwarding", "1"),
            ] {
                fs::write(format!("/proc/sys/net/{name}"), value)
                    .with_context(|| format!("cannot set {name}"))?;
            }
            Ok(())
        })?;
        // What a card does; and what XDP sends needs a receiver that takes frames in batches.
        for (namespace, device) in [
            (&bed.source, "g0"),
            (&bed.router, "out"),
            (&bed.router, "in"),
            (&bed.sink, "s0"),
        ] {
            namespace.run("ethtool", &["-K", device, "gro", "on"])?;
        }
        Ok(bed)
    }
}

impl Namespace {
    /// A new one, with nothing but its loopback.
    pub fn new() -> Result<Self> {
        let file = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("cannot open a network namespace")
        });
        let namespace = Self(file.join().expect("unshare does not panic")?);
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Does something in the namespace, on a thread of its own.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter a namespace")?;
                work()
            });
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program there; gives what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.feed(program, arguments, "")
    }

    /// Runs a program there that reads `input`; gives what it printed.
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        self.within(|| {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {program}"))?;
            let mut stdin = child.stdin.take().expect("it is piped");
            thread::scope(|scope| {
                // What it does not read, it tells of by how it ends.
                scope.spawn(move || stdin.write_all(input.as_bytes()));
                let output = child.wait_with_output()?;
                if !output.status.success() {
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    let said: Vec<&str> = said.split_whitespace().take(24).collect();
                    bail!("{program} {}: {}", arguments.join(" "), said.join(" "));
                }
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            })
        })
    }

    /// Runs `ip` there.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        self.run("ip", &arguments).map(drop)
    }

    /// The index of an interface there.
    pub fn index(&self, device: &str) -> Result<u32> {
        let index = self.link(device)?["ifindex"].as_u64();
        Ok(u32::try_from(index.with_context(|| {
            format!("ip tells no index of {device}")
        })?)?)
    }

    /// Frames that an interface there has received.
    pub fn received(&self, device: &str) -> Result<u64> {
        let packets = self.link(device)?["stats64"]["rx"]["packets"].as_u64();
        packets.with_context(|| format!("ip tells no packets of {device}"))
    }

    /// What `ip` says of an interface there.
    fn link(&self, device: &str) -> Result<serde_json::Value> {
        let text = self.run("ip", &["-json", "-stats", "link", "show", device])?;
        let links: Vec<serde_json::Value> = serde_json::from_str(&text)?;
        links
            .into_iter()
            .next()
            .with_context(|| format!("no interface {device}"))
    }

    fn up(&self, device: &str, addresses: &[&str]) -> Result<()> {
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.ip(&format!("addr add {address} dev {device}{nodad}"))?;
        }
        self.ip(&format!("link set {device} up"))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Keeps mounts to this process. To be called before there is a second thread.
pub fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .context("cannot keep mounts to this process")
}

/// Keeps this thread on one processor, before all others there.
pub fn alone() -> Result<()> {
    stay(0, last()?)?;
    ahead()
}

/// Keeps a thread on one processor; 0 is this one.
pub fn stay(thread: i32, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(thread), &set).context("cannot stay on one processor")
}

/// The last of the processors.
pub fn last() -> Result<usize> {
    Ok(thread::available_parallelism()?.get() - 1)
}

/// Lets this thread run before others.
pub fn ahead() -> Result<()> {
    put_ahead(0)
}

/// Lets a thread run before others; 0 is this one.
pub fn put_ahead(thread: u32) -> Result<()> {
    // SAFETY: takes numbers. On Linux it is the thread that gets the priority.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, -20) } != 0 {
        bail!(
            "cannot go before others: {}",
            std::io::Error::last_os_error()
        );
    }
    Ok(())
}
