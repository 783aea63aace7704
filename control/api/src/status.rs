//! `GET /v1/status`.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use weir_abi::{Class, Verdict};
use weir_link::Counts;

use crate::lists::ListSummary;

/// The state of the appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the appliance.
    pub appliance: String,
    /// Version of weir-control.
    pub version: String,
    /// Generation in force in the kernel plane.
    pub generation: u64,
    /// When weir-control started.
    pub started: String,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// The last attempt to change what is in force.
    pub last_reload: ReloadStatus,
    /// How the configuration file came into force.
    #[serde(default)]
    pub reloads: crate::reload::Reloads,
    /// The proxy plane.
    pub proxy: ProxyStatus,
    /// The kernel plane.
    pub kernel: KernelStatus,
    /// Services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// Lists, in the order of the configuration.
    pub lists: Vec<ListSummary>,
    /// Who asked weir-control for what.
    #[serde(default)]
    pub control: ControlStatus,
    /// The listening sockets.
    #[serde(default)]
    pub listeners: ListenersStatus,
    /// The tenant, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<crate::entra::EntraStatus>,
    /// What single addresses are granted.
    #[serde(default)]
    pub grants: crate::grants::GrantsStatus,
    /// What a person should look at, one sentence each; empty when all is well.
    pub warnings: Vec<String>,
}

/// The listening sockets of the services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenersStatus {
    /// How many are held.
    pub held: usize,
    /// Whether there is a service manager to leave copies with, for the next weir-control.
    pub store: bool,
    /// How many it was given.
    pub kept: usize,
    /// How many came back from it when weir-control started.
    pub taken_over: usize,
    /// Why it could not be reached the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Requests on the control sockets since weir-control started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlStatus {
    /// Connections open now.
    pub open: u64,
    /// Connections closed at once, because too many were open.
    pub turned_away: u64,
    /// Requests answered.
    pub requests: u64,
    /// Of them: not understood, or about what is not there (400 to 499).
    pub refused: u64,
    /// Of those: changes asked for on the socket that only reads (403).
    pub denied: u64,
    /// Of the requests: could not be done (500 and above).
    pub failed: u64,
    /// Connections that ended because what came was no HTTP/1.1.
    pub malformed: u64,
    /// Connections that ended because nothing came, or nothing was read, for too long.
    pub slow: u64,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Path of the file.
    pub path: String,
    /// SHA-256 of the file, lower-case hexadecimal: what `sha256sum` prints.
    pub digest: String,
    /// When it was loaded.
    pub loaded: String,
    /// The file on disk is not the one in force.
    pub changed_on_disk: bool,
    /// Why weir-control started with the copy of the last good file instead, until a reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The generation of which there is a copy in the state directory, for such a start.
    #[serde(default)]
    pub copied: Option<u64>,
}

/// How an attempt to change what is in force went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When.
    pub time: String,
    /// What was asked for, as in the audit log.
    pub action: String,
    /// Who asked, in words.
    pub who: String,
    /// How it went.
    pub outcome: Outcome,
    /// What was done, or the diagnostics.
    pub detail: String,
}

/// How a change went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// In force in both planes.
    Done,
    /// Refused; the generation before stays in force.
    Refused,
}

/// The proxy plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Whether it works.
    pub state: ProxyState,
    /// Process id of the newest proxy.
    pub pid: Option<u32>,
    /// Newest generation that it acknowledged.
    pub generation: Option<u64>,
    /// Since when it is in this state; RFC 3339, UTC.
    #[serde(default)]
    pub since: String,
    /// Milliseconds since the last sign of life.
    pub silent_for_ms: Option<u64>,
    /// How often a proxy connected since weir-control started.
    pub connects: u64,
    /// How often a process was turned away on the proxy's socket since then.
    #[serde(default)]
    pub turned_away: u64,
    /// Why the last of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned_away_why: Option<String>,
    /// Connections of clients that were open when a proxy ended, whoever ran meanwhile, since the run
    /// directory was made (on most machines since they started).
    #[serde(default)]
    pub connections_broken: u64,
    /// Milliseconds for which the proxy's classes wait for a proxy.
    #[serde(default)]
    pub restart_grace_ms: u64,
    /// No proxy works: each service's `proxy_down` acts in the kernel.
    pub fail_mode: bool,
    /// How often that happened since weir-control started.
    pub fail_mode_entered: u64,
    /// Why it refused the last generation, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Its counters, from the last heartbeat.
    pub counts: Counts,
    /// What all proxies decided since weir-control started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided: Vec<Decided>,
}

/// How often the proxies decided one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Name of the service.
    pub service: String,
    /// Flow kind; `tunnel` where nothing was decrypted, `none` for what never reached policy.
    pub flow: String,
    /// Client kind; `none` where nobody can say.
    pub client: String,
    /// `pass`, `redirect`, `block`, `step-up` or `refuse`.
    pub decision: String,
    /// How often.
    pub count: u64,
}

/// A server behind the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Where it is connected to.
    pub server: SocketAddr,
    /// Whether the last connection that was wanted could be opened; absent when nobody wanted one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<bool>,
}

/// Whether a proxy works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyState {
    /// Connected, and heard of lately.
    Alive,
    /// Connected, but nothing was heard of it for three seconds.
    Silent,
    /// Not connected.
    #[default]
    Gone,
}

/// The kernel plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelStatus {
    /// Where the programs are attached.
    pub hooks: Vec<Hook>,
    /// Warnings of the data plane, one sentence each.
    pub warnings: Vec<String>,
    /// Sources whose class has changed, and whose flows keep the verdicts that they began with.
    #[serde(default)]
    pub transition: TransitionStatus,
    /// All that the data plane says of itself.
    #[serde(default)]
    pub detail: serde_json::Value,
}

/// Sources that have another class than they had within the drain window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionStatus {
    /// The drain window, in milliseconds.
    pub window_ms: u64,
    /// Ranges of addresses in transition.
    pub ranges: u64,
    /// IPv4 addresses in them.
    pub v4_addresses: u64,
    /// When the last of them will be out of it (RFC 3339), if nothing changes again.
    pub until: Option<String>,
}

/// A program at an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Name of the interface.
    pub interface: String,
    /// `outside` or `inside`.
    pub side: String,
    /// Hooks in use: `tcx`, or `xdp+tcx`.
    pub hook: String,
    /// Why this one.
    pub why: String,
    /// Kernel's id of the program at tcx.
    pub program: Option<u32>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Name from the configuration.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<u16>,
    /// What becomes of the proxy's classes while no proxy works: `reject`, `drop` or `forward-managed`.
    #[serde(default)]
    pub proxy_down: String,
    /// How forwarded packets get to the servers: `route`, `dsr` or `nat`.
    #[serde(default)]
    pub topology: String,
    /// The servers that the kernel chooses among; none for `route`.
    #[serde(default)]
    pub servers: Vec<ServerStatus>,
    /// The servers that the proxy connects to.
    #[serde(default)]
    pub upstreams: Vec<UpstreamStatus>,
    /// What the kernel does now with each class.
    pub verdicts: Vec<(Class, Verdict)>,
    /// Its packets are judged and counted only, and go on untouched.
    #[serde(default)]
    pub observe: bool,
    /// Packets by verdict.
    pub packets: Vec<Packets>,
}

/// A server that the kernel chooses among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its own address.
    pub address: IpAddr,
    /// Whether it answers; if not, it gets no new connections while another of its family answers.
    pub answers: bool,
}

/// Packets of a service with one verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// The verdict.
    pub verdict: Verdict,
    /// It was not carried out, but only would have been.
    #[serde(default)]
    pub observed: bool,
    /// Packets since the maps were made.
    pub packets: u64,
    /// Bytes since the maps were made.
    pub bytes: u64,
}
