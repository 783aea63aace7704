//! Weir's own kernel plane in the bed.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use weir_abi::{Class, Topology, Verdict};
use weir_dataplane::{Dataplane, HookChoice, Options, ServiceSpec, SynBudgets};
use weir_tables::{History, KernelTables, List, Lists};

use crate::frame::{PORT, SERVICE_V4, SERVICE_V6};

/// Mark on packets for the proxy.
pub const MARK: u32 = 0x5745;
const TABLE: u32 = 5745;

/// Where the programs are, and where they may be pinned.
#[derive(Clone)]
pub struct Files {
    /// Weir's object.
    pub object: PathBuf,
    /// The benches' own.
    pub bench_object: PathBuf,
    /// A folder that a bpffs is mounted on.
    pub pins: PathBuf,
}

/// Opens the plane, in the namespace this thread is in: managed sources are forwarded, others dropped.
pub fn open(files: &Files, hook: HookChoice) -> Result<Dataplane> {
    let mut verdicts = [Verdict::Drop; Class::COUNT];
    verdicts[Class::Managed as usize] = Verdict::Forward;
    let service = ServiceSpec {
        id: 0,
        name: "bench".into(),
        addresses: vec![SERVICE_V4.into(), SERVICE_V6.into()],
        ports: vec![PORT],
        verdicts,
        topology: Topology::Route,
        servers: Vec::new(),
        observe: false,
        nat: weir_dataplane::NatSource::default(),
    };
    open_for(files, hook, SynBudgets::default(), &[service])
}

/// Opens the plane for these services, in the namespace this thread is in.
pub fn open_for(
    files: &Files,
    hook: HookChoice,
    budgets: SynBudgets,
    services: &[ServiceSpec],
) -> Result<Dataplane> {
    let mut plane = Dataplane::open(&Options {
        object: files.object.clone(),
        pin_dir: files.pins.clone(),
        outside: vec!["out".into()],
        inside: vec!["in".into()],
        mark: MARK,
        table: TABLE,
        hook,
        budgets,
        sample: 0,
    })?;
    plane.set_services(services)?;
    Ok(plane)
}

/// Compiles lists and publishes them; gives the compiled lists, and how many seconds it took to compile
/// them and to publish.
pub fn publish(plane: &mut Dataplane, lists: &[List]) -> Result<(Lists, [f64; 2])> {
    let start = Instant::now();
    let compiled = Lists::compile(lists);
    let tables = KernelTables::compile(&compiled, &History::default());
    let compiling = start.elapsed().as_secs_f64();
    let start = Instant::now();
    plane.publish(&tables)?;
    Ok((compiled, [compiling, start.elapsed().as_secs_f64()]))
}
