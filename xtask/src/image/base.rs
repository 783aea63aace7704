//! What comes from Debian: a system of Debian 13 without Weir, as a tar archive.
//!
//! It depends on the list of packages and on the state of the mirror, and is kept in the cache until one of them changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::identifier;
use crate::paths;
use crate::step::{output, run, step};

const SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What nobody reads on an appliance; licences stay.
const LEFT_OUT: [&str; 6] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/i18n/locales/*",
];

/// Which of Debian's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kernel {
    /// Small: the cards and disks of hypervisors and clouds.
    Cloud,
    /// All drivers.
    Generic,
}

/// A system as it was unpacked from Debian's packages.
pub struct Base {
    /// Its files.
    pub archive: PathBuf,
    /// When the mirror was last changed, in seconds since 1970.
    pub epoch: u64,
}

/// The base for the mirror's present state: from `cache`, else built.
pub fn get(kernel: Kernel, cache: &Path) -> Result<Base> {
    std::fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let mirror = Mirror::configured()?;
    let list = paths::root().join("images/image/packages");
    let list = std::fs::read_to_string(&list)
        .with_context(|| format!("cannot read {}", list.display()))?;
    let packages = packages(&list, kernel);
    let state = mirror.state(cache)?;
    let key = identifier(&[packages.as_str(), &LEFT_OUT.concat(), &state.text].concat());
    let archive = cache.join(format!("base-{key}.tar"));
    if !archive.exists() {
        let unfinished = cache.join("unfinished.tar");
        step("build the base from Debian's packages", || {
            run(mmdebstrap(&packages, state.epoch)
                .arg(&unfinished)
                .args(mirror.lines()))
        })?;
        for old in std::fs::read_dir(cache)? {
            let old = old?.path();
            if old.extension().is_some_and(|kind| kind == "tar") && old != unfinished {
                std::fs::remove_file(old)?;
            }
        }
        // Under its name only when it is whole.
        std::fs::rename(&unfinished, &archive)?;
    }
    Ok(Base {
        archive,
        epoch: state.epoch,
    })
}

fn mmdebstrap(packages: &str, epoch: u64) -> Command {
    let mut command = Command::new("mmdebstrap");
    command
        .args([
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            "--format=tar",
        ])
        .args([
            "--architectures=amd64",
            "--aptopt=APT::Install-Recommends \"false\"",
        ])
        .args(["--aptopt=Acquire::Languages \"none\""])
        .args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")))
        .arg(format!("--keyring={KEYRING}"))
        .arg(format!("--include={packages}"))
        .arg(SUITE)
        .env("SOURCE_DATE_EPOCH", epoch.to_string());
    command
}

/// The list without its comments, with the kernel.
fn packages(list: &str, kernel: Kernel) -> String {
    let image = match kernel {
        Kernel::Cloud => "linux-image-cloud-amd64",
        Kernel::Generic => "linux-image-amd64",
    };
    let words = list
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::split_whitespace);
    let packages: std::collections::BTreeSet<&str> = words.chain([image]).collect();
    Vec::from_iter(packages).join(",")
}

/// Where Debian's packages come from.
struct Mirror {
    main: String,
    security: String,
}

struct State {
    text: String,
    epoch: u64,
}

impl Mirror {
    /// The mirror that this machine's package manager uses, whatever its own release is.
    fn configured() -> Result<Self> {
        let targets = output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        let of = |label: &str| {
            let start = format!("Debian|{label}|");
            let mut lines = targets.lines();
            let uri = lines.find_map(|line| line.strip_prefix(&start));
            let uri = uri.with_context(|| {
                format!("apt of this machine has no archive with the label {label}; add Debian's to its sources")
            })?;
            Ok::<_, anyhow::Error>(uri.to_owned())
        };
        Ok(Self {
            main: of("Debian")?,
            security: of("Debian-Security")?,
        })
    }

    fn suites(&self) -> [(&str, String); 3] {
        [
            (&self.main, SUITE.to_owned()),
            (&self.main, format!("{SUITE}-updates")),
            (&self.security, format!("{SUITE}-security")),
        ]
    }

    fn lines(&self) -> [String; 3] {
        self.suites()
            .map(|(uri, suite)| format!("deb {uri} {suite} main"))
    }

    /// What the mirror says of itself, and when it was last changed.
    fn state(&self, cache: &Path) -> Result<State> {
        let mut state = State {
            text: String::new(),
            epoch: 0,
        };
        for (uri, suite) in self.suites() {
            let file = cache.join("InRelease");
            output(
                // The way to the mirror is apt's: its proxy, its credentials.
                Command::new("/usr/lib/apt/apt-helper")
                    .args(["-o", "APT::Sandbox::User=root", "download-file"])
                    .arg(format!("{uri}dists/{suite}/InRelease"))
                    .arg(&file),
            )?;
            let text = std::fs::read_to_string(&file)?;
            std::fs::remove_file(&file)?;
            let date = text.lines().find_map(|line| line.strip_prefix("Date: "));
            let date = date.with_context(|| format!("{suite} says no date"))?;
            let epoch = output(Command::new("date").args(["--date", date, "+%s"]))?;
            state.epoch = state.epoch.max(epoch.trim().parse()?);
            state.text.push_str(&text);
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_packages_has_comments_and_gets_the_kernel() {
        let list = "# what it is for\nsystemd udev # devices\n\nnftables\n";
        assert_eq!(
            packages(list, Kernel::Generic),
            "linux-image-amd64,nftables,systemd,udev"
        );
    }
}
