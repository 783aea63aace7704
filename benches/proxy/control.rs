//! Plays weir-control for a real weir-proxy: hands it a generation over the link, and reads what it tells.
//!
//! Events are received and decoded on the others' processors, as weir-control does it in its own process.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;
use tokio::net::UnixListener;
use weir_abi::Class;
use weir_benches::rules;
use weir_link::{
    Certificate, Channel, Descriptor, FromProxy, Generation, Service, ToProxy, Upstream,
    UpstreamKind, sealed,
};
use weir_tables::{List, Lists, Origin, Scope};

use crate::stage::{HOST, Stage};

/// Rules in front of the default ones, as a large organisation may have written.
pub const OWN_RULES: usize = 1_000;
/// `nobody`, on every Linux.
const NOBODY: u32 = 65534;
const PATIENCE: Duration = Duration::from_secs(20);

/// What plays weir-control.
pub struct Control {
    path: PathBuf,
    address: SocketAddr,
    told: Arc<Told>,
    ready: mpsc::Receiver<Result<()>>,
}

/// What the proxy has told.
#[derive(Default)]
pub struct Told {
    /// Audit events.
    pub events: AtomicU64,
    /// Events that it could not tell, by its last heartbeat.
    pub lost: AtomicU64,
}

impl Control {
    /// Waits for a proxy, on a thread of its own.
    pub fn listen(stage: &Stage) -> Result<Self> {
        let path = stage.file("control.sock");
        // Of the proxy before this one.
        let _ = std::fs::remove_file(&path);
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let socket = std::os::unix::net::UnixListener::bind(&path)?;
        socket.set_nonblocking(true)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
        let (say, ready) = mpsc::channel();
        let told = Arc::new(Told::default());
        let hears = Arc::clone(&told);
        let service = service(stage);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs an epoll descriptor");
            let served = runtime.block_on(serve(socket, listener, service, &hears, &say));
            // Nobody listens any more, once the generation is in force.
            let _ = say.send(served);
        });
        Ok(Self {
            path,
            address,
            told,
            ready,
        })
    }

    /// A proxy without privileges, which connects here.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let folder = self.path.parent().context("a socket lies in a folder")?;
        // Where the other user may execute it, wherever the build is.
        let copy = folder.join("weir-proxy");
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(program, &copy)
            .with_context(|| format!("cannot copy {}", program.display()))?;
        let mut command = Command::new(copy);
        command
            .arg("--control")
            .arg(&self.path)
            .env("WEIR_LOG", "error");
        if Uid::effective().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Ok(command)
    }

    /// Waits until the proxy judges by the generation.
    pub fn put_in_force(self) -> Result<Self> {
        let ready = self.ready.recv_timeout(PATIENCE);
        ready.context("weir-proxy does not come up")??;
        Ok(self)
    }

    /// Where the proxy serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Audit events so far, and those that were lost.
    pub fn events(&self) -> (u64, u64) {
        let Told { events, lost } = &*self.told;
        (events.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
    }
}

async fn serve(
    socket: std::os::unix::net::UnixListener,
    listener: std::net::TcpListener,
    service: Service,
    told: &Told,
    ready: &mpsc::Sender<Result<()>>,
) -> Result<()> {
    let (stream, _) = UnixListener::from_std(socket)?.accept().await?;
    let (mut sender, mut receiver) = Channel::new(stream).split();
    let lists = Lists::compile(&[List {
        name: "casb".into(),
        class: Class::Bypass,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: vec!["127.0.0.0/8".parse()?],
    }])
    .to_bytes();
    let memory = sealed::create("lists", &lists)?;
    let generation = Generation {
        number: 1,
        descriptors: vec![
            Descriptor::Listener {
                service: service.name.clone(),
                address: listener.local_addr()?,
            },
            Descriptor::Lists {
                length: lists.len() as u64,
            },
        ],
        services: vec![service],
        proxy_protocol_from: Vec::new(),
        appliance: "weir-bench".into(),
    };
    let message = ToProxy::Generation(Box::new(generation));
    sender
        .send(&message, &[listener.as_fd(), memory.as_fd()])
        .await?;
    while let Some((message, _)) = receiver.receive::<FromProxy>().await? {
        match message {
            FromProxy::Event(_) => {
                told.events.fetch_add(1, Ordering::Relaxed);
            }
            FromProxy::Heartbeat(counts) => told.lost.store(counts.events_lost, Ordering::Relaxed),
            FromProxy::Ready { .. } => ready.send(Ok(()))?,
            FromProxy::Refused { why, .. } => bail!("weir-proxy refuses the generation: {why}"),
            _ => {}
        }
    }
    Ok(())
}

/// The default rules for Office 365 behind an administrator's own, none of which is met.
fn service(stage: &Stage) -> Service {
    let flows = ["active", "metadata", "sign-out"];
    let own =
        (0..OWN_RULES).map(|number| rules::block(number, flows[number % flows.len()], "unmanaged"));
    let (chain, key) = stage.certificate.clone();
    Service {
        name: "sts".into(),
        hosts: vec![HOST.into()],
        tunnel: Vec::new(),
        upstream: Upstream {
            kind: UpstreamKind::Wap,
            servers: vec![stage.backend()],
            server_name: HOST.into(),
            ca: Some(stage.authority.clone()),
        },
        certificates: vec![Certificate { chain, key }],
        http1_only: false,
        policy: rules::behind(own.collect()),
        tokens: None,
    }
}
