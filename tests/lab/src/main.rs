//! `weir-lab`: raises the lab, runs commands in it, and shows Weir work.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::io::{AsyncBufReadExt, BufReader};
use weir_lab::args::{Arguments, Exec, Raise, Verb};
use weir_lab::cleanup::{Claim, State, end_holder, run_directory, sweep};
use weir_lab::exec::{Entry, Identity};
use weir_lab::hosts::Hosts;
use weir_lab::lab::{Interrupted, with_lab};
use weir_lab::netns::{Netns, Part};
use weir_lab::{demo, require};

/// The line by which the process that holds a lab says that it stands.
const STANDS: &str = "the lab stands";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // One thread: programs are killed when the thread that started them ends.
    let result = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(Arguments::parse().verb)));
    match result {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("weir-lab: interrupted; nothing was left behind");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("weir-lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up(raise) => up(&raise).await,
        Verb::Hold(raise) => hold(&raise).await,
        Verb::Down { instance } => down(&instance),
        Verb::Status { instance, json } => status(&instance, json),
        Verb::Exec(exec) => enter(&exec),
        Verb::Demo(demo) => demo::run(&demo).await,
        Verb::Boot(boot) => demo::boot::run(&boot).await,
        Verb::UdpProbe { to } => udp_probe(to),
    }
}

/// Starts the process that holds the lab and waits until it says that the lab stands.
async fn up(raise: &Raise) -> Result<ExitCode> {
    require::machine()?;
    let options = raise.options()?;
    // Asked here too, so that the answer is the sentence alone.
    drop(Claim::take(&options.instance)?);
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make {}", options.out.display()))?;
    let log = std::fs::File::create(options.out.join("lab.log")).context("cannot write lab.log")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("hold").args(["--instance", &options.instance]);
    command
        .arg("--bin-dir")
        .arg(&options.bin_dir)
        .arg("--object")
        .arg(&options.object);
    command.arg("--out").arg(&options.out);
    for rule in &options.switched_off {
        command.args(["--switch-off", rule]);
    }
    if let Some(hook) = options.hook {
        command.args(["--hook", hook.name()]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    // SAFETY: one system call between fork and exec. A session of its own: the lab stays when the terminal goes.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
    }
    let mut child = tokio::process::Command::from(command).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) if line == STANDS => break,
                Some(line) => eprintln!("  {line}"),
                None => {
                    child.wait().await?;
                    let log = options.out.join("lab.log");
                    bail!("{}", std::fs::read_to_string(log)?.trim().trim_start_matches("weir-lab: "));
                }
            },
            _ = interrupt.recv() => {
                if let Some(state) = State::load(&options.instance) {
                    end_holder(&state)?;
                }
                child.wait().await?;
                return Err(Interrupted.into());
            }
        }
    }
    println!("the lab is up: {}", options.out.join("lab.json").display());
    println!(
        "try: cargo xtask lab exec inet --source unmanaged -- curl -i https://sts.corp.example/adfs/ls/"
    );
    Ok(ExitCode::SUCCESS)
}

/// Raises the lab and holds it until a signal comes.
async fn hold(raise: &Raise) -> Result<ExitCode> {
    let progress = |text: &str| {
        // Nobody listens any more when the lab goes down.
        let _ = writeln!(std::io::stdout(), "{text}");
    };
    let result = with_lab(raise.options()?, &progress, async |_lab, _daemons| {
        progress(STANDS);
        std::future::pending::<Result<()>>().await
    })
    .await;
    match result {
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn down(instance: &str) -> Result<ExitCode> {
    require::machine()?;
    if let Some(state) = State::load(instance) {
        end_holder(&state)?;
    }
    sweep(instance)?;
    println!("the lab is down");
    Ok(ExitCode::SUCCESS)
}

fn status(instance: &str, json: bool) -> Result<ExitCode> {
    let Some(state) = State::load(instance) else {
        if json {
            println!("null");
        } else {
            println!("no lab called {instance} stands");
        }
        return Ok(ExitCode::FAILURE);
    };
    let description = state.out.join("lab.json");
    if !state.is_held() {
        println!(
            "the lab called {instance} was left behind by a process that is gone: `down` or `up` cleans up"
        );
        return Ok(ExitCode::FAILURE);
    }
    let text = std::fs::read_to_string(&description)
        .with_context(|| format!("the lab is being raised: no {} yet", description.display()))?;
    if json {
        println!("{}", text.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "the lab called {instance} stands, held by process {}",
        state.holder
    );
    println!("described in {}", description.display());
    for part in Part::ALL {
        let namespace = Netns::of(instance, part);
        let inside = namespace.inode().into_iter().collect();
        let programs: Vec<String> = weir_lab::cleanup::processes_inside(&inside)
            .into_iter()
            .filter_map(program)
            .collect();
        println!(
            "  {:<6} {:<18} {}",
            part.name(),
            namespace.name,
            programs.join(" ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of a process's program; whole, unlike /proc/PID/comm.
fn program(pid: i32) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let path = line.split('\0').next()?;
    Some(path.rsplit('/').next()?.to_owned())
}

/// Becomes the command, in its namespace.
fn enter(exec: &Exec) -> Result<ExitCode> {
    require::machine()?;
    let namespace = Netns::of(&exec.instance, exec.namespace);
    if exec.source.is_some() && exec.namespace != Part::Inet {
        bail!("--source chooses among the clients, and those are in inet");
    }
    let run = run_directory(&exec.instance);
    let mut command = Command::new(&exec.command[0]);
    command.args(&exec.command[1..]);
    // Any client that reads one of these trusts the lab, and finds no proxy of ours in its way.
    for variable in [
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
    ] {
        command.env(variable, run.join("ca.pem"));
    }
    for variable in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env_remove(variable);
    }
    let identity = match exec.source {
        Some(class) => {
            command.env("HOME", run.join("home").join(class.name()));
            Identity::Reader(class.source().uid)
        }
        None => Identity::Root,
    };
    Entry::new(&namespace, &Hosts::at(&run), exec.family, identity)?
        .outliving()
        .apply(&mut command);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", PathBuf::from(&exec.command[0]).display()))
}

/// Three datagrams, and how many answers (or refusals) came within a second: QUIC's first packet is any datagram to a
/// filter that knows only addresses and ports.
fn udp_probe(to: SocketAddr) -> Result<ExitCode> {
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    for _ in 0..3 {
        // A refusal of the datagram before is reported here.
        if let Err(error) = socket.send(&[0xc0; 1200]) {
            println!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    }
    match socket.recv(&mut [0; 1500]) {
        Ok(_) => println!("answered"),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => println!("silence"),
        Err(error) => println!("{error}"),
    }
    Ok(ExitCode::SUCCESS)
}
