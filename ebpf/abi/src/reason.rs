//! Why a packet got its verdict.

/// Why a packet got its verdict; part of every kernel counter.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Reason {
    /// The class of its source decided.
    Class = 0,
    /// An answer of the service; the class of its destination decided.
    Answer = 1,
    /// QUIC: UDP to port 443 of a service address.
    #[cfg_attr(feature = "serde", serde(rename = "udp-443"))]
    Udp443 = 2,
    /// Headers cut short, contradictory, or hidden in tiny fragments.
    Malformed = 3,
    /// A TCP fragment: the class of its source decided, whatever its port. Where a server is chosen it is
    /// dropped, since it does not tell its flow.
    Fragment = 4,
    /// An ICMP error about a flow of the service: the class of the flow's client decided.
    IcmpInner = 5,
    /// Would have been forwarded, but its TTL or hop limit ran out: the stack answers. Where a server is
    /// chosen it is dropped, as for the next two: the stack knows no way there.
    Ttl = 6,
    /// Would have been forwarded, but exceeds the MTU of the way on: the stack answers.
    TooBig = 7,
    /// Would have been forwarded, but the routing table knows no way on: left to the stack.
    NoRoute = 8,
    /// Would have been forwarded, but carries a VLAN tag: left to the VLAN interface.
    Tagged = 9,
    /// Neither TCP nor anything else that Weir judges (echo requests, other ports).
    Other = 10,
    /// Would have been answered with a reset, but this CPU has sent its share of them.
    Rate = 11,
    /// Would have begun a connection, but its source has begun its share of them.
    SynBudget = 12,
    /// The class of its client changed within the drain window, and its flow keeps the verdict that it
    /// had before.
    Kept = 13,
    /// Would have been forwarded, but the service has no server that is up, or the packet does not tell to
    /// which flow it belongs.
    NoServer = 14,
    /// Would have begun a connection, but no port was found for it towards its server.
    NoPort = 15,
    /// Would have been forwarded, but belongs to no connection that is known: the client is told.
    NoFlow = 16,
}

impl Reason {
    /// Number of reasons.
    pub const COUNT: usize = 17;
    /// Every reason, in the order of its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Class,
        Self::Answer,
        Self::Udp443,
        Self::Malformed,
        Self::Fragment,
        Self::IcmpInner,
        Self::Ttl,
        Self::TooBig,
        Self::NoRoute,
        Self::Tagged,
        Self::Other,
        Self::Rate,
        Self::SynBudget,
        Self::Kept,
        Self::NoServer,
        Self::NoPort,
        Self::NoFlow,
    ];

    /// The reason with this number; what is no reason is [`Reason::Other`].
    pub const fn from_u8(number: u8) -> Self {
        if (number as usize) < Self::COUNT {
            Self::ALL[number as usize]
        } else {
            Self::Other
        }
    }

    /// The word used in command line, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Answer => "answer",
            Self::Udp443 => "udp-443",
            Self::Malformed => "malformed",
            Self::Fragment => "fragment",
            Self::IcmpInner => "icmp-inner",
            Self::Ttl => "ttl",
            Self::TooBig => "too-big",
            Self::NoRoute => "no-route",
            Self::Tagged => "tagged",
            Self::Other => "other",
            Self::Rate => "rate",
            Self::SynBudget => "syn-budget",
            Self::Kept => "kept",
            Self::NoServer => "no-server",
            Self::NoPort => "no-port",
            Self::NoFlow => "no-flow",
        }
    }
}
