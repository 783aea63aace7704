//! `weir review`: evidence about the tenant, in files that are signed.

mod verify;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::de::IgnoredAny;
use weir_entra::review::exports::{PublicKey, Signed};

use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, clean};
use verify::{Verify, tell};

/// Evidence for reviews: who has access to what, who came, who left, and how sign-ins are protected.
///
/// An export is complete, signed by the appliance, and chained to the one before; who made it stands in the audit
/// log. A date is all of that day in UTC: `--as-of 2026-03-31` is as it was when that day ended. What nobody knows is
/// `unknown`, never nothing; why it is not known, and at which times nothing was collected, stands in the signature.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir review access --as-of 2026-03-31 --output access-2026-q1.csv\n  weir review leavers --from 2026-01-01 --to 2026-03-31 --output leavers-2026-q1.csv\n  weir review verify access-2026-q1.csv access-2026-q1.csv.sig --key weir-evidence.pem"
)]
pub struct Review {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Who belongs to what, through which groups, with which roles and which second factor.
    #[command(
        after_help = "Examples:\n  weir review access --output access.csv\n  weir review access --as-of 2026-03-31 --format json --output access.json"
    )]
    Access(At),
    /// Who came in a time: accounts, memberships and roles, by whom as far as the tenant's log tells.
    #[command(
        after_help = "Example:\n  weir review joiners --from 2026-01-01 --to 2026-03-31 --output joiners.csv"
    )]
    Joiners(Between),
    /// Who left in a time.
    #[command(
        after_help = "Example:\n  weir review leavers --from 2026-01-01 --output leavers.csv"
    )]
    Leavers(Between),
    /// How sign-ins are protected: policies, methods, domains, administrators and who has no second factor.
    #[command(after_help = "Example:\n  weir review posture --output posture.csv")]
    Posture(At),
    /// Prints the public key that verifies exports. Keep it where the exports are kept.
    #[command(after_help = "Example:\n  weir review key > weir-evidence.pem")]
    Key,
    Verify(Verify),
}

#[derive(Debug, Args)]
struct At {
    /// As it was then, instead of now: a day (2026-03-31) or a time as RFC 3339 says.
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Args)]
struct Between {
    /// After this: a day (2026-01-01) or a time as RFC 3339 says.
    #[arg(long, value_name = "DATE")]
    from: String,
    /// Up to this, instead of now; of a day, to its end.
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    #[command(flatten)]
    out: To,
}

#[derive(Debug, Args)]
struct To {
    /// How it is written [default: csv, or json with `--json`].
    #[arg(long)]
    format: Option<Format>,
    /// Write to this file, and the signature to FILE.sig beside it; else the signature goes to standard error.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Json,
}

const KEY: &str = "/v1/entra/review/key";

impl Review {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let (what, times, to) = match self.verb {
            Verb::Access(At { as_of, to }) => ("access", [("as_of", as_of), ("", None)], to),
            Verb::Posture(At { as_of, to }) => ("posture", [("as_of", as_of), ("", None)], to),
            Verb::Joiners(Between { from, to, out }) => {
                ("joiners", [("from", Some(from)), ("to", to)], out)
            }
            Verb::Leavers(Between { from, to, out }) => {
                ("leavers", [("from", Some(from)), ("to", to)], out)
            }
            Verb::Key => return Ok(out.write_all(pem(client).await?.as_bytes())?),
            Verb::Verify(verify) => return verify.run(client, out).await,
        };
        let format = match to.format {
            Some(Format::Json) => "json",
            None if out.json && to.output.is_none() => "json",
            Some(Format::Csv) | None => "csv",
        };
        let mut path = format!("/v1/entra/review/{what}?format={format}");
        for (key, time) in times {
            if let Some(time) = time {
                for piece in ["&", key, "=", &encode(&time)] {
                    path.push_str(piece);
                }
            }
        }
        if let Some(file) = to.output {
            return keep(client, out, &path, &file).await;
        }
        let number = client.export(&path, out).await?;
        out.flush()?;
        eprintln!("{}", signature(client, number).await?);
        Ok(())
    }
}

/// Writes an export and its signature to files. What is there already stays until all of it has come, and is what
/// was signed.
async fn keep(client: &Client, out: &mut Out, path: &str, file: &Path) -> Result<(), Failed> {
    let (part, beside) = (with(file, ".part"), with(file, ".sig"));
    let failed = |error: io::Error| {
        Failed::refused(
            format!("cannot write {}: {error}", file.display()),
            "name a file in a directory that you may write into, with room",
        )
    };
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let made = async {
        let mut to = options.open(&part).map_err(failed)?;
        let number = client.export(path, &mut to).await?;
        to.sync_all().map_err(failed)?;
        let line = signature(client, number).await?;
        let key = key(&pem(client).await?)?;
        let content = File::open(&part).map_err(failed)?;
        let signed = Signed::verify(&line, content, &key).map_err(|forged| {
            Failed::refused(
                format!("what came is not what was signed: {forged}"),
                "ask again; nothing was kept",
            )
        })?;
        let mut to = options.open(&beside).map_err(failed)?;
        writeln!(to, "{line}").map_err(failed)?;
        fs::rename(&part, file).map_err(failed)?;
        Ok::<_, Failed>(signed)
    };
    let made = made.await;
    if made.is_err() {
        // It may not be there at all.
        let _ = fs::remove_file(&part);
    }
    let signed = made?;
    if out.json {
        let told = serde_json::json!({
            "file": file, "signature": beside, "manifest": signed.manifest,
        });
        writeln!(out, "{told:#}")?;
        return Ok(());
    }
    let rows = signed.manifest.content.rows;
    let (file, beside) = (file.display(), beside.display());
    writeln!(out, "{rows} rows written to {file}, signed in {beside}")?;
    writeln!(out, "SHA-256 {}", signed.manifest.content.sha256)?;
    tell(out, &signed.manifest.head)
}

/// The line that is the signature of an export.
async fn signature(client: &Client, number: u64) -> Result<String, Failed> {
    let path = format!("/v1/entra/review/signature?export={number}");
    let answer = client.get::<IgnoredAny>(&path).await?;
    Ok(answer.text.trim_end().to_owned())
}

async fn pem(client: &Client) -> Result<String, Failed> {
    let mut pem = Vec::new();
    client.copy(KEY, &mut pem).await?;
    Ok(String::from_utf8_lossy(&pem).into_owned())
}

fn key(pem: &str) -> Result<PublicKey, Failed> {
    PublicKey::from_pem(pem).map_err(|error| {
        Failed::refused(
            error.to_string(),
            "`weir review key` prints the appliance's",
        )
    })
}

fn with(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}

/// A remark that a person should not overlook.
fn careful(out: &mut Out, text: &str) -> io::Result<()> {
    let text = out.paint(Colour::Careful, &clean(text));
    writeln!(out, "{text}")
}
