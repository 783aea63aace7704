//! What is measured, row by row, and what is asked of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use weir_benches::report::{Limit, Report, Spread, cell};

use crate::client::{Client, Handshake};
use crate::control::OWN_RULES;
use crate::load::{Clients, Done, Load};
use crate::process::{cpu, memory};
use crate::stage::{Proxy, Running, Stage};
use crate::traffic::{Request, sign_in, trust};

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Size {
    quick: bool,
    /// Times that each number is measured; the median counts.
    pub runs: usize,
    /// Seconds of each load.
    seconds: u64,
    /// Handshakes of each load of rustls.
    handshakes: u64,
    /// Connections that are left alone.
    idle: usize,
}

/// What is measured, and with what.
pub struct Bench<'a> {
    stage: &'a Stage,
    clients: &'a Clients,
    proxies: Vec<Proxy>,
    running: Vec<Running>,
    size: Size,
    only: String,
}

/// A row: the same load for each proxy.
struct Row {
    name: &'static str,
    /// What one of it is.
    unit: &'static str,
    load: How,
    request: Request,
    /// Whether the peers can do it.
    peers: bool,
}

#[derive(Clone, Copy)]
enum How {
    /// wrk, with 64 connections for all requests.
    Wrk,
    /// h2load over HTTP/2.
    Http2,
    /// Connections of rustls.
    Rustls(Handshake),
}

/// One proxy under one load.
#[derive(Clone, Copy)]
struct Sample {
    /// Microseconds of CPU for each request.
    cost: f64,
    rate: f64,
    /// Part of a processor that the proxy has used.
    busy: f64,
}

impl Size {
    pub fn new(quick: bool) -> Self {
        if quick {
            Self {
                quick,
                runs: 1,
                seconds: 1,
                handshakes: 200,
                idle: 500,
            }
        } else {
            Self {
                quick,
                runs: 5,
                seconds: 4,
                handshakes: 4_000,
                idle: 5_000,
            }
        }
    }
}

/// Weir closes connections without a request after half a minute.
const OPENED_WITHIN: Duration = Duration::from_secs(25);
/// The row that rates are taken of.
const KEEP_ALIVE: &str = "keep-alive, 1 KB";
const HANDSHAKE: &str = "full handshake";

fn rows() -> [Row; 8] {
    let row = |name, unit, load, request| Row {
        name,
        unit,
        load,
        request,
        peers: !matches!(load, How::Rustls(Handshake::PostQuantum)),
    };
    let kept = How::Wrk;
    [
        row(KEEP_ALIVE, "request", kept, sign_in("1k")),
        row("keep-alive, 10 KB", "request", kept, sign_in("10k")),
        row("keep-alive, 100 KB", "request", kept, sign_in("100k")),
        row("WS-Trust POST, 1 KB back", "request", kept, trust()),
        row(
            "HTTP/2, 16 × 8 at once, 1 KB",
            "request",
            How::Http2,
            sign_in("1k"),
        ),
        // Not wrk's, which takes up sessions wherever it can.
        row(
            HANDSHAKE,
            "connection",
            How::Rustls(Handshake::Full),
            sign_in("1k"),
        ),
        row(
            "resumed handshake",
            "connection",
            How::Rustls(Handshake::Resumed),
            sign_in("1k"),
        ),
        row(
            "X25519MLKEM768",
            "connection",
            How::Rustls(Handshake::PostQuantum),
            sign_in("1k"),
        ),
    ]
}

impl<'a> Bench<'a> {
    pub fn new(
        stage: &'a Stage,
        clients: &'a Clients,
        proxies: Vec<Proxy>,
        size: Size,
        only: String,
    ) -> Self {
        Self {
            stage,
            clients,
            proxies,
            running: Vec::new(),
            size,
            only,
        }
    }

    /// Measures everything.
    pub fn run(&mut self, report: &mut Report) -> Result<()> {
        if self.wants("idle connections") {
            self.idle(report)?;
        }
        for proxy in &self.proxies {
            self.running.push(self.stage.start(proxy)?);
        }
        let mut slowest = None;
        for row in rows() {
            if self.wants(row.name) {
                let samples = self.row(&row, report)?;
                if row.name == KEEP_ALIVE {
                    slowest = slowest_of(&samples);
                    self.head_room(&row, &samples, report)?;
                }
            }
        }
        if let Some(slowest) = slowest.filter(|_| self.wants("latency")) {
            self.latency(slowest / 2.0, report)?;
        }
        self.tell_events(report);
        self.notes(report);
        for running in &mut self.running {
            running.check()?;
        }
        Ok(())
    }

    fn wants(&self, row: &str) -> bool {
        row.contains(&self.only)
    }

    /// Proxies in turn, there and back, so that what changes meanwhile changes for all of them.
    fn order(&self, run: usize) -> Vec<usize> {
        let there = 0..self.proxies.len();
        if run.is_multiple_of(2) {
            there.collect()
        } else {
            there.rev().collect()
        }
    }

    /// Samples of each proxy, run by run.
    fn row(&self, row: &Row, report: &mut Report) -> Result<Vec<Vec<Sample>>> {
        let mut samples = vec![Vec::new(); self.proxies.len()];
        for run in 0..self.size.runs {
            for at in self.order(run) {
                let proxy = &self.proxies[at];
                if !row.peers && !matches!(proxy, Proxy::Weir(..)) {
                    continue;
                }
                let sample = self.sample(row, &self.running[at]);
                let told = || format!("{}: {}", row.name, proxy.name());
                samples[at].push(sample.with_context(told)?);
            }
        }
        println!("{}", row.name);
        for (proxy, samples) in self.proxies.iter().zip(&samples) {
            if samples.is_empty() {
                continue;
            }
            let of = |number: fn(&Sample) -> f64| Spread::of(samples.iter().map(number).collect());
            let (cost, rate) = (of(|sample| sample.cost), of(|sample| sample.rate));
            let busy = of(|sample| sample.busy);
            println!(
                "  {:<10} {} µs a {} ({:.1}-{:.1}), {} a second, {:.0} % of its processor",
                proxy.name(),
                cell(Some(cost.median), 8, 1),
                row.unit,
                cost.min,
                cost.max,
                cell(Some(rate.median), 7, 0),
                busy.median * 100.0,
            );
            report.row(json!({
                "row": row.name,
                "proxy": proxy.name(),
                "cpu_us": cost,
                "unit": row.unit,
                "rate": rate,
                "busy": busy,
            }));
        }
        self.targets(row, &samples, report);
        Ok(samples)
    }

    fn sample(&self, row: &Row, running: &Running) -> Result<Sample> {
        let (seconds, address) = (self.size.seconds, running.address);
        let (before, started) = (cpu(running.pid)?, Instant::now());
        let Done { requests, rate } = match row.load {
            How::Wrk => {
                let load = Load {
                    request: &row.request,
                    connections: 64,
                    seconds,
                };
                self.clients.wrk(address, &load)?
            }
            How::Http2 => (self.clients).http2(address, &row.request, (16, 8), seconds)?,
            How::Rustls(handshake) => {
                let client = Client::new(self.stage, handshake)?;
                client.connections(address, &row.request, self.size.handshakes)?
            }
        };
        let wall = started.elapsed().as_secs_f64();
        // What it still has to do for these requests, such as telling of them.
        thread::sleep(Duration::from_millis(100));
        let taken = cpu(running.pid)? - before;
        ensure!(requests > 0, "no request was answered");
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        let cost = taken * 1e6 / requests as f64;
        Ok(Sample {
            cost,
            rate,
            busy: taken / wall,
        })
    }

    /// Weir's cost in parts of each other's, run by run.
    fn targets(&self, row: &Row, samples: &[Vec<Sample>], report: &mut Report) {
        for (proxy, theirs) in self.proxies.iter().zip(samples).skip(1) {
            let ratios: Vec<f64> = (samples[0].iter().zip(theirs))
                .map(|(own, theirs)| own.cost / theirs.cost)
                .collect();
            if ratios.is_empty() {
                continue;
            }
            let ratio = Spread::of(ratios);
            let name = proxy.name();
            println!(
                "  {:.2} × {name} ({:.2}-{:.2})",
                ratio.median, ratio.min, ratio.max
            );
            report.row(json!({ "row": row.name, "weir_by": name, "ratio": ratio }));
            let limit = match (row.name, name) {
                (KEEP_ALIVE, "nginx") => 0.85,
                (HANDSHAKE, "nginx") => 0.5,
                _ => continue,
            };
            let what = format!("{}: CPU, in parts of nginx's", row.name);
            report.target(what, "", Some(ratio.median), Limit::Most(limit));
        }
    }

    /// The same load without a proxy: clients and backend must not be what is measured.
    fn head_room(&self, row: &Row, samples: &[Vec<Sample>], report: &mut Report) -> Result<()> {
        let load = Load {
            request: &row.request,
            connections: 64,
            seconds: self.size.seconds,
        };
        let direct = self.clients.wrk(self.stage.backend(), &load)?.rate;
        let fastest = (samples.iter().flatten())
            .map(|sample| sample.rate)
            .fold(0.0, f64::max);
        let room = direct / fastest;
        println!("  backend without a proxy: {direct:.0} a second, {room:.1} × the fastest proxy");
        report.row(json!({ "row": row.name, "proxy": "none", "rate": direct, "head_room": room }));
        Ok(())
    }

    /// What each answer takes at a constant rate, with and without a proxy.
    fn latency(&self, rate: f64, report: &mut Report) -> Result<()> {
        let request = sign_in("1k");
        let direct = [None];
        let all: Vec<Option<usize>> = (direct.into_iter())
            .chain((0..self.proxies.len()).map(Some))
            .collect();
        let mut samples = vec![Vec::new(); all.len()];
        for run in 0..self.size.runs {
            let mut order: Vec<usize> = (0..all.len()).collect();
            if !run.is_multiple_of(2) {
                order.reverse();
            }
            for at in order {
                let address = all[at].map_or(self.stage.backend(), |at| self.running[at].address);
                samples[at].push(self.steady(address, &request, rate)?);
            }
        }
        println!("latency at {rate:.0} requests a second");
        for (at, samples) in all.iter().zip(&samples) {
            let name = at.map_or("none", |at| self.proxies[at].name());
            let part = |part: fn(&[f64; 2]) -> f64| Spread::of(samples.iter().map(part).collect());
            let (middle, most) = (part(|parts| parts[0]), part(|parts| parts[1]));
            println!(
                "  {name:<10} p50 {:.3} ms, p99 {:.3} ms ({:.3}-{:.3})",
                middle.median, most.median, most.min, most.max
            );
            report.row(json!({
                "row": "latency", "proxy": name, "rate": rate,
                "p50_ms": middle, "p99_ms": most,
            }));
        }
        let added: Vec<f64> = (samples[1].iter().zip(&samples[0]))
            .map(|(weir, direct)| weir[1] - direct[1])
            .collect();
        let added = Spread::of(added).median;
        let what = "added latency at half load, p99";
        report.target(what, "ms", Some(added), Limit::Most(1.0));
        Ok(())
    }

    /// Milliseconds: the middle one, and that which 99 of 100 stay below.
    fn steady(&self, address: SocketAddr, request: &Request, rate: f64) -> Result<[f64; 2]> {
        let seconds = self.size.seconds * 2;
        let (done, took) = self.clients.steady(address, request, rate, seconds)?;
        ensure!(
            self.size.quick || done.rate > rate * 0.95,
            "{rate:.0} requests a second were asked for, and {:.0} came",
            done.rate
        );
        Ok([took[took.len() / 2], took[took.len() * 99 / 100]].map(|took| took * 1e3))
    }

    /// Memory of connections that have had an answer and are left alone. Each proxy is fresh.
    fn idle(&self, report: &mut Report) -> Result<()> {
        let client = Client::new(self.stage, Handshake::Full)?;
        let request = sign_in("1k");
        println!("idle connections, {}", self.size.idle);
        for (at, proxy) in self.proxies.iter().enumerate() {
            let mut each = Vec::new();
            for _ in 0..self.size.runs.min(3) {
                let mut running = self.stage.start(proxy)?;
                let open = |count| -> Result<Vec<_>> {
                    // From several sources: none may have more than a part of Weir's connections.
                    let sources = (1..=8).cycle().map(|last| Ipv4Addr::new(127, 0, 1, last));
                    let open = |source| client.idle(running.address, &request, source);
                    sources.take(count).map(open).collect()
                };
                // What it needs once.
                drop(open(50)?);
                thread::sleep(Duration::from_millis(200));
                let before = memory(running.pid)?;
                let started = Instant::now();
                let held = open(self.size.idle)?;
                ensure!(
                    started.elapsed() < OPENED_WITHIN,
                    "the machine is too busy: the first connections may be closed again before the last is open"
                );
                thread::sleep(Duration::from_millis(200));
                let grown = memory(running.pid)?.saturating_sub(before);
                drop(held);
                running.check()?;
                #[expect(clippy::cast_precision_loss, reason = "megabytes, and thousands")]
                each.push(grown as f64 / 1024.0 / self.size.idle as f64);
            }
            let each = Spread::of(each);
            let name = proxy.name();
            println!("  {name:<10} {} KB each", cell(Some(each.median), 8, 1));
            report.row(json!({ "row": "idle connections", "proxy": name, "kb": each }));
            if at == 0 {
                let what = "memory for each idle TLS connection";
                report.target(what, "KB", Some(each.median), Limit::Most(40.0));
            }
        }
        Ok(())
    }

    fn tell_events(&self, report: &mut Report) {
        for (proxy, running) in self.proxies.iter().zip(&self.running) {
            if let Some(control) = &running.control {
                let (told, lost) = control.events();
                let name = proxy.name();
                println!("{name}: {told} audit events told, {lost} lost");
                report.row(json!({ "row": "events", "proxy": name, "told": told, "lost": lost }));
            }
        }
    }

    fn notes(&self, report: &mut Report) {
        if !self.stage.processors.apart {
            report.note("There is one processor: everything shares it.");
        }
        report.note(format!(
            "Weir judges each request by {OWN_RULES} rules of its own in front of the default ones, and writes an \
             audit event for it; nginx and HAProxy pass on and log nothing. All verify the backend's certificate."
        ));
        for note in [
            "CPU: of the process with all its threads, by its CPU clock; on loopback it holds what the kernel does to \
             send and most of what it does to receive. One thread and one processor for each proxy, the others for \
             clients and backend. TLS 1.3, P-256 leaf, X25519, TLS_AES_128_GCM_SHA256 on both sides, tickets on.",
            "Latency: by h2load at a constant rate, half of what the slowest of them can do; 32 connections.",
            "Memory: what the process has more (PSS) with the connections open than before; the kernel's is not in it.",
        ] {
            report.note(note);
        }
        if self.size.quick {
            report.note(
                "A quick run: it shows that everything works, and its numbers are worth nothing.",
            );
        }
    }
}

/// What the slowest proxy can do.
fn slowest_of(samples: &[Vec<Sample>]) -> Option<f64> {
    let rates = samples.iter().map(|samples| {
        let rates = samples.iter().map(|sample| sample.rate);
        Spread::of(rates.collect()).median
    });
    rates.min_by(f64::total_cmp)
}
