//! The weir-control daemon: reads its arguments, raises both planes, and lives until a signal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use nix::unistd::Uid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use weir_api::Actor;
use weir_config::{Config, HookSetting};
use weir_control::audit::{Audit, Limits};
use weir_control::brain::{Brain, Parts};
use weir_control::descriptor_store::Inherited;
use weir_control::first::{self, First};
use weir_control::migrate;
use weir_control::plane::Plane;
use weir_control::proxy_link::ProxyLink;
use weir_control::{Error, api, metrics, sockets};
use weir_dataplane::{HookChoice, Options, SynBudget, SynBudgets};
use weir_link::notify::Notify;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The brain of Weir: loads the kernel plane, hands sockets and rules to weir-proxy, answers `weir`.
///
/// SIGHUP reloads the configuration. SIGTERM ends the daemon; both planes go on as they are.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  weir-control --config /etc/weir/weir.toml\n  weir-control --config /etc/weir/weir.toml --migrate\n  weir-control --config /etc/weir/weir.toml --detach"
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
    /// Only put this version in the place of the one that is pinned, while packets flow, then exit.
    #[arg(long, conflicts_with_all = ["detach_on_exit", "detach"])]
    migrate: bool,
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
    // SAFETY: the first of all: there is one thread, and nothing was opened yet.
    let inherited = unsafe { Inherited::from_env() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments, inherited)),
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

async fn run(arguments: &Arguments, inherited: Inherited) -> Result<(), Error> {
    let notify = Notify::from_env();
    // The first of all: who reloads while the daemon starts must not end it. What was asked for until
    // then is done once both planes are up.
    let hang_up = listen(SignalKind::hangup())?;
    // Before anything else, so that a mistake in the file is found without privileges.
    let path = std::path::absolute(&arguments.config).unwrap_or_else(|_| arguments.config.clone());
    if arguments.detach {
        let config = first::configuration(&path)?;
        need_privileges()?;
        let _alone = alone(&config)?;
        // Nothing is loaded, so that also what another version pinned is taken off.
        let kernel = &config.kernel;
        return Ok(weir_dataplane::detach_pinned(
            &kernel.pin,
            kernel.mark,
            kernel.table,
        )?);
    }
    let first = First::read(&path)?;
    need_privileges()?;
    let config = first.candidate.config().clone();
    let _alone = alone(&config)?;
    let appliance = &config.appliance;
    let options = kernel_options(&config, arguments.object.as_deref());
    if arguments.migrate {
        eprintln!(
            "weir-control: {}",
            migrate::run(&options, &first.candidate)?
        );
        return Ok(());
    }
    let plane = Plane::open(options).await?;
    sockets::directory(&appliance.state, 0o750)?;
    let proxy_user = sockets::user(&appliance.proxy_user)?;
    let group = |name: &Option<String>, key| {
        let name = name.as_deref();
        name.map(|name| sockets::group(name, key)).transpose()
    };
    let control_group = group(&appliance.control_group, "control_group")?;
    let read_group = group(&appliance.read_group, "read_group")?;
    let audit = Arc::new(Audit::open(
        &appliance.state.join("audit.jsonl"),
        Limits::default(),
    )?);
    let link = ProxyLink::new(proxy_user.as_raw(), Arc::clone(&audit), &appliance.run);
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
        inherited,
    };
    let brain = Brain::start(parts, first).await?;
    let sockets = api::Sockets::listen(
        &appliance.run,
        Some(Uid::effective()),
        control_group,
        read_group,
    )?;
    api::serve(&brain, sockets, api::Limits::default());
    metrics::start(&brain)?;
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

/// Makes the run directory, and holds it for this process.
fn alone(config: &Config) -> Result<std::fs::File, Error> {
    let run = &config.appliance.run;
    sockets::directory(run, 0o755)?;
    sockets::lock(run)
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
        hook: match kernel.hook {
            HookSetting::Auto => HookChoice::Auto,
            HookSetting::Tcx => HookChoice::Tcx,
            HookSetting::Xdp => HookChoice::Xdp,
        },
        budgets: SynBudgets {
            proxied: SynBudget::of(kernel.new_connections),
            forwarded: SynBudget::of(kernel.new_connections_forwarded),
        },
        sample: kernel.flow_sample,
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
