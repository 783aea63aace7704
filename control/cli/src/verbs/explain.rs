//! `weir explain`: what both planes would do with a connection and a request.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use weir_api::{Explain as Answer, ExplainRequest, KernelPart, ProxyPart};

use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, columns};
use crate::words::address;

/// Says what Weir would do with a connection from SOURCE, and with a request that it sends.
///
/// The kernel's part comes from the loaded program, by a crafted packet that is never sent nor
/// counted. The proxy's part comes from the rules in force.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir explain 198.51.100.7\n  weir explain 198.51.100.7 --url 'https://sts.corp.example/adfs/ls/?wa=wsignin1.0'\n  weir explain 2001:db8::7 --method POST --url /adfs/services/trust/2005/usernamemixed \\\n    --header 'Content-Type: application/soap+xml' --body-file request.xml"
)]
pub struct Explain {
    /// Address that the connection comes from.
    #[arg(value_parser = address)]
    source: IpAddr,
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
}

impl Explain {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let body = self.body_file.as_deref().map(read).transpose()?;
        let method = self
            .method
            .or_else(|| body.is_some().then(|| "POST".to_owned()))
            .map(|method| method.to_ascii_uppercase());
        let request = ExplainRequest {
            source: self.source,
            port: self.port,
            service: self.service,
            host: self.host,
            method,
            url: self.url,
            headers: self.headers,
            body,
        };
        let answer = client.post::<Answer>("/v1/explain", &request).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        let Answer {
            generation,
            kernel,
            proxy,
            note,
        } = answer.value;
        tell_kernel(out, &request, generation, &kernel)?;
        if let Some(proxy) = &proxy {
            tell_proxy(out, proxy)?;
        }
        if let Some(note) = &note {
            writeln!(out, "{}", clean(note))?;
        }
        Ok(())
    }
}

fn tell_kernel(
    out: &mut Out,
    request: &ExplainRequest,
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
            format!("{}{to} ({service})", request.source),
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
    let mut facts = Vec::new();
    for (name, value) in &proxy.facts {
        flatten(name, value, &mut facts);
    }
    let facts: Vec<_> = facts
        .into_iter()
        .map(|(name, value)| vec![format!("  {}", name.replace('_', " ")), clean(&value)])
        .collect();
    write_rows(out, &facts)?;
    if !proxy.tried.is_empty() {
        writeln!(out, "{}", out.paint(Colour::Head, "rules, in order"))?;
        let rows: Vec<_> = proxy
            .tried
            .iter()
            .map(|tried| {
                let mark = if tried.matched {
                    out.paint(Colour::Good, "match")
                } else {
                    out.paint(Colour::Faint, "no")
                };
                vec![format!("  {mark}"), clean(&tried.rule), clean(&tried.why)]
            })
            .collect();
        write_rows(out, &rows)?;
    }
    let decision = out.paint(verdict_colour(&proxy.decision), &clean(&proxy.decision));
    let status = match proxy.status {
        Some(status) => format!("status {status} by Weir"),
        None => "answered by the upstream".to_owned(),
    };
    let head = out.paint(Colour::Head, "decision");
    writeln!(
        out,
        "{head}  {decision} by {}, {status}",
        clean(&proxy.rule)
    )?;
    if let Some(reason) = proxy.reason.as_deref().filter(|reason| !reason.is_empty()) {
        writeln!(out, "  {}", clean(reason))?;
    }
    Ok(())
}

/// Facts as names and words. What is said of users and relying parties keeps how it is known.
fn flatten(name: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => match (
            fields.get("known").and_then(Value::as_str),
            fields.get("value"),
        ) {
            (Some("none"), _) => {}
            (Some(known), Some(value)) => {
                facts.push((name.to_owned(), format!("{} ({known})", words(value))));
            }
            (Some(known), None) => facts.push((name.to_owned(), known.to_owned())),
            (None, _) => {
                for (field, value) in fields {
                    flatten(&format!("{name}.{field}"), value, facts);
                }
            }
        },
        value => facts.push((name.to_owned(), words(value))),
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn verdict_colour(word: &str) -> Colour {
    match word {
        "pass" | "forward" => Colour::Good,
        "proxy" | "redirect" | "step-up" => Colour::Careful,
        _ => Colour::Bad,
    }
}

fn write_rows(out: &mut Out, rows: &[Vec<String>]) -> Result<(), Failed> {
    for row in columns(rows) {
        writeln!(out, "{row}")?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failed> {
    let mut text = String::new();
    let done = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    done.map_err(|error| {
        Failed::usage(
            format!("cannot read the body from {}: {error}", path.display()),
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
