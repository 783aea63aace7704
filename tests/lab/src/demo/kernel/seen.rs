//! What the kernel plane lets be seen: of a service that is only observed, and in captures.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::pcapng::{self, Packet};
use super::{HOUSE, SERVICE};
use crate::demo::client::address;
use crate::demo::life::dead::SILENCE;
use crate::demo::life::{ASK_AGAIN, Lived, PATIENCE, Ward};
use crate::demo::witness::Witness;
use crate::settings::{Plane, STRICT, Settings};
use crate::sources::{Class, Family};
use crate::topology::let_through;

/// What the default policy does with new connections, by class.
const VERDICTS: [(Class, &str); 3] = [
    (Class::Managed, "forward"),
    (Class::Unmanaged, "proxy"),
    (Class::Blocked, "drop"),
];

impl Ward<'_> {
    /// The network behaves as if Weir were not there, which tells what it would do.
    pub(super) async fn observe(&self, family: Family, lived: &mut Lived) -> Result<()> {
        let instance = &self.lab.options.instance;
        // Without Weir a network lets its clients through.
        let_through(instance, 443, true)?;
        let result = self.observed(family, lived).await;
        let_through(instance, 443, false)?;
        result?;
        self.configure(Settings::of(STRICT)).await?;
        let to = address(self.lab, SERVICE, family)?;
        let blocked = timeout(SILENCE, self.connect_once(Class::Blocked, family, to)).await;
        lived.state(
            blocked.is_err(),
            "no longer observed: blocked gets no answer".to_owned(),
            format!("blocked is answered: {blocked:?}"),
        );
        Ok(())
    }

    async fn observed(&self, family: Family, lived: &mut Lived) -> Result<()> {
        self.configure(Settings {
            plane: Plane::Observed,
            ..Settings::of(STRICT)
        })
        .await?;
        let (status, before) = self.told().await?;
        let first = status["warnings"][0].as_str().unwrap_or_default();
        lived.state(
            before["observe"] == true
                && first.starts_with("OBSERVE ONLY")
                && first.contains(SERVICE),
            "status shouts".to_owned(),
            format!("the first warning of status is: {first}"),
        );
        let mut witness = Witness::begin(self.lab)?;
        for (class, verdict) in VERDICTS {
            let open = self.open(class, family).await;
            let direct = witness.seen()?.direct;
            lived.state(
                open.as_ref().is_ok_and(|open| direct == [open.local]),
                format!("{} reaches the service itself", class.name()),
                format!("{}: {open:?}; the service saw {direct:?}", class.name()),
            );
            let Ok(open) = open else { continue };
            let flow = self.flow(open.local).await?;
            lived.state(
                flow["observed"] == true
                    && flow["verdict"] == verdict
                    && flow["class"] == class.word(),
                format!("weir flows: would {verdict}"),
                format!("weir flows says of {}: {flow}", class.name()),
            );
        }
        let (_, after) = self.told().await?;
        for verdict in ["forward", "proxy", "drop"] {
            let [would, did] = [true, false].map(|observed| {
                packets(&after, verdict, observed) - packets(&before, verdict, observed)
            });
            lived.state(
                would > 0 && did == 0,
                format!("status: would {verdict} {would} packets"),
                format!("status: would {verdict} {would} packets, and did so with {did}"),
            );
        }
        Ok(())
    }

    /// What `weir flows` shows of the connection from there.
    async fn flow(&self, from: SocketAddr) -> Result<Value> {
        let source = from.ip().to_string();
        let arguments = ["flows", "--json", "--service", SERVICE, "--source", &source];
        let shown = async {
            loop {
                for line in self.lab.said_by_weir(&arguments).await?.lines() {
                    let flow: Value = serde_json::from_str(line).context("a line of weir flows")?;
                    if flow["source_port"] == from.port() {
                        return anyhow::Ok(flow);
                    }
                }
                sleep(ASK_AGAIN).await;
            }
        };
        timeout(PATIENCE, shown)
            .await
            .context("weir flows does not show a connection")?
    }

    /// One client of each verdict, while everything of the service is captured.
    pub(super) async fn capture(&self, family: Family, lived: &mut Lived) -> Result<()> {
        let name = format!("{HOUSE}-{}-{}.pcapng", self.hook.name(), u8::from(family));
        let file = self.lab.options.out.join(name);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let path = file.to_str().context("the lab's directory is not UTF-8")?;
        let mut running = self
            .lab
            .weir(&["capture", "--service", SERVICE, "--out", path])
            .spawn()
            .context("cannot run weir capture")?;
        // Its head is there as soon as it runs.
        let is_begun = || file.metadata().is_ok_and(|file| file.len() > 0);
        self.until(is_begun).await?;
        let mut witness = Witness::begin(self.lab)?;
        for class in [Class::Managed, Class::Unmanaged] {
            self.open(class, family).await?;
        }
        let to = address(self.lab, SERVICE, family)?;
        let blocked = timeout(SILENCE, self.connect_once(Class::Blocked, family, to)).await;
        lived.state(
            blocked.is_err(),
            "managed and unmanaged are served, blocked is not".to_owned(),
            format!("blocked is answered: {blocked:?}"),
        );
        let opened = witness.seen()?.opened;
        let is_in =
            |packets: &[Packet], from| packets.iter().any(|packet| packet.opens == Some(from));
        let whole =
            |packets: &[Packet]| opened.iter().all(|one| is_in(packets, (one.from, one.to)));
        // The last packet may be there in part.
        let is_in_file = || pcapng::read(&file).is_ok_and(|packets| whole(&packets));
        self.until(is_in_file).await?;
        let pid = running.id().context("weir capture has ended by itself")?;
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT)?;
        timeout(PATIENCE, running.wait()).await??;
        let packets = pcapng::read(&file)?;
        lived.state(
            whole(&packets),
            format!(
                "Ctrl-C leaves a whole file: {} packets, all {} that open a connection",
                packets.len(),
                opened.len()
            ),
            "packets that were there are gone".to_owned(),
        );
        for (class, verdict) in VERDICTS {
            self.own_packets(class, verdict, family, &packets, lived);
        }
        Ok(())
    }

    /// What the capture holds of a class's client: each packet of it has the verdict of the first.
    fn own_packets(
        &self,
        class: Class,
        verdict: &str,
        family: Family,
        packets: &[Packet],
        lived: &mut Lived,
    ) {
        let own = class.source().address(family);
        let of = |side: &str| -> Vec<&Packet> {
            let of_side = format!(" side={side} ");
            let is_of = |packet: &&Packet| packet.is_of(own) && packet.comment.contains(&of_side);
            packets.iter().filter(is_of).collect()
        };
        let (there, back) = (of("outside"), of("inside"));
        let word = format!(
            "weir verdict={verdict} reason=class class={} ",
            class.word()
        );
        let fits = |packet: &&Packet| packet.comment.starts_with(&word);
        // What needs the network's stack is not finished at the driver's hook.
        let hook = if verdict == "proxy" {
            "tcx"
        } else {
            self.hook.name()
        };
        let at = format!(" hook={hook} ");
        lived.state(
            !there.is_empty()
                && there.iter().all(fits)
                && there.iter().any(|packet| packet.comment.contains(&at))
                && back.is_empty() == (verdict != "forward"),
            format!(
                "{}: {} {verdict} at {hook}, {} answers",
                class.name(),
                there.len(),
                back.len()
            ),
            format!(
                "the capture says of {}: {there:?} and {back:?}",
                class.name()
            ),
        );
    }

    /// Waits until a capture is written so far.
    async fn until(&self, is_written: impl Fn() -> bool) -> Result<()> {
        let written = async {
            while !is_written() {
                sleep(ASK_AGAIN).await;
            }
        };
        if timeout(PATIENCE, written).await.is_err() {
            bail!("weir capture does not write what it sees");
        }
        Ok(())
    }
}

/// Packets of a service in status, by verdict: those that were let alone, or the others.
fn packets(service: &Value, verdict: &str, observed: bool) -> u64 {
    let all = service["packets"].as_array().into_iter().flatten();
    let own = all.filter(|one| one["verdict"] == verdict && (one["observed"] == true) == observed);
    own.filter_map(|one| one["packets"].as_u64()).sum()
}
