//! The weir-control daemon: reads its arguments, raises both planes, and lives until a signal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use nix::unistd::Uid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use weir_api::Actor;
use weir_config::Config;
use weir_control::audit::{Audit, Limits};
use weir_control::brain::{Brain, FAIL_MODE_AFTER, Parts};
use weir_control::notify::Notify;
use weir_control::plane::Plane;
use weir_control::proxy_link::ProxyLink;
use weir_control::{Error, api, sockets};
use weir_dataplane::Options;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The brain of Weir: loads the kernel plane, hands sockets and rules to weir-proxy, answers `weir`.
///
/// SIGHUP reloads the configuration. SIGTERM ends the daemon; both planes go on as they are.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  weir-control --config /etc/weir/weir.toml\n  weir-control --config /etc/weir/weir.toml --detach"
)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
    /// The kernel programs, instead of `object` in [kernel].
    #[arg(long, value_name = "PATH")]
    object: Option<PathBuf>,
    /// At the end, take Weir out of the kernel: links, pins, rule and route.
    #[arg(long)]
    detach_on_exit: bool,
    /// Only take Weir out of the kernel, also what another version pinned, then exit.
    #[arg(long, conflicts_with = "detach_on_exit")]
    detach: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => Err(Error::Request(format!(
            "no threads can be started: {error}"
        ))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-control: {error}");
            if let Some(help) = error.help() {
                eprintln!("  help: {help}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Error> {
    let notify = Notify::from_env();
    // The first of all: who reloads while the daemon starts must not end it. What was asked for until
    // then is done once both planes are up.
    let hang_up = listen(SignalKind::hangup())?;
    // Before anything else, so that a mistake in the file is found without privileges.
    let path = std::path::absolute(&arguments.config).unwrap_or_else(|_| arguments.config.clone());
    let config = weir_config::load(&path).map_err(Error::Config)?.config;
    need_privileges()?;
    let appliance = &config.appliance;
    sockets::directory(&appliance.run, 0o755)?;
    let _alone = sockets::lock(&appliance.run)?;
    if arguments.detach {
        // Nothing is loaded, so that also what another version pinned is taken off.
        let kernel = &config.kernel;
        return Ok(weir_dataplane::detach_pinned(
            &kernel.pin,
            kernel.mark,
            kernel.table,
        )?);
    }
    let plane = Plane::open(kernel_options(&config, arguments.object.as_deref())).await?;
    sockets::directory(&appliance.state, 0o750)?;
    let proxy_user = sockets::user(&appliance.proxy_user)?;
    let group = appliance
        .control_group
        .as_deref()
        .map(sockets::group)
        .transpose()?;
    let audit = Arc::new(Audit::open(
        &appliance.state.join("audit.jsonl"),
        Limits::default(),
    )?);
    let link = ProxyLink::new(proxy_user.as_raw(), Arc::clone(&audit));
    let proxy_socket = sockets::listen(
        &appliance.run.join("proxy.sock"),
        0o600,
        Some(proxy_user),
        None,
    )?;
    tokio::spawn(link.clone().serve(proxy_socket));
    let parts = Parts {
        config: path,
        plane,
        link,
        audit,
        notify,
        fail_mode_after: FAIL_MODE_AFTER,
    };
    let brain = Brain::start(parts).await?;
    let control_socket = sockets::listen(
        &appliance.run.join("control.sock"),
        0o660,
        Some(Uid::effective()),
        group,
    )?;
    tokio::spawn(api::serve(Arc::clone(&brain), control_socket));
    tokio::spawn(Arc::clone(&brain).guard());
    eprintln!("weir-control: ready");
    brain.notify().ready();
    until_told_to_end(&brain, hang_up).await?;
    brain.notify().stopping();
    if arguments.detach_on_exit {
        brain.detach().await?;
    }
    Ok(())
}

/// SIGTERM and SIGINT end the daemon, SIGHUP reloads.
async fn until_told_to_end(brain: &Brain, mut hang_up: Signal) -> Result<(), Error> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            // Refused or not: the brain has said so in the log, the audit log and its status.
            _ = hang_up.recv() => drop(brain.reload(Actor::Signal("SIGHUP".to_owned()), false).await),
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::Request(format!("no signals can be handled: {error}")))
}

fn kernel_options(config: &Config, object: Option<&Path>) -> Options {
    let kernel = &config.kernel;
    Options {
        object: object.unwrap_or(&kernel.object).to_owned(),
        pin_dir: kernel.pin.clone(),
        outside: kernel.outside.clone(),
        inside: kernel.inside.clone(),
        mark: kernel.mark,
        table: kernel.table,
    }
}

/// CAP_NET_ADMIN and CAP_BPF, by number (capabilities(7)).
const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (39, "CAP_BPF")];

fn need_privileges() -> Result<(), Error> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(number, _)| effective & (1 << number) == 0)
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::Unprivileged {
            missing: missing.join(" and "),
        })
    }
}
