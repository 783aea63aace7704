//! Flows are spread over two servers, of which one dies and comes back.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::farm::Farm;
use super::{PART, SERVICE};
use crate::demo::client::Connection;
use crate::demo::life::{Lived, Ward};
use crate::settings::{FARM, Plane, STRICT, Settings};
use crate::sources::{Class, Family};

/// Flows that begin at once.
const MANY: usize = 32;
/// What each server must get of them: fewer come to one of two by chance once in ten thousand times.
const SHARE: usize = 5;
/// The server that dies, and the other.
const DYING: usize = 0;
const OTHER: usize = 1;

/// A connection that stays.
struct Flow {
    connection: Connection,
    /// Who served it first.
    server: usize,
    /// From where that server saw it.
    seen: SocketAddr,
}

impl Ward<'_> {
    /// With `dsr` the servers have the service's addresses and see the client's own.
    pub(super) async fn spread(
        &self,
        topology: &'static str,
        family: Family,
        lived: &mut Lived,
    ) -> Result<()> {
        let direct = topology == "dsr";
        let mut farm = Farm::raise(self.lab, direct).await?;
        self.configure(Settings {
            plane: Plane::Servers(topology),
            ..Settings::of(STRICT)
        })
        .await?;
        self.known([true, true]).await?;
        let mut first = self.begin(&farm, family, MANY).await?;
        let [dying, other] = [DYING, OTHER].map(|server| with(&first, server));
        lived.state(
            dying >= SHARE && other >= SHARE,
            format!("{MANY} flows: {dying} and {other}"),
            format!("the servers' shares are {dying} and {other}"),
        );
        let own = |flow: &Flow| (flow.seen.ip() == flow.connection.local.ip()) == direct;
        lived.state(
            first.iter().all(own),
            if direct {
                "they see the client's own address".to_owned()
            } else {
                "they see an address of Weir's".to_owned()
            },
            format!("a server saw a flow from {}", first[0].seen),
        );
        farm.kill(DYING).await?;
        self.known([false, true]).await?;
        lived.said.push("one dies, and status says so".to_owned());
        first.retain(|flow| flow.server == OTHER);
        stay(&farm, &mut first, "it is dead", lived).await?;
        let mut second = self.begin(&farm, family, MANY / 2).await?;
        let moved = with(&second, DYING);
        lived.state(
            moved == 0,
            format!("{} new flows: all to the other", second.len()),
            format!("{moved} new flows went to the dead server"),
        );
        farm.start(DYING).await?;
        self.known([true, true]).await?;
        first.append(&mut second);
        stay(&farm, &mut first, "it is back", lived).await?;
        let mut third = self.begin(&farm, family, MANY).await?;
        let again = with(&third, DYING);
        lived.state(
            again >= SHARE,
            format!("{MANY} new flows: {again} to it again"),
            format!("only {again} of {MANY} new flows go to who is back"),
        );
        stay(&farm, &mut first, "it has flows again", lived).await?;
        self.lose_control().await?;
        first.append(&mut third);
        stay(&farm, &mut first, "weir-control was killed", lived).await?;
        let proxied = self.open(Class::Unmanaged, family).await;
        lived.state(
            proxied.is_ok(),
            "unmanaged is served by the proxy".to_owned(),
            format!("unmanaged is not served: {proxied:?}"),
        );
        Ok(())
    }

    /// Waits until status says of each server whether it answers, over both families.
    async fn known(&self, answers: [bool; 2]) -> Result<()> {
        let is_known = |status: &Value| {
            let services = status["services"].as_array().into_iter().flatten();
            let mut own = services.filter(|service| service["name"] == SERVICE);
            let servers = own.next().map(|own| &own["servers"]);
            let servers = servers.and_then(Value::as_array);
            FARM.iter().zip(answers).all(|(addresses, answers)| {
                addresses.iter().all(|address| {
                    servers.is_some_and(|servers| {
                        let mut one = servers.iter().filter(|one| one["address"] == *address);
                        one.next().is_some_and(|one| one["answers"] == answers)
                    })
                })
            })
        };
        let known = self.status_when(is_known).await;
        known
            .context("status does not say which servers answer")
            .map(drop)
    }

    /// Flows of the managed client.
    async fn begin(&self, farm: &Farm<'_>, family: Family, count: usize) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        while flows.len() < count {
            let before = farm.requests()?;
            let connection = self.open(Class::Managed, family).await?;
            let (server, seen) = grown(&before, &farm.requests()?)?;
            flows.push(Flow {
                connection,
                server,
                seen,
            });
        }
        Ok(flows)
    }
}

/// Says whether each flow still has an answer, by the server that it had before.
async fn stay(farm: &Farm<'_>, flows: &mut [Flow], when: &str, lived: &mut Lived) -> Result<()> {
    let mut wrong = Vec::new();
    for flow in &mut *flows {
        let before = farm.requests()?;
        match flow.connection.get(PART).await {
            Ok(200) => {
                let (server, seen) = grown(&before, &farm.requests()?)?;
                if (server, seen) != (flow.server, flow.seen) {
                    wrong.push(format!(
                        "{} moved to server {server}",
                        flow.connection.local
                    ));
                }
            }
            other => wrong.push(format!("{}: {other:?}", flow.connection.local)),
        }
    }
    lived.state(
        wrong.is_empty(),
        format!("{when}: {} flows stay", flows.len()),
        format!("{when}: {} flows broke: {}", wrong.len(), wrong.join(", ")),
    );
    Ok(())
}

/// Which server's requests have become one more, and from where it came.
fn grown(before: &[Vec<SocketAddr>], after: &[Vec<SocketAddr>]) -> Result<(usize, SocketAddr)> {
    let mut more = before
        .iter()
        .zip(after)
        .enumerate()
        .flat_map(|(server, (old, new))| new[old.len()..].iter().map(move |peer| (server, *peer)));
    match (more.next(), more.next()) {
        (Some((server, peer)), None) => {
            let ip: IpAddr = peer.ip().to_canonical();
            Ok((server, SocketAddr::new(ip, peer.port())))
        }
        _ => bail!("one request was to be in the logs of the servers"),
    }
}

fn with(flows: &[Flow], server: usize) -> usize {
    flows.iter().filter(|flow| flow.server == server).count()
}
