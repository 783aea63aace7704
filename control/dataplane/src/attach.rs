//! Holds the programs on the interfaces, at the hooks that [`hook`] chooses.

use std::io;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::xdp::DevMapHash;
use aya::programs::tc::{SchedClassifier, TcAttachType};
use weir_abi::{Config, Hook, MAX_STATIONS, Station};

use crate::device::Device;
use crate::error::Error;
use crate::hook::{self, Plan};
use crate::links::{self, Link};
use crate::pins::{Pins, pin_name};
use crate::programs;
use crate::steps::{Step, Watch};
use crate::sys::{self, Mapped};
use crate::types::{Direction, HookChoice, InterfaceStatus, Options, XdpStatus};

/// What XDP leaves to do, for the operator.
const LEFT: &str = "what it does not finish goes on to tcx";

/// Puts the programs on the interfaces, and takes them off interfaces and hooks that are not wanted any
/// more. A link that is pinned and alive gets the new program; packets meet the old one or the new one,
/// never none. tcx comes first everywhere: it judges with or without XDP. Where XDP is insisted on and
/// not to be had, or an interface is not there, that is an error only if `insist` says so: else the one
/// is a reason, and the other interfaces do not wait for it.
pub(crate) fn attach(
    ebpf: &mut Ebpf,
    options: &Options,
    pins: &Pins,
    insist: bool,
    watch: Watch<'_>,
) -> Result<Vec<InterfaceStatus>, Error> {
    let mut at_tcx = Vec::new();
    let (devices, absent) = devices(options, insist)?;
    for (direction, device) in devices {
        let pin = pins.link(Hook::Tcx, direction, &device.name);
        let program = put(ebpf, Hook::Tcx, direction, &device, &pin)
            .map_err(|e| Error::kernel(format!("cannot attach to {} at tcx", device.name), e))?;
        watch(Step::Attached);
        at_tcx.push((direction, device, pin, program));
    }
    let mut attached: Vec<InterfaceStatus> = Vec::new();
    for (direction, device, pin, program) in at_tcx {
        let taken = attached.iter().filter(|one| one.xdp.is_some()).count();
        let (xdp, why) = match attach_xdp(ebpf, options.hook, pins, direction, &device, taken) {
            Xdp::On(xdp, why) => (Some(xdp), why),
            Xdp::Hindered(why) if insist && options.hook == HookChoice::Xdp => {
                return Err(Error::NoXdp {
                    name: device.name,
                    why,
                });
            }
            Xdp::Hindered(why) | Xdp::Off(why) => (None, why),
        };
        watch(Step::Attached);
        attached.push(InterfaceStatus {
            name: device.name,
            index: device.index,
            direction,
            hook: if xdp.is_some() { "xdp+tcx" } else { "tcx" },
            why,
            program,
            pin,
            xdp,
        });
    }
    let held = |path: &PathBuf| {
        let mut attached = attached.iter();
        let mut absent = absent.iter();
        attached.any(|one| one.pin == *path || one.xdp.as_ref().is_some_and(|xdp| xdp.pin == *path))
            // Perhaps it only has another name for a while.
            || absent.any(|(direction, name)| {
                Hook::ALL.map(|hook| pins.link(hook, *direction, name)).contains(path)
            })
    };
    for path in pins
        .links()
        .map_err(|e| Error::kernel("cannot list the links", e))?
    {
        if !held(&path) {
            tracing::info!(link = pin_name(&path), "taking the program off");
            links::take_off(&path)
                .map_err(|e| Error::kernel(format!("cannot remove {}", path.display()), e))?;
        }
    }
    Ok(attached)
}

/// The interfaces of both sides, in the order of the options; and those that are not there, which is an
/// error if `insist` says so.
#[expect(clippy::type_complexity, reason = "two lists of the same kind")]
fn devices(
    options: &Options,
    insist: bool,
) -> Result<(Vec<(Direction, Device)>, Vec<(Direction, String)>), Error> {
    let outside = options
        .outside
        .iter()
        .map(|name| (Direction::Outside, name));
    let inside = options.inside.iter().map(|name| (Direction::Inside, name));
    let mut devices: Vec<(Direction, Device)> = Vec::new();
    let mut absent = Vec::new();
    for (direction, name) in outside.chain(inside) {
        let name = name.clone();
        if devices.iter().any(|(_, other)| other.name == name) {
            return Err(Error::TwoSides { name });
        }
        let found = Device::find(&name)
            .map_err(|e| Error::kernel(format!("cannot ask what {name} is"), e))?;
        let Some(device) = found else {
            if insist {
                return Err(Error::NoInterface { name });
            }
            absent.push((direction, name));
            continue;
        };
        if device.hardware != libc::ARPHRD_ETHER {
            return Err(Error::NoEthernet {
                name,
                hardware: device.hardware,
            });
        }
        devices.push((direction, device));
    }
    Ok((devices, absent))
}

/// What became of XDP on an interface, with the reason in words.
enum Xdp {
    /// It runs.
    On(XdpStatus, String),
    /// It is not wanted.
    Off(String),
    /// It cannot run.
    Hindered(String),
}

/// XDP on an interface, where it is wanted and possible.
fn attach_xdp(
    ebpf: &mut Ebpf,
    choice: HookChoice,
    pins: &Pins,
    direction: Direction,
    device: &Device,
    taken: usize,
) -> Xdp {
    let pin = pins.link(Hook::Xdp, direction, &device.name);
    let ours = living_link(Hook::Xdp, &pin, device).map(|(_, program)| program);
    let why = match hook::plan(choice, device, ours, taken) {
        Plan::Tcx(why) => return Xdp::Off(why),
        Plan::Hindered(why) => return Xdp::Hindered(why),
        Plan::Xdp(why) => why,
    };
    let tried = programs::load_xdp(ebpf, pins, direction).and_then(|()| {
        put(ebpf, Hook::Xdp, direction, device, &pin).map_err(|error| error.to_string())
    });
    match tried {
        Ok(program) => {
            let xdp = XdpStatus {
                program,
                pin,
                address: device.address,
                takes_redirected: device.takes_redirected(),
                hides_tags: false,
            };
            Xdp::On(xdp, format!("{why}; {LEFT}"))
        }
        Err(refusal) => {
            let mut reasons = vec![format!("the kernel refuses XDP there: {refusal}")];
            reasons.extend(
                device
                    .driver()
                    .coalescing
                    .iter()
                    .map(|feature| format!("`ethtool -K {} {feature} off` may help", device.name)),
            );
            Xdp::Hindered(reasons.join("; "))
        }
    }
}

/// Puts a program on an interface, or swaps the one that an earlier process put there.
fn put(
    ebpf: &Ebpf,
    hook: Hook,
    direction: Direction,
    device: &Device,
    pin: &Path,
) -> io::Result<u32> {
    let program = ebpf
        .program(programs::name(hook, direction))
        .expect("loaded with all programs");
    let fd = program.fd().map_err(io::Error::other)?;
    let id = program.info().map_err(io::Error::other)?.id();
    if let Some((link, _)) = living_link(hook, pin, device) {
        link.update(std::os::fd::AsFd::as_fd(fd))?;
    } else {
        let link = Link::new(hook, std::os::fd::AsFd::as_fd(fd), device.index)?;
        link.pin(pin)?;
    }
    Ok(id)
}

/// The pinned link and its program, if they are on this very interface. A link outlives its interface,
/// and the same name or index may mean another interface in another namespace.
fn living_link(hook: Hook, pin: &Path, device: &Device) -> Option<(Link, u32)> {
    let link = Link::pinned(pin).ok()?;
    let (program, interface) = link.holds().ok()?;
    let here = interface == device.index && runs(hook, device, program);
    here.then_some((link, program))
}

/// Whether a program runs at a hook of an interface.
fn runs(hook: Hook, device: &Device, program: u32) -> bool {
    match hook {
        Hook::Tcx => SchedClassifier::query_tcx(&device.name, TcAttachType::Ingress)
            .is_ok_and(|(_, programs)| programs.iter().any(|other| other.id() == program)),
        Hook::Xdp => device.native == Some(program),
    }
}

/// The hooks of an interface that lost their program since it was put there: who removes an interface
/// removes the programs with it, also when an interface of the same name comes back.
pub(crate) fn lost(interface: &InterfaceStatus) -> Vec<Hook> {
    let device = Device::find(&interface.name).ok().flatten();
    let is_on = |hook, program| {
        device
            .as_ref()
            .is_some_and(|device| device.index == interface.index && runs(hook, device, program))
    };
    let mut lost = Vec::new();
    if !is_on(Hook::Tcx, interface.program) {
        lost.push(Hook::Tcx);
    }
    if let Some(xdp) = &interface.xdp
        && !is_on(Hook::Xdp, xdp.program)
    {
        lost.push(Hook::Xdp);
    }
    lost
}

/// The interface as the operator is told of it.
pub(crate) fn told(interface: &InterfaceStatus) -> InterfaceStatus {
    let mut told = interface.clone();
    if told.xdp.as_ref().is_some_and(|xdp| !xdp.takes_redirected) {
        told.why += "; what leaves by it is forwarded by tcx, because it takes no redirected frames as it \
                     is set up now (a veth does when its peer has `gro on`)";
    }
    if told.xdp.as_ref().is_some_and(|xdp| xdp.hides_tags) {
        told.why += "; what enters by it is left to tcx, because the driver ";
        told.why += &hook::hidden_tags(&told.name);
    }
    told
}

/// Looks again at what may change while programs run: the addresses of the interfaces, whether they take
/// redirected frames, and whether their drivers hide VLANs. Gives a sentence for each change.
pub(crate) fn look_again(interfaces: &mut [InterfaceStatus]) -> Vec<String> {
    let mut changes = Vec::new();
    for interface in interfaces {
        let Some(xdp) = &mut interface.xdp else {
            continue;
        };
        let Ok(Some(device)) = Device::find(&interface.name) else {
            continue;
        };
        if device.index != interface.index {
            continue;
        }
        if device.address != xdp.address {
            xdp.address = device.address;
            changes.push(format!("{} has another hardware address", interface.name));
        }
        let takes = device.takes_redirected();
        if takes != xdp.takes_redirected {
            xdp.takes_redirected = takes;
            let hook = if takes { "XDP again" } else { "tcx" };
            changes.push(format!(
                "what leaves by {} is forwarded by {hook}",
                interface.name
            ));
        }
        let hides = hook::hides_tags(&device);
        if hides != xdp.hides_tags {
            xdp.hides_tags = hides;
            let name = &interface.name;
            changes.push(if hides {
                format!("what enters at {name} is left to tcx")
            } else {
                format!("XDP acts on what enters at {name} again")
            });
        }
    }
    changes
}

/// Tells the programs at XDP which interfaces they act on, and to which they may redirect.
pub(crate) fn tell(
    ebpf: &mut Ebpf,
    config: &Mapped,
    interfaces: &[InterfaceStatus],
) -> Result<(), Error> {
    let failed = |error: &dyn std::error::Error| {
        Error::kernel(
            "cannot write which interfaces take redirected frames",
            io::Error::other(programs::chain(error)),
        )
    };
    let map = ebpf.map_mut("EGRESS").expect("loaded with all maps");
    let mut egress = DevMapHash::try_from(map).map_err(|e| failed(&e))?;
    let mut stations = [Station::default(); MAX_STATIONS];
    let present: Vec<u32> = egress.keys().filter_map(Result::ok).collect();
    let targets: Vec<u32> = targets(interfaces).collect();
    for gone in present.iter().filter(|index| !targets.contains(index)) {
        egress.remove(*gone).map_err(|e| failed(&e))?;
    }
    for index in targets {
        egress
            .insert(index, index, None, 0)
            .map_err(|e| failed(&e))?;
    }
    let addresses = interfaces
        .iter()
        .filter_map(|one| Some((one.index, one.xdp.as_ref().filter(|xdp| !xdp.hides_tags)?)))
        .map(|(index, xdp)| (index, xdp.address));
    for (slot, (index, address)) in stations.iter_mut().zip(addresses) {
        *slot = Station::new(index, address);
    }
    // Word by word: a program that reads a half of each takes the frame for another station's, and
    // leaves it to tcx.
    for (i, station) in stations.iter().enumerate() {
        let at = offset_of!(Config, stations) + i * size_of::<Station>();
        for (j, word) in [station.interface, station.first, station.last]
            .into_iter()
            .enumerate()
        {
            config.publish_word(at + 4 * j, word);
        }
    }
    Ok(())
}

/// The interfaces to which XDP redirects, as far as they are there.
pub(crate) fn targets(interfaces: &[InterfaceStatus]) -> impl Iterator<Item = u32> {
    interfaces
        .iter()
        .filter(|one| one.xdp.as_ref().is_some_and(|xdp| xdp.takes_redirected))
        .filter(|one| sys::interface(&one.name) == Some(one.index))
        .map(|one| one.index)
}
