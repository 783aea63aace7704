//! A generation, compiled: what every new connection and request is judged by.
//!
//! In: [`weir_link::Generation`] and its descriptors, and the directory that is in force beside it. Out: [`Live`],
//! immutable and shared. What does not change from one generation to the next (connections to an upstream, TLS
//! tickets, the directory) is carried over. Compiling never touches the generation in force: what cannot be compiled is refused.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use http::HeaderValue;
use ipnet::IpNet;
use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use time::UtcDateTime;
use weir_link::{Descriptor, Generation, UpstreamKind, sealed};
use weir_policy::{
    Classified, Classify, Countries, Country, Facts, Policy, Ruling, Users, headers,
};
use weir_tables::{Lists, Scope};

use crate::directory::{Asking, Held, Tenant};
use crate::rates::Rates;
use crate::tls;
use crate::token::{Tokens, Unfit};
use crate::upstream::Upstream;

/// The compiled generation in force.
pub struct Live {
    /// [`Generation::number`].
    pub number: u64,
    /// Name of this appliance.
    pub appliance: String,
    /// Hops that must speak PROXY protocol v2.
    pub proxy_protocol_from: Vec<IpNet>,
    /// The lists of sources.
    pub sources: Sources,
    /// The users of the directory, when there is one.
    users: Option<Arc<Users>>,
    /// The directory of the tenant, when there is one.
    tenant: Option<Tenant>,
    /// How often they sign in.
    rates: Arc<Rates>,
    services: HashMap<String, Arc<Service>>,
    by_address: HashMap<SocketAddr, Arc<Service>>,
}

/// A compiled service.
pub struct Service {
    /// Name from the configuration.
    pub name: String,
    /// Host names that are terminated, lower case.
    pub hosts: Vec<String>,
    /// Host names that are never decrypted, lower case.
    pub tunnel: Vec<String>,
    /// The rules.
    pub policy: Policy,
    /// How its tokens are looked at, when they are.
    pub tokens: Option<Tokens>,
    /// TLS towards clients.
    pub tls: Arc<ServerConfig>,
    /// What stands behind it.
    pub upstream: Arc<Upstream>,
    /// Its kind, in the words of header hygiene.
    pub upstream_kind: headers::Upstream,
    ticketer: Arc<dyn ProducesTickets>,
}

/// The lists of sources, as policy asks for them.
#[derive(Clone, Default)]
pub struct Sources {
    lists: Arc<Lists>,
    countries: Option<Arc<Stamped>>,
}

/// Countries, and by what they are known again.
struct Stamped {
    countries: Countries,
    stamp: u64,
}

/// Why a generation cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Descriptors and their names do not go together.
    #[error(transparent)]
    Link(#[from] weir_link::Error),
    /// The memory of the lists cannot be read.
    #[error("the lists: {0}")]
    Memory(#[from] sealed::Error),
    /// The lists in it are of another version.
    #[error("the lists: {0}")]
    Lists(#[from] weir_tables::FromBytesError),
    /// The users cannot be read.
    #[error("the users of the directory: {0}")]
    Users(String),
    /// The countries cannot be read.
    #[error("the countries of addresses: {0}")]
    Countries(String),
    /// There are no lists at all.
    #[error("the generation has no lists; weir-control and weir-proxy must be of one version")]
    NoLists,
    /// The name of the appliance cannot stand in a header. Without `X-MS-Proxy` AD FS would take every
    /// request for an internal one.
    #[error(
        "the appliance's name is empty or cannot stand in a header; give it letters and digits"
    )]
    Appliance,
    /// A descriptor is not the listening socket that it is said to be.
    #[error("the descriptor for {address} is not a TCP socket that listens there")]
    Listener {
        /// The address.
        address: SocketAddr,
    },
    /// A listening socket names a service that the generation does not have.
    #[error(
        "the listener at {address} is for service `{service}`, which the generation does not have"
    )]
    UnknownService {
        /// The address.
        address: SocketAddr,
        /// The name.
        service: String,
    },
    /// Tokens cannot be looked at.
    #[error("service `{service}`: {why}")]
    Tokens {
        /// The service.
        service: String,
        /// Why.
        why: Unfit,
    },
    /// Nobody says which tokens may be posted.
    #[error(
        "service `{service}` has reply URLs, and nothing says by whose keys and for whom the tokens are that \
         are posted there; write `[service.tokens]` with `tokens_of` and `audiences`"
    )]
    Replies {
        /// The service.
        service: String,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The rules do not compile.
    #[error("the rules of service `{service}` do not compile: {why}")]
    Policy {
        /// Name of the service.
        service: String,
        /// Every error, one after the other.
        why: String,
    },
}

impl Live {
    /// What is in force before the first generation: nothing is served.
    pub fn empty() -> Self {
        Self {
            number: 0,
            appliance: String::new(),
            proxy_protocol_from: Vec::new(),
            sources: Sources::default(),
            users: None,
            tenant: None,
            rates: Arc::default(),
            services: HashMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// Compiles a generation. `before` is the one in force, from which connections and tickets are
    /// carried over. Gives the listening sockets beside it.
    pub fn compile(
        generation: Generation,
        descriptors: Vec<OwnedFd>,
        before: &Self,
    ) -> Result<(Self, Vec<(SocketAddr, TcpListener)>), Refused> {
        let name = HeaderValue::from_str(&generation.appliance);
        if name.is_err() || generation.appliance.trim().is_empty() {
            return Err(Refused::Appliance);
        }
        let mut lists = None;
        let mut users = None;
        let mut countries = None;
        let mut listeners = Vec::new();
        let mut names = Vec::new();
        for (descriptor, fd) in generation.attach(descriptors)? {
            match descriptor {
                Descriptor::Listener { service, address } => {
                    let listener = TcpListener::from(fd);
                    if !listens_at(&listener, address) {
                        return Err(Refused::Listener { address });
                    }
                    listeners.push((address, listener));
                    names.push((address, service));
                }
                Descriptor::Lists { length } => {
                    lists = Some(Arc::new(Lists::from_bytes(&sealed::read(fd, length)?)?));
                }
                Descriptor::Users { length } => {
                    users = Some(Arc::new(read_users(fd, length)?));
                }
                Descriptor::Countries { length, stamp } => {
                    let before = before.sources.countries.as_ref();
                    countries = Some(match before.filter(|before| before.stamp == stamp) {
                        Some(before) => Arc::clone(before),
                        None => Arc::new(read_countries(fd, length, stamp)?),
                    });
                }
            }
        }
        let mut services = HashMap::new();
        for service in &generation.services {
            let earlier = before.services.get(&service.name);
            let compiled = Service::compile(service, earlier.map(Arc::as_ref))?;
            services.insert(service.name.clone(), Arc::new(compiled));
        }
        let mut by_address = HashMap::new();
        for (address, service) in names {
            let Some(found) = services.get(&service) else {
                return Err(Refused::UnknownService { address, service });
            };
            by_address.insert(address, Arc::clone(found));
        }
        let live = Self {
            number: generation.number,
            appliance: generation.appliance,
            proxy_protocol_from: generation.proxy_protocol_from,
            sources: Sources {
                lists: lists.ok_or(Refused::NoLists)?,
                countries,
            },
            users,
            tenant: (before.tenant.as_ref()).map(|tenant| tenant.for_services(&services)),
            rates: Arc::clone(&before.rates),
            services,
            by_address,
        };
        Ok((live, listeners))
    }

    /// The same generation with another directory of the tenant, or none.
    #[must_use]
    pub fn with_directory(&self, directory: Option<Arc<Held>>) -> Self {
        Self {
            number: self.number,
            appliance: self.appliance.clone(),
            proxy_protocol_from: self.proxy_protocol_from.clone(),
            sources: self.sources.clone(),
            users: self.users.clone(),
            tenant: directory.map(|held| Tenant::new(held, &self.services)),
            rates: Arc::clone(&self.rates),
            services: self.services.clone(),
            by_address: self.by_address.clone(),
        }
    }

    /// Judges a request to a service now, and writes into the facts what the directory said.
    pub fn judge(&self, service: &Service, facts: &mut Facts) -> Ruling {
        let now = UtcDateTime::now();
        let (users, tenant) = (self.users.as_deref(), self.tenant.as_ref());
        let directory = Asking::new(users, tenant, &self.rates, &service.name, now);
        service.policy.judge(facts, &directory)
    }

    /// The service whose listening socket has this address.
    pub fn service_at(&self, address: SocketAddr) -> Option<&Arc<Service>> {
        self.by_address.get(&address)
    }

    /// Every service.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Whether a peer must introduce its clients by PROXY protocol v2.
    pub fn is_proxy_hop(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxy_protocol_from
            .iter()
            .any(|prefix| prefix.contains(&peer))
    }
}

impl Service {
    /// Whoever serves reply URLs verifies what is posted there, and knows for whom it must be.
    fn tokens_of(service: &weir_link::Service, policy: &Policy) -> Result<Option<Tokens>, Refused> {
        let audiences = service.tokens.iter().map(|tokens| tokens.audiences.len());
        if policy.profile().replies() && audiences.sum::<usize>() == 0 {
            let service = service.name.clone();
            return Err(Refused::Replies { service });
        }
        let decides = service.policy.decide_at_token;
        let tokens = service.tokens.as_ref();
        let compiled = tokens.map(|tokens| Tokens::compile(tokens, decides));
        compiled.transpose().map_err(|why| Refused::Tokens {
            service: service.name.clone(),
            why,
        })
    }

    fn compile(service: &weir_link::Service, before: Option<&Self>) -> Result<Self, Refused> {
        let policy = Policy::compile(&service.policy).map_err(|errors| Refused::Policy {
            service: service.name.clone(),
            why: errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        })?;
        let upstream = match before {
            Some(before) if *before.upstream.spec() == service.upstream => {
                Arc::clone(&before.upstream)
            }
            _ => Arc::new(Upstream::new(&service.name, &service.upstream)?),
        };
        let ticketer = match before {
            Some(before) => Arc::clone(&before.ticketer),
            None => tls::ticketer()?,
        };
        Ok(Self {
            name: service.name.clone(),
            hosts: lower(&service.hosts),
            tunnel: lower(&service.tunnel),
            tokens: Self::tokens_of(service, &policy)?,
            policy,
            tls: tls::server(service, Arc::clone(&ticketer))?,
            upstream,
            upstream_kind: match service.upstream.kind {
                UpstreamKind::Wap => headers::Upstream::Wap,
                UpstreamKind::Adfs => headers::Upstream::Adfs,
                UpstreamKind::Plain => headers::Upstream::Plain,
            },
            ticketer,
        })
    }
}

impl Classify for Sources {
    fn classify(&self, source: IpAddr) -> Classified {
        let found = self.lists.find(source);
        Classified {
            class: found.class,
            web_only: found.scope == Scope::Web,
            list: found.list.map(str::to_owned),
        }
    }

    fn country(&self, source: IpAddr) -> Option<Country> {
        self.countries.as_ref()?.countries.find(source)
    }
}

fn read_countries(memory: OwnedFd, length: u64, stamp: u64) -> Result<Stamped, Refused> {
    let text = read_text(memory, length).map_err(Refused::Countries)?;
    let countries = Countries::parse(&text).map_err(|errors| {
        let first = errors.first().map(ToString::to_string);
        Refused::Countries(first.unwrap_or_default())
    })?;
    Ok(Stamped { countries, stamp })
}

fn read_text(memory: OwnedFd, length: u64) -> Result<String, String> {
    let bytes = sealed::read(memory, length).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn read_users(memory: OwnedFd, length: u64) -> Result<Users, Refused> {
    let text = read_text(memory, length).map_err(Refused::Users)?;
    Users::parse(&text).map_err(|errors| {
        let first = errors.first().map(ToString::to_string);
        Refused::Users(first.unwrap_or_default())
    })
}

fn lower(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn listens_at(listener: &TcpListener, address: SocketAddr) -> bool {
    use nix::sys::socket::{getsockopt, sockopt};
    listener.local_addr().is_ok_and(|actual| actual == address)
        && getsockopt(listener, sockopt::AcceptConn).unwrap_or(false)
}
