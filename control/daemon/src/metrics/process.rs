//! What the two daemons take of the machine (proc(5)).

use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};

use super::families::Families;

/// Tells of this process, and of the proxy when there is one.
pub(super) fn tell(families: &mut Families, own: u32, proxy: Option<u32>) {
    let both = [("weir-control", Some(own)), ("weir-proxy", proxy)];
    for (name, pid) in both {
        // One that has just ended is told of no more.
        if let Some(used) = pid.and_then(Used::of) {
            used.tell(families, &[("process", name)]);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Used {
    cpu_seconds: f64,
    resident_bytes: u64,
    threads: u64,
    /// Those of another user can only be counted with CAP_SYS_PTRACE.
    descriptors: Option<u64>,
    began: f64,
}

impl Used {
    fn of(pid: u32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
        let machine = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = machine
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?;
        let setting = |name| sysconf(name).ok().flatten();
        let mut used = Self::parse(
            &stat,
            boot.trim().parse().ok()?,
            setting(SysconfVar::CLK_TCK)?,
            setting(SysconfVar::PAGE_SIZE)?,
        )?;
        used.descriptors = count(&directory.join("fd"));
        Some(used)
    }

    /// The second field of `stat` is a name in parentheses that may hold anything.
    fn parse(stat: &str, boot: u64, ticks: i64, page: i64) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 1 in proc(5); the third is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |count: u64| {
            #[expect(clippy::cast_precision_loss, reason = "ticks of a machine's life fit")]
            let seconds = count as f64 / ticks as f64;
            seconds
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let boot = boot as f64;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            threads: field(20)?,
            began: boot + seconds(field(22)?),
            resident_bytes: field(24)? * u64::try_from(page).ok()?,
            descriptors: None,
        })
    }

    fn tell(&self, families: &mut Families, name: &[(&str, &str)]) {
        families
            .counter(
                "weir_process_cpu_seconds_total",
                "Processor time of a daemon, in user and kernel mode.",
            )
            .add(name, self.cpu_seconds);
        families
            .gauge(
                "weir_process_resident_memory_bytes",
                "Memory of a daemon that is in RAM.",
            )
            .set(name, self.resident_bytes);
        families
            .gauge("weir_process_threads", "Threads of a daemon.")
            .set(name, self.threads);
        families
            .gauge(
                "weir_process_start_timestamp_seconds",
                "When a daemon started.",
            )
            .set(name, self.began);
        if let Some(descriptors) = self.descriptors {
            families
                .gauge(
                    "weir_process_open_fds",
                    "Descriptors that a daemon has open.",
                )
                .set(name, descriptors);
        }
    }
}

fn count(directory: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(directory).ok()?;
    u64::try_from(entries.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_name_is() {
        let stat = "42 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 7 0 3000 99 256 0";
        let used = Used::parse(stat, 1_000, 100, 4096).expect("all fields");
        let wanted = Used {
            cpu_seconds: 2.0,
            resident_bytes: 256 * 4096,
            threads: 7,
            descriptors: None,
            began: 1_030.0,
        };
        assert_eq!(used, wanted);
        assert_eq!(Used::parse("42 (short) S 1 2", 1_000, 100, 4096), None);
    }
}
