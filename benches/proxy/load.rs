//! Clients that are not Weir's: wrk and h2load, both with OpenSSL, held to one group and one suite.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::stage::{HOST, SUITE, Stage};
use crate::traffic::Request;

/// The programs, and what they are configured with.
pub struct Clients {
    pub wrk: PathBuf,
    pub h2load: PathBuf,
    /// What OpenSSL may offer.
    openssl: PathBuf,
    script: PathBuf,
    log: PathBuf,
}

/// What came of a load.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Requests that were answered with 200.
    pub requests: u64,
    /// So many each second.
    pub rate: f64,
}

/// A load of requests on HTTP/1.1, on connections that are kept.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub request: &'a Request,
    pub connections: usize,
    pub seconds: u64,
}

impl Clients {
    /// Writes what OpenSSL is told.
    pub fn new(stage: &Stage, wrk: PathBuf, h2load: PathBuf) -> Result<Self> {
        let openssl = stage.file("openssl.cnf");
        let config = format!(
            "openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = client\n[client]\n\
             MinProtocol = TLSv1.3\nGroups = X25519\nCiphersuites = {SUITE}\n"
        );
        std::fs::write(&openssl, config)?;
        Ok(Self {
            wrk,
            h2load,
            openssl,
            script: stage.file("wrk.lua"),
            log: stage.file("h2load.log"),
        })
    }

    /// As many requests as there is room for, by wrk.
    pub fn wrk(&self, address: SocketAddr, load: &Load<'_>) -> Result<Done> {
        std::fs::write(&self.script, script(load))?;
        let mut command = Command::new(&self.wrk);
        command
            .args(["--threads", "1", "--timeout", "30s"])
            .args(["--connections", &load.connections.to_string()])
            .args(["--duration", &format!("{}s", load.seconds)])
            .arg("--script")
            .arg(&self.script)
            .arg(format!(
                "https://{HOST}:{}{}",
                address.port(),
                load.request.target
            ));
        let text = self.run(&mut command)?;
        for trouble in ["Non-2xx or 3xx responses:", "Socket errors:"] {
            ensure!(
                !text.contains(trouble),
                "not every request was answered:\n{text}"
            );
        }
        let counted = text
            .lines()
            .find_map(|line| line.split_once(" requests in "));
        let (requests, _) = counted.with_context(|| format!("wrk says:\n{text}"))?;
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"));
        Ok(Done {
            requests: requests.trim().parse()?,
            rate: rate.context("wrk gives a rate")?.trim().parse()?,
        })
    }

    /// As many requests as there is room for over HTTP/2, by h2load.
    pub fn http2(
        &self,
        address: SocketAddr,
        request: &Request,
        (connections, streams): (usize, usize),
        seconds: u64,
    ) -> Result<Done> {
        let mut command = self.h2load(address, request);
        command
            .args(["--clients", &connections.to_string()])
            .args(["--max-concurrent-streams", &streams.to_string()])
            .args(["--duration", &seconds.to_string()]);
        answered(&self.run(&mut command)?)
    }

    /// Requests at a constant rate over HTTP/1.1, by h2load; also how long each took, in seconds, in order of length.
    pub fn steady(
        &self,
        address: SocketAddr,
        request: &Request,
        rate: f64,
        seconds: u64,
    ) -> Result<(Done, Vec<f64>)> {
        const CONNECTIONS: usize = 32;
        let _ = std::fs::remove_file(&self.log);
        let mut command = self.h2load(address, request);
        #[expect(clippy::cast_precision_loss, reason = "32")]
        let each = (rate / CONNECTIONS as f64).max(1.0);
        command
            .args(["--h1", "--clients", &CONNECTIONS.to_string()])
            .args(["--rps", &format!("{each:.1}")])
            .args(["--duration", &seconds.to_string()])
            .arg("--log-file")
            .arg(&self.log);
        let done = answered(&self.run(&mut command)?)?;
        let mut took = Vec::new();
        for line in std::fs::read_to_string(&self.log)?.lines() {
            let mut fields = line.split('\t');
            let (status, length) = (fields.nth(1), fields.next());
            let length = length.with_context(|| format!("h2load logs `{line}`"))?;
            ensure!(status == Some("200"), "an answer was no 200: {line}");
            took.push(length.parse::<f64>()? / 1e6);
        }
        ensure!(!took.is_empty(), "h2load logs no request");
        took.sort_by(f64::total_cmp);
        Ok((done, took))
    }

    fn h2load(&self, address: SocketAddr, request: &Request) -> Command {
        let mut command = Command::new(&self.h2load);
        command.args(["--threads", "1"]);
        for (name, value) in &request.headers {
            command.args([
                "--header",
                &format!("{}: {value}", name.to_ascii_lowercase()),
            ]);
        }
        command.arg(format!(
            "https://{HOST}:{}{}",
            address.port(),
            request.target
        ));
        command
    }

    fn run(&self, command: &mut Command) -> Result<String> {
        let output = command
            .env("OPENSSL_CONF", &self.openssl)
            .output()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("a client ended with {}:\n{text}{errors}", output.status);
        }
        Ok(text)
    }
}

/// What h2load says of the requests; fails when one of them did.
fn answered(text: &str) -> Result<Done> {
    let line = |start: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.with_context(|| format!("h2load says:\n{text}"))
    };
    let counts = line("requests: ")?;
    let count = |of: &str| -> Result<u64> {
        let count = counts
            .split(',')
            .find_map(|part| part.trim().strip_suffix(of));
        Ok(count.context("h2load counts")?.trim().parse()?)
    };
    for trouble in ["failed", "errored", "timeout"] {
        ensure!(
            count(trouble)? == 0,
            "not every request was answered:\n{text}"
        );
    }
    let codes = line("status codes: ")?;
    ensure!(
        codes.contains(" 0 3xx, 0 4xx, 0 5xx"),
        "not every request was answered with 200:\n{text}"
    );
    let rate = line("finished in ")?.split(", ").nth(1);
    let rate = rate.and_then(|rate| rate.strip_suffix(" req/s"));
    Ok(Done {
        requests: count("succeeded")?,
        rate: rate.context("h2load gives a rate")?.parse()?,
    })
}

/// The request in wrk's words.
fn script(load: &Load<'_>) -> String {
    let request = load.request;
    let mut script = format!("wrk.method = {:?}\n", request.method);
    for (name, value) in &request.headers {
        let _ = writeln!(script, "wrk.headers[{name:?}] = {value:?}");
    }
    if !request.body.is_empty() {
        let _ = writeln!(script, "wrk.body = [==[{}]==]", request.body);
    }
    script
}

/// Where a program lies, if this machine has it; servers lie where only root looks.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).to_path_buf()))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
