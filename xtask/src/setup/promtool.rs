//! Prometheus's own checker of rules and metrics, from Debian's package, which is not installed: it would start a
//! server on this machine.

use anyhow::Result;

use super::{apt, find_program};
use crate::paths;

pub fn present() -> bool {
    find_program("promtool").is_some() || program().is_file()
}

pub fn install() -> Result<()> {
    let folder = paths::tools().join("prometheus");
    apt::unpack_alone("prometheus", &folder)?;
    std::fs::rename(folder.join("usr/bin/promtool"), program())?;
    Ok(std::fs::remove_dir_all(&folder)?)
}

/// Where the tests look for it, too.
fn program() -> std::path::PathBuf {
    paths::tools().join("promtool")
}
