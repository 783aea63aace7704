//! Three network namespaces in a row: `client`, `router`, `server`, joined by veth, IPv4 and IPv6.
//!
//! ```text
//! client  c0  203.0.113.{10,20,30,40,50}/24   2001:db8:c::{a,14,1e,28,32}/64
//! router  out 203.0.113.1  2001:db8:c::1      in 192.0.2.1  2001:db8:10::1
//! server  s0  192.0.2.{10,11}/24              2001:db8:10::{10,11}/64
//! ```
//!
//! The router's firewall forwards nothing but port 8443, so what else arrives was forwarded by Weir.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};
use weir_dataplane::{HookChoice, Options, SynBudgets};

pub const MARK: u32 = 0x5745;
pub const TABLE: u32 = 5745;

/// Where the programs are, when this machine can run them; else prints why not.
pub fn object_or_skip(test: &str) -> Option<PathBuf> {
    static NAMESPACES: OnceLock<bool> = OnceLock::new();
    let skip = |reason: &str| {
        // Past the test harness, which keeps what passing tests print to itself.
        let _ = writeln!(io::stderr(), "skipped: {test}: {reason}");
        None
    };
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    let object = std::env::var_os("WEIR_EBPF_OBJECT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ebpf/weir-ebpf.o"),
        PathBuf::from,
    );
    if !object.exists() {
        return skip("no object file with the kernel programs; build it with `cargo xtask ebpf`");
    }
    let possible = *NAMESPACES.get_or_init(|| {
        let name = format!("weir-try-{}", std::process::id());
        run("ip", &["netns", "add", &name]) && run("ip", &["netns", "del", &name])
    });
    if !possible {
        return skip("cannot make network namespaces");
    }
    Some(object)
}

/// The namespaces, gone when dropped.
pub struct Bed {
    pub client: String,
    pub router: String,
    pub server: String,
    pub options: Options,
    directory: PathBuf,
}

impl Bed {
    /// For XDP the ends that face the router make their checksums, and take frames in batches.
    pub fn new(object: PathBuf, hook: HookChoice) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let name = |role| format!("weir-{role}-{id}");
        let directory = std::env::temp_dir().join(format!("weir-bed-{id}"));
        let bed = Self {
            client: name("client"),
            router: name("router"),
            server: name("server"),
            options: Options {
                object,
                pin_dir: directory.join("bpf"),
                outside: vec!["out".into()],
                inside: vec!["in".into()],
                mark: MARK,
                table: TABLE,
                hook,
                budgets: SynBudgets::default(),
                sample: 1,
            },
            directory,
        };
        bed.raise();
        if hook == HookChoice::Xdp {
            for (namespace, device) in [(&bed.client, "c0"), (&bed.server, "s0")] {
                ethtool(namespace, device, &["tx", "off", "gro", "on"]);
            }
        }
        bed
    }

    fn raise(&self) {
        let (client, router, server) = (&self.client, &self.router, &self.server);
        for namespace in [client, router, server] {
            must("ip", &["netns", "add", namespace]);
            must("ip", &["-n", namespace, "link", "set", "lo", "up"]);
        }
        for (outer, outer_name, inner_name, other) in
            [(client, "c0", "out", router), (router, "in", "s0", server)]
        {
            must(
                "ip",
                &[
                    "-n", outer, "link", "add", outer_name, "type", "veth", "peer", "name",
                    inner_name, "netns", other,
                ],
            );
        }
        let address = |namespace: &str, device: &str, address: &str| {
            let mut arguments = vec!["-n", namespace, "addr", "add", address, "dev", device];
            if address.contains(':') {
                arguments.push("nodad");
            }
            must("ip", &arguments);
        };
        for host in [10, 20, 30, 40, 50] {
            address(client, "c0", &format!("203.0.113.{host}/24"));
            address(client, "c0", &format!("2001:db8:c::{host:x}/64"));
        }
        address(router, "out", "203.0.113.1/24");
        address(router, "out", "2001:db8:c::1/64");
        address(router, "in", "192.0.2.1/24");
        address(router, "in", "2001:db8:10::1/64");
        for host in ["10", "11"] {
            address(server, "s0", &format!("192.0.2.{host}/24"));
            address(server, "s0", &format!("2001:db8:10::{host}/64"));
        }
        for (namespace, device) in [
            (client, "c0"),
            (router, "out"),
            (router, "in"),
            (server, "s0"),
        ] {
            must("ip", &["-n", namespace, "link", "set", device, "up"]);
        }
        for (namespace, via4, via6) in [
            (client, "203.0.113.1", "2001:db8:c::1"),
            (server, "192.0.2.1", "2001:db8:10::1"),
        ] {
            must(
                "ip",
                &["-n", namespace, "route", "add", "default", "via", via4],
            );
            must(
                "ip",
                &[
                    "-n", namespace, "-6", "route", "add", "default", "via", via6,
                ],
            );
        }
        within(router, || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may forward");
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").expect("root may forward");
        });
        self.nft(
            router,
            "table inet weir-bed {
                chain forward {
                    type filter hook forward priority 0; policy drop;
                    tcp dport 8443 accept
                    tcp sport 8443 accept
                    udp dport 8443 accept
                    meta l4proto icmpv6 accept
                }
            }",
        );
    }

    /// Loads rules into a namespace.
    pub fn nft(&self, namespace: &str, rules: &str) {
        fs::create_dir_all(&self.directory).expect("a temporary directory");
        let file = self.directory.join("rules.nft");
        fs::write(&file, rules).expect("a temporary file");
        let file = file.to_str().expect("a plain path");
        must("ip", &["netns", "exec", namespace, "nft", "-f", file]);
    }

    /// Packets and bytes of a named nftables counter.
    pub fn nft_counter(namespace: &str, counter: &str) -> (u64, u64) {
        let output = Command::new("ip")
            .args([
                "netns", "exec", namespace, "nft", "list", "counter", "inet", "count", counter,
            ])
            .output()
            .expect("nft runs");
        let text = String::from_utf8(output.stdout).expect("plain text");
        let number = |word: &str| {
            let rest = text.split(word).nth(1).expect("nft prints both numbers");
            let digits: String = rest
                .trim_start()
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            digits.parse().expect("a number")
        };
        (number("packets"), number("bytes"))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.router, &self.server] {
            run("ip", &["netns", "del", namespace]);
        }
        let _ = nix::mount::umount2(&self.options.pin_dir, nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a closure in a namespace, on a thread of its own.
pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            enter(namespace);
            work()
        });
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves this thread into a namespace.
pub fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).expect("a namespace of this bed");
    setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter it");
}

/// A listener that answers every connection with a word and the peer's address, and closes it.
pub fn answer(namespace: &str, address: SocketAddr, word: &'static str, transparent: bool) {
    let listener = within(namespace, || listen(address, transparent));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let peer = stream.peer_addr()?.ip();
                let mut request = String::new();
                // The client says what it has to say, and closes its half.
                stream.read_to_string(&mut request)?;
                write!(stream, "{word} {peer} {}", request.len())
            });
        }
    });
}

/// A listener that sends every connection so many bytes, and closes it.
pub fn pour(namespace: &str, address: SocketAddr, bytes: usize, transparent: bool) {
    let listener = within(namespace, || listen(address, transparent));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || stream.write_all(&vec![b'x'; bytes]));
        }
    });
}

/// A listening socket, perhaps for an address of others.
pub fn listen(address: SocketAddr, transparent: bool) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    if transparent {
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
        }
        .expect("root may listen for addresses of others");
    }
    socket.bind(&address.into()).expect("a free port");
    socket.listen(64).expect("a bound socket listens");
    socket.into()
}

/// What a client at `source` gets from `destination`, having sent `length` bytes.
pub fn ask(
    namespace: &str,
    source: IpAddr,
    destination: SocketAddr,
    length: usize,
    patience: Duration,
) -> io::Result<String> {
    let mut stream = within(namespace, || connect(source, destination, patience))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&vec![b'x'; length])?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Connects from an address of the namespace this thread is in.
pub fn connect(
    source: IpAddr,
    destination: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(destination), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&destination.into(), patience)?;
    Ok(socket.into())
}

/// A UDP socket in a namespace.
pub fn udp(namespace: &str, address: SocketAddr) -> UdpSocket {
    within(namespace, || UdpSocket::bind(address).expect("a free port"))
}

/// Sets the MTU of an interface.
pub fn set_mtu(namespace: &str, device: &str, mtu: u32) {
    must(
        "ip",
        &[
            "-n",
            namespace,
            "link",
            "set",
            device,
            "mtu",
            &mtu.to_string(),
        ],
    );
}

/// Leaves the checksums of what an interface sends to whoever receives it, or makes them. Without
/// ethtool the interface stays as it is.
pub fn offload(namespace: &str, device: &str, leave: bool) {
    let word = if leave { "on" } else { "off" };
    if has_ethtool() {
        ethtool(namespace, device, &["tx", word]);
    } else {
        let _ = writeln!(
            io::stderr(),
            "skipped: checksum offload {word}: needs ethtool"
        );
    }
}

/// Whether offloads can be set.
pub fn has_ethtool() -> bool {
    run("ethtool", &["--version"])
}

/// Sets offloads of an interface.
pub fn ethtool(namespace: &str, device: &str, features: &[&str]) {
    let mut arguments = vec!["netns", "exec", namespace, "ethtool", "-K", device];
    arguments.extend(features);
    must("ip", &arguments);
}

/// Makes a namespace send what is for a neighbour to the hardware address of nobody.
pub fn mislead(namespace: &str, neighbour: &str, device: &str) {
    let nobody = "02:00:00:00:00:99";
    must(
        "ip",
        &[
            "-n", namespace, "neigh", "replace", neighbour, "lladdr", nobody, "dev", device,
        ],
    );
}

/// Waits until a condition holds; fails with what it said last.
pub fn eventually(what: &str, mut condition: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match condition() {
            Ok(()) => return,
            Err(last) if Instant::now() > end => panic!("{what}: {last}"),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// What `ip` prints in a namespace.
pub fn ip_output(namespace: &str, arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .arg("-n")
        .arg(namespace)
        .args(arguments)
        .output()
        .expect("ip");
    String::from_utf8(output.stdout).expect("plain text")
}

/// Runs a program that must succeed.
pub fn must(program: &str, arguments: &[&str]) {
    assert!(run(program, arguments), "{program} {}", arguments.join(" "));
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}
