//! `weir-proxy`: see the crate `weir_proxy`. This file turns a process into a safe one and starts it.

mod allocator;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_link::notify::Notify;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// Grace for what is open when a signal ends the proxy.
const GRACE: Duration = Duration::from_secs(30);
/// Descriptors that are not client connections or their upstreams: listeners, the link, epoll ...
const OTHER_DESCRIPTORS: u64 = 512;

/// Weir's proxy plane. Started by the service manager as a user without privileges; everything it
/// works with comes from weir-control.
#[derive(Debug, Parser)]
#[command(
    name = "weir-proxy",
    version,
    after_help = "Example:\n  weir-proxy --control /run/weir/proxy.sock"
)]
struct Arguments {
    /// Unix socket of weir-control.
    #[arg(long, value_name = "PATH")]
    control: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    refuse_privileges()?;
    // Keys are in memory: no core dumps, and no ptrace by others of the same user.
    prctl::set_dumpable(false)?;
    prctl::set_no_new_privs()?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    // A client connection may need one descriptor of its own and one for its upstream.
    let max_connections =
        usize::try_from(most.saturating_sub(OTHER_DESCRIPTORS) / 2)?.clamp(64, 1 << 20);
    if rustls::crypto::CryptoProvider::install_default(weir_proxy::tls::provider().as_ref().clone())
        .is_err()
    {
        anyhow::bail!("another TLS provider is installed already");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut term = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let stop = async move {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = interrupt.recv() => {}
                }
                GRACE
            };
            let options = weir_proxy::Options {
                control: arguments.control,
                max_connections,
                limits: weir_proxy::limits::Limits::default(),
                notify: Notify::from_env(),
            };
            weir_proxy::run(options, stop).await;
            Ok(())
        })
}

/// The proxy faces the Internet: it serves only as a user without any privilege.
fn refuse_privileges() -> anyhow::Result<()> {
    if nix::unistd::Uid::effective().is_root() || nix::unistd::Uid::current().is_root() {
        anyhow::bail!(
            "refusing to serve as root: start it as a user without privileges, such as weir-proxy; \
             weir-control hands it the sockets that it needs"
        );
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    if effective != Some(0) {
        anyhow::bail!(
            "refusing to serve with capabilities: start it with none \
             (AmbientCapabilities= and CapabilityBoundingSet= empty)"
        );
    }
    Ok(())
}
