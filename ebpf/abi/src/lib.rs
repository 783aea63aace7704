//! What the kernel programs and user space agree on: the words for sources, verdicts and their
//! reasons, and the layout of everything that lies in a BPF map.
//!
//! Nothing here allocates or does I/O. A change of any layout or number raises [`ABI_VERSION`];
//! pinned maps of another version are refused, not reinterpreted.

#![no_std]

mod first;
mod grants;
mod layout;
mod nat;
mod reason;
mod seen;
mod servers;
mod sources;
mod standing;

pub use first::*;
pub use grants::*;
pub use layout::*;
pub use nat::*;
pub use reason::Reason;
pub use seen::*;
pub use servers::*;
pub use sources::*;
pub use standing::{ClassSet, Standing};

/// Version of all layouts in this crate. Stored in a pinned map and compared before maps are reused.
pub const ABI_VERSION: u32 = 5;

/// The oldest versions that have a part as this one has it: what is carried over from their maps. A change
/// of such a part sets its number to the version that the change makes.
pub mod since {
    /// [`Config::mark`](crate::Config::mark) and [`Config::table`](crate::Config::table), as third and
    /// fourth word.
    pub const MARK: u32 = 4;
    /// The maps of sources.
    pub const SOURCES: u32 = 4;
    /// The map of counters, but for reasons that were added behind the others.
    pub const COUNTERS: u32 = 4;
    /// [`Flow`](crate::Flow), and the places of servers that it names.
    pub const FLOWS: u32 = 4;
    /// [`Grant`](crate::Grant) and [`Principal`](crate::Principal), by address and by index.
    pub const GRANTS: u32 = 5;
    /// [`Translation`](crate::Translation), and what the four maps of `nat` have for keys and values.
    pub const NAT: u32 = 5;
}

/// What the kernel knows of a source address (DESIGN: "class").
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Class {
    /// On no list.
    #[default]
    Unmanaged = 0,
    /// Egress of managed devices.
    Managed = 1,
    /// Exempt by decision of an administrator; always goes through the proxy.
    Bypass = 2,
    /// Refused.
    Blocked = 3,
    /// A trusted relay, such as Exchange Online; the effective source behind it decides.
    Relay = 4,
}

/// What the kernel does with a packet for a service.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Verdict {
    /// Not Weir's: left to the stack, untouched.
    Pass = 0,
    /// Redirected to the service without touching its payload.
    Forward = 1,
    /// Marked for the proxy's transparent listener.
    Proxy = 2,
    /// Dropped silently.
    Drop = 3,
    /// Refused with a reset.
    Reject = 4,
}

/// Where in the kernel a program acts on a packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Hook {
    /// At the entry of the network stack; sees every packet that XDP did not finish.
    Tcx = 0,
    /// In the driver, before the network stack.
    Xdp = 1,
}

impl Class {
    /// Number of classes; the length of tables indexed by class.
    pub const COUNT: usize = 5;
    /// Every class, in the order of its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Unmanaged,
        Self::Managed,
        Self::Bypass,
        Self::Blocked,
        Self::Relay,
    ];

    /// The class with this number; what is no class is [`Class::Unmanaged`].
    pub const fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Managed,
            2 => Self::Bypass,
            3 => Self::Blocked,
            4 => Self::Relay,
            _ => Self::Unmanaged,
        }
    }

    /// The word used in configuration, command line, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmanaged => "unmanaged",
            Self::Managed => "managed",
            Self::Bypass => "bypass",
            Self::Blocked => "blocked",
            Self::Relay => "relay",
        }
    }
}

impl Verdict {
    /// Number of verdicts.
    pub const COUNT: usize = 5;
    /// Every verdict, in the order of its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Pass,
        Self::Forward,
        Self::Proxy,
        Self::Drop,
        Self::Reject,
    ];

    /// The verdict with this number; what is no verdict is [`Verdict::Drop`], so that nothing fails open.
    pub const fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Pass,
            1 => Self::Forward,
            2 => Self::Proxy,
            4 => Self::Reject,
            _ => Self::Drop,
        }
    }

    /// The word used in configuration, command line, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Forward => "forward",
            Self::Proxy => "proxy",
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }
}

impl Hook {
    /// Number of hooks.
    pub const COUNT: usize = 2;
    /// Every hook, in the order of its number.
    pub const ALL: [Self; Self::COUNT] = [Self::Tcx, Self::Xdp];

    /// The word used in command line, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Xdp => "xdp",
        }
    }
}
