//! The compiler and linker for the kernel programs.
//!
//! `core` has to be compiled for `bpfel-unknown-none`, so its source must lie beside the compiler.
//! A rustup nightly with `rust-src` has that; else Debian's `rustc-web` (the compiler that builds
//! its browsers) does, and is unpacked into `target/toolchain`. bpf-linker must be linked to the
//! LLVM of the compiler's major version, so the two are chosen together.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{apt, find_program, quiet};
use crate::paths;
use crate::step::{output, run, step};

const BPF_LINKER_VERSION: &str = "0.13.0";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "llvm-22-dev"];

/// A compiler that can build `core` for the kernel.
#[derive(Debug)]
pub enum Compiler {
    /// `cargo +nightly`, with the `rust-src` component.
    Nightly,
    /// Debian's packages, unpacked below this folder.
    Unpacked(PathBuf),
}

/// The compiler that this machine has, if it has one.
pub fn compiler() -> Option<Compiler> {
    let unpacked = paths::toolchain().join("debian");
    // Written last, so that an interrupted set-up is not taken for a finished one.
    if unpacked.join("complete").exists() {
        return Some(Compiler::Unpacked(unpacked));
    }
    let nightly = output(Command::new("rustc").args(["+nightly", "--print", "sysroot"])).ok()?;
    Path::new(nightly.trim())
        .join("lib/rustlib/src/rust/library/core")
        .exists()
        .then_some(Compiler::Nightly)
}

/// The linker that fits the compiler, if this machine has one.
pub fn linker() -> Option<PathBuf> {
    match compiler()? {
        Compiler::Nightly => find_program("bpf-linker"),
        Compiler::Unpacked(root) => {
            let linker = paths::toolchain().join("bpf-linker/bin/bpf-linker");
            quiet(
                Command::new(&linker)
                    .arg("--version")
                    .env("LD_LIBRARY_PATH", libraries(&root)),
            )
            .then_some(linker)
        }
    }
}

/// Unpacks Debian's compiler.
pub fn install_compiler() -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!(
            "no compiler for the kernel programs: install a rustup nightly with its source \
             (`rustup toolchain install nightly --component rust-src`) and `cargo install bpf-linker`"
        );
    }
    let root = paths::toolchain().join("debian");
    step(
        "unpack Debian's rustc-web and LLVM 22 into target/toolchain",
        || {
            if root.exists() {
                std::fs::remove_dir_all(&root)?;
            }
            std::fs::create_dir_all(&root)?;
            let own = |name: &str| {
                name.contains("-web") || name.contains("llvm-22") || name == "libllvm22"
            };
            apt::unpack(&DEBIAN_PACKAGES, own, &root)?;
            std::fs::write(root.join("complete"), "")?;
            Ok(())
        },
    )
}

/// Builds bpf-linker against the LLVM of the compiler.
pub fn install_linker() -> Result<()> {
    let mut install = Command::new("cargo");
    install.args([
        "install",
        "bpf-linker",
        "--quiet",
        "--version",
        BPF_LINKER_VERSION,
        "--locked",
    ]);
    match compiler().context("the compiler is installed before the linker")? {
        Compiler::Nightly => {}
        Compiler::Unpacked(root) => {
            let usr = root.join("usr");
            install
                .args(["--no-default-features", "--features", "llvm-22", "--root"])
                .arg(paths::toolchain().join("bpf-linker"))
                .arg("--target-dir")
                .arg(paths::toolchain().join("bpf-linker-build"))
                .env("LLVM_PREFIX", usr.join("lib/llvm-22"))
                .env("RUSTC", usr.join("bin/rustc"))
                .env("LD_LIBRARY_PATH", libraries(&root))
                .env(
                    "RUSTFLAGS",
                    libraries(&root)
                        .split(':')
                        .map(|folder| format!("-L{folder}"))
                        .collect::<Vec<_>>()
                        .join(" "),
                );
        }
    }
    step("build bpf-linker (about a minute and a half)", || {
        run(&mut install)
    })?;
    let scratch = paths::toolchain().join("bpf-linker-build");
    if scratch.exists() {
        std::fs::remove_dir_all(scratch)?;
    }
    Ok(())
}

impl Compiler {
    /// A `cargo` that builds with this compiler.
    pub fn cargo(&self) -> Command {
        match self {
            Self::Nightly => {
                let mut cargo = Command::new("cargo");
                cargo.arg("+nightly");
                cargo
            }
            Self::Unpacked(root) => {
                let mut cargo = Command::new(root.join("usr/bin/cargo"));
                cargo
                    .env("RUSTC", root.join("usr/bin/rustc"))
                    // Lets a stable compiler build `core`; the kernel programs use no unstable language.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("LD_LIBRARY_PATH", libraries(root));
                cargo
            }
        }
    }
}

/// Where the unpacked programs find their shared libraries.
fn libraries(root: &Path) -> String {
    let usr = root.join("usr/lib");
    format!(
        "{0}/{1}-linux-gnu:{0}/llvm-22/lib",
        usr.display(),
        std::env::consts::ARCH
    )
}
