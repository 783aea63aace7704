//! A network namespace by name, and code that runs inside it.
//!
//! Namespaces are made by `ip netns add`, so that `ip netns` sees them, and entered by setns(2): `ip netns exec` would
//! remount `/sys`, and a BPF file system mounted below it would be out of sight.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

/// The parts of the lab that have a network of their own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Clients of every class, and the Internet's router.
    Inet,
    /// The appliance.
    Weir,
    /// The federation services behind it.
    Idp,
    /// What is federated with them: realm discovery, the application, the reverse proxy.
    Cloud,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    /// Name, as `ip netns` shows it.
    pub name: String,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Inet, Self::Weir, Self::Idp, Self::Cloud];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Weir => "weir",
            Self::Idp => "idp",
            Self::Cloud => "cloud",
        }
    }
}

impl Netns {
    /// The namespace of `part` in the lab called `instance`.
    pub fn of(instance: &str, part: Part) -> Self {
        Self {
            name: format!("weir-{instance}-{}", part.name()),
        }
    }

    /// The namespaces of the servers that a row sets beside each other, as long as it lasts.
    pub fn farm(instance: &str) -> [Self; 2] {
        [1, 2].map(|number| Self {
            name: format!("weir-{instance}-farm{number}"),
        })
    }

    /// The file that keeps the namespace alive.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Whether it stands.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// A descriptor for setns(2).
    pub fn open(&self) -> Result<OwnedFd> {
        let path = self.path();
        let file = File::open(&path).with_context(|| {
            format!(
                "namespace {} is not there ({}): is the lab up?",
                self.name,
                path.display()
            )
        })?;
        Ok(file.into())
    }

    /// The number by which /proc/PID/ns/net names it; `None` when it does not stand.
    pub fn inode(&self) -> Option<u64> {
        std::fs::metadata(self.path())
            .ok()
            .map(|metadata| metadata.ino())
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets that it opens stay in the namespace.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let descriptor = self.open()?;
        let name = self.name.clone();
        let thread = thread::spawn(move || -> Result<T> {
            setns(&descriptor, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter namespace {name}"))?;
            Ok(work())
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
