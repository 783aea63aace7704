//! `weir capture`: a pcapng file of what the kernel programs see.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use weir_abi::Verdict;
use weir_api::CaptureRequest;

use crate::client::Client;
use crate::failed::Failed;
use crate::render::Out;

/// Captures what the kernel programs see into a pcapng file, with the verdict on each packet.
///
/// Frames are as they came in, also those that XDP sends on, which tcpdump cannot see. Wireshark shows the
/// verdict as the comment of a packet, and finds it: `frame.comment contains "verdict=drop"`. It ends by
/// itself; so it does with Ctrl-C, and the file is whole then, too. Who captures what stands in the audit
/// log. Of each frame its headers are kept, and all of it with `--payload`: then the file holds what people
/// sent. Only you may read it, keep it so.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir capture --out blocked.pcapng --verdict drop --seconds 30\n  weir capture --out one.pcapng --source 198.51.100.7 --packets 500\n  weir capture --out - --service sts | tcpdump -n -r -"
)]
pub struct Capture {
    /// Write to this file; `-` is standard output.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Only packets from and to clients in this address or prefix.
    #[arg(long, value_name = "PREFIX")]
    source: Option<String>,
    /// Only packets of this service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only packets with this verdict; may be given several times.
    #[arg(long, value_parser = Verdict::ALL.map(Verdict::name))]
    verdict: Vec<String>,
    /// With what follows the headers: what people sent. It may hold what nobody else should see.
    #[arg(long)]
    payload: bool,
    /// End after so many seconds, 3600 at most [default: 60].
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
    /// End after so many packets, 1000000 at most [default: 10000].
    #[arg(long, value_name = "N")]
    packets: Option<u32>,
}

impl Capture {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let request = CaptureRequest {
            source: self.source,
            service: self.service,
            verdicts: Verdict::ALL
                .into_iter()
                .filter(|verdict| self.verdict.iter().any(|name| name == verdict.name()))
                .collect(),
            payload: self.payload,
            seconds: self.seconds,
            packets: self.packets,
        };
        let path = "/v1/capture";
        if self.out == Path::new("-") {
            return client.download(path, &request, || Ok(()), out).await;
        }
        let failed = |error: io::Error| {
            Failed::refused(
                format!("cannot write {}: {error}", self.out.display()),
                "name a file that you may write, in a directory with room",
            )
        };
        // A file that is there stays as it is when weir-control refuses.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.out)
            .map_err(failed)?;
        let begin = file.try_clone().map_err(failed)?;
        let begin = move || {
            // The mode above is that of a file which is made; one that is there may be open to others.
            if begin.metadata()?.is_file() {
                begin.set_permissions(Permissions::from_mode(0o600))?;
                begin.set_len(0)?;
            }
            Ok(())
        };
        client.download(path, &request, begin, &mut file).await?;
        let length = file.metadata().map_err(failed)?.len();
        if out.json {
            let told = serde_json::json!({ "file": self.out, "bytes": length });
            writeln!(out, "{told}")?;
        } else {
            let file = self.out.display();
            writeln!(
                out,
                "{length} bytes written to {file}: `wireshark {file}` or `tcpdump -n -r {file}`"
            )?;
        }
        Ok(())
    }
}
