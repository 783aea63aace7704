//! `weir explain`: what both planes would do with a connection and a request, or did.

mod user;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use weir_api::{Explain as Answer, ExplainRequest, KernelPart, ProxyPart, Recorded, Tried};

use crate::client::Client;
use crate::failed::Failed;
use crate::raw::Raw;
use crate::render::{Colour, Out, clean, clip, moment, table};
use crate::words::{address, claim, time};

/// Says what Weir would do with a connection from SOURCE, and with a request that it sends; or why a
/// decision of the audit log was made.
///
/// The kernel's part comes from the loaded program, by a crafted packet that is never sent nor
/// counted. The proxy's part comes from the rules in force: every fact with where it comes from, and every
/// rule that was tried. With --id the facts are those of the decision, and it says whether the rules in
/// force would decide otherwise now.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  weir explain 198.51.100.7\n  weir explain 198.51.100.7 --url 'https://sts.corp.example/adfs/ls/?wa=wsignin1.0'\n  weir explain 2001:db8::7 --method POST --url /adfs/services/trust/2005/usernamemixed \\\n    --header 'Content-Type: application/soap+xml' --body-file request.xml\n  weir explain 198.51.100.7 --url /adfs/ls/?wa=wsignin1.0 --claim upn=alice@corp.example --claim groups=staff \\\n    --auth-method mfa\n  weir explain 198.51.100.7 --request captured.http\n  weir explain --id 3f9c02d4a1b87e65\n  weir explain user alice@corp.example"
)]
pub struct Explain {
    #[command(subcommand)]
    of: Option<Of>,
    /// Address that the connection comes from.
    #[arg(value_parser = address, required_unless_present_any = ["id", "from"])]
    source: Option<IpAddr>,
    /// The same as SOURCE.
    #[arg(long = "source", id = "from", value_name = "SOURCE", value_parser = address, conflicts_with = "source")]
    from: Option<IpAddr>,
    /// A decision of the audit log, by its reference id, as block pages and `weir events` show it.
    #[arg(long, value_name = "ID", exclusive = true)]
    id: Option<String>,
    /// File with a captured request: request line, header fields, an empty line, body; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "url", "headers", "body_file"])]
    request: Option<PathBuf>,
    /// Name of the service; else it is found by the host name, else it is the first one.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Port of the service.
    #[arg(long)]
    port: Option<u16>,
    /// Host name of the request.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Method of the request [default: GET, or POST with a body].
    #[arg(long)]
    method: Option<String>,
    /// URL of the request, or its path and query.
    #[arg(long)]
    url: Option<String>,
    /// A header field; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// File with the body; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Suppose a token with this claim, by its name for rules; may be given several times.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
    /// Suppose that the user proved who they are in this way: password, mfa, windows, certificate ...
    #[arg(long = "auth-method", value_name = "METHOD")]
    methods: Vec<String>,
    /// Suppose that this was then: how long ago (30m), or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time)]
    authenticated: Option<String>,
    /// Suppose that the request is made then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<String>,
}

/// What is explained besides connections.
#[derive(Debug, Subcommand)]
enum Of {
    User(user::User),
}

impl Explain {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        if let Some(Of::User(user)) = self.of {
            return user.run(client, out).await;
        }
        let request = self.asked()?;
        let answer = client.post::<Answer>("/v1/explain", &request).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        let Answer {
            generation,
            recorded,
            kernel,
            proxy,
            note,
        } = answer.value;
        if let Some(recorded) = &recorded {
            tell_recorded(out, recorded)?;
            let head = out.paint(Colour::Head, "now");
            writeln!(out, "{head}  by generation {generation}")?;
        }
        if let Some(kernel) = &kernel {
            let of_record = recorded.as_ref().map(|recorded| recorded.source);
            let source = request.source.or(of_record);
            tell_kernel(out, source, generation, kernel)?;
        }
        if let Some(proxy) = &proxy {
            tell_proxy(out, proxy)?;
        }
        if let Some(note) = &note {
            writeln!(out, "{}", clean(note))?;
        }
        match recorded.map(|recorded| recorded.differs) {
            Some(Some(differs)) => {
                let word = out.paint(Colour::Careful, "DIFFERS");
                write_rows(out, &[vec![word, clean(&differs)]])
            }
            Some(None) if proxy.is_some() => {
                let word = out.paint(Colour::Good, "same");
                writeln!(out, "{word}  the rules in force decide as it was recorded")?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn asked(self) -> Result<ExplainRequest, Failed> {
        let mut claims: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in self.claims {
            claims.entry(name).or_default().push(value);
        }
        let request = ExplainRequest {
            source: self.source.or(self.from),
            id: self.id,
            port: self.port,
            service: self.service,
            host: self.host,
            claims,
            methods: self.methods,
            authenticated: self.authenticated,
            time: self.time,
            ..ExplainRequest::default()
        };
        if let Some(path) = &self.request {
            let text = read(path, "the request")?;
            let raw = Raw::parse(text.as_bytes()).map_err(|why| {
                Failed::usage(
                    format!("{} holds no request: {why}", path.display()),
                    "write it as HTTP/1.1 sends it: request line, header fields, an empty line, body",
                )
            })?;
            return Ok(ExplainRequest {
                host: request
                    .host
                    .or_else(|| raw.header("host").map(str::to_owned)),
                method: Some(raw.method),
                url: Some(raw.target),
                headers: raw.headers,
                body: Some(raw.body).filter(|body| !body.is_empty()),
                ..request
            });
        }
        let body = self.body_file.as_deref();
        let body = body.map(|path| read(path, "the body")).transpose()?;
        let method = self
            .method
            .or_else(|| body.is_some().then(|| "POST".to_owned()))
            .map(|method| method.to_ascii_uppercase());
        Ok(ExplainRequest {
            method,
            url: self.url,
            headers: self.headers,
            body,
            ..request
        })
    }
}

fn tell_recorded(out: &mut Out, recorded: &Recorded) -> Result<(), Failed> {
    let head = out.paint(Colour::Head, "recorded");
    writeln!(
        out,
        "{head}  {} UTC, line {} of the audit log, by generation {}",
        moment(&recorded.time),
        recorded.seq,
        recorded.generation
    )?;
    let decision = out.paint(
        verdict_colour(&recorded.decision),
        &clean(&recorded.decision),
    );
    let status = recorded.status.map_or_else(
        || "the client got no answer".to_owned(),
        |status| format!("the client got status {status}"),
    );
    let mut rows = vec![
        vec![
            "  service".to_owned(),
            clean(recorded.service.as_deref().unwrap_or("none")),
        ],
        vec![
            "  decision".to_owned(),
            format!("{decision} by {}, {status}", clean(&recorded.rule)),
        ],
    ];
    let reason = recorded
        .reason
        .as_deref()
        .filter(|reason| !reason.is_empty());
    rows.extend(reason.map(|reason| vec!["  reason".to_owned(), clean(reason)]));
    write_rows(out, &rows)
}

fn tell_kernel(
    out: &mut Out,
    source: Option<IpAddr>,
    generation: u64,
    kernel: &KernelPart,
) -> Result<(), Failed> {
    let head = out.paint(Colour::Head, "kernel");
    writeln!(
        out,
        "{head}  hook {}, generation {generation}",
        clean(&kernel.hook)
    )?;
    let to = kernel
        .destination
        .map(|to| format!(" -> {to}"))
        .unwrap_or_default();
    let service = match &kernel.service {
        Some(name) => format!("service {}", clean(name)),
        None => "no service".to_owned(),
    };
    let class = match (&kernel.list, &kernel.prefix) {
        (Some(list), Some(prefix)) => {
            format!(
                "{}, by list {}, entry {prefix}",
                kernel.class.name(),
                clean(list)
            )
        }
        _ => format!("{}, on no list", kernel.class.name()),
    };
    let verdict = out.paint(verdict_colour(kernel.verdict.name()), kernel.verdict.name());
    let way = kernel
        .topology
        .as_ref()
        .map(|topology| format!(" by {}", clean(topology)))
        .unwrap_or_default();
    let mut rows = vec![
        vec![
            "  packet".to_owned(),
            format!(
                "{}{to} ({service})",
                source.map_or_else(|| "its source".to_owned(), |it| it.to_string())
            ),
        ],
        vec!["  class".to_owned(), class],
        vec![
            "  verdict".to_owned(),
            format!("{verdict}{way}{}", because(&kernel.reason)),
        ],
    ];
    if let Some(grant) = &kernel.grant {
        rows.push(vec!["  grant".to_owned(), super::grants::told(grant)]);
    }
    if kernel.observed {
        let only = out.paint(
            Colour::Careful,
            "OBSERVE ONLY: the verdict is counted, and the packet goes on untouched",
        );
        rows.push(vec!["  but".to_owned(), only]);
    }
    if let Some(why) = &kernel.hook_why {
        rows.push(vec!["  hook".to_owned(), clean(why)]);
    }
    write_rows(out, &rows)
}

/// That the class decided goes without saying, and that nothing did; every other reason is named.
fn because(reason: &str) -> String {
    if matches!(reason, "class" | "other") {
        String::new()
    } else {
        format!(", because of {}", clean(reason))
    }
}

fn tell_proxy(out: &mut Out, proxy: &ProxyPart) -> Result<(), Failed> {
    writeln!(out, "{}", out.paint(Colour::Head, "proxy"))?;
    let facts: Vec<_> = proxy
        .origins
        .iter()
        .map(|origin| {
            let from = out.paint(Colour::Faint, &short(&clean(&origin.from)));
            vec![
                format!("  {}", clean(&origin.fact)),
                clip(&clean(&origin.value), 48),
                from,
            ]
        })
        .collect();
    write_rows(out, &facts)?;
    if !proxy.tried.is_empty() {
        writeln!(out, "{}", out.paint(Colour::Head, "rules, in order"))?;
        write_rows(out, &tried(out, &proxy.tried))?;
    }
    let decision = out.paint(verdict_colour(&proxy.decision), &clean(&proxy.decision));
    let status = match proxy.status {
        Some(status) => format!("status {status} by Weir"),
        None => "answered by the upstream".to_owned(),
    };
    let head = out.paint(Colour::Head, "decision");
    let by = clean(&proxy.rule);
    let waits = proxy.at_token.as_ref();
    if waits.is_some_and(|then| then.step_up.is_none()) {
        writeln!(out, "{head}  {decision} for now: {by} waits for the token")?;
    } else {
        writeln!(out, "{head}  {decision} by {by}, {status}")?;
    }
    if let Some(reason) = proxy.reason.as_deref().filter(|reason| !reason.is_empty()) {
        writeln!(out, "  {}", clean(reason))?;
    }
    if let Some(then) = &proxy.at_token {
        let otherwise = clean(&then.otherwise);
        let otherwise = out.paint(verdict_colour(&then.otherwise), &otherwise);
        writeln!(
            out,
            "  if the token cannot be believed: {otherwise} by {}",
            clean(&then.rule)
        )?;
    }
    Ok(())
}

/// Words of a text, of which long ones, such as claim types, keep their end.
fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    let words = text.split(' ').map(|word| match word.chars().count() {
        0..=LONGEST => word.to_owned(),
        length => format!(
            "...{}",
            word.chars().skip(length + 3 - LONGEST).collect::<String>()
        ),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Rules that were tried, as rows.
fn tried(out: &Out, tried: &[Tried]) -> Vec<Vec<String>> {
    let rows = tried.iter().map(|tried| {
        let mark = mark(out, tried.matched, tried.waits);
        vec![format!("  {mark}"), clean(&tried.rule), clean(&tried.why)]
    });
    rows.collect()
}

/// What became of a rule that was tried.
pub fn mark(out: &Out, matched: bool, waits: bool) -> String {
    match (matched, waits) {
        (true, _) => out.paint(Colour::Good, "match"),
        (false, true) => out.paint(Colour::Careful, "waits"),
        (false, false) => out.paint(Colour::Faint, "no"),
    }
}

pub fn verdict_colour(word: &str) -> Colour {
    match word {
        "pass" | "forward" => Colour::Good,
        "proxy" | "redirect" | "step-up" => Colour::Careful,
        _ => Colour::Bad,
    }
}

pub fn write_rows(out: &mut Out, rows: &[Vec<String>]) -> Result<(), Failed> {
    for row in table(rows) {
        writeln!(out, "{row}")?;
    }
    Ok(())
}

fn read(path: &Path, what: &str) -> Result<String, Failed> {
    let mut text = String::new();
    let done = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    done.map_err(|error| {
        Failed::usage(
            format!("cannot read {what} from {}: {error}", path.display()),
            "name a file of text that you may read, or `-` for standard input",
        )
    })?;
    Ok(text)
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write it as `Name: value`".to_owned()),
    }
}
