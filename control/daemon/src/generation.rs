//! A generation: one complete state of both planes, loaded and checked as a whole.
//!
//! A [`Candidate`] is read from the files and touches nothing. With a number and listeners it becomes
//! a [`Generation`], which knows what to tell the kernel and what to hand to the proxy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;
use weir_abi::{Class, Verdict};
use weir_config::{Config, Contents, ListSource, Loaded, Report};
use weir_dataplane::ServiceSpec;
use weir_link::Descriptor;
use weir_policy::Policy;
use weir_tables::{List, Lists};

use crate::Error;
use crate::listeners::Listeners;
use crate::proxy_link::Handover;
use crate::watch::{Stamp, Stamps, stamps};

/// Everything of a generation that comes from files, checked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The configuration.
    pub loaded: Arc<Loaded>,
    /// When the configuration was read.
    pub config_read: OffsetDateTime,
    /// The configuration file as it was read.
    pub config_stamp: Stamp,
    /// Services for the proxy, with their certificates.
    services: Arc<[weir_link::Service]>,
    /// Policies in the order of the services.
    pub policies: Arc<[Policy]>,
    /// The lists, in the order of the configuration.
    pub lists: Vec<List>,
    /// When the lists were read.
    pub lists_read: OffsetDateTime,
    /// The list files as they were read.
    pub list_stamps: Stamps,
    /// The lists, compiled.
    pub compiled: Arc<Lists>,
    /// Warnings and notes of configuration and lists.
    pub warnings: Report,
}

impl Candidate {
    /// Reads and checks the configuration at `path` and everything that it names. Blocks.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let config_stamp = Stamp::of(path);
        let config_read = OffsetDateTime::now_utc();
        let loaded = weir_config::load(path).map_err(Error::Config)?;
        let services = loaded.config.link_services().map_err(Error::Config)?;
        let policies = services
            .iter()
            .map(|service| {
                Policy::compile(&service.policy).map_err(|errors| {
                    let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
                    Error::Request(format!("service `{}`: {}", service.name, words.join("; ")))
                })
            })
            .collect::<Result<_, _>>()?;
        let read = ReadLists::read(&loaded.config)?;
        let mut warnings = loaded.warnings.clone();
        warnings.append(read.warnings);
        Ok(Self {
            loaded: Arc::new(loaded),
            config_read,
            config_stamp,
            services: services.into(),
            policies,
            compiled: Arc::new(Lists::compile(&read.lists)),
            lists: read.lists,
            lists_read: read.time,
            list_stamps: read.stamps,
            warnings,
        })
    }

    /// The same configuration with the lists as their files are now. Blocks.
    pub fn with_new_lists(&self) -> Result<Self, Error> {
        let read = ReadLists::read(&self.loaded.config)?;
        let mut warnings = self.loaded.warnings.clone();
        warnings.append(read.warnings);
        Ok(Self {
            compiled: Arc::new(Lists::compile(&read.lists)),
            lists: read.lists,
            lists_read: read.time,
            list_stamps: read.stamps,
            warnings,
            ..self.clone()
        })
    }

    /// Refuses lists whose files lost all their text, where `before` had entries: an editor or a full
    /// disk did that, not a person who wants the list to be empty. A file that has entries again was
    /// read while it was being written.
    pub fn keeps_entries_of(&self, before: &Self) -> Result<(), Error> {
        for (list, source) in self.lists.iter().zip(&self.config().lists) {
            let Contents::File(file) = &source.contents else {
                continue;
            };
            let entries = before
                .lists
                .iter()
                .find(|old| old.name == list.name)
                .map_or(0, |old| old.prefixes.len());
            let emptied = list.prefixes.is_empty() && entries > 0;
            let meant = || {
                std::fs::read_to_string(file).is_ok_and(|text| {
                    let name = file.display().to_string();
                    !text.trim().is_empty() && weir_tables::parse(&text, &name).prefixes.is_empty()
                })
            };
            if emptied && !meant() {
                let (list, file) = (list.name.clone(), file.clone());
                return Err(Error::Emptied {
                    list,
                    file,
                    entries,
                });
            }
        }
        Ok(())
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// A list of the configuration by name.
    pub fn list_source(&self, name: &str) -> Result<&ListSource, Error> {
        let lists = &self.config().lists;
        lists
            .iter()
            .find(|list| list.name == name)
            .ok_or_else(|| Error::NoList {
                name: name.to_owned(),
                known: lists.iter().map(|list| list.name.clone()).collect(),
            })
    }

    /// Addresses and ports of all services.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints().map(|(_, address)| address).collect()
    }

    fn endpoints(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.config().services.iter().flat_map(|service| {
            service.addresses.iter().flat_map(move |address| {
                let at =
                    move |port: &u16| (service.name.as_str(), SocketAddr::new(*address, *port));
                service.ports.iter().map(at)
            })
        })
    }
}

/// One complete state of both planes.
#[derive(Debug)]
pub struct Generation {
    /// Its number, the same in both planes.
    pub number: u64,
    /// Where it comes from.
    pub candidate: Candidate,
    /// Its listening sockets.
    pub listeners: Listeners,
}

impl Generation {
    /// The services as the kernel knows them. With `proxy_works` false, what would go to the proxy is
    /// refused: connections to a listener that nobody serves would hang.
    pub fn kernel_services(&self, proxy_works: bool) -> Vec<ServiceSpec> {
        (0..)
            .zip(&self.candidate.config().services)
            .map(|(id, service)| ServiceSpec {
                id,
                name: service.name.clone(),
                addresses: service.addresses.clone(),
                ports: service.ports.clone(),
                verdicts: service.verdicts().map(|verdict| match verdict {
                    Verdict::Proxy if !proxy_works => Verdict::Reject,
                    other => other,
                }),
            })
            .collect()
    }

    /// What the proxy gets.
    pub fn handover(&self) -> Result<Handover, Error> {
        let mut descriptors = Vec::new();
        let mut sockets = Vec::new();
        for (service, address) in self.candidate.endpoints() {
            let socket = self.listeners.get(address);
            sockets.push(socket.expect("a generation has a listener for each of its addresses"));
            descriptors.push(Descriptor::Listener {
                service: service.to_owned(),
                address,
            });
        }
        let lists = self.candidate.compiled.to_bytes();
        descriptors.push(Descriptor::Lists {
            length: lists.len() as u64,
        });
        sockets.push(Arc::new(weir_link::sealed::create("weir-lists", &lists)?));
        let appliance = &self.candidate.config().appliance;
        let generation = weir_link::Generation {
            number: self.number,
            descriptors,
            services: self.candidate.services.to_vec(),
            proxy_protocol_from: appliance.proxy_protocol_from.clone(),
            appliance: appliance.name.clone(),
        };
        Ok(Handover::new(generation, sockets))
    }

    /// What the kernel does with each class of this service.
    pub fn verdicts(service: &ServiceSpec) -> Vec<(Class, Verdict)> {
        Class::ALL.into_iter().zip(service.verdicts).collect()
    }
}

/// The files of a configuration's lists.
pub fn list_files(config: &Config) -> impl Iterator<Item = PathBuf> {
    config.lists.iter().filter_map(|list| match &list.contents {
        Contents::File(path) => Some(path.clone()),
        Contents::Inline { .. } => None,
    })
}

struct ReadLists {
    lists: Vec<List>,
    warnings: Report,
    stamps: Stamps,
    time: OffsetDateTime,
}

impl ReadLists {
    fn read(config: &Config) -> Result<Self, Error> {
        let stamps = stamps(list_files(config));
        let time = OffsetDateTime::now_utc();
        let (lists, warnings) = weir_config::load_lists(config).map_err(Error::Config)?;
        Ok(Self {
            lists,
            warnings,
            stamps,
            time,
        })
    }
}
