//! Builds the kernel programs.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::paths;
use crate::setup;
use crate::step::{run, step};

/// Builds the programs in `ebpf/programs` that make up Weir.
pub fn build() -> Result<()> {
    step("build the kernel programs", || {
        program("weir-ebpf", &paths::kernel_object())
    })
}

/// Builds what the benches run in the kernel beside them.
pub fn build_bench() -> Result<()> {
    step("build the benches' kernel programs", || {
        program("weir-ebpf-bench", &paths::bench_object())
    })
}

/// Builds one of the programs in `ebpf/programs` for `bpfel-unknown-none`.
fn program(name: &str, object: &Path) -> Result<()> {
    let scratch = paths::target().join("ebpf");
    run(cargo("build")?.args(["--release", "--quiet", "--bin", name]))?;
    let built = scratch.join("bpfel-unknown-none/release").join(name);
    std::fs::copy(built, object)
        .with_context(|| format!("the build left no object to copy to {}", object.display()))?;
    Ok(())
}

/// Lints `ebpf/programs`; clippy is not part of every toolchain that can build them, a check is.
pub fn check() -> Result<()> {
    step("check the kernel programs", || {
        run(cargo("check")?.args(["--release", "--quiet"]))
    })
}

fn cargo(verb: &str) -> Result<std::process::Command> {
    let compiler = setup::compiler()
        .context("no compiler for the kernel programs: run `cargo xtask setup`")?;
    let linker = setup::linker().context("no bpf-linker: run `cargo xtask setup`")?;
    let mut cargo = compiler.cargo();
    cargo
        .arg(verb)
        .args([
            "--locked",
            "-Z",
            "build-std=core",
            "--target",
            "bpfel-unknown-none",
        ])
        .current_dir(paths::root().join("ebpf/programs"))
        .env("CARGO_TARGET_DIR", paths::target().join("ebpf"))
        // debuginfo makes the compiler describe the maps' types, which the linker turns into BTF.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            [
                "-Cdebuginfo=2".to_owned(),
                format!("-Clinker={}", linker.display()),
                "-Clink-arg=--btf".to_owned(),
            ]
            .join("\u{1f}"),
        )
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(cargo)
}
