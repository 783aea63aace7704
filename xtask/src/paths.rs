//! Where things lie, all below the repository.

use std::path::PathBuf;

/// The root of the repository.
pub fn root() -> PathBuf {
    // xtask is a direct child of the root, and runs where it was built.
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in a folder of the repository")
        .to_path_buf()
}

/// Cargo's target folder, as cargo itself would choose it.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// User-space binaries, built by [`crate::build::binaries`].
pub fn binaries() -> PathBuf {
    target().join("debug")
}

/// The kernel object, built by [`crate::kernel::build`].
pub fn kernel_object() -> PathBuf {
    target().join("ebpf/weir-ebpf.o")
}

/// What the benches run in the kernel, built by [`crate::kernel::build_bench`].
pub fn bench_object() -> PathBuf {
    target().join("ebpf/weir-ebpf-bench.o")
}

/// The compiler for the kernel programs, where setup unpacked one.
pub fn toolchain() -> PathBuf {
    target().join("toolchain")
}

/// Programs that setup unpacked.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The Python environment of the real clients.
pub fn python() -> PathBuf {
    target().join("venv")
}

/// What goes to machines: the package, the image.
pub fn images() -> PathBuf {
    target().join("images")
}

/// What the standing lab writes: `lab.json`, configuration, logs.
pub fn lab() -> PathBuf {
    target().join("lab")
}

/// What the demo writes: the same, and screenshots.
pub fn demo() -> PathBuf {
    target().join("demo")
}
