//! Every task of a developer and of CI, from a fresh clone on.
//!
//! `cargo xtask demo` shows Weir at work; `cargo xtask test` tests it. Both first make sure that
//! what they need is there ([`setup`]), build the kernel programs ([`kernel`]) and the user-space
//! binaries ([`build`]), and then hand over: the demo and the lab to the `weir-lab` binary, the
//! tests to `cargo test`. Nothing here knows what Weir does.

mod bench;
mod build;
mod deb;
mod fuzz;
mod host;
mod image;
mod kernel;
mod lab;
mod lint;
mod paths;
mod setup;
mod step;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Tasks of the Weir repository"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building, testing and the demo need; skip what is there.
    Setup(SetUp),
    /// Run real sign-ins through Weir in a lab of network namespaces, and print who decided what.
    #[command(after_help = "Example: cargo xtask demo --json demo.json")]
    Demo {
        #[command(flatten)]
        set_up: SetUp,
        /// Handed to the demo: `--json FILE`, `--only ROWS`, `--switch-off RULE`, `--keep`; `entra` first shows a tenant's
        /// directory instead.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Raise the demo's lab to stay, and run commands in it.
    #[command(
        after_help = "Example: cargo xtask lab up && cargo xtask lab exec inet -- \
                            curl https://sts.corp.example/adfs/ls/"
    )]
    Lab {
        #[command(flatten)]
        set_up: SetUp,
        /// Handed to the lab: `up`, `down`, `status`, `exec NAMESPACE -- COMMAND`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Run all tests: pure cores, processes over real sockets, and the lab end to end.
    Test {
        #[command(flatten)]
        set_up: SetUp,
        /// Handed to `cargo test`, such as a part of a test's name; the demo is then left out.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fuzz a parser that reads bytes from the network or a file.
    #[command(after_help = "Example: cargo xtask fuzz request --seconds 600")]
    Fuzz(fuzz::Arguments),
    /// Measure Weir beside its peers, on this machine, in one run.
    #[command(after_help = "Example: cargo xtask bench classify --json classify.json")]
    Bench {
        #[command(flatten)]
        set_up: SetUp,
        /// Handed to the bench: `classify`, `forward`, `replay`, `proxy`, `directory` or `cores`, and `--json FILE`,
        /// `--quick`; `NAME --help` tells the rest.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Build the Debian package.
    #[command(after_help = "Example: cargo xtask deb && dpkg -i target/images/weir_*.deb")]
    Deb(deb::Arguments),
    /// Build the machine image, raw and as qcow2; boot it and sign in through it.
    #[command(after_help = "Example: cargo xtask image --boot-test --json boot.json")]
    Image(image::Arguments),
    /// Check formatting and lints, of the kernel programs too.
    Lint(SetUp),
    /// Build the kernel programs into `target/ebpf/weir-ebpf.o`.
    Ebpf(SetUp),
}

#[derive(Args, Clone, Copy)]
struct SetUp {
    /// Install nothing: name what is missing, and stop.
    #[arg(long)]
    no_install: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup(set_up) => {
            setup::ensure(&setup::EVERYTHING, set_up.no_install)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Demo { set_up, arguments } => {
            host::require_for_lab()?;
            setup::ensure(&setup::EVERYTHING, set_up.no_install)?;
            lab::demo(&arguments)
        }
        Task::Lab { set_up, arguments } => {
            host::require_for_lab()?;
            // Only `up` starts anything that has to be built or installed first.
            if arguments.first().is_some_and(|verb| verb == "up") {
                setup::ensure(&setup::EVERYTHING, set_up.no_install)?;
            }
            lab::lab(&arguments)
        }
        Task::Test { set_up, arguments } => {
            host::require_for_lab()?;
            setup::ensure(&setup::EVERYTHING, set_up.no_install)?;
            test::run(&arguments)
        }
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Bench { set_up, arguments } => bench::run(&arguments, set_up.no_install),
        Task::Deb(arguments) => deb::run(&arguments),
        Task::Image(arguments) => image::run(&arguments),
        Task::Lint(set_up) => {
            setup::ensure(&setup::KERNEL_PROGRAMS, set_up.no_install)?;
            lint::run()
        }
        Task::Ebpf(set_up) => {
            setup::ensure(&setup::KERNEL_PROGRAMS, set_up.no_install)?;
            kernel::build()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
