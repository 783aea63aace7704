//! The configuration as typed values.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use weir_abi::{Class, Topology, Verdict};
use weir_feeds::Source;
use weir_feeds::guard::Limits;
use weir_link::UpstreamKind;
use weir_policy::{
    ApplicationSpec, LocationSpec, OutlookSetting, PolicySpec, ProfileChoice, Rate, RuleSetName,
    RuleSpec, WindowsLogonSetting,
};
use weir_tables::Scope;

use crate::diagnostic::Report;
use crate::entra::Entra;
use crate::source::Place;
use crate::tokens::Tokens;

/// A configuration that can be put in force.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The typed configuration.
    pub config: Config,
    /// Warnings and notes; never an error.
    pub warnings: Report,
    /// SHA-256 of the file's bytes, in lower-case hexadecimal.
    pub digest: String,
    /// The file's text.
    pub text: String,
}

/// The whole configuration; all paths are absolute or relative to the working directory, no longer
/// to the file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// `[appliance]`
    pub appliance: Appliance,
    /// `[kernel]`
    pub kernel: Kernel,
    /// `[[service]]`, in the order of the file; a service's number in the kernel is its index.
    pub services: Vec<Service>,
    /// `[[list]]`, in the order of the file.
    pub lists: Vec<ListSource>,
    /// `[[rule]]`, in the order of the file.
    pub rules: Vec<RuleSpec>,
    /// `[application.NAME]`
    pub applications: BTreeMap<String, ApplicationSpec>,
    /// `[location.NAME]`
    pub locations: BTreeMap<String, LocationSpec>,
    /// `[directory]`
    pub directory: Directory,
    /// `[grants]`
    pub grants: Grants,
    /// `[outbound]`
    pub outbound: Outbound,
    /// `[entra]`
    pub entra: Option<Entra>,
    /// `[metrics]`: the management addresses on which they are served; nowhere when there is none.
    pub metrics: Vec<SocketAddr>,
    /// Where things stand in the file, for messages about the files that they name.
    pub(crate) places: Places,
}

/// Places in the configuration file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// For each service, in order.
    pub(crate) services: Vec<ServicePlaces>,
    /// For each list, in order.
    pub(crate) lists: Vec<Place>,
    /// The file of users.
    pub(crate) users: Place,
    /// The file of countries.
    pub(crate) countries: Place,
}

/// Where a service names its files.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServicePlaces {
    /// For each certificate: its file, and its key's file.
    pub(crate) certificates: Vec<(Place, Place)>,
    pub(crate) ca: Option<Place>,
}

/// `[appliance]`: this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// Sent upstream as `X-MS-Proxy`.
    pub name: String,
    /// Directory of `control.sock`, `read.sock` and `proxy.sock`.
    pub run: PathBuf,
    /// Directory of the audit log and the generations.
    pub state: PathBuf,
    /// Group that may use `control.sock`; root alone when absent.
    pub control_group: Option<String>,
    /// Group that may use `read.sock`, which answers questions and changes nothing; root alone when
    /// absent.
    pub read_group: Option<String>,
    /// Owner of `proxy.sock`: a user name or a uid.
    pub proxy_user: String,
    /// Load balancers whose PROXY protocol v2 header is believed.
    pub proxy_protocol_from: Vec<IpNet>,
    /// How long connections may wait for a proxy before each service's `proxy_down` acts.
    pub restart_grace: Duration,
}

/// `[kernel]`: programs and interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The eBPF object.
    pub object: PathBuf,
    /// Directory in bpffs for pins.
    pub pin: PathBuf,
    /// Interfaces towards the Internet.
    pub outside: Vec<String>,
    /// Interfaces towards the federation servers.
    pub inside: Vec<String>,
    /// Packet mark that brings packets to the proxy.
    pub mark: u32,
    /// Routing table for that mark.
    pub table: u32,
    /// Where the programs are to act.
    pub hook: HookSetting,
    /// Connections to the proxy that one source may begin in a second; 0 sets no bound.
    pub new_connections: u32,
    /// The same for connections that are forwarded in the kernel.
    pub new_connections_forwarded: u32,
    /// How long flows keep the verdict that they began with after the class of their source has changed;
    /// zero ends that at once.
    pub drain_window: Duration,
    /// One of so many beginnings of flows is told of, for `weir flows`; 0 is none.
    pub flow_sample: u32,
    /// What servers of `topology = "nat"` see instead of the clients.
    pub nat: Nat,
}

/// What servers of `topology = "nat"` see instead of the clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// Addresses of this machine, at most one of each family; without one it is the service's own.
    pub addresses: Vec<IpAddr>,
    /// Their ports.
    pub ports: RangeInclusive<u16>,
}

/// `[grants]`: what may be granted to single addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Prefixes in which every address belongs to one person: only there does a grant open the kernel's
    /// path.
    pub single_user: Vec<IpNet>,
    /// For so long after somebody was seen on an address, nobody else is believed to be alone there.
    pub look_back: Duration,
}

/// `[outbound]`: how the appliance fetches what it fetches by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    /// An HTTP proxy for it: `http`, host and port.
    pub proxy: Option<String>,
    /// PEM of the authorities that may vouch for what is fetched; the system's when absent.
    pub ca: Option<PathBuf>,
}

/// `hook`: where the kernel programs are to act. At tcx they always do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookSetting {
    /// Also at XDP, on each interface where it runs in the driver and the offloads allow it.
    #[default]
    Auto,
    /// At tcx alone.
    Tcx,
    /// Also at XDP, or not at all.
    Xdp,
}

/// `[[service]]`: a federation service that Weir fronts.
#[derive(Clone, Debug)]
pub struct Service {
    /// Unique name.
    pub name: String,
    /// Host names, lower case, at least one.
    pub hosts: Vec<String>,
    /// Addresses, at least one.
    pub addresses: Vec<IpAddr>,
    /// TCP ports, at least one.
    pub ports: Vec<u16>,
    /// How forwarded packets get to the servers.
    pub topology: Topology,
    /// The servers of forwarded packets, by their own addresses; none for [`Topology::Route`].
    pub servers: Vec<IpAddr>,
    /// How requests are recognised.
    pub profile: ProfileChoice,
    /// Built-in rule set.
    pub rules: RuleSetName,
    /// Where managed flows go.
    pub managed: Managed,
    /// What becomes of the proxy's classes while no proxy works.
    pub proxy_down: ProxyDown,
    /// Its packets are judged and counted in the kernel, and go on untouched; also set by `[kernel]`.
    pub observe: bool,
    /// The administrator accepts that the sign-in server takes forwarded flows for intranet traffic.
    pub accept_intranet: bool,
    /// Certificates and their keys.
    pub certificates: Vec<CertificateFiles>,
    /// Where unmanaged browsers are sent.
    pub reverse_proxy: Option<String>,
    /// Host names that are spliced by SNI.
    pub tunnel: Vec<String>,
    /// Row "Outlook" of the default policy.
    pub outlook: Option<OutlookSetting>,
    /// Row "Windows logon" of the default policy.
    pub windows_logon: WindowsLogonSetting,
    /// How often that row lets through.
    pub windows_logon_rate: Rate,
    /// Offer HTTP/1.1 only.
    pub http1_only: bool,
    /// Rules that are skipped, by full name.
    pub switched_off: Vec<String>,
    /// The servers behind it.
    pub upstream: Upstream,
    /// How its tokens are looked at; not at all when absent.
    pub tokens: Option<Tokens>,
}

/// `[directory]`: what is known of the organisation's users, and of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// A file of user principal names, one a line, which can be edited at run time.
    pub users: Option<PathBuf>,
    /// A file of networks and their countries; read at the start and by `weir reload`.
    pub countries: Option<PathBuf>,
}

/// Where managed flows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managed {
    /// Forwarded in the kernel, undecrypted.
    Forward,
    /// Through the proxy, decrypted and audited.
    Proxy,
}

/// The fail mode of a service: what the kernel does with the proxy's classes while no proxy works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyDown {
    /// Refused with a reset: clients know at once.
    #[default]
    Reject,
    /// Dropped without an answer.
    Drop,
    /// Managed sources are forwarded in the kernel, all others refused.
    ForwardManaged,
}

impl ProxyDown {
    /// Each with the word that the configuration has for it.
    pub const WORDS: &[(&str, Self)] = &[
        ("reject", Self::Reject),
        ("drop", Self::Drop),
        ("forward-managed", Self::ForwardManaged),
    ];

    /// The word that the configuration has for it.
    pub fn name(self) -> &'static str {
        let (word, _) = Self::WORDS
            .iter()
            .find(|(_, mode)| *mode == self)
            .expect("each has a word");
        word
    }

    /// What the kernel does with a class that is the proxy's.
    fn verdict(self, class: Class) -> Verdict {
        match (self, class) {
            (Self::ForwardManaged, Class::Managed) => Verdict::Forward,
            (Self::Drop, _) => Verdict::Drop,
            (Self::Reject | Self::ForwardManaged, _) => Verdict::Reject,
        }
    }
}

/// A certificate chain and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// `[service.upstream]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What stands there.
    pub kind: UpstreamKind,
    /// Addresses, tried in order; at least one.
    pub servers: Vec<SocketAddr>,
    /// Server name in the TLS handshake.
    pub server_name: String,
    /// PEM of the authorities it must chain to; the system's when absent.
    pub ca: Option<PathBuf>,
}

/// `[[list]]`: where a list's prefixes stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSource {
    /// Unique name.
    pub name: String,
    /// Class of the sources on it.
    pub class: Class,
    /// Whom it exempts.
    pub scope: Scope,
    /// Whether the flows of sources that it blocks end at once.
    pub cut: bool,
    /// Its prefixes.
    pub contents: Contents,
}

/// Where a list's prefixes stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// In the configuration file itself; `line` is where, for messages.
    Inline {
        /// Without host bits, IPv4-mapped ones folded.
        prefixes: Vec<IpNet>,
        /// Line of the configuration file, from 1.
        line: usize,
    },
    /// In a file of its own, which can be edited at run time.
    File(PathBuf),
    /// Elsewhere: they are fetched, and kept in a file of the state directory.
    Remote(Box<Remote>),
}

/// A list that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where it comes from.
    pub source: Source,
    /// What it may do by itself.
    pub limits: Limits,
    /// How often it is asked for.
    pub every: Duration,
    /// PEM of the authorities that may vouch for it, where it has some of its own.
    pub ca: Option<PathBuf>,
    /// Where what is in force of it is kept.
    pub kept: PathBuf,
}

impl Contents {
    /// The file that the prefixes are read from, where they do not stand in the configuration.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Inline { .. } => None,
            Self::File(path) => Some(path),
            Self::Remote(remote) => Some(&remote.kept),
        }
    }

    /// What is fetched, if anything.
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Remote(remote) => Some(remote),
            Self::Inline { .. } | Self::File(_) => None,
        }
    }
}

impl Config {
    /// Policy of one service: its settings, the administrator's rules and applications.
    pub fn policy(&self, service: &Service) -> PolicySpec {
        PolicySpec {
            service: service.name.clone(),
            profile: service.profile.clone(),
            rule_set: service.rules,
            outlook: service.outlook,
            windows_logon: service.windows_logon,
            windows_logon_rate: service.windows_logon_rate,
            reverse_proxy: service.reverse_proxy.clone(),
            rules: self.rules.clone(),
            switched_off: service.switched_off.clone(),
            applications: self.applications.clone(),
            locations: self.locations.clone(),
            claims: service
                .tokens
                .as_ref()
                .map_or_else(Vec::new, Tokens::claim_names),
            claims_any_case: service.tokens.as_ref().is_some_and(|it| it.ignore_case),
            decide_at_token: service.tokens.as_ref().is_some_and(|it| it.decide),
        }
    }
}

impl Service {
    /// Whether the kernel ever forwards packets for this service.
    pub fn forwards(&self) -> bool {
        self.managed == Managed::Forward || self.proxy_down == ProxyDown::ForwardManaged
    }

    /// What the kernel does with packets for this service, indexed by the source's class.
    pub fn verdicts(&self) -> [Verdict; Class::COUNT] {
        Class::ALL.map(|class| match class {
            Class::Managed => match self.managed {
                Managed::Forward => Verdict::Forward,
                Managed::Proxy => Verdict::Proxy,
            },
            Class::Bypass | Class::Unmanaged | Class::Relay => Verdict::Proxy,
            Class::Blocked => Verdict::Drop,
        })
    }

    /// The same while no proxy works: a connection to a listener that nobody serves would hang.
    pub fn verdicts_without_proxy(&self) -> [Verdict; Class::COUNT] {
        let verdicts = self.verdicts();
        Class::ALL.map(|class| match verdicts[class as usize] {
            Verdict::Proxy => self.proxy_down.verdict(class),
            other => other,
        })
    }
}
