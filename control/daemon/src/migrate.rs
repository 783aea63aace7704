//! Puts this version in the place of another one that is pinned, once: with the configuration and the lists
//! of now, and the drain windows that another process left. Nothing else of the daemon is touched: listening
//! sockets and the proxy go on, and the next weir-control finds pins that fit.

use weir_dataplane::{Migration, Options};

use crate::Error;
use crate::brain;
use crate::generation::Candidate;

/// Migrates, and gives a sentence about it. Blocks; to be called in Weir's network namespace.
pub fn run(options: &Options, candidate: &Candidate) -> Result<String, Error> {
    let Some(migration) = Migration::prepare(options)? else {
        return Ok(
            "nothing is pinned that another version has made; start weir-control".to_owned(),
        );
    };
    let from = match migration.from() {
        Some(layout) => format!("layout {layout}"),
        None => "what an earlier migration has left".to_owned(),
    };
    let tables = brain::tables_to_begin_with(candidate, || migration.inherited());
    let ids = brain::service_ids_to_begin_with(candidate)?;
    let silent = candidate.silent(&ids, &migration.down()?);
    let services = candidate.kernel_services(&ids, true, &silent);
    let plane = migration.finish(&tables, &services, &mut |_| {})?;
    Ok(format!(
        "{from} was replaced by layout {} while packets flowed; start weir-control",
        plane.status().abi
    ))
}
