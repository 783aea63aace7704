//! The listening sockets of the services: made once, kept as long as a service has the address, handed
//! to every proxy that comes, and left with the service manager for the next weir-control.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::adopt;
use crate::descriptor_store::{DescriptorStore, Inherited};
use crate::plane::Plane;
use crate::proxy_link::ProxyLink;

/// Connections that the kernel completes before the proxy accepts them. The kernel bounds it by
/// `net.core.somaxconn` (4096 since Linux 5.4).
const BACKLOG: i32 = 65_535;

/// How long a proxy that holds the sockets may take to connect; it tries again every few seconds.
const HELD_WITHIN: Duration = Duration::from_secs(10);

/// A service's address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {help}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
    help: &'static str,
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        let help = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there: find it with `ss -ltnp`, and stop it (weir-proxy is taken \
                 over when weir-control has CAP_SYS_PTRACE)"
            }
            io::ErrorKind::PermissionDenied => {
                "transparent sockets need CAP_NET_ADMIN: run weir-control as root"
            }
            _ => "check `addresses` and `ports` of the service",
        };
        Self {
            address,
            source,
            help,
        }
    }
}

/// Sockets by the address they are bound to.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    sockets: BTreeMap<SocketAddr, Arc<OwnedFd>>,
}

impl Listeners {
    /// The sockets for exactly these addresses: those that exist are kept, others are made and left in
    /// the `store`. `self` stays as it is, so that a change which fails later loses nothing.
    pub async fn with(
        &self,
        addresses: &[SocketAddr],
        plane: &Plane,
        store: &DescriptorStore,
    ) -> Result<Self, crate::Error> {
        let mut sockets = BTreeMap::new();
        for address in addresses.iter().copied() {
            let socket = match self.sockets.get(&address) {
                Some(kept) => Arc::clone(kept),
                None => Arc::new(
                    plane
                        .run(move |plane| plane.listen(address))
                        .await?
                        .map_err(|source| ListenError::new(address, source))?,
                ),
            };
            sockets.insert(address, socket);
        }
        let all = sockets.iter();
        let all = all.map(|(address, socket)| (*address, Arc::clone(socket)));
        store.keep(all.collect()).await;
        Ok(Self { sockets })
    }

    /// Like [`Listeners::with`], for a weir-control that has just started. Sockets from the time before
    /// come from the service manager's store or, those that it did not keep, from the proxy that holds
    /// them, as soon as it connects.
    pub async fn at_start(
        addresses: &[SocketAddr],
        inherited: Inherited,
        store: &DescriptorStore,
        plane: &Plane,
        link: &ProxyLink,
    ) -> Result<Self, crate::Error> {
        let taken_over = store.take_over(inherited, addresses).await;
        let mut kept = Self::default();
        kept.insert(taken_over);
        match kept.with(addresses, plane, store).await {
            Err(crate::Error::Listen(error)) if error.source.kind() == io::ErrorKind::AddrInUse => {
            }
            result => return result,
        }
        tracing::info!("a service's address is in use: waiting for the proxy that may hold it");
        let mut peers = link.peers();
        let connected = peers.wait_for(|peers| peers.current().is_some());
        let pid = match tokio::time::timeout(HELD_WITHIN, connected).await {
            Ok(Ok(peers)) => peers.current().map(|peer| peer.pid),
            _ => None,
        };
        if let Some(pid) = pid {
            let missing = |address: &&SocketAddr| !kept.sockets.contains_key(address);
            let wanted: Vec<_> = addresses.iter().filter(missing).copied().collect();
            let adopted = tokio::task::spawn_blocking(move || adopt::listeners(pid, &wanted)).await;
            match adopted {
                Ok(Ok(sockets)) => {
                    tracing::info!(pid, sockets = sockets.len(), "taken over from the proxy");
                    kept.insert(sockets);
                }
                Ok(Err(error)) => {
                    tracing::error!(pid, %error, "the proxy's sockets cannot be taken over");
                }
                Err(error) => {
                    tracing::error!(pid, %error, "the proxy's sockets cannot be taken over");
                }
            }
        }
        kept.with(addresses, plane, store).await
    }

    fn insert(&mut self, sockets: Vec<(SocketAddr, OwnedFd)>) {
        let sockets = sockets.into_iter();
        self.sockets
            .extend(sockets.map(|(address, socket)| (address, Arc::new(socket))));
    }

    /// The socket bound to this address.
    pub fn get(&self, address: SocketAddr) -> Option<Arc<OwnedFd>> {
        self.sockets.get(&address).map(Arc::clone)
    }

    /// Number of sockets.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

/// A listening socket for an address that need not be local (`IP_TRANSPARENT`, ip(7)). The address
/// and the option stay with the socket when it is handed to a process without privileges.
pub fn transparent(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => set_ip_transparent_v6(&socket)?,
    }
    listen(&socket, address)?;
    Ok(socket.into())
}

/// Binds and listens as every listener of Weir does.
pub fn listen(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if let SocketAddr::V6(v6) = address {
        debug_assert_ne!(
            *v6.ip(),
            Ipv6Addr::UNSPECIFIED,
            "a service has its own address"
        );
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}

/// `IPV6_TRANSPARENT`, ipv6(7), for which neither socket2 nor nix has a name.
fn set_ip_transparent_v6(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the value is a readable int of the length that is given.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IPV6,
            libc::IPV6_TRANSPARENT,
            (&raw const on).cast(),
            size_of_val(&on)
                .try_into()
                .expect("an int has a small size"),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
