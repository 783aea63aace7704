//! The kernel plane, seen from the brain: everything that needs privileges, behind one small trait
//! and on a thread of its own.
//!
//! The calls of `weir_dataplane` block and belong to one thread in Weir's network namespace, and so
//! does the making of transparent listeners. [`Plane`] owns that thread and hands it jobs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use tokio::sync::oneshot;
use weir_abi::Class;
use weir_dataplane::{
    CaptureFilter, Counter, Dataplane, Error, GrantSpec, Lost, Options, Probe, ProbeOutcome,
    Published, SeenPacket, ServiceSpec, Status,
};
use weir_tables::KernelTables;

/// What the brain asks of the kernel.
pub trait KernelPlane {
    /// A listening socket for a service's address, which need not be an address of this machine.
    fn listen(&mut self, address: SocketAddr) -> io::Result<OwnedFd>;
    /// See [`Dataplane::set_services`].
    fn set_services(&mut self, services: &[ServiceSpec]) -> Result<(), Error> {
        self.switch(None, Some(services)).map(drop)
    }
    /// See [`Dataplane::switch`].
    fn switch(
        &mut self,
        tables: Option<&KernelTables>,
        services: Option<&[ServiceSpec]>,
    ) -> Result<Published, Error>;
    /// See [`Dataplane::inherited`].
    fn inherited(&self) -> Result<Option<KernelTables>, Error>;
    /// See [`Dataplane::cut`].
    fn cut(&mut self, local: &[SocketAddr], goes: &dyn Fn(IpAddr) -> bool) -> Result<usize, Error>;
    /// See [`Dataplane::connected`].
    fn connected(&self, local: &[SocketAddr], far: SocketAddr) -> Result<bool, Error>;
    /// See [`Dataplane::set_principal`].
    fn set_principal(&mut self, index: u32, class: Class) -> Result<(), Error>;
    /// See [`Dataplane::grant`].
    fn grant(&mut self, source: IpAddr, grant: Option<&GrantSpec>) -> Result<(), Error>;
    /// See [`Dataplane::granted`].
    fn granted(&self) -> Vec<IpAddr>;
    /// See [`Dataplane::counters`].
    fn counters(&self) -> Result<Vec<Counter>, Error>;
    /// See [`Dataplane::forget_counters`].
    fn forget_counters(&mut self, services: &[u16]) -> Result<(), Error>;
    /// See [`Dataplane::down`].
    fn down(&self) -> Result<Vec<(u16, IpAddr)>, Error>;
    /// See [`Dataplane::probe`].
    fn probe(&self, packet: &Probe) -> Result<ProbeOutcome, Error>;
    /// See [`Dataplane::flows`].
    fn flows(&mut self) -> Vec<SeenPacket>;
    /// See [`Dataplane::lost`].
    fn lost(&self) -> Result<Lost, Error>;
    /// See [`Dataplane::capture`].
    fn capture(&mut self, wanted: Option<&CaptureFilter>) -> Result<(), Error>;
    /// See [`Dataplane::captured`].
    fn captured(&mut self) -> Vec<SeenPacket>;
    /// See [`Dataplane::hold`].
    fn hold(&mut self) -> Result<Vec<String>, Error>;
    /// See [`Dataplane::status`].
    fn status(&self) -> Status;
    /// See [`Dataplane::detach`].
    fn detach(self: Box<Self>) -> Result<(), Error>;
}

impl KernelPlane for Dataplane {
    fn listen(&mut self, address: SocketAddr) -> io::Result<OwnedFd> {
        crate::listeners::transparent(address)
    }

    fn switch(
        &mut self,
        tables: Option<&KernelTables>,
        services: Option<&[ServiceSpec]>,
    ) -> Result<Published, Error> {
        Self::switch(self, tables, services, &mut |_| {})
    }

    fn inherited(&self) -> Result<Option<KernelTables>, Error> {
        Self::inherited(self)
    }

    fn cut(&mut self, local: &[SocketAddr], goes: &dyn Fn(IpAddr) -> bool) -> Result<usize, Error> {
        Self::cut(self, local, goes)
    }

    fn connected(&self, local: &[SocketAddr], far: SocketAddr) -> Result<bool, Error> {
        Self::connected(self, local, far)
    }

    fn set_principal(&mut self, index: u32, class: Class) -> Result<(), Error> {
        Self::set_principal(self, index, class)
    }

    fn grant(&mut self, source: IpAddr, grant: Option<&GrantSpec>) -> Result<(), Error> {
        Self::grant(self, source, grant)
    }

    fn granted(&self) -> Vec<IpAddr> {
        Self::granted(self)
    }

    fn counters(&self) -> Result<Vec<Counter>, Error> {
        Self::counters(self)
    }

    fn forget_counters(&mut self, services: &[u16]) -> Result<(), Error> {
        Self::forget_counters(self, services)
    }

    fn down(&self) -> Result<Vec<(u16, IpAddr)>, Error> {
        Self::down(self)
    }

    fn probe(&self, packet: &Probe) -> Result<ProbeOutcome, Error> {
        Self::probe(self, packet)
    }

    fn flows(&mut self) -> Vec<SeenPacket> {
        Self::flows(self)
    }

    fn lost(&self) -> Result<Lost, Error> {
        Self::lost(self)
    }

    fn capture(&mut self, wanted: Option<&CaptureFilter>) -> Result<(), Error> {
        Self::capture(self, wanted)
    }

    fn captured(&mut self) -> Vec<SeenPacket> {
        Self::captured(self)
    }

    fn hold(&mut self) -> Result<Vec<String>, Error> {
        Self::hold(self)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    fn detach(self: Box<Self>) -> Result<(), Error> {
        Self::detach(*self)
    }
}

/// The thread of the kernel plane ended before it answered: it panicked, and the log says why.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the kernel plane's thread has ended; restart weir-control (the kernel goes on as it is)")]
pub struct Ended;

type Job = Box<dyn FnOnce(&mut dyn KernelPlane) + Send>;

enum Message {
    Do(Job),
    Detach(oneshot::Sender<Result<(), Error>>),
}

/// A handle on the kernel plane's thread. When the last one is dropped the thread ends and leaves
/// everything pinned and running.
#[derive(Clone, Debug)]
pub struct Plane {
    jobs: mpsc::Sender<Message>,
}

impl Plane {
    /// Opens the kernel plane of this network namespace.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        Self::start(move || Ok(Box::new(Dataplane::open(&options)?))).await
    }

    /// Starts a thread with the plane that `make` makes there.
    pub async fn start<F>(make: F) -> Result<Self, OpenError>
    where
        F: FnOnce() -> Result<Box<dyn KernelPlane>, Error> + Send + 'static,
    {
        let (jobs, inbox) = mpsc::channel::<Message>();
        let (answer, opened) = oneshot::channel();
        std::thread::Builder::new()
            .name("kernel-plane".into())
            .spawn(move || {
                let mut plane = match make() {
                    Ok(plane) => plane,
                    Err(error) => {
                        let _ = answer.send(Err(error));
                        return;
                    }
                };
                if answer.send(Ok(())).is_err() {
                    return;
                }
                while let Ok(message) = inbox.recv() {
                    match message {
                        Message::Do(job) => job(&mut *plane),
                        Message::Detach(answer) => {
                            let _ = answer.send(plane.detach());
                            return;
                        }
                    }
                }
            })?;
        opened.await.map_err(|_| Ended)??;
        Ok(Self { jobs })
    }

    /// Runs `job` on the plane's thread, after those before it.
    pub async fn run<T, F>(&self, job: F) -> Result<T, Ended>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn KernelPlane) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |plane| {
            let _ = answer.send(job(plane));
        });
        self.jobs.send(Message::Do(job)).map_err(|_| Ended)?;
        answered.await.map_err(|_| Ended)
    }

    /// Takes Weir out of the kernel and ends the thread.
    pub async fn detach(&self) -> Result<(), OpenError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Message::Detach(answer)).map_err(|_| Ended)?;
        Ok(answered.await.map_err(|_| Ended)??)
    }
}

/// The kernel plane could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data plane's own error.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// See [`Ended`].
    #[error(transparent)]
    Ended(#[from] Ended),
    /// No thread could be made.
    #[error("cannot start a thread for the kernel plane: {0}")]
    Thread(#[from] io::Error),
}
