//! What weir-control tells weir-proxy, and what it hears back.
//!
//! The proxy faces the Internet without privileges and reads no configuration file: everything it
//! works with arrives over one unix stream socket. weir-control sends [`ToProxy`] messages; a
//! message may carry file descriptors (`SCM_RIGHTS`, unix(7)): listening sockets and the sealed
//! memory that holds the compiled lists, or the directory. The proxy answers with [`FromProxy`].
//!
//! Framing: a four-byte big-endian length, then that many bytes of JSON. Descriptors ride on the
//! first byte of the frame that names them. A frame is at most [`MAX_FRAME`] bytes.
//!
//! Both daemons tell the service manager how they are doing in the same words: [`notify`].

pub mod notify;
pub mod sealed;
mod sign_in;
mod tally;
mod transport;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_abi::Class;
use weir_claims::Keys;
use weir_claims::mapping::MappingSpec;
use weir_policy::PolicySpec;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use sign_in::{GrantAsked, NoPrincipal, PrincipalId, SignIn};
pub use tally::{Counted, TOOK_WITHIN};
pub use transport::{Channel, Error, Frames, MAX_DESCRIPTORS, Receiver, Sender};

/// Largest frame that either side accepts, in bytes.
pub const MAX_FRAME: usize = 16 << 20;
/// Version of the messages; both sides refuse another one, with a message that names both.
pub const VERSION: u32 = 8;

/// From weir-control to weir-proxy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToProxy {
    /// Switch to this state at once; answered by [`FromProxy::Ready`] or [`FromProxy::Refused`].
    Generation(Box<Generation>),
    /// Judge by this directory from now on, whatever the generation; answered by
    /// [`FromProxy::DirectoryTaken`] or [`FromProxy::DirectoryRefused`]. It does not come with generations,
    /// because it changes every few minutes and nothing else has to be made anew for that. One descriptor is
    /// attached: sealed memory with the bytes of a `weir_directory::Snapshot`.
    Directory {
        /// Number of the snapshot: it grows with each one of a tenant.
        epoch: u64,
        /// Length in bytes.
        length: u64,
        /// What was not seen to be so for this long is unknown.
        max_age: Duration,
    },
    /// There is no directory any more: what it said is unknown. Answered as one of epoch 0.
    NoDirectory,
    /// Stop accepting, finish what is open within `grace`, then exit with status 0.
    Drain {
        /// How long open connections may go on.
        grace: Duration,
    },
    /// Sign-ins up to this number are in the books: they need not be told again.
    SignInsTaken {
        /// [`SignIn::number`] of the last of them.
        up_to: u64,
    },
    /// The answer to a hello that is not accepted; the socket is closed behind it.
    TurnedAway {
        /// What is wrong and what to do about it.
        why: String,
    },
}

/// From weir-proxy to weir-control.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromProxy {
    /// First message on the socket.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// Process id of the proxy.
        pid: u32,
    },
    /// The generation is in force for every new connection and request.
    Ready {
        /// [`Generation::number`].
        generation: u64,
    },
    /// The generation could not be used; the one before stays in force.
    Refused {
        /// [`Generation::number`].
        generation: u64,
        /// What is wrong and what to do about it.
        why: String,
    },
    /// Every new decision asks this directory.
    DirectoryTaken {
        /// Its number; 0 when there is none any more.
        epoch: u64,
    },
    /// The directory could not be used; the one before stays in force.
    DirectoryRefused {
        /// Its number.
        epoch: u64,
        /// What is wrong and what to do about it.
        why: String,
    },
    /// A decision or a refusal, for the audit log.
    Event(Box<Event>),
    /// Somebody has signed in, and that was verified. Told again to whoever comes next, until it is taken
    /// ([`ToProxy::SignInsTaken`]).
    SignIn(Box<SignIn>),
    /// Sign-ins that could not be told: nobody knows who was seen where.
    SignInsLost {
        /// How many, since the last time that this was said.
        count: u64,
    },
    /// A token of a service was met that is signed by a key which is not among its keys.
    KeysWanted {
        /// Name of the service.
        service: String,
    },
    /// Sent every second, and before the proxy ends: the sign of life. What is open in the last one that
    /// a proxy sent is broken when it has ended.
    Heartbeat(Counts),
    /// Sent with each heartbeat: what is counted by names, each as it stands now.
    Tally {
        /// Each with its number.
        rows: Vec<(Counted, u64)>,
    },
    /// It accepts no more connections, because it was told to drain or to end: once what is open is
    /// finished, it ends.
    Draining,
}

/// A complete state of the proxy plane.
#[derive(Debug, Serialize, Deserialize)]
pub struct Generation {
    /// Grows by one with each published state; the same number names the kernel's tables.
    pub number: u64,
    /// What each attached descriptor is, in the order in which they are attached.
    pub descriptors: Vec<Descriptor>,
    /// The services and what stands behind them.
    pub services: Vec<Service>,
    /// Peers (load balancers) whose PROXY protocol v2 header is believed.
    #[serde(default)]
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    /// Name of this appliance, sent upstream as `X-MS-Proxy`.
    pub appliance: String,
}

impl Generation {
    /// Puts each attached descriptor beside what this generation says that it is. When the counts
    /// differ all of them are closed.
    pub fn attach(&self, descriptors: Vec<OwnedFd>) -> Result<Vec<(Descriptor, OwnedFd)>, Error> {
        if self.descriptors.len() != descriptors.len() {
            return Err(Error::DescriptorCount {
                named: self.descriptors.len(),
                attached: descriptors.len(),
            });
        }
        Ok(self.descriptors.iter().cloned().zip(descriptors).collect())
    }
}

/// What a descriptor attached to a [`Generation`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Descriptor {
    /// A listening TCP socket, bound to the service's own address. A listener that the proxy holds
    /// already for the same address is kept, and the attached copy closed.
    Listener {
        /// Name of the service.
        service: String,
        /// The address it is bound to.
        address: SocketAddr,
    },
    /// Sealed memory (memfd) with the compiled lists: `weir_tables::Lists::from_bytes`.
    Lists {
        /// Length in bytes.
        length: u64,
    },
    /// Sealed memory with the directory's users: `weir_policy::Users::parse`. Without it nobody is known.
    Users {
        /// Length in bytes.
        length: u64,
    },
    /// Sealed memory with the countries of addresses: `weir_policy::Countries::parse`. Without it nobody knows
    /// any.
    Countries {
        /// Length in bytes.
        length: u64,
        /// The same as before when the text is the same as before.
        stamp: u64,
    },
}

/// A federation service that Weir fronts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Name from the configuration.
    pub name: String,
    /// Host names, lower case, without port. The first is the service's own.
    pub hosts: Vec<String>,
    /// Host names that are spliced by SNI, without decryption, for managed and bypass sources.
    #[serde(default)]
    pub tunnel: Vec<String>,
    /// The servers behind it.
    pub upstream: Upstream,
    /// Certificates for `hosts`; chosen by SNI.
    pub certificates: Vec<Certificate>,
    /// Offer HTTP/1.1 only (services with Windows authentication: NTLM cannot ride on h2).
    #[serde(default)]
    pub http1_only: bool,
    /// Rules and settings of the proxy plane.
    pub policy: PolicySpec,
    /// How its tokens are looked at; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
}

/// How tokens of a service are verified, and what is read in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The names and keys of their issuer. Without a key no token is believed.
    pub keys: Keys,
    /// Names of claims for rules.
    pub mapping: MappingSpec,
    /// They must be for one of these; for anybody, when there is none.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Origins that forms with tokens are sent to, each with its own at the reverse proxy: that is where a
    /// redirect sends them instead.
    #[serde(default)]
    pub forms: BTreeMap<String, String>,
    /// The service whose keys these are, when it is not the one whose tokens they verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_of: Option<String>,
}

/// What stands behind a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Whether it is a proxy of the sign-in server's own kind, or the sign-in server itself.
    pub kind: UpstreamKind,
    /// Addresses to connect to, tried in order.
    pub servers: Vec<SocketAddr>,
    /// Server name sent in the TLS handshake and checked in the certificate.
    pub server_name: String,
    /// PEM of the authorities that the upstream's certificate must chain to; the system's when absent.
    pub ca: Option<String>,
}

/// What stands behind a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamKind {
    /// A Web Application Proxy: it maps MEX and sets the `X-MS-*` headers itself.
    Wap,
    /// AD FS itself: Weir maps `mex` to `proxymex` and sets the headers (MS-ADFSPIP 3.11.5).
    Adfs,
    /// A server that knows no proxy of its own kind; forwarded as it is.
    Plain,
}

/// A certificate chain and its private key, both PEM. Wiped when dropped, never logged.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Certificate {
    /// Leaf first.
    pub chain: String,
    /// PKCS#8, SEC1 or PKCS#1.
    pub key: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate(..)")
    }
}

/// What the proxy counts; since its start, never reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Requests decided.
    pub requests: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// Connections spliced without decryption.
    pub tunnelled: u64,
    /// Requests refused before policy (malformed, wrong host, too large).
    pub refused: u64,
    /// Events that were lost because the socket to weir-control was full.
    pub events_lost: u64,
    /// Events of refusals that were left out, because one source or all together had too many.
    pub events_skipped: u64,
    /// Large answers that ended early, because something in them looked like a token.
    pub answers_cut: u64,
    /// Tokens that were not taken for new ones, because no more could be remembered.
    pub replays_full: u64,
}

/// One decision of the proxy plane, as it stands in the audit log. Never holds a token, a password,
/// a cookie or a query string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was decided; RFC 3339, UTC, milliseconds.
    pub time: String,
    /// Reference id, shown on block pages and in faults: 16 lower-case hexadecimal digits.
    pub id: String,
    /// What decided.
    pub kind: EventKind,
    /// Generation that was in force.
    pub generation: u64,
    /// Service, when one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// TCP peer (or what a trusted hop said), with its port.
    pub peer: SocketAddr,
    /// The source that policy judged, where it is not the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_source: Option<std::net::IpAddr>,
    /// Class of the effective source.
    pub class: Class,
    /// List that gave the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// Method of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Host of the request, or SNI of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Normalised path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Flow kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Client kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Relying party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relying_party: Option<String>,
    /// User where stated, not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_user: Option<String>,
    /// pass, redirect, block or step-up; refuse for what never reached policy.
    pub decision: String,
    /// The rule that made the decision, `SET/NAME`; for refusals what was wrong.
    pub rule: String,
    /// Reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Status that the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Correlation id of the client (`client-request-id`), if it sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    /// From the first byte of the request to the decision, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_in_us: Option<u64>,
    /// Everything that rules could ask about, so that the decision can be explained and tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<weir_policy::Facts>>,
}

/// What an [`Event`] tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A request was judged.
    Request,
    /// A connection was spliced, or refused, by its SNI.
    Tunnel,
    /// Something was refused before policy: malformed, unknown host, too large, no SNI.
    Refused,
    /// The upstream failed: the request was decided, but got no answer.
    Upstream,
}
