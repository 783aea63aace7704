//! Builds the Debian package: the four programs, and everything in `images/` that a machine needs beside them.
//!
//! ```text
//!  cargo build --release ─┐
//!  cargo xtask ebpf ──────┼─► tree ─► dpkg-deb ─► target/images/weir_VERSION_amd64.deb
//!  images/ ───────────────┘
//! ```
//!
//! [`contents`] says what goes where; [`tree`] lays it out with owners, modes and times that depend on the commit alone,
//! and packs it, twice, to see that the same bytes come out; [`units`] looks at how far the units let their daemons go.

mod contents;
mod tree;
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use self::contents::{FILES, PROGRAMS};
use self::tree::Tree;
use crate::step::{output, run as run_command, step};
use crate::{build, kernel, paths, setup};

/// What `cargo xtask deb` is told.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    set_up: crate::SetUp,
    /// Package the programs that lie in this folder, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Runs `cargo xtask deb`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let package = package(arguments.programs.as_deref(), arguments.set_up.no_install)?;
    let bytes = std::fs::metadata(&package)?.len();
    let sum = output(Command::new("sha256sum").arg("--binary").arg(&package))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    println!(
        "{}: {}.{} MB, sha256 {sum}",
        package.display(),
        bytes / 1_000_000,
        bytes / 100_000 % 10
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes the package, of the programs in a folder or of those that it builds, and says where it lies.
pub fn package(programs: Option<&Path>, no_install: bool) -> Result<PathBuf> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the package is built for x86-64, and on such a machine");
    }
    setup::ensure(&setup::DEB, no_install)?;
    let programs = match programs {
        Some(programs) => programs.to_owned(),
        None => build_all(no_install)?,
    };
    step("look at the units", || {
        units::look(&paths::root().join("images/systemd"))
    })?;
    let file = paths::images().join(format!("weir_{}_amd64.deb", env!("CARGO_PKG_VERSION")));
    step("make the Debian package", || {
        let scratch = paths::images().join("deb");
        let tree = lay_out(&scratch, &programs)?;
        tree.pack(&file)?;
        let again = scratch.join("again.deb");
        lay_out(&scratch, &programs)?.pack(&again)?;
        if std::fs::read(&file)? != std::fs::read(&again)? {
            bail!(
                "two packages of the same files differ: see {}",
                again.display()
            );
        }
        Ok(std::fs::remove_dir_all(&scratch)?)
    })?;
    Ok(file)
}

/// Builds the kernel programs and, as they are shipped, the user-space programs.
fn build_all(no_install: bool) -> Result<PathBuf> {
    setup::ensure(&setup::KERNEL_PROGRAMS, no_install)?;
    kernel::build()?;
    step("build the user-space programs for release", || {
        let mut cargo = build::cargo();
        cargo.args(["build", "--locked", "--release"]);
        for (program, _) in PROGRAMS {
            cargo.args(["--package", program]);
        }
        run_command(&mut cargo)
    })?;
    Ok(paths::target().join("release"))
}

/// The package's tree below `scratch`, anew.
fn lay_out(scratch: &Path, programs: &Path) -> Result<Tree> {
    let root = paths::root();
    let mut tree = Tree::new(&scratch.join("tree"), commit_time()?)?;
    for (program, place) in PROGRAMS {
        let file = tree.file(&programs.join(program), place, 0o755)?;
        run_command(Command::new("strip").arg(file))?;
    }
    tree.file(&paths::kernel_object(), "usr/lib/weir/weir-ebpf.o", 0o644)?;
    for (from, place, mode) in FILES {
        tree.file(&root.join(from), place, mode)?;
    }
    let weir = programs.join("weir");
    completions(&mut tree, &weir)?;
    manual(&mut tree, &weir, scratch)?;
    documents(&mut tree)?;
    control(&mut tree)?;
    Ok(tree)
}

fn completions(tree: &mut Tree, weir: &Path) -> Result<()> {
    for (shell, place) in [
        ("bash", "usr/share/bash-completion/completions/weir"),
        ("zsh", "usr/share/zsh/vendor-completions/_weir"),
        ("fish", "usr/share/fish/vendor_completions.d/weir.fish"),
    ] {
        let text = output(Command::new(weir).args(["completions", shell]))?;
        tree.text(&text, place, 0o644)?;
    }
    Ok(())
}

fn manual(tree: &mut Tree, weir: &Path, scratch: &Path) -> Result<()> {
    let pages = scratch.join("man");
    let written = output(Command::new(weir).args(["man", "--out"]).arg(&pages))?;
    for page in written.lines() {
        let name = Path::new(page)
            .file_name()
            .context("a page without a name")?;
        let place = format!("usr/share/man/man1/{}", name.to_string_lossy());
        tree.compressed(&std::fs::read_to_string(page)?, &place)?;
    }
    Ok(())
}

fn documents(tree: &mut Tree) -> Result<()> {
    let mit = std::fs::read_to_string(paths::root().join("LICENSE-MIT"))?;
    let (_, terms) = mit
        .split_once("authors\n")
        .context("LICENSE-MIT has no line of authors")?;
    let head = std::fs::read_to_string(paths::root().join("images/debian/copyright"))?;
    let copyright = format!("{head}{}", contents::paragraphs(terms));
    tree.text(&copyright, "usr/share/doc/weir/copyright", 0o644)?;
    // The same for everybody who builds this version, also without the network.
    let mut cargo = build::cargo();
    cargo.args(["tree", "--locked", "--offline", "--edges", "normal,build"]);
    cargo.args(["--prefix", "none", "--format", "{p}|{l}"]);
    for (program, _) in PROGRAMS {
        cargo.args(["--package", program]);
    }
    let crates = contents::third_party(&output(&mut cargo)?);
    tree.compressed(&crates, "usr/share/doc/weir/third-party")?;
    let when = output(Command::new("date").args([
        "--utc",
        "--rfc-email",
        &format!("--date=@{}", commit_time()?),
    ]))?;
    let changelog = contents::changelog(env!("CARGO_PKG_VERSION"), when.trim());
    tree.compressed(&changelog, "usr/share/doc/weir/changelog")
}

fn control(tree: &mut Tree) -> Result<()> {
    for script in ["postinst", "prerm", "postrm"] {
        let from = paths::root().join("images/debian").join(script);
        tree.file(&from, &format!("DEBIAN/{script}"), 0o755)?;
    }
    tree.text(&contents::conffiles(), "DEBIAN/conffiles", 0o644)?;
    let sums = tree.sums()?;
    tree.text(&sums, "DEBIAN/md5sums", 0o644)?;
    let template = std::fs::read_to_string(paths::root().join("images/debian/control"))?;
    let control = template
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{size}", &tree.kibibytes().to_string())
        .replace("{libraries}", &libraries(tree)?);
    tree.text(&control, "DEBIAN/control", 0o644)
}

/// The packages of the libraries that the programs are linked with, with the versions that they need.
fn libraries(tree: &Tree) -> Result<String> {
    // It reads the name of the source package from the folder that it is started in.
    let source = tree.beside("source")?;
    std::fs::create_dir_all(source.join("debian"))?;
    std::fs::write(
        source.join("debian/control"),
        "Source: weir\n\nPackage: weir\nArchitecture: amd64\n",
    )?;
    let mut shlibdeps = Command::new("dpkg-shlibdeps");
    shlibdeps
        .current_dir(&source)
        .args(["-O", "--ignore-missing-info"]);
    for (_, place) in PROGRAMS {
        shlibdeps.arg(format!("-e{}", tree.path(place).display()));
    }
    let told = output(&mut shlibdeps)?;
    let depends = told.trim().strip_prefix("shlibs:Depends=");
    Ok(depends
        .context("dpkg-shlibdeps names no libraries")?
        .to_owned())
}

/// When the commit was made that is built, or what `SOURCE_DATE_EPOCH` says
/// (<https://reproducible-builds.org/specs/source-date-epoch>): seconds.
pub fn commit_time() -> Result<u64> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(_) => output(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(paths::root()),
        )
        .context("without git, SOURCE_DATE_EPOCH has to say of when the package is")?,
    };
    seconds
        .trim()
        .parse()
        .with_context(|| format!("`{}` is no number of seconds", seconds.trim()))
}
