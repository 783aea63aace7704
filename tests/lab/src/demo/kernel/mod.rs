//! Rows about the kernel plane: what it lets be seen, what becomes of flows when lists change, and how it spreads them
//! over servers. Each drives real clients through both planes, and says by statements what held; who served a client is
//! told by the servers' own logs and by a capture in front of Weir, besides what Weir says of itself.

mod change;
mod farm;
mod pcapng;
mod seen;
mod spread;

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::client::{Connection, address};
use super::life::{Lived, Ward};
use crate::settings::{Plane, STRICT, Settings, list_name};
use crate::sources::{Class, Family};

/// The name of the house, of which all rows are.
pub const HOUSE: &str = "kernel";
/// The service whose managed sources the kernel forwards.
const SERVICE: &str = "sts";
const HOST: &str = "sts.corp.example";
/// What clients ask for: a picture of the page, which anyone may have who is not refused.
const PART: &str = "/adfs/portal/logo/logo.svg";

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Tale {
    /// `kernel/WHAT/FAMILY`.
    pub name: &'static str,
    what: &'static str,
    subject: Subject,
    family: Family,
}

/// What a row is about.
#[derive(Clone, Copy, Debug)]
enum Subject {
    /// A service that is observed only.
    Observe,
    /// `weir capture`.
    Capture,
    /// Lists change while flows live.
    Change,
    /// A list that ends flows at once.
    Cut,
    /// Two servers behind this topology, of which one dies and comes back.
    Spread(&'static str),
}

/// Every row.
pub fn all() -> Vec<Tale> {
    use Subject::{Capture, Change, Cut, Observe, Spread};
    let (v4, v6) = (Family::V4, Family::V6);
    let row = |name, what, subject, family| Tale {
        name,
        what,
        subject,
        family,
    };
    let observe = "observe = true: judged, counted, and let alone";
    let capture = "weir capture while clients of every verdict come";
    let change = "lists change: flows stay where they are";
    let cut = "a blocked list with cut = true: flows end";
    let dsr = "dsr: one of two servers dies and comes back";
    let nat = "nat: one of two servers dies and comes back";
    vec![
        row("kernel/observe/4", observe, Observe, v4),
        row("kernel/observe/6", observe, Observe, v6),
        row("kernel/capture/4", capture, Capture, v4),
        row("kernel/capture/6", capture, Capture, v6),
        row("kernel/change/4", change, Change, v4),
        row("kernel/change/6", change, Change, v6),
        row("kernel/cut/4", cut, Cut, v4),
        row("kernel/cut/6", cut, Cut, v6),
        row("kernel/dsr/4", dsr, Spread("dsr"), v4),
        row("kernel/dsr/6", dsr, Spread("dsr"), v6),
        row("kernel/nat/4", nat, Spread("nat"), v4),
        row("kernel/nat/6", nat, Spread("nat"), v6),
    ]
}

impl Ward<'_> {
    /// Does a row, and leaves Weir as it was.
    pub async fn tell(&self, row: &Tale) -> Result<Lived> {
        let mut lived = Lived::of_kernel(row.name, row.what, self.hook);
        let plain = Settings::of(STRICT);
        match row.subject {
            Subject::Observe => self.observe(row.family, &mut lived).await?,
            Subject::Capture => {
                self.configure(plain).await?;
                self.capture(row.family, &mut lived).await?;
            }
            Subject::Change => self.change(row.family, &mut lived).await?,
            Subject::Cut => self.cut(row.family, &mut lived).await?,
            Subject::Spread(topology) => self.spread(topology, row.family, &mut lived).await?,
        }
        // Nothing of this row is in transition any more, and the next one begins as any other.
        let at_once = Settings {
            plane: Plane::Drained("0s"),
            ..plain
        };
        self.configure(at_once).await?;
        self.configure(plain).await?;
        Ok(lived.done())
    }

    /// Opens a connection to the service from a class's address, and has an answer on it.
    async fn open(&self, class: Class, family: Family) -> Result<Connection> {
        let to = address(self.lab, SERVICE, family)?;
        let from = class.source().address(family);
        let mut connection = self.client.connect(Some(from), to, HOST).await?;
        let status = connection.get(PART).await?;
        if status != 200 {
            bail!("{from} was answered with status {status}");
        }
        Ok(connection)
    }

    /// Status as `weir status --json` prints it, and the part of it that is about the service.
    async fn told(&self) -> Result<(Value, Value)> {
        // Its exit status says whether anything is wrong.
        let output = self.lab.weir(&["status", "--json"]).output().await;
        let text = output.context("cannot run weir")?.stdout;
        let status: Value = serde_json::from_slice(&text).context("weir status prints no JSON")?;
        let services = status["services"].as_array().into_iter().flatten();
        let mut own = services.filter(|service| service["name"] == SERVICE);
        let own = own
            .next()
            .cloned()
            .context("status knows no such service")?;
        Ok((status, own))
    }

    /// Puts an address on a class's list, or takes it away from there; acknowledged when both planes have it.
    async fn on_list(&self, class: Class, address: IpAddr, on: bool) -> Result<()> {
        let list = list_name(class).context("a class with a list")?;
        let length = if address.is_ipv4() { 32 } else { 128 };
        let prefix = format!("{address}/{length}");
        let path = format!("/v1/lists/{list}/entries");
        if on {
            let entry = json!({ "prefix": prefix });
            self.control.ask("POST", &path, Some(&entry)).await?;
        } else {
            let path = format!("{path}?prefix={prefix}");
            self.control.ask("DELETE", &path, None).await?;
        }
        Ok(())
    }

    /// Packets that the kernel counted for the service so far.
    async fn counted(&self, class: Class, verdict: &str, reason: &str) -> Result<u64> {
        let counters = self.control.counters().await?;
        let own = counters.iter().filter(|counter| {
            counter.service == SERVICE
                && counter.class == class.word()
                && (counter.verdict.as_str(), counter.reason.as_str()) == (verdict, reason)
        });
        Ok(own.map(|counter| counter.packets).sum())
    }
}
