//! A kernel plane in memory.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::sync::watch;
use weir_abi::{Class, Hook, Reason, Standing, Verdict};
use weir_dataplane::{
    CaptureFilter, Counter, Direction, Error, GrantSpec, InterfaceStatus, Lost, Probe,
    ProbeOutcome, Published, SeenPacket, ServiceSpec, Status, since_boot,
};
use weir_tables::KernelTables;

use crate::listeners;
use crate::plane::KernelPlane;

/// What the kernel plane holds.
#[derive(Debug, Default)]
pub struct State {
    /// The services.
    pub services: Vec<ServiceSpec>,
    /// The tables.
    pub tables: Option<Arc<KernelTables>>,
    /// How often tables were published.
    pub published: u64,
    /// What the next publication answers instead of switching.
    pub refuse: Option<String>,
    /// What somebody took away, until it is put back.
    pub gone: Vec<String>,
    /// What is counted.
    pub counters: Vec<Counter>,
    /// What status warns of.
    pub warnings: Vec<String>,
    /// How far the grants of principals open, by index.
    pub principals: BTreeMap<u32, Class>,
    /// What addresses were granted.
    pub grants: BTreeMap<IpAddr, GrantSpec>,
    /// Connections that end at this machine: to where, from whom.
    pub connections: Vec<(SocketAddr, IpAddr)>,
    /// They cannot be ended.
    pub uncut: bool,
    /// Far ends that no service has a connection from: each one has all others.
    pub absent: Vec<SocketAddr>,
    /// Addresses that cannot be granted anything, or lose it.
    pub stuck: Vec<IpAddr>,
    /// Beginnings of flows that are told of at the next look.
    pub flows: Vec<SeenPacket>,
    /// What could not be told.
    pub lost: Lost,
    /// The capture that is running.
    pub capture: Option<CaptureFilter>,
    /// Frames that it has taken.
    pub frames: Vec<SeenPacket>,
    /// The program is not loaded: nobody can ask it.
    pub unloaded: bool,
}

/// A kernel plane in memory, shared with the test.
#[derive(Clone, Debug, Default)]
pub struct FakeKernel {
    state: watch::Sender<State>,
}

impl FakeKernel {
    /// Changes what it holds.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// What it does with a class of the first service.
    pub fn verdict(&self, class: Class) -> Verdict {
        let state = self.state.borrow();
        state
            .services
            .first()
            .map_or(Verdict::Pass, |service| service.verdicts[class as usize])
    }

    /// What an address was granted, and up to which class the grants of its principal open.
    pub fn granted_to(&self, source: IpAddr) -> Option<(GrantSpec, Class)> {
        granted_to(&self.state.borrow(), source)
    }

    /// Waits until what an address was granted is such.
    pub async fn until_granted(
        &self,
        source: IpAddr,
        holds: impl Fn(Option<(GrantSpec, Class)>) -> bool,
    ) {
        let holds = |state: &State| holds(granted_to(state, source));
        self.state
            .subscribe()
            .wait_for(holds)
            .await
            .expect("the sender is held here");
    }

    /// Class of a source by the published tables.
    pub fn class(&self, source: IpAddr) -> Class {
        class(&self.state.borrow(), source)
    }

    /// What the published tables say of a source.
    pub fn standing(&self, source: IpAddr) -> Standing {
        let tables = self.state.borrow().tables.clone();
        tables.map_or_else(Standing::default, |tables| tables.standing(source))
    }

    /// Waits until the tables say this of a source.
    pub async fn until_standing(&self, source: IpAddr, wanted: Standing) {
        let holds = |state: &State| {
            let tables = state.tables.as_ref();
            tables.is_some_and(|tables| tables.standing(source) == wanted)
        };
        self.state
            .subscribe()
            .wait_for(holds)
            .await
            .expect("the sender is held here");
    }

    /// How often tables were published.
    pub fn published(&self) -> u64 {
        self.state.borrow().published
    }

    /// Waits until it does this with a class of the first service.
    pub async fn until_verdict(&self, of: Class, verdict: Verdict) {
        let holds = |state: &State| {
            state
                .services
                .first()
                .is_some_and(|service| service.verdicts[of as usize] == verdict)
        };
        self.state
            .subscribe()
            .wait_for(holds)
            .await
            .expect("the sender is held here");
    }

    /// Waits until a capture is running, or none; gives it.
    pub async fn until_capture(&self, running: bool) -> Option<CaptureFilter> {
        let holds = |state: &State| state.capture.is_some() == running;
        let mut state = self.state.subscribe();
        let state = state.wait_for(holds).await;
        state.expect("the sender is held here").capture.clone()
    }

    /// The servers of the first service that get new connections.
    pub fn up(&self) -> Vec<IpAddr> {
        up(&self.state.borrow())
    }

    /// Waits until these servers of the first service, and no others, get new connections.
    pub async fn until_up(&self, servers: &[IpAddr]) {
        let holds = |state: &State| up(state) == servers;
        self.state
            .subscribe()
            .wait_for(holds)
            .await
            .expect("the sender is held here");
    }

    /// Waits until a source has this class.
    pub async fn until_class(&self, source: IpAddr, wanted: Class) {
        let holds = |state: &State| class(state, source) == wanted;
        self.state
            .subscribe()
            .wait_for(holds)
            .await
            .expect("the sender is held here");
    }
}

impl KernelPlane for FakeKernel {
    /// What is not a loopback address becomes one, at a port of the kernel's choice.
    fn listen(&mut self, address: SocketAddr) -> io::Result<OwnedFd> {
        let address = if address.ip().is_loopback() {
            address
        } else {
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        listeners::listen(&socket, address)?;
        Ok(socket.into())
    }

    fn switch(
        &mut self,
        tables: Option<&KernelTables>,
        services: Option<&[ServiceSpec]>,
    ) -> Result<Published, Error> {
        let mut refused = None;
        self.change(|state| {
            if let Some(tables) = tables {
                refused = state.refuse.take();
                if refused.is_some() {
                    return;
                }
                state.tables = Some(Arc::new(tables.clone()));
                state.published += 1;
            }
            if let Some(services) = services {
                state.services = services.to_vec();
            }
        });
        match refused {
            Some(detail) => Err(Error::Tables { detail }),
            None => Ok(Published::default()),
        }
    }

    /// What is left from whoever held it before.
    fn inherited(&self) -> Result<Option<KernelTables>, Error> {
        Ok(self.state.borrow().tables.as_deref().cloned())
    }

    fn cut(&mut self, local: &[SocketAddr], goes: &dyn Fn(IpAddr) -> bool) -> Result<usize, Error> {
        if self.state.borrow().uncut {
            return Err(Error::Unsupported {
                what: "ending connections",
                needs: "CONFIG_INET_DIAG_DESTROY",
            });
        }
        let mut ended = 0;
        self.change(|state| {
            let before = state.connections.len();
            let stays = |(to, from): &(SocketAddr, IpAddr)| !(local.contains(to) && goes(*from));
            state.connections.retain(stays);
            ended = before - state.connections.len();
        });
        Ok(ended)
    }

    fn connected(&self, local: &[SocketAddr], far: SocketAddr) -> Result<bool, Error> {
        let state = self.state.borrow();
        Ok(!local.is_empty() && !state.absent.contains(&far))
    }

    fn set_principal(&mut self, index: u32, class: Class) -> Result<(), Error> {
        self.change(|state| {
            state.principals.insert(index, class);
        });
        Ok(())
    }

    fn grant(&mut self, source: IpAddr, grant: Option<&GrantSpec>) -> Result<(), Error> {
        if self.state.borrow().stuck.contains(&source) {
            let detail = format!("{source} is stuck");
            return Err(Error::Tables { detail });
        }
        self.change(|state| {
            match grant {
                Some(grant) => state.grants.insert(source, *grant),
                None => state.grants.remove(&source),
            };
        });
        Ok(())
    }

    fn granted(&self) -> Vec<IpAddr> {
        self.state.borrow().grants.keys().copied().collect()
    }

    fn counters(&self) -> Result<Vec<Counter>, Error> {
        Ok(self.state.borrow().counters.clone())
    }

    fn forget_counters(&mut self, services: &[u16]) -> Result<(), Error> {
        let stays = |counter: &Counter| !services.contains(&counter.service);
        self.change(|state| state.counters.retain(stays));
        Ok(())
    }

    fn down(&self) -> Result<Vec<(u16, IpAddr)>, Error> {
        let state = self.state.borrow();
        let down = state.services.iter().flat_map(|service| {
            let down = service.servers.iter().filter(|server| !server.up);
            down.map(|server| (service.id, server.address))
        });
        Ok(down.collect())
    }

    fn probe(&self, packet: &Probe) -> Result<ProbeOutcome, Error> {
        let state = self.state.borrow();
        if state.unloaded {
            return Err(Error::Probe("no outside interface has a program"));
        }
        let listed = class(&state, packet.source);
        let class = match granted_to(&state, packet.source) {
            Some((grant, up_to)) if listed == Class::Unmanaged && grant.expires > since_boot() => {
                if up_to == Class::Managed {
                    grant.class
                } else {
                    up_to
                }
            }
            _ => listed,
        };
        let owns = |service: &&ServiceSpec| {
            service.addresses.contains(&packet.destination) && service.ports.contains(&packet.port)
        };
        let service = state.services.iter().find(owns);
        Ok(ProbeOutcome {
            service: service.map(|service| service.id),
            // The program looks no class up for a packet that is no service's.
            class: service.map_or(Class::Unmanaged, |_| class),
            verdict: service.map_or(Verdict::Pass, |service| service.verdicts[class as usize]),
            reason: Reason::Class,
            hook: Hook::Tcx,
            observed: service.is_some_and(|service| service.observe),
            hook_why: None,
            interface: "outside0".to_owned(),
        })
    }

    fn flows(&mut self) -> Vec<SeenPacket> {
        if self.state.borrow().flows.is_empty() {
            return Vec::new();
        }
        let mut flows = Vec::new();
        self.change(|state| flows = std::mem::take(&mut state.flows));
        flows
    }

    fn lost(&self) -> Result<Lost, Error> {
        Ok(self.state.borrow().lost)
    }

    fn capture(&mut self, wanted: Option<&CaptureFilter>) -> Result<(), Error> {
        self.change(|state| state.capture = wanted.cloned());
        Ok(())
    }

    fn captured(&mut self) -> Vec<SeenPacket> {
        let mut frames = Vec::new();
        self.change(|state| frames = std::mem::take(&mut state.frames));
        frames
    }

    fn hold(&mut self) -> Result<Vec<String>, Error> {
        if self.state.borrow().gone.is_empty() {
            return Ok(Vec::new());
        }
        let mut back = Vec::new();
        self.change(|state| back = std::mem::take(&mut state.gone));
        Ok(back)
    }

    fn status(&self) -> Status {
        let interface = |name: &str, direction, program| InterfaceStatus {
            name: name.to_owned(),
            index: program,
            direction,
            hook: "tcx",
            why: "a kernel plane in memory has no driver that could pass packets on before tcx"
                .to_owned(),
            program,
            pin: format!("pin/{name}").into(),
            xdp: None,
        };
        Status {
            interfaces: vec![
                interface("outside0", Direction::Outside, 1),
                interface("inside0", Direction::Inside, 2),
            ],
            warnings: self.state.borrow().warnings.clone(),
            lost: self.state.borrow().lost,
            ..Status::default()
        }
    }

    fn detach(self: Box<Self>) -> Result<(), Error> {
        self.change(|state| state.services.clear());
        Ok(())
    }
}

fn granted_to(state: &State, source: IpAddr) -> Option<(GrantSpec, Class)> {
    let grant = state.grants.get(&source)?;
    let class = state.principals.get(&grant.principal).copied();
    Some((*grant, class.unwrap_or_default()))
}

fn up(state: &State) -> Vec<IpAddr> {
    let servers = state.services.first().map(|service| &service.servers);
    let up = servers.into_iter().flatten().filter(|server| server.up);
    up.map(|server| server.address).collect()
}

fn class(state: &State, source: IpAddr) -> Class {
    state
        .tables
        .as_ref()
        .map_or(Class::Unmanaged, |tables| tables.standing(source).class())
}
