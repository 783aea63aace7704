//! What traffic is judged by: lists of sources, and services with their policies.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use weir_abi::{Class, Topology, Verdict};
use weir_config::ByList;
use weir_dataplane::{NatSource, ServiceSpec};
use weir_policy::{Classify, Policy, PolicySpec, ProfileChoice, RuleSetName};
use weir_tables::{History, KernelTables, List, Origin, Scope, Severity};

use super::{PORT, SERVICE_V4, SERVICE_V6};

/// Why lists or services cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A list file cannot be read.
    #[error("cannot read the list {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A list file has lines that are no prefixes.
    #[error("the list {} cannot be used:\n{problems}", file.display())]
    List {
        /// The file.
        file: PathBuf,
        /// Each with its line, and what to write instead.
        problems: String,
    },
    /// An option says no class.
    #[error(
        "`{0}` is no list with a class: write managed=FILE, bypass=FILE, blocked=FILE or relay=FILE"
    )]
    NoClass(String),
    /// The configuration cannot be used.
    #[error("the configuration cannot be used; `weir check` says more:\n{0}")]
    Config(String),
    /// The rules of a service cannot be compiled.
    #[error("the rules of service `{service}` cannot be used:\n{problems}")]
    Rules {
        /// The service.
        service: String,
        /// What is wrong.
        problems: String,
    },
}

/// Lists, and the tables that both planes look a source up in.
#[derive(Clone, Debug)]
pub struct Lists {
    named: Vec<List>,
    compiled: weir_tables::Lists,
    tables: KernelTables,
}

impl Lists {
    /// Compiles lists.
    pub fn compile(named: Vec<List>) -> Self {
        let compiled = weir_tables::Lists::compile(&named);
        let tables = KernelTables::compile(&compiled, &History::default());
        Self {
            named,
            compiled,
            tables,
        }
    }

    /// Reads list files, each named as `CLASS=FILE`.
    pub fn read(options: &[String]) -> Result<Vec<List>, SettingError> {
        options.iter().map(|option| read_list(option)).collect()
    }

    /// These lists and others; compiles them all.
    #[must_use]
    pub fn with(&self, more: Vec<List>) -> Self {
        Self::compile(self.named.iter().cloned().chain(more).collect())
    }

    /// The class of a source.
    pub fn class(&self, source: IpAddr) -> Class {
        self.compiled.find(source).class
    }

    /// The lists as they were given.
    pub fn named(&self) -> &[List] {
        &self.named
    }

    /// Prefixes in all of them.
    pub fn prefixes(&self) -> usize {
        self.named.iter().map(|list| list.prefixes.len()).sum()
    }

    /// As user space looks sources up.
    pub fn compiled(&self) -> &weir_tables::Lists {
        &self.compiled
    }

    /// As the kernel does.
    pub fn tables(&self) -> &KernelTables {
        &self.tables
    }

    /// As policy does.
    pub fn ask(&self) -> impl Classify {
        ByList {
            lists: &self.compiled,
            countries: None,
        }
    }
}

/// A service, as both planes know it.
#[derive(Debug)]
pub struct Service {
    /// For the kernel: addresses, ports, and the verdict for each class. Always [`Topology::Route`], whatever the
    /// configuration says: the bench is one router with one way to the servers.
    pub spec: ServiceSpec,
    /// Its first host name.
    pub host: String,
    /// Its rules.
    pub policy: Policy,
}

/// The services.
#[derive(Debug)]
pub struct Services(Vec<Service>);

impl Services {
    /// One service at these addresses and ports, with the rule set that `weir init` recommends: managed sources
    /// are forwarded, blocked ones dropped, all others are the proxy's.
    pub fn one(addresses: Vec<IpAddr>, ports: Vec<u16>) -> Self {
        let policy = Policy::compile(&PolicySpec {
            service: "sts".into(),
            profile: ProfileChoice::Preset("adfs".into()),
            rule_set: RuleSetName::Office365Strict,
            outlook: None,
            windows_logon: weir_policy::WindowsLogonSetting::default(),
            windows_logon_rate: weir_policy::Rate::default(),
            reverse_proxy: Some("https://reverse.example.net/sts?{query}".into()),
            rules: Vec::new(),
            switched_off: Vec::new(),
            applications: std::collections::BTreeMap::default(),
            locations: std::collections::BTreeMap::default(),
            claims: Vec::new(),
            claims_any_case: false,
            decide_at_token: false,
        });
        let verdicts = Class::ALL.map(|class| match class {
            Class::Managed => Verdict::Forward,
            Class::Blocked => Verdict::Drop,
            Class::Unmanaged | Class::Bypass | Class::Relay => Verdict::Proxy,
        });
        Self(vec![Service {
            spec: spec(0, "sts", addresses, ports, verdicts, false),
            host: "sts.example.com".into(),
            policy: policy.expect("the built-in rules compile"),
        }])
    }

    /// That service at the addresses of the benches.
    pub fn usual() -> Self {
        Self::one(vec![SERVICE_V4.into(), SERVICE_V6.into()], vec![PORT])
    }

    /// The services of a configuration, and its lists.
    pub fn configured(file: &Path) -> Result<(Self, Vec<List>), SettingError> {
        let config = |report: weir_config::Report| SettingError::Config(report.to_string());
        let loaded = weir_config::load(file).map_err(config)?;
        let (lists, _) = weir_config::load_lists(&loaded.config).map_err(config)?;
        let services = loaded.config.services.iter().enumerate();
        let services = services.map(|(id, service)| {
            let policy = Policy::compile(&loaded.config.policy(service));
            Ok(Service {
                spec: spec(
                    u16::try_from(id).expect("a checked configuration has few services"),
                    &service.name,
                    service.addresses.clone(),
                    service.ports.clone(),
                    service.verdicts(),
                    service.observe,
                ),
                host: service.hosts.first().cloned().unwrap_or_default(),
                policy: policy.map_err(|errors| SettingError::Rules {
                    service: service.name.clone(),
                    problems: lines(errors.iter().map(ToString::to_string)),
                })?,
            })
        });
        Ok((Self(services.collect::<Result<_, _>>()?), lists))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.0.iter()
    }

    /// As the kernel plane takes them.
    pub fn specs(&self) -> Vec<ServiceSpec> {
        self.0.iter().map(|service| service.spec.clone()).collect()
    }

    /// The service with this number in the kernel.
    pub fn numbered(&self, id: u16) -> Option<&Service> {
        self.0.iter().find(|service| service.spec.id == id)
    }

    /// Every address of a service.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let services = self.0.iter();
        services.flat_map(|service| service.spec.addresses.iter().copied())
    }

    /// Whether an address is a service's.
    pub fn own(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }
}

fn spec(
    id: u16,
    name: &str,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    verdicts: [Verdict; Class::COUNT],
    observe: bool,
) -> ServiceSpec {
    ServiceSpec {
        id,
        name: name.to_owned(),
        addresses,
        ports,
        verdicts,
        topology: Topology::Route,
        servers: Vec::new(),
        observe,
        nat: NatSource::default(),
    }
}

fn read_list(option: &str) -> Result<List, SettingError> {
    let no_class = || SettingError::NoClass(option.to_owned());
    let (class, file) = option.split_once('=').ok_or_else(no_class)?;
    let listed = Class::ALL
        .into_iter()
        .find(|known| *known != Class::Unmanaged && known.name() == class);
    let class = listed.ok_or_else(no_class)?;
    let file = PathBuf::from(file);
    let text = std::fs::read_to_string(&file).map_err(|error| SettingError::Unreadable {
        file: file.clone(),
        error,
    })?;
    let parsed = weir_tables::parse(&text, &file.display().to_string());
    if !parsed.is_usable() {
        let errors = parsed.problems.iter();
        let errors = errors.filter(|problem| problem.severity == Severity::Error);
        return Err(SettingError::List {
            problems: lines(errors.map(|problem| {
                format!(
                    "line {}: {}; {}",
                    problem.line, problem.message, problem.help
                )
            })),
            file,
        });
    }
    Ok(List {
        name: file.display().to_string(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: parsed.prefixes,
    })
}

/// The first of them, one a line.
fn lines(all: impl Iterator<Item = String>) -> String {
    all.take(10).collect::<Vec<_>>().join("\n")
}
