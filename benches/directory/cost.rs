//! What something takes: CPU of this process, and memory.

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};

/// What a piece of work took.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Seconds of CPU, the kernel's for this process included.
    pub cpu: f64,
}

/// Does something, and says what it took.
pub fn measured<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    let before = cpu();
    let result = work();
    let cpu = cpu() - before;
    (Cost { cpu }, result)
}

/// Resident memory, in bytes.
pub fn resident() -> Result<u64> {
    status("VmRSS:")
}

/// Most memory that was resident since [`reset_peak`], in bytes.
pub fn peak() -> Result<u64> {
    status("VmHWM:")
}

/// Begins anew to look for the most memory (proc_pid_clear_refs(5)).
pub fn reset_peak() -> Result<()> {
    std::fs::write("/proc/self/clear_refs", "5").context("cannot write /proc/self/clear_refs")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a float holds microseconds of a century"
)]
fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own usage");
    [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .iter()
        .sum()
}

fn status(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next())
        .with_context(|| format!("/proc/self/status has no {field}"))?;
    Ok(kilobytes.parse::<u64>()? << 10)
}
