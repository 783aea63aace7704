//! Rows about the life of processes: with traffic in both planes, Weir's processes are killed and stopped, and what the
//! clients saw, and what `status` says afterwards, is held against what was promised: forwarded flows go on, new proxied
//! connections succeed within the restart grace, what broke is counted, and nothing that was acknowledged is lost.

pub(super) mod dead;
mod traffic;
mod turns;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use self::traffic::{KEPT, Traffic};
use super::client::Client;
use crate::lab::{Daemons, Lab};
use crate::settings::{Hook, STRICT, Settings, list_name};
use crate::sources::{Class, Family};
use crate::supervisor::Unit;
use crate::weir::{Control, run_directory};

/// The name of the house, of which all rows are.
pub const HOUSE: &str = "life";
/// What Weir is configured with, and what its documentation promises (`[appliance] restart_grace`).
const GRACE: Duration = Duration::from_secs(5);
/// How long a row waits for Weir to be whole again; much longer than it may take, so that the row can say how long it
/// took.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// How often status is asked for while a row waits.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a process is stopped that is continued: shorter than any watchdog waits.
const STOPPED: Duration = Duration::from_millis(1500);
/// New clients that must be served after Weir is whole again.
const AFTERWARDS: usize = 5;

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// `life/WHAT/FAMILY`.
    pub name: &'static str,
    /// What is done, in words.
    pub what: &'static str,
    blow: Blow,
    family: Family,
}

/// What is done to Weir's processes.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// These are killed, in this order.
    Kill(&'static [Which]),
    /// It is stopped, and continued after a while.
    Pause(Which),
    /// It is stopped, and nobody continues it.
    Stop(Which),
    /// No proxy works for longer than the grace, and the service says what becomes of its clients.
    Dead(dead::Mode),
    /// The configuration changes so often, one reload after the other.
    Turns(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Control,
    Proxy,
}

/// A row that was done.
#[derive(Debug, Default, Serialize)]
pub struct Lived {
    /// [`Life::name`].
    pub name: &'static str,
    /// `life`, or `kernel`.
    pub house: &'static str,
    /// Where the kernel plane had to decide.
    pub hook: Option<Hook>,
    /// What was done.
    pub what: &'static str,
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What was seen, one statement each.
    pub said: Vec<String>,
    /// What is wrong.
    pub wrong: Vec<String>,
    /// How long the row took, in milliseconds.
    pub took_ms: u64,
    #[serde(skip)]
    begun: Option<Instant>,
}

/// What rows are done with.
#[derive(Debug)]
pub struct Ward<'a> {
    pub(super) lab: &'a Lab,
    daemons: &'a Daemons,
    pub(super) client: Client,
    pub(super) control: Control,
    pub(super) hook: Hook,
}

/// Every row.
pub fn all() -> Vec<Life> {
    use Blow::{Kill, Pause, Stop, Turns};
    use Which::{Control, Proxy};
    let (v4, v6) = (Family::V4, Family::V6);
    let rows = [
        (
            "life/kill-proxy/4",
            "SIGKILL of weir-proxy",
            Kill(&[Proxy]),
            v4,
        ),
        (
            "life/kill-proxy/6",
            "SIGKILL of weir-proxy",
            Kill(&[Proxy]),
            v6,
        ),
        (
            "life/kill-control/4",
            "SIGKILL of weir-control",
            Kill(&[Control]),
            v4,
        ),
        (
            "life/kill-proxy-control/4",
            "SIGKILL of both, weir-proxy first",
            Kill(&[Proxy, Control]),
            v4,
        ),
        (
            "life/kill-control-proxy/6",
            "SIGKILL of both, weir-control first",
            Kill(&[Control, Proxy]),
            v6,
        ),
        (
            "life/pause-proxy/4",
            "SIGSTOP and SIGCONT of weir-proxy",
            Pause(Proxy),
            v4,
        ),
        (
            "life/pause-control/6",
            "SIGSTOP and SIGCONT of weir-control",
            Pause(Control),
            v6,
        ),
        (
            "life/stop-proxy/6",
            "SIGSTOP of weir-proxy: the watchdog",
            Stop(Proxy),
            v6,
        ),
        (
            "life/stop-control/4",
            "SIGSTOP of weir-control: the watchdog",
            Stop(Control),
            v4,
        ),
        (
            "life/reloads/4",
            "1,000 reloads, clients without pause",
            Turns(1000),
            v4,
        ),
        (
            "life/reloads/6",
            "100 reloads, clients without pause",
            Turns(100),
            v6,
        ),
    ];
    let row = |(name, what, blow, family)| Life {
        name,
        what,
        blow,
        family,
    };
    rows.into_iter().chain(without_proxy()).map(row).collect()
}

type Row = (&'static str, &'static str, Blow, Family);

/// What a service wants while no proxy works.
fn without_proxy() -> [Row; 6] {
    use Blow::Dead;
    let (v4, v6) = (Family::V4, Family::V6);
    [
        (
            "life/waiting/4",
            "both dead: connections wait",
            Dead(dead::Mode::Wait),
            v4,
        ),
        (
            "life/reject/4",
            "no proxy: reject",
            Dead(dead::Mode::Reject),
            v4,
        ),
        (
            "life/reject/6",
            "no proxy: reject",
            Dead(dead::Mode::Reject),
            v6,
        ),
        ("life/drop/4", "no proxy: drop", Dead(dead::Mode::Drop), v4),
        (
            "life/forward-managed/4",
            "no proxy: managed sources are forwarded",
            Dead(dead::Mode::ForwardManaged),
            v4,
        ),
        (
            "life/forward-managed/6",
            "no proxy: managed sources are forwarded",
            Dead(dead::Mode::ForwardManaged),
            v6,
        ),
    ]
}

impl<'a> Ward<'a> {
    /// Takes over a lab that stands.
    pub fn new(lab: &'a Lab, daemons: &'a Daemons, hook: Hook) -> Result<Self> {
        Ok(Self {
            lab,
            daemons,
            client: Client::new(lab)?,
            control: lab.control(),
            hook,
        })
    }

    /// Does a row, and leaves Weir whole.
    pub async fn perform(&self, row: &Life) -> Result<Lived> {
        let settings = match row.blow {
            Blow::Dead(mode) => mode.settings(),
            _ => Settings::of(STRICT),
        };
        let mut lived = Lived {
            name: row.name,
            house: HOUSE,
            hook: Some(self.hook),
            what: row.what,
            begun: Some(Instant::now()),
            ..Lived::default()
        };
        self.configure(settings).await?;
        match row.blow {
            Blow::Dead(mode) => self.be_dead(mode, row.family, &mut lived).await?,
            Blow::Turns(turns) => self.take_turns(turns, row.family, &mut lived).await?,
            _ => self.strike(row, &mut lived).await?,
        }
        Ok(lived.done())
    }

    /// Puts settings in force, in both planes.
    pub(super) async fn configure(&self, settings: Settings) -> Result<()> {
        self.lab.configure(settings)?;
        self.control
            .ask("POST", "/v1/reload", Some(&json!({})))
            .await
            .context("Weir does not take the row's settings")?;
        self.control.both_planes_ready().await
    }

    /// With traffic in both planes.
    async fn strike(&self, row: &Life, lived: &mut Lived) -> Result<()> {
        let prefix = self.change_a_list(row.family).await?;
        let traffic = Traffic::begin(self.lab, &self.client, row.family).await?;
        // What the proxy says of itself comes with its heartbeat.
        let before = self
            .status_when(|status| open(status) >= KEPT as u64)
            .await
            .context("the proxy does not say what it has open")?;
        // Whoever counts may be killed too, and what it knows is on the disk a moment later.
        self.remembered(&before["proxy"]["pid"]).await?;
        let struck = Instant::now();
        // What the proxy was about to answer when it fell is broken, and not new.
        let mut fell = None;
        match row.blow {
            Blow::Kill(these) => {
                self.kill(these).await;
                fell = these.contains(&Which::Proxy).then(Instant::now);
            }
            Blow::Pause(which) => {
                self.unit(which).signal(Signal::SIGSTOP);
                sleep(STOPPED).await;
                self.unit(which).signal(Signal::SIGCONT);
            }
            Blow::Stop(which) => {
                let starts = self.unit(which).state().starts;
                self.unit(which).signal(Signal::SIGSTOP);
                fell = (which == Which::Proxy).then(Instant::now);
                self.restarted(which, starts).await?;
            }
            Blow::Dead(_) | Blow::Turns(_) => {}
        }
        let after = self.whole().await?;
        let back = struck.elapsed();
        let is_later = |came: Instant| came > struck + back;
        traffic
            .until(|saw| saw.new.iter().filter(|new| is_later(new.came)).count() >= AFTERWARDS)
            .await?;
        let saw = traffic.end().await?;
        lived.state(
            saw.managed_broken.is_none(),
            format!("managed flow: {} answers, unbroken", saw.managed),
            format!(
                "the managed flow broke: {}",
                saw.managed_broken.as_deref().unwrap_or_default()
            ),
        );
        let (amid, failed): (Vec<_>, Vec<_>) = saw
            .new
            .iter()
            .filter_map(|new| Some((new.came, new.wrong.as_ref()?)))
            .partition(|(came, _)| fell.is_some_and(|fell| *came <= fell));
        let amid = match amid.len() {
            0 => String::new(),
            broke => format!(", {broke} broke off when the proxy fell"),
        };
        let longest = saw.new.iter().map(|new| new.took).max().unwrap_or_default();
        lived.state(
            failed.is_empty() && longest <= GRACE,
            format!(
                "new sign-ins: {} of {}{amid}, the longest took {} ms (grace {} ms)",
                saw.new.iter().filter(|new| new.wrong.is_none()).count(),
                saw.new.len(),
                longest.as_millis(),
                GRACE.as_millis()
            ),
            failed.first().map_or_else(
                || "a new sign-in took longer than the grace".to_owned(),
                |(_, first)| format!("{} new sign-ins failed: {first}", failed.len()),
            ),
        );
        // The total outlives weir-control.
        let counted = broken(&after).checked_sub(broken(&before));
        lived.state(
            counted.is_some_and(|counted| counted >= saw.kept_broken as u64),
            format!(
                "kept connections: {} of {KEPT} broke, {} counted",
                saw.kept_broken,
                counted.unwrap_or_default()
            ),
            "connections broke that nobody counted".to_owned(),
        );
        self.nothing_lost(&before, &after, &prefix, lived).await?;
        lived
            .said
            .push(format!("whole after {} ms", back.as_millis()));
        Ok(())
    }

    /// Says whether the generation and an acknowledged change of a list are still there.
    async fn nothing_lost(
        &self,
        before: &Value,
        after: &Value,
        prefix: &str,
        lived: &mut Lived,
    ) -> Result<()> {
        let (old, new) = (&before["generation"], &after["generation"]);
        lived.state(
            new.as_u64() >= old.as_u64(),
            format!("generation {old} -> {new}"),
            "an older generation is in force".to_owned(),
        );
        let (address, _) = prefix.split_once('/').unwrap_or((prefix, ""));
        let asked = json!({ "source": address, "service": "sts" });
        let explained = self
            .control
            .ask("POST", "/v1/explain", Some(&asked))
            .await?;
        let explained: Value = serde_json::from_slice(&explained)?;
        lived.state(
            explained["kernel"]["verdict"] == "forward",
            "the list's change is in force".to_owned(),
            format!("{prefix} is managed no more: {}", explained["kernel"]),
        );
        let hook = self.hook.name();
        lived.state(
            explained["kernel"]["hook"] == hook,
            format!("explain names {hook}"),
            format!("explain names another hook: {}", explained["kernel"]),
        );
        self.put_back(prefix).await
    }

    async fn kill(&self, these: &[Which]) {
        for which in these {
            let unit = self.unit(*which);
            unit.signal(Signal::SIGKILL);
            let starts = unit.state().starts;
            // Not both in one moment: the second in the middle of what the first left.
            unit.when(|state| state.pid.is_none() || state.starts > starts)
                .await;
        }
    }

    /// Kills weir-control, and waits until another one works with what it finds.
    pub(super) async fn lose_control(&self) -> Result<()> {
        self.kill(&[Which::Control]).await;
        self.whole().await.map(drop)
    }

    fn unit(&self, which: Which) -> &Unit {
        match which {
            Which::Control => &self.daemons.control,
            Which::Proxy => &self.daemons.proxy,
        }
    }

    async fn restarted(&self, which: Which, starts: u32) -> Result<()> {
        let unit = self.unit(which);
        timeout(
            PATIENCE,
            unit.when(|state| state.starts > starts && state.ready),
        )
        .await
        .context("the supervisor does not start it again")?;
        Ok(())
    }

    /// Waits until both processes work with the same generation; answers status.
    async fn whole(&self) -> Result<Value> {
        for which in [Which::Control, Which::Proxy] {
            let up = self.unit(which).when(|state| state.pid.is_some());
            timeout(PATIENCE, up)
                .await
                .context("a process stays away")?;
        }
        let proxy = &self.daemons.proxy;
        self.status_when(|status| {
            let generation = &status["proxy"]["generation"];
            generation.is_u64()
                && *generation == status["generation"]
                && status["proxy"]["state"] == "alive"
                && status["proxy"]["fail_mode"] == false
                && status["proxy"]["pid"].as_u64() == proxy.state().pid.map(u64::from)
        })
        .await
        .context("Weir is not whole again")
    }

    /// Asks for status until it is so.
    pub(super) async fn status_when(&self, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let asked = async {
            loop {
                // While weir-control is away nobody answers; while it is stopped, neither.
                let status = timeout(GRACE, self.control.status()).await;
                if let Ok(Ok(status)) = status
                    && is_so(&status)
                {
                    return status;
                }
                sleep(ASK_AGAIN).await;
            }
        };
        Ok(timeout(PATIENCE, asked).await?)
    }

    /// Puts an address on the list of managed sources, which is acknowledged when both planes have it.
    async fn change_a_list(&self, family: Family) -> Result<String> {
        let prefix = match family {
            Family::V4 => "203.0.113.245/32",
            Family::V6 => "2001:db8:aa::245/128",
        };
        self.control
            .ask("POST", &entries()?, Some(&json!({ "prefix": prefix })))
            .await?;
        Ok(prefix.to_owned())
    }

    async fn put_back(&self, prefix: &str) -> Result<()> {
        let path = format!("{}?prefix={prefix}", entries()?);
        self.control.ask("DELETE", &path, None).await.map(drop)
    }

    /// Waits until weir-control has written down what the proxy has open, for its successor.
    async fn remembered(&self, proxy: &Value) -> Result<()> {
        let file = run_directory(&self.lab.run).join("proxies.json");
        let written = async {
            loop {
                let text = tokio::fs::read(&file).await.unwrap_or_default();
                let memory: Value = serde_json::from_slice(&text).unwrap_or_default();
                let open = memory["open"].as_array().into_iter().flatten();
                let mut of_this_one = open.filter(|one| one[0]["pid"] == *proxy);
                let open = of_this_one.next().and_then(|one| one[1]["open"].as_u64());
                if open.is_some_and(|open| open >= KEPT as u64) {
                    return;
                }
                sleep(ASK_AGAIN).await;
            }
        };
        timeout(PATIENCE, written)
            .await
            .context("weir-control does not write down what the proxy has open")
    }
}

impl Lived {
    /// A row of the house `kernel` that begins.
    pub(super) fn of_kernel(name: &'static str, what: &'static str, hook: Hook) -> Self {
        Self::of(super::kernel::HOUSE, name, what, hook)
    }

    /// A row of a house that begins.
    pub(super) fn of(
        house: &'static str,
        name: &'static str,
        what: &'static str,
        hook: Hook,
    ) -> Self {
        Self {
            name,
            house,
            hook: Some(hook),
            what,
            begun: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// A row that ends.
    pub(super) fn done(mut self) -> Self {
        self.ok = self.wrong.is_empty();
        let took = self.begun.map(|begun| begun.elapsed()).unwrap_or_default();
        self.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Notes what holds, or what is wrong.
    pub(super) fn state(&mut self, holds: bool, said: String, wrong: String) {
        self.said.push(said);
        if !holds {
            self.wrong.push(wrong);
        }
    }
}

fn entries() -> Result<String> {
    let list = list_name(Class::Managed).context("there is a list of managed sources")?;
    Ok(format!("/v1/lists/{list}/entries"))
}

/// Connections that the proxy had open at its last heartbeat.
fn open(status: &Value) -> u64 {
    status["proxy"]["counts"]["open"].as_u64().unwrap_or(0)
}

/// Connections that broke because a proxy went away, as status counts them.
fn broken(status: &Value) -> u64 {
    status["proxy"]["connections_broken"].as_u64().unwrap_or(0)
}
