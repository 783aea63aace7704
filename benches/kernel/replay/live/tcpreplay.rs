//! The independent witness: tcpreplay sends the same frames, and says how many and how fast.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use weir_benches::live::{Offer, Witness};
use weir_benches::replay::{Frame, Side, capture};

use super::rig::Rig;

/// Sends each frame of the offer so many times. What it says it sent has to be what was counted.
pub fn witness(rig: &Rig<'_>, offer: &Offer, mix: &'static str, loops: u64) -> Result<Witness> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("frames.pcap");
    write(&file, offer).context("cannot write a capture for tcpreplay")?;
    rig.queue()?;
    let mut said = String::new();
    let run = rig.send_with(|| {
        let output = Command::new("tcpreplay")
            .args(["--intf1=g0", "--topspeed", "--preload-pcap"])
            .arg(format!("--loop={loops}"))
            .arg(&file)
            .output()
            .context("cannot start tcpreplay")?;
        if !output.status.success() {
            bail!("tcpreplay: {}", String::from_utf8_lossy(&output.stderr));
        }
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        sent(&said)
    })?;
    let expected = offer.expected.times(loops);
    let overrun = run.offered.saturating_sub(run.counts.sum());
    let differs = if run.offered != expected.sum() {
        Some(format!(
            "it says {} were sent where the capture has {}",
            run.offered,
            expected.sum()
        ))
    } else if overrun == 0 {
        run.counts.against(&expected)
    } else if run.counts.sum() > run.offered {
        Some(format!("{} were counted", run.counts.sum()))
    } else {
        let apart = run.counts.apart(&expected);
        (apart > super::APART).then(|| format!("shares differ by {:.1} %", apart * 100.0))
    };
    Ok(Witness {
        way: rig.way.name(),
        mix,
        sent: run.offered,
        rate: rate(&said).unwrap_or_default(),
        overrun,
        counts: run.counts,
        expected,
        router_ns: run.router_ns(),
        differs,
    })
}

fn write(file: &Path, offer: &Offer) -> Result<()> {
    let frames: Vec<Frame> = (1_u32..)
        .zip(&offer.frames)
        .map(|(number, bytes)| {
            Ok(Frame {
                time: Duration::from_micros(number.into()),
                wire: u32::try_from(bytes.len())?,
                bytes: bytes.clone(),
                side: Side::Outside,
                file: 0,
                number,
            })
        })
        .collect::<Result<_>>()?;
    Ok(capture::write(file, &frames)?)
}

/// `Rated: 61411.7 Bps, 0.491 Mbps, 850.24 pps`.
fn rate(said: &str) -> Option<f64> {
    let line = said
        .lines()
        .find(|line| line.trim().starts_with("Rated:"))?;
    let mut words = line.split_whitespace().rev();
    (words.next()? == "pps").then(|| words.next()?.parse().ok())?
}

/// `Successful packets:        2000`.
fn sent(said: &str) -> Result<u64> {
    let rest = said.split_once("Successful packets:").map(|(_, rest)| rest);
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .with_context(|| format!("tcpreplay does not say how many it sent: {said}"))
}
