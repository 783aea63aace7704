//! Why a change, a question or the start failed, and what the operator does about it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use weir_config::Report;

use crate::{audit, listeners, plane};

/// Why a change, a question or the start failed. The generation in force stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration or a list has errors.
    #[error("{}", .0.to_string().trim_end())]
    Config(Report),
    /// The kernel plane refuses.
    #[error("the kernel plane refuses: {0}")]
    Kernel(#[from] weir_dataplane::Error),
    /// The kernel plane cannot be opened or closed.
    #[error(transparent)]
    Plane(#[from] plane::OpenError),
    /// The kernel plane's thread is gone.
    #[error(transparent)]
    Ended(#[from] plane::Ended),
    /// A service's address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] listeners::ListenError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] audit::OpenError),
    /// The proxy cannot use the generation.
    #[error("the proxy refuses generation {generation}: {why}")]
    ProxyRefused {
        /// The generation that it refuses.
        generation: u64,
        /// Its reason.
        why: String,
    },
    /// The proxy does not answer.
    #[error(
        "the proxy (pid {pid}) did not acknowledge generation {generation} within five seconds"
    )]
    ProxyLate {
        /// The generation that was offered.
        generation: u64,
        /// Process id of the proxy.
        pid: u32,
    },
    /// Sealed memory cannot be made.
    #[error(transparent)]
    Sealed(#[from] weir_link::sealed::Error),
    /// No such list.
    #[error("there is no list `{name}`")]
    NoList {
        /// Name that was asked for.
        name: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// The list stands in the configuration file itself.
    #[error("list `{name}` stands in {}, line {line}, and is not edited from here", file.display())]
    InlineList {
        /// Name of the list.
        name: String,
        /// The configuration file.
        file: PathBuf,
        /// Line of the list.
        line: usize,
    },
    /// The list is fetched.
    #[error("the entries of list `{name}` come from {place}, and are not edited here")]
    RemoteList {
        /// Name of the list.
        name: String,
        /// Where they come from.
        place: String,
    },
    /// Lists that are fetched.
    #[error(transparent)]
    Feeds(#[from] crate::feeds::FeedsError),
    /// Not a prefix.
    #[error("{0}")]
    Prefix(#[from] weir_tables::PrefixError),
    /// A comment that would not stay on its line.
    #[error("a comment is one line of printable text")]
    Comment,
    /// The prefix is not on the list.
    #[error("{prefix} is not an entry of list `{list}`")]
    NoEntry {
        /// Name of the list.
        list: String,
        /// The prefix.
        prefix: String,
        /// The entry that covers it, if one does.
        covered_by: Option<String>,
    },
    /// A list file that held entries is empty.
    #[error("list file {} was empty when it was read, and list `{list}` had {entries} entries", file.display())]
    Emptied {
        /// Name of the list.
        list: String,
        /// Its file.
        file: PathBuf,
        /// Entries in force.
        entries: usize,
    },
    /// No such service.
    #[error("there is no service {wanted}")]
    NoService {
        /// What was asked for.
        wanted: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// No service address of the family.
    #[error("service `{service}` has no address of the family of {source_address}")]
    NoAddress {
        /// Name of the service.
        service: String,
        /// Source that was asked for.
        source_address: IpAddr,
    },
    /// Nothing is granted to this address or principal.
    #[error("there is no grant of {0}")]
    NoGrant(String),
    /// No token told of this user.
    #[error("no verified token told of `{user}`: {looked}")]
    NoClaims {
        /// Whom was asked for.
        user: String,
        /// How far back was looked, in words.
        looked: String,
    },
    /// No decision has this reference id.
    #[error("no decision has the reference id `{id}`: {looked}")]
    NoEvent {
        /// The id.
        id: String,
        /// How far back was looked, in words.
        looked: String,
    },
    /// Rules that are only to be tried cannot be compiled.
    #[error("the rules of service `{service}` cannot be used: {why}")]
    Rules {
        /// The service.
        service: String,
        /// What is wrong with them.
        why: String,
    },
    /// Rules name groups by names that several have.
    #[error("the rules of service `{service}` name what the directory has twice: {why}")]
    Names {
        /// The service.
        service: String,
        /// Which they are.
        why: String,
    },
    /// Nothing can be granted or revoked.
    #[error("{0}")]
    Grant(#[from] crate::ledger::Refused),
    /// Not written as a principal is.
    #[error("{0}")]
    Principal(#[from] weir_link::NoPrincipal),
    /// The principal was not revoked.
    #[error("{0} is not revoked")]
    NotRevoked(weir_link::PrincipalId),
    /// A revocation without a reason that can be read later.
    #[error("a reason is one line of printable text, not longer than 400 bytes")]
    Reason,
    /// Keys of tokens.
    #[error(transparent)]
    Keys(#[from] crate::keys::KeysError),
    /// Evidence about the tenant.
    #[error(transparent)]
    Evidence(#[from] crate::evidence::EvidenceError),
    /// The tenant.
    #[error(transparent)]
    Entra(#[from] crate::tenant::TenantError),
    /// A reload waits to be confirmed.
    #[error(
        "generation {generation} waits to be confirmed ({left} s left), so nothing is reloaded for good"
    )]
    Unconfirmed {
        /// What is in force until then.
        generation: u64,
        /// Seconds left.
        left: u64,
    },
    /// No reload waits to be confirmed.
    #[error("no reload waits to be confirmed")]
    NothingPending,
    /// There is no reload to take back.
    #[error("there is no reload to take back")]
    NothingToUndo,
    /// The copy of the generation before cannot be used.
    #[error("the copy of generation {generation} in {} cannot be used", directory.display())]
    NoCopy {
        /// The generation before.
        generation: u64,
        /// Where its copy was.
        directory: PathBuf,
    },
    /// The state directory changes, and with it the place where a way back would be kept.
    #[error("`state` in [appliance] changes, and what is to be confirmed could not be rolled back")]
    StateMoves,
    /// What is in force of a list was rolled back, and its file holds something else.
    #[error("list `{list}` was rolled back: {} holds other entries than are in force", file.display())]
    RolledBack {
        /// Name of the list.
        list: String,
        /// Its file.
        file: PathBuf,
    },
    /// Somebody captures already.
    #[error("another capture is running, and there can be one at a time")]
    Capturing,
    /// A request on the control socket cannot be understood.
    #[error("{0}")]
    Request(String),
    /// A file or socket cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// Such as `read`, `write`, `listen on`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another weir-control works in the same run directory.
    #[error("another weir-control is running with the run directory {}", run.display())]
    Running {
        /// The run directory.
        run: PathBuf,
    },
    /// No such user or group on this machine.
    #[error("there is no {kind} `{name}` on this machine")]
    NoAccount {
        /// `user` or `group`.
        kind: &'static str,
        /// Where the configuration names it.
        key: &'static str,
        /// Its name.
        name: String,
    },
    /// A directory into which everybody may write.
    #[error("everybody may write into {}, so anybody could put a socket there", directory.display())]
    OpenToAll {
        /// The directory.
        directory: PathBuf,
    },
    /// The loaded program could not be run, so nobody knows what it would do.
    #[error("the loaded kernel program cannot be asked: {0}")]
    NotAsked(weir_dataplane::Error),
    /// The process lacks privileges.
    #[error(
        "root is needed, or the capabilities {missing}; start it with sudo or as a system service"
    )]
    Unprivileged {
        /// Names of the capabilities.
        missing: String,
    },
}

impl Error {
    /// Whether a person asked for what cannot be, so that the files and the planes have nothing to do with
    /// it.
    pub fn is_a_slip(&self) -> bool {
        matches!(
            self,
            Self::NoList { .. }
                | Self::NoEntry { .. }
                | Self::InlineList { .. }
                | Self::RemoteList { .. }
                | Self::Prefix(_)
                | Self::Comment
                | Self::Unconfirmed { .. }
                | Self::NothingPending
                | Self::NothingToUndo
                | Self::RolledBack { .. }
        )
    }

    /// What to do about it, where the message does not say.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Config(_) => {
                "nothing was changed; correct the lines above and run `weir reload`".into()
            }
            Self::ProxyRefused { .. } => {
                "nothing was changed; correct the configuration and run `weir reload`".into()
            }
            Self::ProxyLate { .. } => {
                "nothing was changed; look at the log of weir-proxy, restart it if it hangs".into()
            }
            Self::NoList { known, .. } if known.is_empty() => {
                "the configuration has no [[list]]".into()
            }
            Self::NoList { name, known } => {
                format!("{}lists: {}", near(name, known), known.join(", "))
            }
            Self::InlineList { file, .. } => format!(
                "edit `prefixes` in {} and run `weir reload`, or give the list a `file = \"...\"`",
                file.display()
            ),
            Self::RemoteList { .. } => "put addresses of your own on a list of their own, with a `file`; one \
                                        that is `blocked` there stays so"
                .into(),
            Self::Feeds(error) => error.help(),
            Self::Evidence(error) => return error.help(),
            Self::NoGrant(_) => "`weir grants` shows all grants".into(),
            Self::NoClaims { .. } => {
                "ask by user principal name, mail address, name id or TENANT/OBJECT; tokens are looked \
                 at where a service has [service.tokens]"
                    .into()
            }
            Self::NoEvent { .. } => {
                "block pages and `weir events` show reference ids: 16 hexadecimal digits".into()
            }
            Self::Names { .. } => "write the object id of each instead of its name".into(),
            Self::Rules { .. } => "`weir check` names each mistake with its line".into(),
            Self::Keys(error) => error.help(),
            Self::Entra(error) => return error.help(),
            Self::NotRevoked(_) => "`weir grants` shows whom is revoked".into(),
            Self::Reason => "write `--reason TEXT`: it stands in the audit log, and in `weir grants`".into(),
            Self::Capturing => {
                "wait for its end, or end it; `weir events --kind change` says who began it".into()
            }
            Self::NoEntry {
                covered_by: Some(wider),
                ..
            } => {
                format!("{wider} covers it; remove that entry and add what is to stay")
            }
            Self::NoEntry { list, .. } => format!("`weir lists show {list}` shows its entries"),
            Self::Emptied { .. } => {
                "to empty the list on purpose, leave a comment line (`# empty`) in the file".into()
            }
            Self::Running { .. } => {
                "`weir status` asks it, `weir reload` makes it read its configuration; stop it before \
                 another one is started"
                    .into()
            }
            Self::NoService { wanted, known } => {
                let name = wanted.trim_matches('`');
                format!("{}services: {}", near(name, known), known.join(", "))
            }
            Self::NoAccount { kind, key, .. } => {
                format!("create the {kind}, or correct `{key}` in [appliance]")
            }
            Self::OpenToAll { directory } => format!(
                "`chmod o-w {}`, or name a directory of Weir's own in [appliance]",
                directory.display()
            ),
            Self::Prefix(error) => error.help.clone(),
            Self::Comment => "leave out line ends and other control characters".into(),
            Self::NoAddress { service, .. } => format!(
                "ask with a source of the other family, or add an address to `addresses` of \
                 service `{service}`"
            ),
            Self::NotAsked(_) => {
                "`weir status` says where the programs are attached; weir-control puts back what it \
                 can, and its log says what it cannot (`journalctl -u weir-control`)"
                    .into()
            }
            Self::File { .. } => {
                "nothing was changed; see that the disk has room and that weir-control may use it".into()
            }
            Self::Listen(_) | Self::Kernel(_) => {
                "nothing was changed; its log says more (`journalctl -u weir-control`)".into()
            }
            _ => return self.help_with_reload(),
        })
    }

    /// The same for what a reload may be refused for.
    fn help_with_reload(&self) -> Option<String> {
        Some(match self {
            Self::Unconfirmed { .. } => {
                "`weir confirm` keeps it, `weir undo` takes it back; `weir reload --confirm TIME` tries \
                 another configuration, and goes back to the same generation"
                    .into()
            }
            Self::NothingPending => {
                "`weir reload --confirm 60s` puts a configuration in force that has to be confirmed; \
                 `weir status` says what became of the last one"
                    .into()
            }
            Self::NothingToUndo => {
                "one step back is kept, and none after it was taken; put the file right and run \
                 `weir reload`"
                    .into()
            }
            Self::NoCopy { .. } => {
                "nothing was changed; put the configuration file right and run `weir reload`".into()
            }
            Self::StateMoves => {
                "nothing was changed; reload without --confirm, and restart weir-control then".into()
            }
            Self::RolledBack { file, .. } => format!(
                "write into {} what is to be in force: it is read when it changes",
                file.display()
            ),
            _ => return None,
        })
    }

    /// Wraps the answer of the file system.
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}

/// The name that was probably meant.
fn near(name: &str, known: &[String]) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    weir_config::closest(name, &known)
        .map_or_else(String::new, |near| format!("did you mean `{near}`? "))
}
