//! The ways through the router: who does the job, and what they counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Socket, Type};
use weir_benches::live::Door;

use crate::bed::Namespace;

/// A way through the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Nobody: a program in the driver drops each frame. What is left is what it takes to send and receive.
    Nothing,
    /// The kernel forwards, and looks at no source.
    Kernel,
    /// nftables: one map with intervals, TPROXY.
    Nft,
    /// ipset with iptables: hash:net, TPROXY.
    Ipset,
    /// Weir at tcx.
    Tcx,
    /// Weir at XDP.
    Xdp,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Kernel,
        Self::Nft,
        Self::Ipset,
        Self::Tcx,
        Self::Xdp,
    ];

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "dropped in the driver",
            Self::Kernel => "plain forwarding",
            Self::Nft => "nftables",
            Self::Ipset => "ipset + iptables",
            Self::Tcx => "Weir at tcx",
            Self::Xdp => "Weir at XDP",
        }
    }

    /// Whether it does the job, or is only shown for comparison.
    pub fn judges(self) -> bool {
        !matches!(self, Self::Nothing | Self::Kernel)
    }

    /// Whether a program of Weir's is in the driver.
    pub fn in_driver(self) -> bool {
        self == Self::Xdp
    }
}

/// Puts the rules of nftables in force.
pub fn nft(router: &Namespace, door: &Door) -> Result<()> {
    router.feed("nft", &["-f", "-"], &door.nft())?;
    divert(router)
}

/// Puts the sets and the rules of iptables in force.
pub fn ipset(router: &Namespace, door: &Door) -> Result<()> {
    router.feed("ipset", &["restore"], &door.ipset())?;
    for (six, program) in [(false, "iptables-restore"), (true, "ip6tables-restore")] {
        if let Some(rules) = door.iptables(six) {
            router.feed(program, &[], &rules)?;
        }
    }
    divert(router)
}

/// Counts and drops what the router's own stack would take up, before TCP does: what an answer costs is nobody's
/// filter's.
pub fn catch(router: &Namespace) -> Result<()> {
    router
        .feed(
            "nft",
            &["-f", "-"],
            "table inet bed {
                counter delivered { }
                chain input {
                    type filter hook input priority -400; policy accept;
                    meta l4proto tcp counter name delivered drop
                }
            }
            ",
        )
        .map(drop)
}

/// Packets that a counter of nftables has counted since it was read last. To list it would list all sets, too.
pub fn counted(router: &Namespace, table: &str, counter: &str) -> Result<u64> {
    let text = router.run("nft", &["-j", "reset", "counter", "inet", table, counter])?;
    let said: serde_json::Value = serde_json::from_str(&text)?;
    let objects = said["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    objects
        .iter()
        .find_map(|object| object["counter"]["packets"].as_u64())
        .with_context(|| format!("nft tells no packets of {counter}: {text}"))
}

/// Packets that rules of iptables dropped so far.
pub fn dropped(router: &Namespace, door: &Door) -> Result<u64> {
    let mut sum = 0;
    for (six, program) in [(false, "iptables"), (true, "ip6tables")] {
        if !door
            .addresses
            .iter()
            .any(|address| address.is_ipv6() == six)
        {
            continue;
        }
        let text = router.run(program, &["-t", "mangle", "-nvxL", "PEER"])?;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(packets), Some(_), Some("DROP")) =
                (words.next(), words.next(), words.next())
            {
                sum += packets.parse::<u64>()?;
            }
        }
    }
    Ok(sum)
}

/// A listener for marked packets, at a place that need not be the router's own.
pub fn listener(router: &Namespace, at: SocketAddr) -> Result<TcpListener> {
    router.within(|| {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        transparent(&socket, at.is_ipv6())?;
        socket
            .bind(&at.into())
            .with_context(|| format!("cannot listen at {at}"))?;
        socket.listen(16)?;
        Ok(socket.into())
    })
}

/// Where the peers' listeners are, and those of a service.
pub fn listening(way: Way, door: &Door) -> Vec<SocketAddr> {
    match way {
        Way::Nothing | Way::Kernel => Vec::new(),
        Way::Nft | Way::Ipset => {
            let (port, _) = Door::listener();
            let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            local.map(|address| (address, port).into()).to_vec()
        }
        Way::Tcx | Way::Xdp => {
            let places = door.addresses.iter();
            places
                .flat_map(|address| door.ports.iter().map(|port| (*address, *port).into()))
                .collect()
        }
    }
}

/// Brings packets with the peers' mark home.
fn divert(router: &Namespace) -> Result<()> {
    let (_, mark) = Door::listener();
    for family in ["-4", "-6"] {
        router.ip(&format!("{family} rule add fwmark {mark} lookup 100"))?;
        router.ip(&format!(
            "{family} route add local default dev lo table 100"
        ))?;
    }
    Ok(())
}

fn transparent(socket: &Socket, six: bool) -> Result<()> {
    let (level, option) = if six {
        (libc::SOL_IPV6, libc::IPV6_TRANSPARENT)
    } else {
        (libc::SOL_IP, libc::IP_TRANSPARENT)
    };
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on))?;
    // SAFETY: the option is a number, lent for the call.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size,
        )
    };
    if failed != 0 {
        bail!(
            "no transparent listener: {}",
            std::io::Error::last_os_error()
        );
    }
    Ok(())
}
