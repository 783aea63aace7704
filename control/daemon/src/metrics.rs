//! The state of the appliance as numbers, for Prometheus: `GET /v1/metrics` on the control sockets, and
//! `/metrics`, `/livez` and `/readyz` on the management addresses of `[metrics]`.
//!
//! In: what status knows, and what the proxies counted. Out: families in the text format. No label holds a user or the
//! address of a client. However often somebody asks, the appliance is looked at once a second at most.

mod appliance;
mod entra;
mod families;
mod grants;
mod kernel;
mod process;
mod proxy;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout};
use weir_api::ProxyState;

use crate::Error;
use crate::brain::Brain;
use families::Families;
pub use server::start;

/// The type of what is answered.
pub const TEXT: &str = prometheus::TEXT_FORMAT;

/// How long a picture is good.
const FRESH: Duration = Duration::from_secs(1);
/// How long the kernel plane's thread may take to answer before it counts as stuck.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// What the brain keeps for those who ask for metrics.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    newest: tokio::sync::Mutex<Option<(Instant, Arc<str>)>>,
    /// Addresses that cannot be listened on, and why.
    trouble: Mutex<BTreeMap<SocketAddr, String>>,
    turned_away: AtomicU64,
}

impl Metrics {
    /// Addresses that cannot be listened on, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let told = trouble.iter().map(|(address, why)| {
            format!(
                "metrics are not served at {address}: {why}; it is tried again each second: see whether the \
                 address is one of this machine (`ip address`) and the port is free (`ss -ltn`)"
            )
        });
        told.collect()
    }

    fn note(&self, trouble: BTreeMap<SocketAddr, String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

impl Brain {
    /// The metrics, in the text format of Prometheus.
    pub async fn metrics(&self) -> Result<Arc<str>, Error> {
        let mut newest = self.metrics.newest.lock().await;
        if let Some((at, text)) = &*newest
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = self.gathered().await?.into();
        *newest = Some((Instant::now(), Arc::clone(&text)));
        Ok(text)
    }

    async fn gathered(&self) -> Result<String, Error> {
        let mut families = Families::default();
        let running = self.running();
        let status = self.status().await?;
        let counters = self.counters().await?;
        appliance::tell(&mut families, &status, &running);
        self.tell_audit(&mut families, &status);
        kernel::tell(&mut families, &status, &counters);
        kernel::tell_tables(&mut families, &status, &running, self.draining().nodes);
        let serves = self.is_served();
        proxy::tell(&mut families, &status.proxy, serves);
        proxy::tell_totals(&mut families, &running, &self.parts.link.totals());
        grants::tell(&mut families, &status.grants);
        if let (Some(short), Some(config)) = (&status.entra, &running.candidate.config().entra) {
            let noted = self.entra_noted();
            entra::tell(&mut families, short, noted.as_ref(), config.max_age);
        }
        let proxy = status.proxy.pid;
        process::tell(&mut families, std::process::id(), proxy);
        Ok(families.text())
    }

    fn tell_audit(&self, families: &mut Families, status: &weir_api::Status) {
        let audit = self.audit();
        let mut lines = families.counter(
            "weir_audit_lines_total",
            "Lines of the audit log, across restarts.",
        );
        lines.add(&[], audit.newest());
        let mut unwritten = families.counter(
            "weir_audit_unwritten_total",
            "Lines of the audit log that could not be written to the disk since weir-control started.",
        );
        unwritten.add(&[], audit.trouble().map_or(0, |(lines, _)| lines));
        let mut warnings = families.gauge(
            "weir_warnings",
            "What a person should look at, by the number of sentences in `weir status`.",
        );
        warnings.set(&[], status.warnings.len());
        let turned_away = self.metrics.turned_away.load(Ordering::Relaxed);
        let mut connections = families.counter(
            "weir_metrics_connections_turned_away_total",
            "Connections to the management addresses that were closed because too many were open.",
        );
        connections.add(&[], turned_away);
    }

    /// A proxy is alive, takes connections, and works with a generation.
    fn is_served(&self) -> bool {
        let peers = self.peers();
        let peers = peers.borrow();
        peers.serving(Instant::now()).is_some()
    }

    /// Whether weir-control goes on: its kernel plane's thread answers.
    pub(crate) async fn is_live(&self) -> Result<(), String> {
        match timeout(ALIVE_WITHIN, self.parts.plane.run(|_| ())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ended)) => Err(ended.to_string()),
            Err(_) => Err("the kernel plane's thread does not answer".to_owned()),
        }
    }

    /// Whether sign-ins are served: both planes work with the generation in force.
    pub(crate) async fn is_ready(&self) -> Result<(), String> {
        self.is_live().await?;
        let (peers, running) = (self.peers(), self.running());
        let peers = peers.borrow();
        let now = Instant::now();
        match peers.state(now) {
            ProxyState::Gone => return Err("no weir-proxy is connected".to_owned()),
            ProxyState::Silent => return Err("weir-proxy gives no sign of life".to_owned()),
            ProxyState::Alive => {}
        }
        if self.noted().fail_mode {
            return Err(format!("the fail mode acts: {}", running.without_proxy()));
        }
        let acknowledged = peers.current().and_then(|peer| peer.acknowledged);
        if acknowledged == Some(running.number) {
            Ok(())
        } else {
            Err(format!(
                "weir-proxy does not work with generation {} yet",
                running.number
            ))
        }
    }
}

/// RFC 3339 as seconds since 1970.
fn seconds(time: &str) -> Option<f64> {
    let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit for ages"
    )]
    let milliseconds = (time.unix_timestamp_nanos() / 1_000_000) as f64;
    Some(milliseconds / 1000.0)
}
