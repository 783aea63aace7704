//! `weir review verify`: whether an export is what the appliance signed.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use weir_entra::review::Head;
use weir_entra::review::exports::Signed;

use super::{careful, key, pem};
use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, moment};

/// Verifies an export, without asking weir-control where --key names the public key.
///
/// It is as it was signed when the signature is the appliance's, and the file holds what was signed, to the byte.
/// Whether exports were left out in between, the numbers show: each signature names the one before.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir review verify access.csv access.csv.sig --key weir-evidence.pem\n  weir review verify access.csv access.csv.sig"
)]
pub struct Verify {
    /// The export.
    file: PathBuf,
    /// The file with its signature.
    signature: PathBuf,
    /// File with the public key, as `weir review key` prints it; else weir-control is asked for its own.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// A signature is no longer than that.
const LONGEST: u64 = 64 << 20;

impl Verify {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let unreadable = |file: &PathBuf, error: std::io::Error| {
            Failed::usage(
                format!("cannot read {}: {error}", file.display()),
                "name the export, then its signature, both of them files that you may read",
            )
        };
        let read = |file: &PathBuf| {
            let length = fs::metadata(file).map(|data| data.len());
            match length {
                Ok(length) if length > LONGEST => Err(Failed::usage(
                    format!("{} is too long to be a signature or a key", file.display()),
                    "name the export first, then its signature",
                )),
                _ => fs::read_to_string(file).map_err(|error| unreadable(file, error)),
            }
        };
        let line = read(&self.signature)?;
        let public = match &self.key {
            Some(file) => key(&read(file)?)?,
            None => key(&pem(client).await?)?,
        };
        let content = fs::File::open(&self.file).map_err(|error| unreadable(&self.file, error))?;
        let signed = Signed::verify(line.trim(), content, &public).map_err(|forged| {
            Failed::refused(
                format!("{}: {forged}", self.file.display()),
                "it proves nothing: ask for the files as they were handed out, and for the key that was in \
                 use then",
            )
        })?;
        let manifest = &signed.manifest;
        if out.json {
            let told = serde_json::json!({ "verified": true, "manifest": manifest });
            writeln!(out, "{told:#}")?;
            return Ok(());
        }
        let word = out.paint(Colour::Good, "verified");
        writeln!(
            out,
            "{word}  {}: export {} of the appliance, {} rows, SHA-256 {}",
            self.file.display(),
            manifest.number,
            manifest.content.rows,
            manifest.content.sha256
        )?;
        tell(out, &manifest.head)
    }
}

/// What an export is of, and what is missing from it.
pub fn tell(out: &mut Out, head: &Head) -> Result<(), Failed> {
    let from = head.from.as_deref();
    let from = from.map_or_else(String::new, |from| format!("from {} ", moment(from)));
    writeln!(
        out,
        "{} of tenant {}, {from}as of {} UTC, taken {} UTC by {}",
        head.what.as_str(),
        head.tenant,
        moment(&head.as_of),
        moment(&head.taken),
        clean(&head.tool)
    )?;
    for unread in &head.unknown {
        careful(
            out,
            &format!("unknown: {}: {}", unread.part.name(), unread.why),
        )?;
    }
    for gap in &head.gaps {
        let from = gap
            .from
            .as_deref()
            .map_or("the beginning".to_owned(), moment);
        let until = gap.until.as_deref().map_or("now".to_owned(), moment);
        let words = format!(
            "not collected: {} from {from} to {until}: {}",
            gap.part.name(),
            gap.reason
        );
        careful(out, &words)?;
    }
    if head.journal.is_none() {
        careful(
            out,
            "the journal of the store was broken when this was taken: what it says of the past is not proven",
        )?;
    }
    Ok(())
}
