//! Starting a program inside the lab: its network namespace, its names, and the identity that it runs under.
//!
//! Each program gets a mount namespace of its own, in which the lab's hosts file lies over `/etc/hosts`. All of it is
//! done between fork and exec, with system calls alone, so that the program's process is the one that was started:
//! its status, its signals and its terminal are its own.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getpid, getppid, setgroups, setresgid, setresuid};

use crate::hosts::Hosts;
use crate::netns::Netns;
use crate::sources::Family;

/// Reads any file whatever its mode, capabilities(7): clients and scripts often lie below a home directory that is
/// closed to others, and the user ids of the classes are others everywhere.
const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;

/// Who a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Root, with every capability.
    Root,
    /// A user id (and the group id of the same number) that may read every file, and nothing else.
    Reader(u32),
    /// A user id without any capability, which cannot gain one either (no_new_privs).
    Bare(u32),
    /// A user id without any capability that may still run helpers with the set-uid bit, such as a sandbox's.
    Plain(u32),
}

/// A place in the lab where programs are started.
#[derive(Debug)]
pub struct Entry {
    namespace: OwnedFd,
    hosts: CString,
    resolv_conf: Option<CString>,
    identity: Identity,
    dies_with_us: bool,
}

impl Entry {
    /// In `namespace`, with the names of `family` (or both), as `identity`.
    pub fn new(
        namespace: &Netns,
        hosts: &Hosts,
        family: Option<Family>,
        identity: Identity,
    ) -> Result<Self> {
        // A resolver without its file asks the loopback too: nothing to lay over.
        let resolv_conf = Path::new("/etc/resolv.conf")
            .exists()
            .then(|| c_path(&hosts.resolv_conf()))
            .transpose()?;
        Ok(Self {
            namespace: namespace.open()?,
            hosts: c_path(&hosts.path(family))?,
            resolv_conf,
            identity,
            dies_with_us: true,
        })
    }

    /// Lets the program outlive the one that starts it (the default is that it is killed with it).
    #[must_use]
    pub fn outliving(mut self) -> Self {
        self.dies_with_us = false;
        self
    }

    /// Makes `command` start here. The parent must start it from a thread that lives as long as the program should:
    /// the kernel kills the program when that thread ends (prctl(2), `PR_SET_PDEATHSIG`).
    pub fn apply(self, command: &mut Command) {
        let parent = getpid();
        // SAFETY: between fork and exec only system calls are made; everything they need was allocated before, and
        // nothing is freed or locked.
        unsafe {
            command.pre_exec(move || {
                self.enter()?;
                if self.dies_with_us {
                    prctl::set_pdeathsig(Signal::SIGKILL)?;
                    if getppid() != parent {
                        return Err(io::Error::from_raw_os_error(libc::ESRCH));
                    }
                }
                Ok(())
            });
        }
    }

    fn enter(&self) -> io::Result<()> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET)?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Slave, not private: what the lab unmounts when it goes must not be kept by a copy here.
        bind(None, c"/", MsFlags::MS_SLAVE | MsFlags::MS_REC)?;
        bind(Some(&self.hosts), c"/etc/hosts", MsFlags::MS_BIND)?;
        if let Some(resolv_conf) = &self.resolv_conf {
            bind(Some(resolv_conf), c"/etc/resolv.conf", MsFlags::MS_BIND)?;
        }
        match self.identity {
            Identity::Root => Ok(()),
            Identity::Plain(uid) => become_user(uid),
            Identity::Bare(uid) => {
                become_user(uid)?;
                prctl::set_no_new_privs()?;
                Ok(())
            }
            Identity::Reader(uid) => {
                prctl::set_keepcaps(true)?;
                become_user(uid)?;
                keep_only_reading()
            }
        }
    }
}

/// A command with nothing of our environment but the search path: what a client does must not depend on who runs it.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command.env("LANG", "C.UTF-8");
    command
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .with_context(|| format!("{} holds a zero byte", path.display()))
}

fn bind(source: Option<&CString>, target: &std::ffi::CStr, flags: MsFlags) -> io::Result<()> {
    const NONE: Option<&std::ffi::CStr> = None;
    mount(source.map(CString::as_c_str), target, NONE, flags, NONE)?;
    Ok(())
}

fn become_user(uid: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(())
}

/// Drops every capability but [`CAP_DAC_READ_SEARCH`], and keeps that one across exec (capabilities(7), "ambient").
fn keep_only_reading() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let set = 1_u32 << CAP_DAC_READ_SEARCH;
    let none = Sets {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    };
    let sets = [
        Sets {
            effective: set,
            permitted: set,
            inheritable: set,
        },
        none,
    ];
    // SAFETY: the layouts are those of capset(2), version 3: a header and two triples, both alive during the call.
    if unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers, no memory.
    let raised = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
            CAP_DAC_READ_SEARCH,
            0 as libc::c_ulong,
            0 as libc::c_ulong,
        )
    };
    if raised == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
