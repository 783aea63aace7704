//! Settings of this machine that the kernel plane depends on, and never changes by itself.

use std::fs;
use std::ops::RangeInclusive;

use crate::types::Options;

/// The oldest kernel that is recommended.
const RECOMMENDED: (u32, u32) = (6, 12);

/// Sentences for the operator, each with what to do.
pub(crate) fn warnings(options: &Options) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(release) = read("/proc/sys/kernel/osrelease")
        && version(&release).is_some_and(|version| version < RECOMMENDED)
    {
        warnings.push(format!(
            "this kernel is {release}: 6.12 or later is recommended, older ones are not tried"
        ));
    }
    if number("/proc/sys/net/ipv4/tcp_syncookies") == Some(0) {
        warnings.push(
            "SYN cookies are off: a flood of SYNs fills the queues of the proxy's listeners, and nobody \
             gets in any more; set net.ipv4.tcp_syncookies=1"
                .to_owned(),
        );
    }
    let interfaces = || options.outside.iter().chain(&options.inside);
    for (family, what) in [("ipv4", "IPv4"), ("ipv6", "IPv6")] {
        for interface in interfaces() {
            if setting(family, interface, "forwarding") == Some(0) {
                warnings.push(format!(
                    "{what} forwarding is off on {interface}: managed sources cannot be forwarded; \
                     set net.{family}.conf.{}.forwarding=1",
                    interface.replace('.', "/")
                ));
            }
        }
    }
    // What the programs leave to the stack goes by this alone (`ip6_forward`), unless an interface has
    // `force_forwarding` (Linux 6.17).
    let forced = |interface: &String| setting("ipv6", interface, "force_forwarding") == Some(1);
    if setting("ipv6", "all", "forwarding") == Some(0) && !interfaces().all(forced) {
        warnings.push(
            "IPv6 forwarding is off for all: packets that need the stack, such as the first to a server \
             that is not known yet, are not forwarded; set net.ipv6.conf.all.forwarding=1"
                .to_owned(),
        );
    }
    if number("/proc/sys/net/netfilter/nf_conntrack_count").is_some_and(|tracked| tracked > 0) {
        let legacy = ["ip", "ip6"].map(|family| {
            let tables = read(&format!("/proc/thread-self/net/{family}_tables_names"));
            unseen_rules(family, &tables.unwrap_or_default())
        });
        warnings.extend(legacy.into_iter().flatten());
    }
    for interface in &options.outside {
        if marked_are_martians(interface) {
            warnings.push(format!(
                "on {interface} src_valid_mark is set: the kernel looks for the way back of marked packets \
                 by the mark, finds this machine, and drops all packets for the proxy, uncounted; set \
                 net.ipv4.conf.all.src_valid_mark=0 and net.ipv4.conf.{}.src_valid_mark=0",
                interface.replace('.', "/")
            ));
        }
    }
    warnings
}

/// What is to be said where connections of this machine itself may get ports of `nat`.
pub(crate) fn shared_ports(nat: &RangeInclusive<u16>) -> Option<String> {
    let own = read("/proc/sys/net/ipv4/ip_local_port_range")?;
    let (first, last) = own.split_once(char::is_whitespace)?;
    let own = first.parse().ok()?..=last.trim().parse().ok()?;
    let reserved = read("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    let meet = |port: u16| own.contains(&port) && !is_among(port, &reserved);
    nat.clone().any(meet).then(|| {
        format!(
            "`nat_ports` ({0}-{1}) meet the ports of this machine's own connections ({2}-{3}): one of the \
             proxy to a server that has the same port as a connection of `nat` gets no answers; choose \
             another range in [kernel], or set net.ipv4.ip_local_reserved_ports={0}-{1}",
            nat.start(),
            nat.end(),
            own.start(),
            own.end()
        )
    })
}

/// Whether a port is among these, such as `8080,9000-9100`.
fn is_among(port: u16, listed: &str) -> bool {
    listed.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&port))
    })
}

/// What is to be said of these tables of iptables-legacy, one a line, in a family (`ip`, `ip6`): their rules
/// are not among those that nft tells.
fn unseen_rules(family: &str, tables: &str) -> Option<String> {
    let tables: Vec<_> = tables.split_whitespace().collect();
    let first = tables.first()?;
    Some(format!(
        "netfilter tracks connections, and {family}tables-legacy has tables ({}), whose rules nft does not \
         tell: whether a stateful one drops what Weir forwards cannot be seen; move them to nftables \
         (`{family}tables-legacy-save | {family}tables-nft-restore`), and unload them (`{family}tables-legacy \
         -t {first} -F`, `modprobe -r {family}table_{first}`, and so for each)",
        tables.join(", ")
    ))
}

/// Whether the kernel takes the source of a marked packet for an address of its own, and drops the packet:
/// by the rule for the mark it is one. The rule is also why it looks at all while `rp_filter` is 0
/// (`fib_validate_source`). Where such sources are accepted, only the strict `rp_filter` minds that the way
/// back leads by another interface. The greater of the settings for all and for the interface counts.
fn marked_are_martians(interface: &str) -> bool {
    let greater = |name| {
        let of = |interface| setting("ipv4", interface, name).unwrap_or(0);
        of("all").max(of(interface))
    };
    greater("src_valid_mark") > 0 && (greater("accept_local") == 0 || greater("rp_filter") == 1)
}

/// A setting of this network namespace; nothing when the family is switched off.
fn setting(family: &str, interface: &str, name: &str) -> Option<u32> {
    number(&format!("/proc/sys/net/{family}/conf/{interface}/{name}"))
}

fn number(path: &str) -> Option<u32> {
    read(path)?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Major and minor version of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
