//! Finds what a machine already has, and installs the rest.
//!
//! A need says what it is for, how its presence is recognised, and how it is installed. Nothing is
//! installed twice, nothing outside the repository is touched except by the system's own package
//! manager, and `--no-install` only names what is missing.

mod apt;
mod bpf_toolchain;
mod promtool;
mod python;

pub use bpf_toolchain::{compiler, linker};

use std::process::Command;

use anyhow::{Result, bail};

use crate::paths;
use crate::step::step;

/// Something that has to be on the machine.
pub struct Need {
    name: &'static str,
    why: &'static str,
    means: Means,
}

enum Means {
    /// A Debian package, recognised by a program or file that it brings. The service that it also brings is
    /// not wanted.
    Package {
        probe: Probe,
        service: Option<&'static str>,
    },
    /// A compiler for `bpfel-unknown-none`: rustup's nightly, or Debian's rustc-web.
    BpfCompiler,
    /// The linker that turns LLVM bitcode into a kernel object.
    BpfLinker,
    /// The Python packages of the real clients.
    PythonClients,
    /// The checker of rules and metrics.
    Promtool,
}

enum Probe {
    Program(&'static str),
    File(&'static str),
    /// `python3 -m venv` needs the interpreter's bundled pip.
    PythonVenv,
}

const fn package(name: &'static str, probe: Probe, why: &'static str) -> Need {
    Need {
        name,
        why,
        means: Means::Package {
            probe,
            service: None,
        },
    }
}

/// A server that is wanted for its program: its package starts it as a service, under the same name.
const fn server(name: &'static str, why: &'static str) -> Need {
    Need {
        name,
        why,
        means: Means::Package {
            probe: Probe::Program(name),
            service: Some(name),
        },
    }
}

const BPF_COMPILER: Need = Need {
    name: "Rust compiler for BPF",
    why: "compiles the kernel programs (with the source of `core`)",
    means: Means::BpfCompiler,
};

const BPF_LINKER: Need = Need {
    name: "bpf-linker",
    why: "links the kernel programs",
    means: Means::BpfLinker,
};

const C_COMPILER: Need = package(
    "build-essential",
    Probe::Program("cc"),
    "links Rust programs, compiles AWS-LC",
);

const LIBPCAP: Need = package(
    "libpcap-dev",
    Probe::File("/usr/include/pcap/pcap.h"),
    "captures packets in the lab, reads captures in the benches",
);

/// What every bench is built with.
pub static BENCHES: [Need; 2] = [C_COMPILER, LIBPCAP];

/// What the kernel programs are built with.
pub static KERNEL_PROGRAMS: [Need; 3] = [C_COMPILER, BPF_COMPILER, BPF_LINKER];

/// What the benches compare Weir with; a bench without one of them leaves it out.
pub static PEERS: [Need; 6] = [
    package(
        "iproute2",
        Probe::Program("ip"),
        "joins the benches' namespaces",
    ),
    package(
        "ethtool",
        Probe::Program("ethtool"),
        "sets the offloads of the benches' interfaces",
    ),
    package("nftables", Probe::Program("nft"), "a peer: interval sets"),
    package("ipset", Probe::Program("ipset"), "a peer: hash:net"),
    package(
        "iptables",
        Probe::Program("iptables"),
        "asks ipset for each packet",
    ),
    package(
        "tcpreplay",
        Probe::Program("tcpreplay"),
        "sends the same frames, as an independent witness",
    ),
];

/// What the Debian package is made with.
pub static DEB: [Need; 3] = [
    C_COMPILER,
    package(
        "dpkg-dev",
        Probe::Program("dpkg-shlibdeps"),
        "names the packages of the libraries that the programs need",
    ),
    package("git", Probe::Program("git"), "tells the commit's time"),
];

/// What the machine image is built with; its loaders and file systems are made by programs that it brings itself.
pub static IMAGE: [Need; 7] = [
    package(
        "mmdebstrap",
        Probe::Program("mmdebstrap"),
        "unpacks Debian for the image",
    ),
    package(
        "debian-archive-keyring",
        Probe::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        "verifies what the mirror offers",
    ),
    package(
        "fdisk",
        Probe::Program("sfdisk"),
        "writes the image's table of partitions",
    ),
    package(
        "dosfstools",
        Probe::Program("mkfs.vfat"),
        "makes the EFI system partition",
    ),
    package(
        "mtools",
        Probe::Program("mcopy"),
        "fills the EFI system partition",
    ),
    package(
        "qemu-utils",
        Probe::Program("qemu-img"),
        "turns the disk into a qcow2",
    ),
    package("git", Probe::Program("git"), "tells the commit's time"),
];

/// What boots the image, besides what the lab needs.
pub static BOOT_TEST: [Need; 3] = [
    package(
        "qemu-system-x86",
        Probe::Program("qemu-system-x86_64"),
        "boots the image",
    ),
    package(
        "ovmf",
        Probe::File("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        "boots the image by UEFI",
    ),
    package(
        "openssh-client",
        Probe::Program("ssh"),
        "looks into the booted machine",
    ),
];

/// What the proxy is measured beside, and with.
pub static PROXY_PEERS: [Need; 5] = [
    C_COMPILER,
    server("nginx", "a peer, and the backend of all"),
    server("haproxy", "a peer"),
    package("wrk", Probe::Program("wrk"), "a client over HTTP/1.1"),
    package(
        "nghttp2-client",
        Probe::Program("h2load"),
        "a client over HTTP/2, and at a constant rate",
    ),
];

/// What the demo and the tests run with.
pub static EVERYTHING: [Need; 19] = [
    C_COMPILER,
    LIBPCAP,
    package(
        "iproute2",
        Probe::Program("ip"),
        "joins the lab's namespaces",
    ),
    package(
        "nftables",
        Probe::Program("nft"),
        "keeps the lab's router from forwarding by itself",
    ),
    package(
        "ethtool",
        Probe::Program("ethtool"),
        "tests the kernel programs with and without offloads",
    ),
    package(
        "bpftool",
        Probe::Program("bpftool"),
        "meddles with the kernel programs in their tests",
    ),
    package(
        "iptables",
        Probe::Program("iptables-legacy"),
        "makes rules that nft does not tell of, in a test",
    ),
    package(
        "tcpdump",
        Probe::Program("tcpdump"),
        "reads what `weir capture` writes, in a test",
    ),
    package("curl", Probe::Program("curl"), "a client of the demo"),
    package(
        "xmlsec1",
        Probe::Program("xmlsec1"),
        "verifies the lab's tokens independently",
    ),
    package(
        "openssl",
        Probe::Program("openssl"),
        "an independent TLS client",
    ),
    package(
        "libnss3-tools",
        Probe::Program("certutil"),
        "makes Chromium trust the lab's authority",
    ),
    package("chromium", Probe::Program("chromium"), "the demo's browser"),
    package(
        "chromium-driver",
        Probe::Program("chromedriver"),
        "types into the browser's forms",
    ),
    package("python3-venv", Probe::PythonVenv, "holds the Python client"),
    BPF_COMPILER,
    BPF_LINKER,
    Need {
        name: "msal",
        why: "Microsoft's own client library, a client of the demo",
        means: Means::PythonClients,
    },
    Need {
        name: "promtool",
        why: "checks the metrics and the alert rules",
        means: Means::Promtool,
    },
];

/// Makes sure that everything in `needs` is there.
pub fn ensure(needs: &[Need], no_install: bool) -> Result<()> {
    std::fs::create_dir_all(paths::target())?;
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!(
        "{}",
        if no_install {
            "Missing:"
        } else {
            "About to install:"
        }
    );
    for need in &missing {
        eprintln!("  {:<22} {}", need.name, need.why);
    }
    if no_install {
        bail!(
            "{} of {} needs are missing; `cargo xtask setup` installs them",
            missing.len(),
            needs.len()
        );
    }

    let packages: Vec<&str> = missing
        .iter()
        .filter(|need| matches!(need.means, Means::Package { .. }))
        .map(|need| need.name)
        .collect();
    let services: Vec<&str> = missing.iter().filter_map(|need| need.service()).collect();
    if !packages.is_empty() {
        step(
            &format!("install {} from Debian", packages.join(", ")),
            || apt::install(&packages, &services),
        )?;
    }
    for need in missing {
        match need.means {
            Means::Package { .. } => {}
            Means::BpfCompiler => bpf_toolchain::install_compiler()?,
            Means::BpfLinker => bpf_toolchain::install_linker()?,
            Means::PythonClients => {
                step("install msal from PyPI into target/venv", python::install)?;
            }
            Means::Promtool => step("unpack promtool into target/tools", promtool::install)?,
        }
        if !need.present() {
            bail!(
                "{} was installed, but is still not found: remove {} and try again",
                need.name,
                paths::toolchain().display()
            );
        }
    }
    Ok(())
}

impl Need {
    fn service(&self) -> Option<&'static str> {
        match self.means {
            Means::Package { service, .. } => service,
            _ => None,
        }
    }

    fn present(&self) -> bool {
        match &self.means {
            Means::Package { probe, .. } => probe.succeeds(),
            Means::BpfCompiler => compiler().is_some(),
            Means::BpfLinker => linker().is_some(),
            Means::PythonClients => python::present(),
            Means::Promtool => promtool::present(),
        }
    }
}

impl Probe {
    fn succeeds(&self) -> bool {
        match self {
            Self::Program(name) => find_program(name).is_some(),
            Self::File(path) => std::path::Path::new(path).exists(),
            Self::PythonVenv => {
                quiet(Command::new(python::INTERPRETER).args(["-c", "import venv, ensurepip"]))
            }
        }
    }
}

/// The first executable of this name in `PATH`, or where Debian keeps what only root runs.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Runs a command without showing what it prints; true when it succeeded.
fn quiet(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
