//! Chooses the hooks for an interface, and says why.

use weir_abi::MAX_STATIONS;

use crate::device::Device;
use crate::types::HookChoice;

/// Whether XDP is to be tried on an interface, with the reason in words.
pub(crate) enum Plan {
    /// tcx alone, by choice.
    Tcx(String),
    /// tcx alone, because XDP cannot run.
    Hindered(String),
    /// XDP in the driver, and tcx for what XDP leaves.
    Xdp(String),
}

/// Chooses for an interface. `ours` is the program of an earlier process of Weir on it, `taken` how many
/// interfaces have XDP already.
pub(crate) fn plan(choice: HookChoice, device: &Device, ours: Option<u32>, taken: usize) -> Plan {
    if choice == HookChoice::Tcx {
        return Plan::Tcx(
            "`hook` in [kernel] says tcx, which sees every packet on every driver".into(),
        );
    }
    let driver = device.driver();
    let name = if driver.name.is_empty() {
        "unknown".to_owned()
    } else {
        driver.name.clone()
    };
    let obstacle = if taken == MAX_STATIONS {
        Some(format!("XDP acts on {MAX_STATIONS} interfaces at most"))
    } else if !device.runs_xdp() {
        Some(format!(
            "driver {name} runs no XDP programs that redirect, as it is set up now"
        ))
    } else if let Some(program) = device.any_xdp.filter(|program| ours != Some(*program)) {
        Some(format!(
            "another XDP program (id {program}) is on it; `ip link set dev {} xdp off` takes it off",
            device.name
        ))
    } else if hides_tags(device) {
        Some(format!("driver {name} {}", hidden_tags(&device.name)))
    } else {
        None
    };
    if let Some(why) = obstacle {
        return Plan::Hindered(why);
    }
    if choice == HookChoice::Auto {
        if name == "veth" {
            return Plan::Tcx(
                "a veth does not tell whether its peer leaves checksums open, and XDP cannot send on \
                 such packets; where the peer has `tx off` and `gro on`, set `hook = \"xdp\"` in [kernel]"
                    .into(),
            );
        }
        if !driver.coalescing.is_empty() {
            let off: Vec<String> = driver
                .coalescing
                .iter()
                .map(|feature| format!("{feature} off"))
                .collect();
            return Plan::Tcx(format!(
                "driver {name} coalesces frames, which XDP cannot send on; `ethtool -K {} {}`, then \
                 restart weir-control, gives XDP",
                device.name,
                off.join(" ")
            ));
        }
    }
    let cpus = std::thread::available_parallelism()
        .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    let lock = match driver.channels {
        Some((used, most)) if name == "virtio_net" && used.saturating_add(cpus) > most => format!(
            ", with a lock: {most} queues are fewer than the {used} in use and one for each of {cpus} \
             CPUs; give the machine more, or `ethtool -L {} combined N` with a smaller N",
            device.name
        ),
        _ => String::new(),
    };
    Plan::Xdp(format!("driver {name} runs XDP{lock}"))
}

/// Whether XDP on an interface would take frames of its VLAN interfaces for its own: the driver takes
/// their tags off first.
pub(crate) fn hides_tags(device: &Device) -> bool {
    has_vlan(&device.name) && device.driver().strips_tags
}

/// What the driver does when [`hides_tags`], and what to do about it.
pub(crate) fn hidden_tags(interface: &str) -> String {
    format!(
        "takes VLAN tags off before XDP sees them, and there are VLAN interfaces on it; \
         `ethtool -K {interface} rxvlan off` leaves them on (rx-vlan-stag-hw-parse for 802.1ad)"
    )
}

/// Whether there is a VLAN interface on another one.
fn has_vlan(interface: &str) -> bool {
    std::fs::read_to_string("/proc/thread-self/net/vlan/config")
        .is_ok_and(|text| names_vlan_on(&text, interface))
}

/// Whether the kernel's table of VLAN interfaces names one on another. Its lines have three columns: the
/// VLAN interface, the number of the VLAN, the interface it is on. Headings have two at most.
fn names_vlan_on(table: &str, interface: &str) -> bool {
    table
        .lines()
        .filter_map(|line| line.split('|').nth(2))
        .any(|on| on.trim() == interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlan_interfaces_are_found() {
        let table = "VLAN Dev name    | VLAN ID\n\
                     Name-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n\
                     eth0.100       | 100  | eth0\n\
                     guests         | 7  | eth10\n";
        assert!(names_vlan_on(table, "eth0") && names_vlan_on(table, "eth10"));
        for other in ["eth1", "eth0.100", "guests", "VLAN ID", ""] {
            assert!(!names_vlan_on(table, other), "{other}");
        }
    }
}
