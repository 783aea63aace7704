//! `weir init`: writes a first configuration.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use weir_config::Managed;
use weir_config::init::{Answers, first_configuration};
use weir_link::UpstreamKind;

use crate::failed::Failed;
use crate::render::{Colour, Out};

/// Writes a commented first configuration, from flags and from answers to a few questions.
///
/// On a terminal it asks for what no flag says. A file that exists is never overwritten.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weir init weir.toml --host sts.corp.example --address 192.0.2.10 --upstream wap \\\n    --managed forward --managed-prefix 203.0.113.0/24 --outside eth0 --inside eth1 \\\n    --certificate chain.pem --key key.pem"
)]
pub struct Init {
    /// The file to write.
    #[arg(default_value = "/etc/weir/weir.toml", value_name = "FILE")]
    file: PathBuf,
    /// Name of this appliance.
    #[arg(long)]
    name: Option<String>,
    /// Interface towards the Internet.
    #[arg(long, value_name = "INTERFACE")]
    outside: Option<String>,
    /// Interface towards the federation servers.
    #[arg(long, value_name = "INTERFACE")]
    inside: Option<String>,
    /// Host name of the federation service.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Address of the federation service; may be given several times.
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
    /// How its requests are recognised.
    #[arg(long, value_name = "PRESET")]
    profile: Option<String>,
    /// What stands behind it.
    #[arg(long, value_enum)]
    upstream: Option<Kind>,
    /// Server to connect to, when not the service's own addresses; may be given several times.
    #[arg(long = "server", value_name = "ADDRESS:PORT")]
    servers: Vec<SocketAddr>,
    /// Where managed devices go: forwarded in the kernel, or through the proxy.
    #[arg(long, value_enum)]
    managed: Option<Way>,
    /// Egress prefix of managed devices; may be given several times.
    #[arg(long = "managed-prefix", value_name = "PREFIX")]
    managed_prefixes: Vec<IpNet>,
    /// Where unmanaged browsers are sent: an https URL with `{query}` where the query goes.
    #[arg(long, value_name = "URL")]
    reverse_proxy: Option<String>,
    /// Certificate chain of the service, PEM.
    #[arg(long, value_name = "FILE")]
    certificate: Option<String>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
}

/// What stands behind the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A Web Application Proxy.
    Wap,
    /// AD FS itself.
    Adfs,
    /// A server that knows no proxy of its own kind.
    Plain,
}

/// Where managed devices go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// In the kernel, undecrypted.
    Forward,
    /// Through the proxy, decrypted and audited.
    Proxy,
}

impl Init {
    pub fn run(self, out: &mut Out) -> Result<(), Failed> {
        if self.file.exists() {
            return Err(exists(&self.file));
        }
        let file = self.file.clone();
        let answers = if io::stdin().is_terminal() && io::stdout().is_terminal() {
            self.ask(out)?
        } else {
            self.without_asking()?
        };
        let text = first_configuration(&answers);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&file)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(exists(&file));
            }
            Err(error) => {
                return Err(Failed::refused(
                    format!("cannot write {}: {error}", file.display()),
                    "name another file, or make its directory first",
                ));
            }
        }
        let path = file.display();
        if out.json {
            let answer = serde_json::json!({ "written": file });
            return Ok(writeln!(out, "{answer:#}")?);
        }
        writeln!(
            out,
            "{}",
            out.paint(Colour::Good, &format!("{path} is written"))
        )?;
        writeln!(
            out,
            "next: read it, then `weir check {path}`, then start weir-control"
        )?;
        Ok(())
    }

    fn without_asking(self) -> Result<Answers, Failed> {
        let mut missing = Vec::new();
        let mut need = |there: bool, flag: &'static str| {
            if !there {
                missing.push(flag);
            }
        };
        need(self.outside.is_some(), "--outside");
        need(self.inside.is_some(), "--inside");
        need(self.host.is_some(), "--host");
        need(!self.addresses.is_empty(), "--address");
        need(self.upstream.is_some(), "--upstream");
        need(self.managed.is_some(), "--managed");
        if !missing.is_empty() {
            return Err(Failed::usage(
                format!(
                    "this is no terminal to ask on: {} must be given",
                    missing.join(", ")
                ),
                "`weir init --help` shows them, with an example",
            ));
        }
        let host = self.host.unwrap_or_default();
        Ok(Answers {
            appliance: self.name.unwrap_or_else(own_name),
            outside: self.outside.unwrap_or_default(),
            inside: self.inside.unwrap_or_default(),
            addresses: self.addresses,
            profile: self.profile.unwrap_or_else(|| PROFILE.to_owned()),
            upstream: upstream(self.upstream.unwrap_or(Kind::Plain)),
            servers: self.servers,
            managed: self.managed.map(managed),
            managed_prefixes: self.managed_prefixes,
            reverse_proxy: self.reverse_proxy,
            certificate: self.certificate.unwrap_or_else(|| format!("{host}.pem")),
            key: self.key.unwrap_or_else(|| format!("{host}.key")),
            host,
        })
    }

    fn ask(self, out: &mut Out) -> Result<Answers, Failed> {
        writeln!(
            out,
            "A first configuration for {}. Enter takes what is in [ ].",
            self.file.display()
        )?;
        let interfaces = interfaces();
        let nth = |index: usize| interfaces.get(index).cloned();
        let appliance = ask(out, self.name, "Name of this appliance", Some(own_name()))?;
        let outside = ask(out, self.outside, "Interface towards the Internet", nth(0))?;
        let inside = ask(
            out,
            self.inside,
            "Interface towards the federation servers",
            nth(1),
        )?;
        let host: String = ask(
            out,
            self.host,
            "Host name of the federation service (sts.corp.example)",
            None,
        )?;
        let addresses = ask_many(
            out,
            self.addresses,
            "Its addresses, with spaces between",
            true,
        )?;
        let profile = ask(
            out,
            self.profile,
            "How its requests are recognised",
            Some(PROFILE.to_owned()),
        )?;
        writeln!(
            out,
            "What stands behind it: `wap` (a Web Application Proxy), `adfs` (AD FS itself), `plain`."
        )?;
        let upstream_kind: Word<Kind> = ask(
            out,
            self.upstream.map(Word),
            "Upstream",
            Some(Word(Kind::Wap)),
        )?;
        writeln!(
            out,
            "Managed devices can be forwarded in the kernel (`forward`: fastest, undecrypted; right \
             behind a Web\nApplication Proxy), or go through the proxy (`proxy`: decrypted and \
             audited; right for AD FS itself)."
        )?;
        let default = if upstream_kind.0 == Kind::Wap {
            Way::Forward
        } else {
            Way::Proxy
        };
        let way: Word<Way> = ask(
            out,
            self.managed.map(Word),
            "Managed devices",
            Some(Word(default)),
        )?;
        let managed_prefixes = ask_many(
            out,
            self.managed_prefixes,
            "Egress prefixes of managed devices (may be empty)",
            false,
        )?;
        let reverse_proxy = ask(
            out,
            self.reverse_proxy,
            "Reverse proxy for unmanaged browsers, https URL with {query} (may be empty)",
            Some(String::new()),
        )?;
        let certificate = ask(
            out,
            self.certificate,
            "Certificate chain of the service (PEM)",
            Some(format!("{host}.pem")),
        )?;
        let key = ask(
            out,
            self.key,
            "Its private key (PEM)",
            Some(format!("{host}.key")),
        )?;
        Ok(Answers {
            appliance,
            outside,
            inside,
            host,
            addresses,
            profile,
            upstream: upstream(upstream_kind.0),
            servers: self.servers,
            managed: Some(managed(way.0)),
            managed_prefixes,
            reverse_proxy: Some(reverse_proxy).filter(|url| !url.is_empty()),
            certificate,
            key,
        })
    }
}

const PROFILE: &str = "adfs";

/// A value of a fixed set, by its word.
#[derive(Clone, Copy, Debug)]
struct Word<T>(T);

impl<T: ValueEnum> FromStr for Word<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        T::from_str(text, true).map(Self).map_err(|_| {
            let words: Vec<_> = T::value_variants()
                .iter()
                .map(|one| Self(one.clone()).to_string())
                .collect();
            format!("one of {}", words.join(", "))
        })
    }
}

impl<T: ValueEnum> Display for Word<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}

/// Asks until the answer is one, unless a flag gave it.
fn ask<T>(out: &mut Out, given: Option<T>, question: &str, default: Option<T>) -> Result<T, Failed>
where
    T: FromStr + Display,
    T::Err: Display,
{
    if let Some(given) = given {
        return Ok(given);
    }
    loop {
        match &default {
            Some(default) => write!(out, "{question} [{default}]: ")?,
            None => write!(out, "{question}: ")?,
        }
        out.flush()?;
        let line = line()?;
        match (line.as_str(), &default) {
            ("", Some(_)) => return Ok(default.expect("just seen")),
            ("", None) => writeln!(out, "  an answer is needed")?,
            (text, _) => match text.parse() {
                Ok(answer) => return Ok(answer),
                Err(error) => writeln!(out, "  {error}")?,
            },
        }
    }
}

fn ask_many<T>(out: &mut Out, given: Vec<T>, question: &str, need: bool) -> Result<Vec<T>, Failed>
where
    T: FromStr,
    T::Err: Display,
{
    if !given.is_empty() {
        return Ok(given);
    }
    loop {
        write!(out, "{question}: ")?;
        out.flush()?;
        let line = line()?;
        let answers: Result<Vec<T>, String> = line
            .split([' ', ','])
            .filter(|word| !word.is_empty())
            .map(|word| word.parse().map_err(|error| format!("{word}: {error}")))
            .collect();
        match answers {
            Ok(answers) if answers.is_empty() && need => writeln!(out, "  an answer is needed")?,
            Ok(answers) => return Ok(answers),
            Err(error) => writeln!(out, "  {error}")?,
        }
    }
}

fn line() -> Result<String, Failed> {
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        return Err(Failed::usage(
            "the questions were not answered: nothing is written",
            "answer them, or give the answers as options: `weir init --help`",
        ));
    }
    Ok(line.trim().to_owned())
}

fn exists(file: &std::path::Path) -> Failed {
    Failed::refused(
        format!("{} exists already, and is not overwritten", file.display()),
        "name another file, or move that one away",
    )
}

fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "weir-1".to_owned()
    } else {
        name.to_owned()
    }
}

/// Interfaces of this machine but the loopback, by name.
fn interfaces() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "lo")
        .collect();
    names.sort();
    names
}

fn upstream(kind: Kind) -> UpstreamKind {
    match kind {
        Kind::Wap => UpstreamKind::Wap,
        Kind::Adfs => UpstreamKind::Adfs,
        Kind::Plain => UpstreamKind::Plain,
    }
}

fn managed(way: Way) -> Managed {
    match way {
        Way::Forward => Managed::Forward,
        Way::Proxy => Managed::Proxy,
    }
}
