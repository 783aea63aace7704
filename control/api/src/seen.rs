//! Single packets that the kernel plane tells of: `GET /v1/flows` and `POST /v1/capture`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use weir_abi::{Class, Hook, Verdict};

/// The beginning of a flow, or a packet that is part of none, as a kernel program judged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Number of the line since weir-control started.
    pub seq: u64,
    /// When; RFC 3339, UTC.
    pub time: String,
    /// Where it came from.
    pub source: IpAddr,
    /// Its port; zero for what has none.
    pub source_port: u16,
    /// Where it went.
    pub destination: IpAddr,
    /// Its port; zero for what has none.
    pub port: u16,
    /// Number of the transport protocol: 6 is TCP, 17 UDP.
    pub protocol: u8,
    /// Interface that it came in at.
    pub interface: String,
    /// `outside` or `inside`.
    pub side: String,
    /// Name of the service; empty for packets that belong to none.
    pub service: String,
    /// Class of the client.
    pub class: Class,
    /// What was done.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Which program did it.
    pub hook: Hook,
    /// It was not done, but only would have been: the service is observed.
    #[serde(default)]
    pub observed: bool,
    /// Bytes in the packet, from the Ethernet header on.
    pub length: u32,
}

/// A line between those of flows: whoever reads was so far behind that flows were forgotten before it came to
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedFlows {
    /// How many, whether they would have been shown or not.
    pub missed: u64,
}

/// Body of `POST /v1/capture`; what is absent is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureRequest {
    /// Only packets from and to clients in this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only packets of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only packets with these verdicts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// With what follows the headers: what people sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payload: bool,
    /// Ends after so many seconds; 60 when absent, 3600 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// Ends after so many packets; 10,000 when absent, 1,000,000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u32>,
}
