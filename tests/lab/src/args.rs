//! The command line of `weir-lab`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::lab::Options;
use crate::machine::Firmware;
use crate::netns::Part;
use crate::settings::Hook;
use crate::sources::{Class, Family};

/// A small Internet on this machine, with Weir in the middle.
#[derive(Debug, Parser)]
#[command(name = "weir-lab", version, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Raise the lab, to stay until `down`.
    Up(Raise),
    /// Take the lab down and leave nothing behind.
    Down {
        /// Name of the lab.
        #[arg(long, default_value = "lab", value_parser = instance)]
        instance: String,
    },
    /// Say whether the lab stands, and what is in it.
    Status {
        /// Name of the lab.
        #[arg(long, default_value = "lab", value_parser = instance)]
        instance: String,
        /// Print lab.json.
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a namespace of the lab: `weir-lab exec inet --source unmanaged -- curl https://sts.corp.example/`.
    Exec(Exec),
    /// Raise a lab, drive real sign-ins through it, print who decided what, and take it down.
    Demo(Demo),
    /// Boot Weir's image in the middle of the lab, drive sign-ins through it, and print who decided what.
    Boot(Boot),
    /// What `up` leaves running: holds the lab.
    #[command(hide = true)]
    Hold(Raise),
    /// Sends datagrams and answers whether any came back; a client of the demo.
    #[command(hide = true)]
    UdpProbe {
        /// Where to.
        to: std::net::SocketAddr,
    },
}

/// What a lab is raised from.
#[derive(Clone, Debug, Args)]
pub struct Raise {
    /// Name of the lab: two labs with different names can stand at once.
    #[arg(long, default_value = "lab", value_parser = instance)]
    pub instance: String,
    /// Directory with weir-control, weir-proxy and weir-lab-servers [default: where this program is].
    #[arg(long, value_name = "DIR", env = "WEIR_BIN_DIR")]
    pub bin_dir: Option<PathBuf>,
    /// The kernel object.
    #[arg(long, value_name = "FILE", env = "WEIR_EBPF_OBJECT")]
    pub object: Option<PathBuf>,
    /// Directory for configuration, keys, logs and results.
    #[arg(long, value_name = "DIR", default_value = "target/lab")]
    pub out: PathBuf,
    /// Python environment with msal; only `demo` needs it.
    #[arg(long, value_name = "DIR", env = "WEIR_VENV")]
    pub venv: Option<PathBuf>,
    /// Skip a rule of the policy, by full name, such as office365-strict/native-unmanaged; may be repeated.
    #[arg(long, value_name = "RULE")]
    pub switch_off: Vec<String>,
    /// Where the kernel plane has to decide [default: left to Weir, which takes tcx on this lab's wires; `demo` then goes
    /// on in a second lab at xdp]. With `xdp` the wires are set so that a driver's hook can pass on what comes over them;
    /// `demo` then does the rows of the houses `strict`, `grants` and `kernel` and of `life/kill-*`, unless --only says otherwise.
    #[arg(long, value_name = "HOOK")]
    pub hook: Option<Hook>,
}

/// A command in the lab.
#[derive(Debug, Args)]
pub struct Exec {
    /// Where.
    pub namespace: Part,
    /// Name of the lab.
    #[arg(long, default_value = "lab", value_parser = instance)]
    pub instance: String,
    /// Connect from this class's address, under its user id; only in `inet`. Without it: as root, from an address that is
    /// on no list, so unmanaged.
    #[arg(long)]
    pub source: Option<Class>,
    /// Names resolve to this family only.
    #[arg(long)]
    pub family: Option<Family>,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// What is shown apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Show {
    /// A tenant of Entra: its directory, kept in step, and what depends on it.
    Entra,
}

/// The demonstration.
#[derive(Debug, Args)]
pub struct Demo {
    /// What is shown [default: all but what is named here].
    pub show: Option<Show>,
    /// The lab that it runs in.
    #[command(flatten)]
    pub raise: Raise,
    /// Write the results as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Only rows whose name matches, with or without its house, such as 'curl/*' or 'office365/*/4'; may be repeated.
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// Print the names of the rows and end.
    #[arg(long)]
    pub list: bool,
    /// Leave the lab standing after the last row, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
}

/// The image, booted.
#[derive(Debug, Args)]
pub struct Boot {
    /// The image, as qcow2; nothing is written to it.
    #[arg(long, value_name = "FILE")]
    pub image: PathBuf,
    /// What it is started by; may be repeated.
    #[arg(long, value_name = "FIRMWARE", default_values = ["bios", "uefi"])]
    pub firmware: Vec<Firmware>,
    /// As for the demonstration: `--only`, `--json`.
    #[command(flatten)]
    pub demo: Demo,
}

impl Raise {
    /// As options of a lab.
    pub fn options(&self) -> anyhow::Result<Options> {
        let bin_dir = if let Some(directory) = &self.bin_dir {
            directory.clone()
        } else {
            let own = std::env::current_exe()?;
            own.parent().map_or_else(PathBuf::new, ToOwned::to_owned)
        };
        let object = self
            .object
            .clone()
            .context("say where the kernel object is: --object FILE")?;
        Ok(Options {
            instance: self.instance.clone(),
            out: self.out.clone(),
            bin_dir,
            object,
            switched_off: self.switch_off.clone(),
            hook: self.hook,
            tenant: false,
        })
    }
}

/// A name that can be part of a namespace's and a directory's name.
fn instance(text: &str) -> Result<String, String> {
    let fits = (1..=16).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("1 to 16 lower-case letters and digits".to_owned())
    }
}
