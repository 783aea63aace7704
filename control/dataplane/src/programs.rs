//! Loads and pins the programs.

use std::fs;
use std::io;
use std::path::Path;

use aya::programs::tc::{SchedClassifier, TcAttachType};
use aya::programs::{Program, ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use weir_abi::Hook;

use crate::error::Error;
use crate::pins::{MAPS, Pins};
use crate::types::{Direction, Options};

/// The name of the program for a side, in the object file and under the pin directory.
pub(crate) const fn name(hook: Hook, direction: Direction) -> &'static str {
    match (hook, direction) {
        (Hook::Tcx, Direction::Outside) => "weir_outside",
        (Hook::Tcx, Direction::Inside) => "weir_inside",
        (Hook::Xdp, Direction::Outside) => "weir_outside_xdp",
        (Hook::Xdp, Direction::Inside) => "weir_inside_xdp",
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
pub(crate) fn load(options: &Options, maps: &Path) -> Result<Ebpf, Error> {
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
        for hook in Hook::ALL {
            let name = name(hook, direction);
            if ebpf.program(name).is_none() {
                return Err(wrong(format!("there is no program {name}")));
            }
        }
        let name = name(Hook::Tcx, direction);
        let program: &mut SchedClassifier = program(&mut ebpf, name);
        program.load().map_err(|error| refused(name, &error))?;
    }
    Ok(ebpf)
}

/// Loads and pins the program at XDP for a side, unless that was done: only where it is wanted, since
/// what a kernel does not take there is no reason to go without tcx. Gives the kernel's words.
pub(crate) fn load_xdp(ebpf: &mut Ebpf, pins: &Pins, direction: Direction) -> Result<(), String> {
    let name = name(Hook::Xdp, direction);
    let program: &mut Xdp = program(ebpf, name);
    if program.fd().is_ok() {
        return Ok(());
    }
    program
        .load()
        .map_err(|error| refused(name, &error).to_string())?;
    pin_program(ebpf, pins, name).map_err(|error| error.to_string())
}

/// Pins the programs at tcx, replacing those of an earlier process.
pub(crate) fn pin(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    for direction in [Direction::Outside, Direction::Inside] {
        pin_program(ebpf, pins, name(Hook::Tcx, direction))?;
        // What an earlier process had at XDP; it stays on its interface until its link goes.
        remove(&pins.program(name(Hook::Xdp, direction)))?;
    }
    Ok(())
}

fn pin_program(ebpf: &mut Ebpf, pins: &Pins, name: &str) -> Result<(), Error> {
    let path = pins.program(name);
    remove(&path)?;
    let program = ebpf.program_mut(name).expect("looked for after loading");
    program.pin(&path).map_err(|error| {
        Error::kernel(
            format!("cannot pin {}", path.display()),
            io::Error::other(chain(&error)),
        )
    })
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::kernel(
            format!("cannot replace {}", path.display()),
            error,
        )),
        _ => Ok(()),
    }
}

/// A program of the object.
fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut P
where
    P: 'a,
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the object has all programs, each for its hook")
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
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
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
