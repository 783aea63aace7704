//! Measures the proxy plane beside nginx and HAProxy, TLS to TLS, in one run: `cargo xtask bench proxy`.
//!
//! In: Weir's release binary, and the peers that this machine has. Out: a table, JSON, and for each target whether
//! it is met. Everything happens on loopback and in one folder that goes with the process. Weir judges every request
//! by a generation handed over the link, and what it tells is read as weir-control reads it; the others pass on.

mod client;
mod control;
mod load;
mod process;
mod rows;
mod stage;
mod traffic;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use weir_benches::report::Report;

use crate::load::{Clients, find};
use crate::process::Processors;
use crate::rows::{Bench, Size};
use crate::stage::{Proxy, Stage};

#[derive(Parser)]
#[command(name = "weir-bench-proxy", about = "Benches of Weir's proxy plane")]
struct Arguments {
    /// Also write the numbers to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Short runs, and one of each: shows that everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Weir's proxy, of the release profile.
    #[arg(long)]
    proxy: PathBuf,
    /// Another build of it, measured beside as `before`.
    #[arg(long)]
    before: Option<PathBuf>,
    /// Only rows with this in their name.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let size = Size::new(arguments.quick);
    let mut report = Report::new("proxy", size.runs);
    println!("{}\n", report.headline());
    // Thousands of connections, and as many on the other side.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;

    let need = |name: &str| find(name).with_context(|| format!("{name} is missing"));
    let nginx = need("nginx")?;
    let (wrk, h2load) = (need("wrk")?, need("h2load")?);
    let mut proxies = vec![
        Proxy::Weir("weir", arguments.proxy),
        Proxy::Nginx(nginx.clone()),
    ];
    for (name, program, argument) in [
        ("nginx", &nginx, "-v"),
        ("wrk", &wrk, "-v"),
        ("h2load", &h2load, "--version"),
    ] {
        report.ask_version(name, &program.to_string_lossy(), &[argument]);
    }
    if let Some(haproxy) = find("haproxy") {
        report.ask_version("HAProxy", &haproxy.to_string_lossy(), &["-v"]);
        proxies.push(Proxy::Haproxy(haproxy));
    }
    proxies.extend(arguments.before.map(|before| Proxy::Weir("before", before)));

    let processors = Processors::share_out()?;
    let stage = Stage::raise(&processors, &nginx)?;
    let clients = Clients::new(&stage, wrk, h2load)?;
    let mut bench = Bench::new(&stage, &clients, proxies, size, arguments.only);
    bench.run(&mut report)?;
    report.finish(arguments.json.as_deref())
}
