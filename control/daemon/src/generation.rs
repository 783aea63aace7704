//! A generation: one complete state of both planes, loaded and checked as a whole.
//!
//! A [`Candidate`] is read from the files and touches nothing. With a number and listeners it becomes
//! a [`Generation`], which knows what to tell the kernel and what to hand to the proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use time::OffsetDateTime;
use weir_abi::{Class, Verdict};
use weir_claims::Keys;
use weir_claims::mapping::Mapping;
use weir_config::{ByList, Config, ListSource, Loaded, ProxyDown, Report, Service};
use weir_dataplane::{NatSource, ServerSpec, ServiceSpec};
use weir_link::Descriptor;
use weir_policy::{Countries, Policy, Users};
use weir_tables::{List, Lists};

use crate::Error;
use crate::brain::Silent;
use crate::held::Held;
use crate::listeners::Listeners;
use crate::proxy_link::Handover;
use crate::service_ids::ServiceIds;
use crate::watch::{Stamp, Stamps, stamps};

/// Numbers of entries by name of the list; the users are [`USERS`].
pub type Entries = BTreeMap<String, usize>;

/// How messages name the users; no list has such a name.
pub const USERS: &str = "users of the directory";

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
    /// The users of the directory, when there is one.
    pub users: Option<Arc<Users>>,
    /// List files whose entries are not in force, but these: they were rolled back.
    pub held: Held,
    /// The countries of addresses, when they are known.
    pub countries: Option<Arc<KnownCountries>>,
    /// Warnings and notes of configuration and lists.
    pub warnings: Report,
}

impl Candidate {
    /// The services as the kernel knows them; `silent` servers get no new connections. With `proxy_works`
    /// false each service's fail mode acts: connections to a listener that nobody serves would hang.
    pub fn kernel_services(
        &self,
        ids: &ServiceIds,
        proxy_works: bool,
        silent: &Silent,
    ) -> Vec<ServiceSpec> {
        let nat = &self.config().kernel.nat;
        let services = self.config().services.iter();
        services
            .map(|service| ServiceSpec {
                id: ids.id(&service.name).expect("each was given a number"),
                name: service.name.clone(),
                addresses: service.addresses.clone(),
                ports: service.ports.clone(),
                verdicts: if proxy_works {
                    service.verdicts()
                } else {
                    service.verdicts_without_proxy()
                },
                observe: service.observe,
                nat: NatSource {
                    addresses: nat.addresses.clone(),
                    ports: nat.ports.clone(),
                },
                topology: service.topology,
                servers: servers(service, silent),
            })
            .collect()
    }

    /// Those of its servers that are `down` in the kernel, each by the number of its service.
    pub fn silent(&self, ids: &ServiceIds, down: &[(u16, IpAddr)]) -> Silent {
        let services = self.config().services.iter();
        services
            .flat_map(|service| {
                let id = ids.id(&service.name);
                let is_down = move |server: &&IpAddr| {
                    id.is_some_and(|id| down.contains(&(id, server.to_canonical())))
                };
                let servers = service.servers.iter().filter(is_down);
                servers.map(|server| SocketAddr::new(*server, service.ports[0]))
            })
            .collect()
    }

    /// Lists and countries, as policy asks them.
    pub fn by_list(&self) -> ByList<'_> {
        ByList {
            lists: &self.compiled,
            countries: self.countries.as_ref().map(|known| &known.countries),
        }
    }

    /// The index of a service.
    pub fn service(&self, name: Option<&str>) -> Option<usize> {
        let mut services = self.config().services.iter();
        services.position(|service| Some(service.name.as_str()) == name)
    }

    /// The names of the services.
    pub fn service_names(&self) -> Vec<&str> {
        let services = self.config().services.iter();
        services.map(|service| service.name.as_str()).collect()
    }

    /// Reads and checks the configuration at `path` and everything that it names. Blocks.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let config_stamp = Stamp::of(path);
        let loaded = weir_config::load(path).map_err(Error::Config)?;
        Self::of(loaded, config_stamp, &BTreeMap::new())
    }

    /// Reads and checks what a configuration names, with texts in place of what the list files at these
    /// paths hold. Blocks.
    pub fn of(
        loaded: Loaded,
        config_stamp: Stamp,
        in_place: &BTreeMap<PathBuf, String>,
    ) -> Result<Self, Error> {
        let config_read = OffsetDateTime::now_utc();
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
        let countries = KnownCountries::read(&loaded.config)?;
        let read = ReadLists::read(&loaded.config, in_place)?;
        let mut warnings = loaded.warnings.clone();
        warnings.append(read.warnings);
        Ok(Self {
            loaded: Arc::new(loaded),
            config_read,
            config_stamp,
            services: services.into(),
            policies,
            compiled: Arc::new(Lists::compile(&read.lists)),
            users: read.users,
            held: Held::default(),
            countries,
            lists: read.lists,
            lists_read: read.time,
            list_stamps: read.stamps,
            warnings,
        })
    }

    /// The same configuration with the lists as their files are now. Blocks.
    pub fn with_new_lists(&self) -> Result<Self, Error> {
        self.with_lists(self.held.still())
    }

    /// The same configuration with the lists as their files are now, but these, which stay as they are
    /// given until their files change. Blocks.
    pub fn with_lists(&self, held: Held) -> Result<Self, Error> {
        let read = ReadLists::read(&self.loaded.config, &held.texts())?;
        let mut warnings = self.loaded.warnings.clone();
        warnings.append(read.warnings);
        Ok(Self {
            compiled: Arc::new(Lists::compile(&read.lists)),
            lists: read.lists,
            lists_read: read.time,
            list_stamps: read.stamps,
            users: read.users,
            held,
            warnings,
            ..self.clone()
        })
    }

    /// Gives each service its keys, by its name; one whose name is not there has none.
    pub fn put_keys(&mut self, keys: &BTreeMap<String, Keys>) {
        let wanted = |service: &weir_link::Service| {
            let tokens = service.tokens.as_ref();
            let of = tokens.and_then(|tokens| tokens.keys_of.as_ref());
            let keys = keys.get(of.unwrap_or(&service.name));
            keys.cloned().unwrap_or_default()
        };
        let has = |service: &weir_link::Service| {
            let tokens = service.tokens.as_ref();
            tokens.is_none_or(|tokens| tokens.keys == wanted(service))
        };
        if self.services.iter().all(has) {
            return;
        }
        let services = self.services.iter().map(|service| {
            let mut service = service.clone();
            let keys = wanted(&service);
            if let Some(tokens) = &mut service.tokens {
                tokens.keys = keys;
            }
            service
        });
        self.services = services.collect();
    }

    /// The keys of the services whose tokens are looked at, each with the name of the service whose they are.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Keys)> {
        let services = self.services.iter();
        services.filter_map(|service| {
            let tokens = service.tokens.as_ref()?;
            let of = tokens.keys_of.as_ref().unwrap_or(&service.name);
            Some((of.as_str(), &tokens.keys))
        })
    }

    /// The claim types that a service's mapping reads for a name.
    pub fn claim_types(&self, service: &str) -> impl Fn(&str) -> Vec<String> + use<> {
        let mut services = self.services.iter();
        let found = services.find(|one| one.name == service);
        let tokens = found.and_then(|service| service.tokens.as_ref());
        let mapping = tokens.and_then(|tokens| Mapping::new(&tokens.mapping).ok());
        move |name| {
            mapping
                .as_ref()
                .map_or_else(Vec::new, |it| it.types(name).to_vec())
        }
    }

    /// The certificates that a service shows, each with those that it chains to, as PEM.
    pub fn chains(&self, service: &str) -> impl Iterator<Item = &str> {
        let of = self.services.iter().filter(move |one| one.name == service);
        let certificates = of.flat_map(|one| &one.certificates);
        certificates.map(|one| one.chain.as_str())
    }

    /// What stands behind a service.
    pub fn upstream(&self, service: &str) -> Option<&weir_link::Upstream> {
        let mut services = self.services.iter();
        Some(&services.find(|one| one.name == service)?.upstream)
    }

    /// The same without its lists, which may be long: for whoever has these elsewhere.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        Self {
            lists: Vec::new(),
            compiled: Arc::new(Lists::compile(&[])),
            users: None,
            ..self.clone()
        }
    }

    /// The list files of which `new` has other entries.
    pub fn replaced_by<'a>(&'a self, new: &'a Self) -> impl Iterator<Item = &'a Path> {
        let same = |list: &str, other: &str| match (list == USERS, other == USERS) {
            (true, true) => self.users_text() == new.users_text(),
            (false, false) => self.prefixes(list) == new.prefixes(other),
            _ => false,
        };
        self.files().filter_map(move |(list, file)| {
            let mut theirs = new.files().filter(|(_, path)| *path == file);
            theirs.any(|(other, _)| !same(list, other)).then_some(file)
        })
    }

    /// What is in force of a list.
    pub fn prefixes(&self, list: &str) -> &[IpNet] {
        let mut lists = self.lists.iter();
        let found = lists.find(|one| one.name == list);
        found.map_or(&[], |list| &list.prefixes)
    }

    /// Refuses lists whose files lost all their text, where `before` had entries.
    pub fn keeps_entries_of(&self, before: &Self) -> Result<(), Error> {
        self.keeps(&before.entries(), |path| {
            before.files().any(|(_, file)| file == path)
        })
    }

    /// Refuses lists whose files lost all their text, where there were entries `before`: an editor or a
    /// full disk did that, not a person who wants the list to be empty. A file that has entries again was
    /// read while it was being written. A list that is fetched starts empty where its file was not `known`
    /// before, whatever had its name then.
    pub fn keeps(&self, before: &Entries, known: impl Fn(&Path) -> bool) -> Result<(), Error> {
        let now = self.entries();
        for (name, file) in self.files() {
            let entries = before.get(name).copied().unwrap_or(0);
            if entries == 0 || now.get(name).is_some_and(|now| *now > 0) || self.held.has(file) {
                continue;
            }
            let source = self.list_source(name).ok();
            if source.is_some_and(|it| it.contents.remote().is_some()) && !known(file) {
                continue;
            }
            let meant = std::fs::read_to_string(file).is_ok_and(|text| {
                let shown = file.display().to_string();
                !text.trim().is_empty() && weir_tables::parse(&text, &shown).prefixes.is_empty()
            });
            if !meant {
                return Err(Error::Emptied {
                    list: name.to_owned(),
                    file: file.to_owned(),
                    entries,
                });
            }
        }
        Ok(())
    }

    /// Refuses to go on from the text of a list's file that lost all of it: what is added to it would
    /// take the place of all entries in force.
    pub fn holds_entries(&self, list: &str, file: &Path, text: &str) -> Result<(), Error> {
        match self.entries().get(list) {
            Some(entries) if *entries > 0 && text.trim().is_empty() => Err(Error::Emptied {
                list: list.to_owned(),
                file: file.to_owned(),
                entries: *entries,
            }),
            _ => Ok(()),
        }
    }

    /// The users, one a line; `None` without a directory.
    pub fn users_text(&self) -> Option<&str> {
        self.users.as_ref().map(|users| users.as_text())
    }

    /// The lists that stand in files, and the users: each with its file.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let lists = self.config().lists.iter();
        let lists = lists.filter_map(|list| Some((list.name.as_str(), list.contents.file()?)));
        let users = self.config().directory.users.as_deref();
        lists.chain(users.map(|path| (USERS, path)))
    }

    /// What is in force of a list, as its file could hold it.
    pub fn list_text(&self, list: &str) -> String {
        let lists = self.lists.iter().filter(|one| one.name == list);
        let prefixes = lists.flat_map(|one| &one.prefixes);
        prefixes.fold(String::new(), |mut text, prefix| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{prefix}");
            text
        })
    }

    /// How many entries each list has, and how many users there are.
    pub fn entries(&self) -> Entries {
        let lists = self.lists.iter();
        let users = self.users.iter();
        lists
            .map(|list| (list.name.clone(), list.prefixes.len()))
            .chain(users.map(|users| (USERS.to_owned(), users.len())))
            .collect()
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

    /// Addresses and ports of one service.
    pub fn addresses_of(&self, service: &str) -> Vec<SocketAddr> {
        let of = self.endpoints().filter(|(name, _)| *name == service);
        of.map(|(_, address)| address).collect()
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

/// The countries of addresses, and their text as the proxy gets it.
#[derive(Debug)]
pub struct KnownCountries {
    /// The countries.
    pub countries: Countries,
    memory: Arc<OwnedFd>,
    length: u64,
    stamp: u64,
}

impl KnownCountries {
    fn read(config: &Config) -> Result<Option<Arc<Self>>, Error> {
        let read = weir_config::load_countries(config).map_err(Error::Config)?;
        let known = read.map(|(countries, text)| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let memory = weir_link::sealed::create("weir-countries", text.as_bytes())?;
            Ok::<_, Error>(Arc::new(Self {
                countries,
                memory: Arc::new(memory),
                length: text.len() as u64,
                stamp: hasher.finish(),
            }))
        });
        known.transpose()
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
    /// The numbers of its services in the kernel.
    pub ids: ServiceIds,
}

impl Generation {
    /// See [`Candidate::kernel_services`].
    pub fn kernel_services(&self, proxy_works: bool, silent: &Silent) -> Vec<ServiceSpec> {
        let candidate = &self.candidate;
        candidate.kernel_services(&self.ids, proxy_works, silent)
    }

    /// Its services, each with its number in the kernel.
    pub fn numbered(&self) -> Vec<(u16, &str)> {
        let names = self.candidate.service_names().into_iter();
        names
            .filter_map(|name| Some((self.ids.id(name)?, name)))
            .collect()
    }

    /// The servers that the kernel chooses among, each with the port at which it is to answer.
    pub fn servers(&self) -> BTreeSet<SocketAddr> {
        let services = self.candidate.config().services.iter();
        services
            .flat_map(|service| {
                let servers = service.servers.iter();
                servers.map(|server| SocketAddr::new(*server, service.ports[0]))
            })
            .collect()
    }

    /// The number of a service in the kernel.
    pub fn service_id(&self, name: &str) -> Result<u16, Error> {
        let numbered = self.numbered();
        let found = numbered.iter().find(|(_, one)| *one == name);
        found.map(|(id, _)| *id).ok_or_else(|| Error::NoService {
            wanted: format!("`{name}`"),
            known: numbered.iter().map(|(_, one)| (*one).to_owned()).collect(),
        })
    }

    /// The name of a service by its number in the kernel; empty for none.
    pub fn service_name(&self, id: Option<u16>) -> String {
        let name = id.and_then(|id| self.ids.name(id));
        name.unwrap_or_default().to_owned()
    }

    /// The names of the services.
    pub fn service_names(&self) -> Vec<String> {
        let names = self.candidate.service_names().into_iter();
        names.map(str::to_owned).collect()
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
        if let Some(users) = &self.candidate.users {
            let users = users.as_text().as_bytes();
            descriptors.push(Descriptor::Users {
                length: users.len() as u64,
            });
            sockets.push(Arc::new(weir_link::sealed::create("weir-users", users)?));
        }
        if let Some(countries) = &self.candidate.countries {
            descriptors.push(Descriptor::Countries {
                length: countries.length,
                stamp: countries.stamp,
            });
            sockets.push(Arc::clone(&countries.memory));
        }
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

    /// In words, what becomes of the proxy's classes while no proxy works.
    pub fn without_proxy(&self) -> String {
        let modes: BTreeSet<_> = self.modes().map(|(_, words)| words).collect();
        if modes.len() == 1 {
            return modes.into_iter().collect();
        }
        let services: Vec<_> = self
            .modes()
            .map(|(service, words)| format!("{service}: {words}"))
            .collect();
        services.join("; ")
    }

    fn modes(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let services = self.candidate.config().services.iter();
        services.map(|service| {
            let words = match service.proxy_down {
                ProxyDown::Reject => "its classes are rejected",
                ProxyDown::Drop => "its classes are dropped",
                ProxyDown::ForwardManaged => {
                    "managed sources are forwarded, its other classes are rejected"
                }
            };
            (service.name.as_str(), words)
        })
    }

    /// What the kernel does with each class of this service.
    pub fn verdicts(service: &ServiceSpec) -> Vec<(Class, Verdict)> {
        Class::ALL.into_iter().zip(service.verdicts).collect()
    }
}

/// The servers of a service. Where none of a family answers, all of it get connections as before: it is
/// health that chooses among them, and it may be wrong.
fn servers(service: &Service, silent: &Silent) -> Vec<ServerSpec> {
    let answers = |server: &IpAddr| !silent.contains(&SocketAddr::new(*server, service.ports[0]));
    let any = |six: bool| {
        let mut servers = service.servers.iter();
        servers.any(|server| server.is_ipv6() == six && answers(server))
    };
    let any = [any(false), any(true)];
    let servers = service.servers.iter();
    servers
        .map(|server| ServerSpec {
            address: *server,
            up: answers(server) || !any[usize::from(server.is_ipv6())],
        })
        .collect()
}

/// The files of a configuration's lists, and of its directory.
pub fn list_files(config: &Config) -> impl Iterator<Item = PathBuf> {
    let lists = config.lists.iter();
    let lists = lists.filter_map(|list| list.contents.file().map(Path::to_owned));
    lists.chain(config.directory.users.clone())
}

struct ReadLists {
    lists: Vec<List>,
    users: Option<Arc<Users>>,
    warnings: Report,
    stamps: Stamps,
    time: OffsetDateTime,
}

impl ReadLists {
    fn read(config: &Config, in_place: &BTreeMap<PathBuf, String>) -> Result<Self, Error> {
        let stamps = stamps(list_files(config));
        let time = OffsetDateTime::now_utc();
        let (lists, mut warnings) =
            weir_config::load_lists_with(config, in_place).map_err(Error::Config)?;
        let (users, notes) =
            weir_config::load_users_with(config, in_place).map_err(Error::Config)?;
        warnings.append(notes);
        Ok(Self {
            lists,
            users: users.map(Arc::new),
            warnings,
            stamps,
            time,
        })
    }
}
