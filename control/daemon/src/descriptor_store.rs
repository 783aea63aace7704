//! The service manager's descriptor store: listening sockets that outlive both daemons.
//!
//! What is left there (sd_notify(3), `FDSTORE=1`) comes back to the next weir-control by the protocol of
//! sd_listen_fds(3): `LISTEN_FDS` descriptors from number 3 on, meant for the process `LISTEN_PID`.
//! Connections that wait in such a socket wait on, whoever dies. Sockets are known by the address that
//! they are bound to; their names are for the store alone.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{SockRef, Type};
use weir_link::notify::Notify;

/// The first descriptor that is handed over, `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;
/// The variables of the protocol.
const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Descriptors that the service manager handed over, each with its name in the store.
#[derive(Debug, Default)]
pub struct Inherited(pub Vec<(String, OwnedFd)>);

impl Inherited {
    /// Takes what the environment tells of, and takes the variables out of it, so that no child believes
    /// that they are meant for it.
    ///
    /// # Safety
    ///
    /// Called once, before there is a second thread, and before anything else owns the descriptors from
    /// 3 on.
    pub unsafe fn from_env() -> Self {
        let [pid, count, names] = VARIABLES.map(|name| {
            let value = std::env::var(name).ok();
            // SAFETY: the caller says that nobody else reads the environment now.
            unsafe { std::env::remove_var(name) };
            value
        });
        let names = names_of(pid.as_deref(), count.as_deref(), names.as_deref());
        let taken = (FIRST..).zip(names).map(|(number, name)| {
            // SAFETY: the caller says that nobody else owns it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            (name, descriptor)
        });
        let open = taken.filter(|(name, descriptor)| {
            let set = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
            if let Err(error) = set {
                tracing::warn!(name, %error, "the service manager tells of a descriptor that is not there");
            }
            set.is_ok()
        });
        Self(open.collect())
    }
}

/// The names of the descriptors that are meant for this process.
fn names_of(pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Vec<String> {
    let mine = pid.and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut names = names.into_iter().flat_map(|names| names.split(':'));
    // What systemd itself calls a descriptor without a name.
    (0..if mine { count } else { 0_u16 })
        .map(|_| names.next().unwrap_or("unknown").to_owned())
        .collect()
}

/// The store, as far as weir-control knows what lies in it. Copies are of the same.
#[derive(Clone, Debug)]
pub struct DescriptorStore {
    notify: Notify,
    known: Arc<Mutex<Known>>,
}

/// What lies in the store.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Addresses of the sockets.
    pub kept: BTreeSet<SocketAddr>,
    /// How many came from it when weir-control started.
    pub taken_over: usize,
    /// Why the service manager could not be reached the last time.
    pub trouble: Option<String>,
}

impl DescriptorStore {
    /// The store of this service manager.
    pub fn new(notify: Notify) -> Self {
        Self {
            notify,
            known: Arc::default(),
        }
    }

    /// Whether there is a service manager.
    pub fn is_there(&self) -> bool {
        self.notify.is_heard()
    }

    /// What lies in it.
    pub fn known(&self) -> Known {
        self.lock().clone()
    }

    /// Sorts out what was handed over: sockets that listen on one of the `wanted` addresses come back,
    /// all others are closed, here and in the store.
    pub async fn take_over(
        &self,
        inherited: Inherited,
        wanted: &[SocketAddr],
    ) -> Vec<(SocketAddr, OwnedFd)> {
        let mut found = Vec::new();
        let mut unwanted = Vec::new();
        for (name, descriptor) in inherited.0 {
            match listens_on(&descriptor).filter(|address| wanted.contains(address)) {
                Some(address) if self.lock().kept.insert(address) => {
                    found.push((address, descriptor));
                }
                _ => unwanted.push(name),
            }
        }
        self.lock().taken_over = found.len();
        let names: BTreeSet<_> = found.iter().map(|(address, _)| name(*address)).collect();
        // A second one of the same name would take the first with it.
        unwanted.retain(|unwanted| !names.contains(unwanted));
        self.forget(unwanted).await;
        found
    }

    /// Leaves a copy of each socket that is not there yet.
    pub async fn keep(&self, sockets: Vec<(SocketAddr, Arc<OwnedFd>)>) {
        let store = self.clone();
        self.off_the_runtime(move || {
            for (address, socket) in sockets {
                if store.lock().kept.contains(&address) {
                    continue;
                }
                store.notify.keep(&name(address), socket.as_fd())?;
                store.lock().kept.insert(address);
            }
            Ok(())
        })
        .await;
    }

    /// Lets go of every socket whose address is not `wanted`.
    pub async fn retain(&self, wanted: &[SocketAddr]) {
        let mut gone = Vec::new();
        self.lock().kept.retain(|address| {
            let keep = wanted.contains(address);
            if !keep {
                gone.push(name(*address));
            }
            keep
        });
        self.forget(gone).await;
    }

    async fn forget(&self, names: Vec<String>) {
        let notify = self.notify.clone();
        self.off_the_runtime(move || names.iter().try_for_each(|name| notify.forget(name)))
            .await;
    }

    /// The service manager may take its time.
    async fn off_the_runtime(&self, work: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
        if !self.is_there() {
            return;
        }
        let done = tokio::task::spawn_blocking(work).await;
        let trouble = match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(ended) => Some(ended.to_string()),
        };
        if let Some(error) = &trouble {
            tracing::warn!(
                error,
                "the service manager's descriptor store cannot be reached"
            );
        }
        self.lock().trouble = trouble;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a socket in the store: `listener-c000020a-443`. A name there has no colon.
pub fn name(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => format!("listener-{:08x}-{port}", ip.to_bits()),
        IpAddr::V6(ip) => format!("listener-{:032x}-{port}", ip.to_bits()),
    }
}

/// The address of a listening TCP socket; `None` for anything else.
fn listens_on(descriptor: &OwnedFd) -> Option<SocketAddr> {
    let socket = SockRef::from(descriptor);
    let listens = socket.is_listener().unwrap_or(false);
    if !listens || socket.r#type().ok()? != Type::STREAM {
        return None;
    }
    socket.local_addr().ok()?.as_socket()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_address() {
        let name = |address: &str| name(address.parse().expect("an address"));
        assert_eq!(name("192.0.2.10:443"), "listener-c000020a-443");
        assert_eq!(
            name("[2001:db8:10::10]:49443"),
            "listener-20010db8001000000000000000000010-49443"
        );
    }

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        let me = std::process::id().to_string();
        let names = |pid, count, names| names_of(pid, count, names);
        assert_eq!(names(Some(&me), Some("2"), Some("a:b")), ["a", "b"]);
        assert_eq!(names(Some(&me), Some("2"), Some("a")), ["a", "unknown"]);
        assert_eq!(names(Some(&me), Some("1"), None), ["unknown"]);
        assert!(names(Some("1"), Some("2"), Some("a:b")).is_empty());
        assert!(names(None, Some("2"), Some("a:b")).is_empty());
        assert!(names(Some(&me), Some("-2"), Some("a:b")).is_empty());
        assert!(names(Some(&me), None, Some("a:b")).is_empty());
    }
}
