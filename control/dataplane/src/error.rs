//! What can go wrong, and what the operator does about it.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Why the kernel plane could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel lacks a feature.
    #[error(
        "this kernel lacks {what}: {needs} is needed; boot a newer kernel (6.12 or later is recommended)"
    )]
    Unsupported {
        /// The feature.
        what: &'static str,
        /// The smallest kernel version or option that has it.
        needs: &'static str,
    },
    /// The process may not do it.
    #[error(
        "not permitted: {what} needs {capability}; run weir-control as root or give it this capability"
    )]
    NotPermitted {
        /// What was tried.
        what: &'static str,
        /// What allows it.
        capability: &'static str,
    },
    /// The object file cannot be read.
    #[error("cannot read the kernel programs at {}: {source}; set `object` in [kernel] to where weir-ebpf.o is installed", path.display())]
    Object {
        /// Path from the options.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The object file is not Weir's, or of another version.
    #[error("{} holds no kernel programs of this version: {detail}; install the weir-ebpf.o that belongs to this weir-control", path.display())]
    WrongObject {
        /// Path from the options.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The kernel refuses a program.
    #[error("the kernel refuses program {program}: {detail}")]
    Refused {
        /// The program's name.
        program: &'static str,
        /// Its reason, with the verifier's last lines.
        detail: String,
    },
    /// What is pinned has another layout.
    #[error("{} was pinned by another version of Weir ({detail}); run `weir-control --migrate`, which puts this version in its place while packets flow, or `weir-control --detach`, which takes the old programs off; then start again", path.display())]
    Incompatible {
        /// The pin.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The loopback interface is down, so there is nowhere to deliver to.
    #[error(
        "the loopback interface is down, so marked packets cannot reach the proxy; run `ip link set lo up`"
    )]
    LoopbackDown,
    /// No such interface here.
    #[error(
        "there is no interface {name} in this network namespace; correct `outside` and `inside` in [kernel]"
    )]
    NoInterface {
        /// Name from the options.
        name: String,
    },
    /// An interface whose packets begin with something else than an Ethernet header.
    #[error(
        "interface {name} carries no Ethernet headers (ARP hardware type {hardware}; tun, ppp and \
         WireGuard are such): the kernel programs cannot read its packets; in [kernel] name the \
         Ethernet interface instead, or end the tunnel on another machine"
    )]
    NoEthernet {
        /// Name from the options.
        name: String,
        /// What it has instead: `ARPHRD_*`.
        hardware: u16,
    },
    /// XDP was insisted on, and is not to be had.
    #[error(
        "no XDP in the driver of {name}: {why}; mend that, or set `hook = \"auto\"` in [kernel], which \
         takes tcx where there is no XDP"
    )]
    NoXdp {
        /// Name from the options.
        name: String,
        /// What is in the way, and what helps.
        why: String,
    },
    /// The same interface on both sides.
    #[error(
        "interface {name} is listed twice in [kernel] `outside` and `inside`; an interface has one side"
    )]
    TwoSides {
        /// Name from the options.
        name: String,
    },
    /// Two services claim the same address and port.
    #[error(
        "services {first} and {second} both own {address} port {port}; give one of them another address or port"
    )]
    Claimed {
        /// The first service.
        first: String,
        /// The second service.
        second: String,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// A port of a service that is also given to connections of `nat`, at an address that servers answer to.
    #[error(
        "port {port} of service {service} is one of `nat_ports` ({}-{}), and servers answer to {address}; \
         choose another range in [kernel]", ports.start(), ports.end()
    )]
    NatPort {
        /// The service.
        service: String,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The range.
        ports: RangeInclusive<u16>,
    },
    /// More than fits into a map.
    #[error("{what}: {given} do not fit, {limit} are possible")]
    TooMany {
        /// Of what.
        what: String,
        /// How many were given.
        given: usize,
        /// How many fit.
        limit: usize,
    },
    /// The tables have the wrong shape.
    #[error("the tables are not a generation: {detail}")]
    Tables {
        /// What is wrong.
        detail: String,
    },
    /// A probe whose source and destination are of different families, or for which no outside
    /// interface has a program.
    #[error("cannot probe: {0}")]
    Probe(&'static str),
    /// Anything else that the kernel answers.
    #[error("{what}: {source}")]
    Kernel {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// Wraps the kernel's answer, with what was tried.
    pub(crate) fn kernel(what: impl Into<String>, source: io::Error) -> Self {
        Self::Kernel {
            what: what.into(),
            source,
        }
    }
}
