//! Settings of this machine that the kernel plane depends on, and never changes by itself.

use std::fs;

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
    for (family, what) in [("ipv4", "IPv4"), ("ipv6", "IPv6")] {
        for interface in options.outside.iter().chain(&options.inside) {
            if setting(family, interface, "forwarding") == Some(0) {
                warnings.push(format!(
                    "{what} forwarding is off on {interface}: managed sources cannot be forwarded; \
                     set net.{family}.conf.{}.forwarding=1",
                    interface.replace('.', "/")
                ));
            }
        }
    }
    for interface in &options.outside {
        let filter =
            setting("ipv4", interface, "rp_filter").max(setting("ipv4", "all", "rp_filter"));
        let mark_counts = setting("ipv4", interface, "src_valid_mark").max(setting(
            "ipv4",
            "all",
            "src_valid_mark",
        ));
        if filter > Some(0) && mark_counts > Some(0) {
            warnings.push(format!(
                "on {interface} rp_filter and src_valid_mark are both set: the kernel drops packets \
                 for the proxy, uncounted; set net.ipv4.conf.{{all,{0}}}.src_valid_mark=0 or \
                 net.ipv4.conf.{{all,{0}}}.rp_filter=0",
                interface.replace('.', "/")
            ));
        }
    }
    warnings
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
