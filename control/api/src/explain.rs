//! `POST /v1/explain`: what both planes would do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_abi::{Class, Verdict};
use weir_policy::Origin;

/// What is asked: a source, and optionally a request that it sends; or a decision that was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Address that the connection comes from; absent with `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Reference id of a decision in the audit log, and then nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Port of the service; its first one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name of the service; else it is found by `host` or `url`, else it is the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Host name of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Method; `GET` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path with query, or a whole URL. Without it only the kernel's part is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Header fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Body, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Claims that the token of the answer is supposed to hold, by their names for rules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Vec<String>>,
    /// How the user is supposed to have proved who they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// When that is supposed to have been; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<String>,
    /// When the request is supposed to be made; RFC 3339, now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// Generation that answered.
    pub generation: u64,
    /// The decision that was asked for by its `id`, as it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// What the loaded kernel program answered to a crafted packet; null when there is no service left
    /// whose address it could be sent to.
    pub kernel: Option<KernelPart>,
    /// What the proxy's policy decides; absent when the packet never reaches the proxy, or when no
    /// request was described.
    pub proxy: Option<ProxyPart>,
    /// Why `proxy` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A decision of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Number of its line.
    pub seq: u64,
    /// Reference id.
    pub id: String,
    /// When it was made.
    pub time: String,
    /// Generation that made it.
    pub generation: u64,
    /// Address of the peer.
    pub source: IpAddr,
    /// Service, when one was found.
    pub service: Option<String>,
    /// pass, redirect, block, step-up or refuse.
    pub decision: String,
    /// The rule, `SET/NAME`.
    pub rule: String,
    /// Reason in words.
    pub reason: Option<String>,
    /// Status that the client got.
    pub status: Option<u16>,
    /// How the rules in force differ from it, in words; absent when they make the same of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// The kernel plane's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPart {
    /// Class of the source.
    pub class: Class,
    /// List that gave it.
    pub list: Option<String>,
    /// Entry that matched.
    pub prefix: Option<IpNet>,
    /// What is done with the packet.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Service whose address it went to.
    pub service: Option<String>,
    /// Destination of the crafted packet.
    pub destination: Option<std::net::SocketAddr>,
    /// How it gets to a server, where it is forwarded: `route`, `dsr` or `nat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// Hook that acts: `xdp` or `tcx`.
    pub hook: String,
    /// The verdict is not carried out: the service is only observed.
    #[serde(default)]
    pub observed: bool,
    /// Why it is `tcx`, where `xdp` would have forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_why: Option<String>,
    /// What the source was granted, by whose sign-in, and whether the kernel goes by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<crate::grants::Granted>,
}

/// The proxy plane's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyPart {
    /// What was recognised, by name, in the words of the audit log.
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// The same in words, each with where it comes from.
    pub origins: Vec<Origin>,
    /// Every rule that was tried, in order; the last one decided.
    pub tried: Vec<Tried>,
    /// pass, redirect, block or step-up; refuse for what never reaches policy.
    pub decision: String,
    /// The rule that decided, `SET/NAME`.
    pub rule: String,
    /// Reason in words.
    pub reason: Option<String>,
    /// Status that the client would get from Weir; absent where the upstream answers.
    pub status: Option<u16>,
    /// What comes after it, where the token has the last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_token: Option<AtToken>,
}

/// What comes after a request that was let through to see its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtToken {
    /// The first rule that waits for the token.
    pub pending: String,
    /// The rule by which the server is asked for multi-factor authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<String>,
    /// What is done if no token can be believed.
    pub otherwise: String,
    /// The rule that does it.
    pub rule: String,
}

/// A rule that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// `SET/NAME`.
    pub rule: String,
    /// Whether it decided.
    pub matched: bool,
    /// Whether it waits for the token, which will tell.
    #[serde(default)]
    pub waits: bool,
    /// Which condition did not hold, or what did.
    pub why: String,
}
