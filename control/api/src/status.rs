//! `GET /v1/status`.

use std::net::IpAddr;

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
    /// The proxy plane.
    pub proxy: ProxyStatus,
    /// The kernel plane.
    pub kernel: KernelStatus,
    /// Services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// Lists, in the order of the configuration.
    pub lists: Vec<ListSummary>,
    /// What a person should look at, one sentence each; empty when all is well.
    pub warnings: Vec<String>,
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
    /// Milliseconds since the last sign of life.
    pub silent_for_ms: Option<u64>,
    /// How often a proxy connected since weir-control started.
    pub connects: u64,
    /// The proxy's classes are refused in the kernel, because no proxy is alive.
    pub fail_mode: bool,
    /// How often that happened since weir-control started.
    pub fail_mode_entered: u64,
    /// Why it refused the last generation, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Its counters, from the last heartbeat.
    pub counts: Counts,
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
    /// All that the data plane says of itself.
    #[serde(default)]
    pub detail: serde_json::Value,
}

/// A program at an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Name of the interface.
    pub interface: String,
    /// `outside` or `inside`.
    pub side: String,
    /// Hook in use, such as `tcx`.
    pub hook: String,
    /// Why this one.
    pub why: String,
    /// Kernel's id of the program.
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
    /// What the kernel does now with each class.
    pub verdicts: Vec<(Class, Verdict)>,
    /// Packets by verdict.
    pub packets: Vec<Packets>,
}

/// Packets of a service with one verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// The verdict.
    pub verdict: Verdict,
    /// Packets since the maps were made.
    pub packets: u64,
    /// Bytes since the maps were made.
    pub bytes: u64,
}
