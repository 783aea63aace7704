//! Loads the programs and holds them on the interfaces.

use std::fs;
use std::io;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType};
use aya::programs::{LinkOrder, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};

use crate::error::Error;
use crate::pins::{MAPS, Pins, pin_name};
use crate::sys;
use crate::types::{Direction, InterfaceStatus, Options};

/// Why the programs are at tcx.
const WHY: &str = "tcx sees every packet, also coalesced ones, on every driver";

/// The name of the program for a side, in the object file and under the pin directory.
pub(crate) const fn program_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Outside => "weir_outside",
        Direction::Inside => "weir_inside",
    }
}

/// Looks for what the programs need, before anything is changed.
pub(crate) fn probe_kernel() -> Result<(), Error> {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Ok(_) => Ok(()),
        Err(error) => match os_error(&error) {
            Some(libc::EPERM) => Err(Error::NotPermitted {
                what: "loading programs",
                capability: "CAP_BPF",
            }),
            Some(libc::ENOSYS) => Err(Error::Unsupported {
                what: "bpf(2)",
                needs: "CONFIG_BPF_SYSCALL",
            }),
            // The attach type has no name before 6.6 (e420bed02507).
            Some(libc::EINVAL) => Err(Error::Unsupported {
                what: "tcx",
                needs: "Linux 6.6",
            }),
            _ => Err(kernel("cannot ask for tcx programs", &error)),
        },
    }
}

/// Loads the object with the maps that are pinned in `maps`, or pins new ones there.
pub(crate) fn load(options: &Options, maps: &std::path::Path) -> Result<Ebpf, Error> {
    let object = fs::read(&options.object).map_err(|source| Error::Object {
        path: options.object.clone(),
        source,
    })?;
    let wrong = |detail: String| Error::WrongObject {
        path: options.object.clone(),
        detail,
    };
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for name in MAPS {
        loader.map_pin_path(name, maps.join(name));
    }
    let mut ebpf = loader.load(&object).map_err(|error| match error {
        EbpfError::MapError(error) => {
            Error::kernel("cannot make the maps", io::Error::other(chain(&error)))
        }
        error => wrong(chain(&error)),
    })?;
    for direction in [Direction::Outside, Direction::Inside] {
        let name = program_name(direction);
        let program = program(&mut ebpf, direction)
            .ok_or_else(|| wrong(format!("there is no program {name}")))?;
        program.load().map_err(|error| refused(name, &error))?;
    }
    Ok(ebpf)
}

/// The program for a side.
pub(crate) fn program(ebpf: &mut Ebpf, direction: Direction) -> Option<&mut SchedClassifier> {
    ebpf.program_mut(program_name(direction))?.try_into().ok()
}

/// Pins the programs, replacing those of an earlier process.
pub(crate) fn pin(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    for direction in [Direction::Outside, Direction::Inside] {
        let path = pins.program(program_name(direction));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::kernel(
                    format!("cannot replace {}", path.display()),
                    error,
                ));
            }
            _ => {}
        }
        let program = program(ebpf, direction).expect("loaded with both programs");
        program.pin(&path).map_err(|error| {
            Error::kernel(
                format!("cannot pin {}", path.display()),
                io::Error::other(chain(&error)),
            )
        })?;
    }
    Ok(())
}

/// Puts the programs on the interfaces, and takes them off interfaces that are not listed any more. A
/// link that is pinned and alive gets the new program; packets meet the old one or the new one, never
/// none.
pub(crate) fn attach(
    ebpf: &mut Ebpf,
    options: &Options,
    pins: &Pins,
) -> Result<Vec<InterfaceStatus>, Error> {
    let wanted: Vec<(Direction, &String)> = options
        .outside
        .iter()
        .map(|name| (Direction::Outside, name))
        .chain(options.inside.iter().map(|name| (Direction::Inside, name)))
        .collect();
    let mut interfaces = Vec::new();
    for (i, (direction, name)) in wanted.iter().enumerate() {
        if wanted[..i].iter().any(|(_, other)| other == name) {
            return Err(Error::TwoSides {
                name: (*name).clone(),
            });
        }
        let index = sys::interface(name).ok_or_else(|| Error::NoInterface {
            name: (*name).clone(),
        })?;
        let hardware = sys::hardware(name)
            .map_err(|e| Error::kernel(format!("cannot ask what {name} is"), e))?;
        if hardware != libc::ARPHRD_ETHER {
            return Err(Error::NoEthernet {
                name: (*name).clone(),
                hardware,
            });
        }
        interfaces.push((*direction, *name, index));
    }
    let mut attached = Vec::new();
    for (direction, name, index) in interfaces {
        let pin = pins.link(direction, name);
        let program = program(ebpf, direction).expect("loaded with both programs");
        let failed =
            |error: &ProgramError| kernel(&format!("cannot attach to {name} at tcx"), error);
        if let Some(link) = living_link(&pin, name) {
            let link: SchedClassifierLink = link.try_into().map_err(|error| {
                Error::kernel(
                    format!("cannot adopt {}", pin.display()),
                    io::Error::other(error),
                )
            })?;
            let id = program
                .attach_to_link(link)
                .map_err(|error| failed(&error))?;
            // Closing the descriptor leaves the link to its pin.
            drop(program.take_link(id).map_err(|error| failed(&error))?);
        } else {
            let id = program
                .attach_with_options(
                    name,
                    TcAttachType::Ingress,
                    TcAttachOptions::TcxOrder(LinkOrder::default()),
                )
                .map_err(|error| failed(&error))?;
            let link = program.take_link(id).map_err(|error| failed(&error))?;
            let link: FdLink = link.try_into().map_err(|error| {
                Error::kernel(format!("cannot hold {name}"), io::Error::other(error))
            })?;
            link.pin(&pin).map_err(|error| {
                Error::kernel(
                    format!("cannot pin {}", pin.display()),
                    io::Error::other(chain(&error)),
                )
            })?;
        }
        let id = program.info().map_or(0, |info| info.id());
        attached.push(InterfaceStatus {
            name: name.clone(),
            index,
            direction,
            hook: "tcx",
            why: WHY,
            program: id,
            pin,
        });
    }
    let stale = |path: &std::path::PathBuf| !attached.iter().any(|status| status.pin == *path);
    for path in pins
        .links()
        .map_err(|e| Error::kernel("cannot list the links", e))?
    {
        if stale(&path) {
            tracing::info!(link = pin_name(&path), "taking the program off");
            fs::remove_file(&path)
                .map_err(|e| Error::kernel(format!("cannot remove {}", path.display()), e))?;
        }
    }
    Ok(attached)
}

/// Whether the program is on the interface now: who removes an interface removes the program with it,
/// also when an interface of the same name comes back.
pub(crate) fn is_on(interface: &InterfaceStatus) -> bool {
    SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress).is_ok_and(|(_, programs)| {
        programs
            .iter()
            .any(|program| program.id() == interface.program)
    })
}

/// The pinned link, if it holds a program on this very interface. A link outlives its interface, and
/// the same name or index may mean another interface in another namespace; such a pin is removed.
fn living_link(pin: &std::path::Path, interface: &str) -> Option<FdLink> {
    let link = FdLink::from(PinnedLink::from_pin(pin).ok()?);
    let program = link.info().ok()?.program_id();
    let here = SchedClassifier::query_tcx(interface, TcAttachType::Ingress)
        .is_ok_and(|(_, programs)| programs.iter().any(|other| other.id() == program));
    if here {
        return Some(link);
    }
    if let Err(error) = fs::remove_file(pin) {
        tracing::warn!(pin = %pin.display(), %error, "cannot remove the pin of a dead link");
    }
    None
}

/// The verifier's words: the last lines say what it did not like.
fn refused(program: &'static str, error: &ProgramError) -> Error {
    if os_error(error) == Some(libc::EPERM) {
        return Error::NotPermitted {
            what: "loading programs",
            capability: "CAP_BPF and CAP_NET_ADMIN",
        };
    }
    let detail = match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(12)..].join("\n");
            format!("{io_error}\n{tail}")
        }
        error => chain(error),
    };
    Error::Refused { program, detail }
}

fn kernel(what: &str, error: &ProgramError) -> Error {
    let source = os_error(error).map_or_else(
        || io::Error::other(chain(error)),
        io::Error::from_raw_os_error,
    );
    Error::kernel(what, source)
}

/// The kernel's error number somewhere below an error.
fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(code) = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(code);
        }
        error = current.source();
    }
    None
}

/// An error with everything below it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        let below_text = below.to_string();
        if !text.contains(&below_text) {
            text = format!("{text}: {below_text}");
        }
        source = below.source();
    }
    text
}
