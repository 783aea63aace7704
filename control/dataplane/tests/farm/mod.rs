//! Several servers behind the router of a bed, whose own server namespace becomes the switch between.
//!
//! ```text
//! router in 192.0.2.1/24 ── switch ── d0 192.0.2.101/24  2001:db8:10::101/64   first server
//!                                 └── d0 192.0.2.102/24  2001:db8:10::102/64   second server …
//! ```

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;

use weir_abi::{Class, Topology};
use weir_dataplane::{Dataplane, ServerSpec, ServiceSpec};
use weir_fixtures::{STS_V4, STS_V6, source};

use crate::bed::{Bed, connect, listen, must, within};
use crate::plane::{LONG, services, sts};

/// The servers; their namespaces are gone when dropped.
pub struct Farm {
    pub servers: Vec<String>,
}

impl Farm {
    pub fn new(bed: &Bed, count: usize) -> Self {
        let switch = bed.server.as_str();
        ip(switch, "addr flush dev s0");
        ip(switch, "link add sw type bridge");
        ip(switch, "link set sw up");
        ip(switch, "link set s0 master sw");
        let servers: Vec<String> = (0..count)
            .map(|index| bed.server.replace("server", &format!("farm{index}")))
            .collect();
        for (index, name) in servers.iter().enumerate() {
            must("ip", &["netns", "add", name]);
            ip(name, "link set lo up");
            let link = format!("link add f{index} type veth peer name d0 netns {name}");
            ip(switch, &link);
            ip(switch, &format!("link set f{index} master sw up"));
            for (address, length) in [(own(index, false), 24), (own(index, true), 64)] {
                let nodad = if length == 64 { " nodad" } else { "" };
                ip(name, &format!("addr add {address}/{length} dev d0{nodad}"));
            }
            ip(name, "link set d0 up");
            ip(name, "route add default via 192.0.2.1");
            ip(name, "-6 route add default via 2001:db8:10::1");
        }
        Self { servers }
    }

    /// Gives every server the service's addresses, on its loopback.
    pub fn own_the_service(&self) {
        for name in &self.servers {
            ip(name, &format!("addr add {STS_V4}/32 dev lo"));
            ip(name, &format!("addr add {STS_V6}/128 dev lo nodad"));
        }
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        for name in &self.servers {
            must("ip", &["netns", "del", name]);
        }
    }
}

/// A server's own address.
pub fn own(index: usize, six: bool) -> IpAddr {
    let host = 101 + u16::try_from(index).expect("a small number");
    if six {
        let host = u16::from_str_radix(&host.to_string(), 16).expect("digits");
        [0x2001, 0xdb8, 0x10, 0, 0, 0, 0, host].into()
    } else {
        [192, 0, 2, u8::try_from(host).expect("a small number")].into()
    }
}

/// Puts the first service in force with these servers, each up or not.
pub fn serve(plane: &mut Dataplane, topology: Topology, up: &[bool]) {
    let mut services = services();
    services[0].topology = topology;
    services[0].servers = all(up);
    plane.set_services(&services).expect("two services");
}

/// What servers see.
pub fn weir(six: bool) -> IpAddr {
    if six {
        [0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 1].into()
    } else {
        [192, 0, 2, 1].into()
    }
}

/// The services, with these servers for the first, each up or not.
pub fn specs(up: &[bool]) -> [ServiceSpec; 2] {
    let mut services = services();
    services[0].topology = Topology::Nat;
    services[0].servers = all(up);
    services
}

/// Puts the first service in force with these servers, which see the router's inner address.
pub fn translate(plane: &mut Dataplane, up: &[bool]) {
    let mut services = specs(up);
    services[0].nat.addresses = [false, true].map(weir).into();
    plane.set_services(&services).expect("two services");
}

/// The servers of both families, each up or not.
pub fn all(up: &[bool]) -> Vec<ServerSpec> {
    [false, true]
        .into_iter()
        .flat_map(|six| {
            up.iter().enumerate().map(move |(index, up)| ServerSpec {
                address: own(index, six),
                up: *up,
            })
        })
        .collect()
}

/// A listener that answers every byte with its own.
pub fn echo(namespace: &str, address: SocketAddr, word: u8) {
    let listener = within(namespace, || listen(address, false));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[word]).is_ok() {}
            });
        }
    });
}

/// A connection that stays, and the word of the server that it met.
pub struct Long {
    stream: TcpStream,
    pub word: u8,
}

impl Long {
    /// Connects as a managed client.
    pub fn new(bed: &Bed, six: bool) -> Self {
        let from = source(Class::Managed, six);
        let stream =
            within(&bed.client, || connect(from, sts(six, 443), LONG)).expect("a server listens");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        let mut long = Self { stream, word: 0 };
        long.word = long.ask().expect("an answer");
        long
    }

    /// Sends a byte, and gives the one that comes back.
    pub fn ask(&mut self) -> std::io::Result<u8> {
        self.stream.write_all(b"?")?;
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Whether the same server is still there.
    pub fn holds(&mut self) -> bool {
        let word = self.word;
        self.ask().is_ok_and(|now| now == word)
    }
}

/// Runs ip(8) in a namespace, with these words.
pub fn ip(namespace: &str, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    must("ip", &[&["-n", namespace], words.as_slice()].concat());
}
