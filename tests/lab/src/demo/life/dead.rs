//! No proxy works, and its listeners are held all the same: clients wait, until the grace is over and the kernel does what
//! the service says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};

use super::{ASK_AGAIN, GRACE, Lived, PATIENCE, Ward};
use crate::demo::client::address;
use crate::demo::witness::Witness;
use crate::settings::{STRICT, Settings};
use crate::sources::{Class, Family};

/// How much later than the grace the kernel may act: weir-control looks twice a second.
const BOUND: Duration = Duration::from_secs(3);
/// How long a client without an answer is waited for; the kernel sends a SYN again after a second.
pub(in crate::demo) const SILENCE: Duration = Duration::from_millis(1500);
/// Connections that wait for a proxy.
const WAITING: usize = 5;

/// What the row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// weir-control dies, weir-proxy dies while it is away; who connects meanwhile is served when both are back.
    Wait,
    /// `proxy_down = "reject"`.
    Reject,
    /// `proxy_down = "drop"`.
    Drop,
    /// `proxy_down = "forward-managed"`, of a service whose managed sources go through the proxy as long as there is one.
    ForwardManaged,
}

impl Mode {
    /// The configuration that the row needs.
    pub fn settings(self) -> Settings {
        match self {
            Self::ForwardManaged => Settings {
                proxy_down: [Some("forward-managed"), None],
                everything_proxied: true,
                ..Settings::of(STRICT)
            },
            Self::Drop => Settings {
                proxy_down: [Some("drop"), None],
                ..Settings::of(STRICT)
            },
            Self::Wait | Self::Reject => Settings::of(STRICT),
        }
    }
}

impl Ward<'_> {
    /// Does the row.
    pub(super) async fn be_dead(
        &self,
        mode: Mode,
        family: Family,
        lived: &mut Lived,
    ) -> Result<()> {
        match mode {
            Mode::Wait => self.wait_for_both(family, lived).await,
            Mode::Reject | Mode::Drop | Mode::ForwardManaged => {
                self.without_proxy(mode, family, lived).await
            }
        }
    }

    async fn wait_for_both(&self, family: Family, lived: &mut Lived) -> Result<()> {
        let prefix = self.change_a_list(family).await?;
        let before = self.control.status().await?;
        let daemons = self.daemons;
        for unit in [&daemons.control, &daemons.proxy] {
            unit.hold(true);
            unit.signal(Signal::SIGKILL);
            unit.when(|state| state.pid.is_none()).await;
        }
        let to = address(self.lab, "adfs", family)?;
        let clients: Vec<_> = (0..WAITING)
            .map(|_| {
                let client = self.client.clone();
                let from = Class::Unmanaged.source().address(family);
                tokio::spawn(async move {
                    let mut connection =
                        client.connect(Some(from), to, "adfs.corp.example").await?;
                    connection.get("/adfs/portal/logo/logo.svg").await
                })
            })
            .collect();
        // Their handshakes are done by the kernel, as nobody is there to do more.
        sleep(ASK_AGAIN).await;
        daemons.control.hold(false);
        daemons.control.when(|state| state.ready).await;
        daemons.proxy.hold(false);
        let mut served = 0;
        let mut wrong = String::new();
        for client in clients {
            match client.await? {
                Ok(200) => served += 1,
                Ok(status) => wrong = format!("status {status}"),
                Err(error) => wrong = format!("{error:#}"),
            }
        }
        lived.state(
            served == WAITING,
            format!("{served} of {WAITING} connections waited and were served"),
            format!("a waiting connection was not served: {wrong}"),
        );
        let stored = daemons.control.state().stored.len();
        lived
            .said
            .push(format!("{stored} listeners in the descriptor store"));
        let after = self.whole().await?;
        self.nothing_lost(&before, &after, &prefix, lived).await
    }

    async fn without_proxy(&self, mode: Mode, family: Family, lived: &mut Lived) -> Result<()> {
        let proxy = &self.daemons.proxy;
        let to = address(self.lab, "sts", family)?;
        let starts = proxy.state().starts;
        proxy.hold(true);
        proxy.signal(Signal::SIGKILL);
        proxy.when(|state| state.pid.is_none()).await;
        let result = self.while_dead(mode, family, to, lived).await;
        proxy.hold(false);
        self.restarted(super::Which::Proxy, starts).await?;
        self.whole().await?;
        result?;
        let again = self.ask(Class::Bypass, family, to).await;
        lived.state(
            matches!(again, Ok(200)),
            "served again".to_owned(),
            format!("not served again: {again:?}"),
        );
        Ok(())
    }

    async fn while_dead(
        &self,
        mode: Mode,
        family: Family,
        to: SocketAddr,
        lived: &mut Lived,
    ) -> Result<()> {
        if mode == Mode::Drop {
            self.dropped(family, to, lived).await?;
        } else {
            self.refused(family, to, lived).await?;
        }
        let mut witness = Witness::begin(self.lab)?;
        let managed = self.ask(Class::Managed, family, to).await;
        let own = Class::Managed.source().address(family);
        let direct = witness.seen()?.direct;
        lived.state(
            direct.iter().any(|peer| peer.ip() == own),
            "the service saw the managed client's own connection".to_owned(),
            format!("the service saw connections of {direct:?}"),
        );
        lived.state(
            matches!(managed, Ok(200)),
            match mode {
                Mode::ForwardManaged => "managed sources, else proxied, are forwarded".to_owned(),
                _ => "managed sources are forwarded as before".to_owned(),
            },
            format!("managed sources get no answer: {managed:?}"),
        );
        Ok(())
    }

    /// Who waits is left waiting, and nobody is told anything.
    async fn dropped(&self, family: Family, to: SocketAddr, lived: &mut Lived) -> Result<()> {
        let died = Instant::now();
        self.status_when(|status| status["proxy"]["fail_mode"] == true)
            .await
            .context("the fail mode does not come")?;
        let after = died.elapsed();
        lived.state(
            after <= GRACE + BOUND,
            format!("status says so after {} ms", after.as_millis()),
            format!("that is later than the grace and {} ms", BOUND.as_millis()),
        );
        for class in [Class::Unmanaged, Class::Bypass, Class::Relay] {
            let answer = timeout(SILENCE, self.connect_once(class, family, to)).await;
            lived.state(
                answer.is_err(),
                format!("{} gets no answer", class.name()),
                format!("{} gets an answer: {answer:?}", class.name()),
            );
        }
        Ok(())
    }

    /// Who waits is refused, once the grace is over.
    async fn refused(&self, family: Family, to: SocketAddr, lived: &mut Lived) -> Result<()> {
        let died = Instant::now();
        let refused = timeout(PATIENCE, async {
            loop {
                match self.connect_once(Class::Unmanaged, family, to).await? {
                    Some(std::io::ErrorKind::ConnectionRefused) => {
                        return anyhow::Ok(died.elapsed());
                    }
                    // It waits: somebody may come yet.
                    None => sleep(ASK_AGAIN).await,
                    Some(other) => bail!("a connection ended otherwise: {other}"),
                }
            }
        });
        let refused = refused.await.context("nobody refuses connections")??;
        lived.state(
            refused <= GRACE + BOUND,
            format!("refused by a reset after {} ms", refused.as_millis()),
            format!("that is later than the grace and {} ms", BOUND.as_millis()),
        );
        let status = self.control.status().await?;
        lived.state(
            status["proxy"]["fail_mode"] == true,
            "status says so".to_owned(),
            "status does not say so".to_owned(),
        );
        for class in [Class::Bypass, Class::Relay] {
            let refused = self.connect_once(class, family, to).await?;
            lived.state(
                refused == Some(std::io::ErrorKind::ConnectionRefused),
                format!("{} is refused", class.name()),
                format!("{} is not refused: {refused:?}", class.name()),
            );
        }
        Ok(())
    }

    /// Opens a connection, no more; answers how that failed.
    pub(in crate::demo) async fn connect_once(
        &self,
        class: Class,
        family: Family,
        to: SocketAddr,
    ) -> Result<Option<std::io::ErrorKind>> {
        let from = class.source().address(family);
        Ok(self
            .client
            .dial(Some(from), to)
            .await?
            .err()
            .map(|error| error.kind()))
    }

    /// Asks for a part of the page of `sts` on a connection of its own.
    pub(in crate::demo) async fn ask(
        &self,
        class: Class,
        family: Family,
        to: SocketAddr,
    ) -> Result<u16> {
        let from = class.source().address(family);
        let mut connection = self
            .client
            .connect(Some(from), to, "sts.corp.example")
            .await?;
        connection.get("/adfs/portal/logo/logo.svg").await
    }
}
