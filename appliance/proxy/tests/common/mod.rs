//! A stage for the proxy: this file plays weir-control, the sign-in server and the clients, on
//! loopback addresses. Everything between them is real: sockets, TLS, HTTP, rules and lists.

#![allow(dead_code, reason = "each test file uses a part of the stage")]

pub mod client;
pub mod pki;
pub mod upstream;

use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use weir_abi::Class;
use weir_link::notify::Notify;
use weir_link::{
    Certificate, Channel, Counted, Counts, Descriptor, Event, FromProxy, Generation, Sender,
    Service, ToProxy, Upstream, UpstreamKind, VERSION, sealed,
};
use weir_policy::{PolicySpec, RuleSetName};
use weir_proxy::limits::Limits;
use weir_tables::{List, Lists, Origin, Scope};

use client::Source;
use pki::Pki;
use upstream::SignIn;

/// Host name of the service.
pub const HOST: &str = "sts.corp.example";
/// A name that is never decrypted.
pub const TUNNEL: &str = "certauth.sts.corp.example";
/// Name of the appliance.
pub const APPLIANCE: &str = "weir-test";

/// Addresses of clients, by what the lists say of them.
pub const MANAGED: Source = Source(Ipv4Addr::new(127, 0, 0, 10));
pub const BYPASS: Source = Source(Ipv4Addr::new(127, 0, 0, 20));
pub const BYPASS_WEB: Source = Source(Ipv4Addr::new(127, 0, 0, 25));
pub const RELAY: Source = Source(Ipv4Addr::new(127, 0, 0, 30));
pub const BLOCKED: Source = Source(Ipv4Addr::new(127, 0, 0, 40));
pub const UNMANAGED: Source = Source(Ipv4Addr::new(127, 0, 0, 50));

/// Nothing in these tests takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The whole stage.
pub struct Stage {
    pub pki: Pki,
    pub upstream: SignIn,
    pub control: Control,
    pub address: SocketAddr,
    proxy: JoinHandle<()>,
    stop: Option<oneshot::Sender<Duration>>,
}

/// What a test may want otherwise.
pub struct Setting {
    pub kind: UpstreamKind,
    pub http1_only: bool,
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    /// Servers in front of the real one, such as one that is down.
    pub servers_before: Vec<SocketAddr>,
    pub limits: Limits,
    pub notify: Notify,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            kind: UpstreamKind::Wap,
            http1_only: false,
            proxy_protocol_from: Vec::new(),
            servers_before: Vec::new(),
            limits: Limits::default(),
            notify: Notify::default(),
        }
    }
}

impl Stage {
    /// A proxy in front of a sign-in server that answers every request with 200 and `hello`.
    pub async fn new() -> Self {
        Self::with(Setting::default(), |_| upstream::text(200, "hello")).await
    }

    /// A proxy in front of a sign-in server that answers as `answer` says.
    pub async fn with(setting: Setting, answer: impl upstream::Answers) -> Self {
        let limits = setting.limits;
        let notify = setting.notify.clone();
        Self::around(setting, answer, move |control, stopped| {
            let options = weir_proxy::Options {
                control,
                max_connections: 1000,
                limits,
                notify,
            };
            // A stage that is dropped stops its proxy too.
            let stopped = async { stopped.await.unwrap_or(Duration::ZERO) };
            tokio::spawn(weir_proxy::run(options, stopped))
        })
        .await
    }

    /// The same around a proxy that `start` starts; its task ends when the proxy does.
    pub async fn around(
        setting: Setting,
        answer: impl upstream::Answers,
        start: impl FnOnce(PathBuf, oneshot::Receiver<Duration>) -> JoinHandle<()>,
    ) -> Self {
        let pki = Pki::new();
        let upstream = SignIn::start(&pki, answer).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxy.sock");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UnixListener::bind(&path).unwrap();
        // The proxy may be another user's process.
        for (path, mode) in [(directory.path(), 0o755), (path.as_path(), 0o777)] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let (stop, stopped) = oneshot::channel();
        let proxy = start(path.clone(), stopped);
        let plan = Plan::new(&pki, &upstream, &setting);
        let mut control = Control {
            plan,
            listeners: vec![listener],
            path,
            _directory: directory,
            link: None,
        };
        control.accept(socket).await;
        control
            .publish(1)
            .await
            .expect("the first generation is good");
        Self {
            pki,
            upstream,
            control,
            address,
            proxy,
            stop: Some(stop),
        }
    }

    /// The next event; there must be one.
    pub async fn event(&mut self) -> Event {
        self.control.event().await
    }

    /// Ends the proxy as a signal would, and waits until it has ended.
    pub async fn stop(mut self, grace: Duration) {
        self.stop
            .take()
            .expect("stopped once")
            .send(grace)
            .expect("the proxy runs");
        patiently(self.proxy).await.unwrap();
    }

    /// Waits until the proxy has ended by itself.
    pub async fn ended(self) {
        patiently(self.proxy).await.unwrap();
    }
}

/// What the played weir-control would have read from a configuration.
pub struct Plan {
    /// Chain and key.
    pub certificate: (String, String),
    pub hosts: Vec<String>,
    pub upstream: Upstream,
    pub http1_only: bool,
    pub proxy_protocol_from: Vec<ipnet::IpNet>,
    pub lists: Vec<List>,
    pub policy: PolicySpec,
    /// How tokens are looked at.
    pub tokens: Option<weir_link::Tokens>,
    /// Users of the directory, one a line.
    pub users: Option<&'static str>,
    /// Name of the appliance.
    pub appliance: String,
}

impl Plan {
    fn new(pki: &Pki, upstream: &SignIn, setting: &Setting) -> Self {
        let mut servers = setting.servers_before.clone();
        servers.push(upstream.address);
        Self {
            certificate: pki.issue(&[HOST]),
            hosts: vec![HOST.into()],
            upstream: Upstream {
                kind: setting.kind,
                servers,
                server_name: HOST.into(),
                ca: Some(pki.ca_pem()),
            },
            http1_only: setting.http1_only,
            proxy_protocol_from: setting.proxy_protocol_from.clone(),
            lists: vec![
                list("hq", Class::Managed, Scope::All, MANAGED),
                list("casb", Class::Bypass, Scope::All, BYPASS),
                list("kiosk", Class::Bypass, Scope::Web, BYPASS_WEB),
                list("exchange-online", Class::Relay, Scope::All, RELAY),
                list("bad", Class::Blocked, Scope::All, BLOCKED),
            ],
            policy: PolicySpec {
                service: "sts".into(),
                profile: "adfs".into(),
                rule_set: RuleSetName::Office365Strict,
                outlook: None,
                windows_logon_rate: weir_policy::Rate::default(),
                windows_logon: weir_policy::WindowsLogonSetting::Block,
                reverse_proxy: Some("https://sts-corp-example.proxy.example{query}".into()),
                rules: Vec::new(),
                switched_off: Vec::new(),
                applications: std::collections::BTreeMap::new(),
                locations: std::collections::BTreeMap::default(),
                claims: Vec::new(),
                claims_any_case: false,
                decide_at_token: false,
            },
            tokens: None,
            users: None,
            appliance: APPLIANCE.into(),
        }
    }

    fn services(&self) -> Vec<Service> {
        let (chain, key) = self.certificate.clone();
        vec![Service {
            name: "sts".into(),
            hosts: self.hosts.clone(),
            tunnel: vec![TUNNEL.into()],
            upstream: self.upstream.clone(),
            certificates: vec![Certificate { chain, key }],
            http1_only: self.http1_only,
            policy: self.policy.clone(),
            tokens: self.tokens.clone(),
        }]
    }
}

pub fn list(name: &str, class: Class, scope: Scope, source: Source) -> List {
    List {
        name: name.into(),
        class,
        scope,
        origin: Origin::Local,
        prefixes: vec![IpAddr::V4(source.0).into()],
    }
}

/// The played weir-control.
pub struct Control {
    pub plan: Plan,
    pub listeners: Vec<TcpListener>,
    pub path: PathBuf,
    _directory: TempDir,
    link: Option<Linked>,
}

struct Linked {
    sender: Sender,
    events: mpsc::UnboundedReceiver<Event>,
    counts: mpsc::UnboundedReceiver<Counts>,
    answers: mpsc::UnboundedReceiver<Result<u64, String>>,
    drains: watch::Receiver<bool>,
    told: mpsc::UnboundedReceiver<FromProxy>,
    tally: watch::Receiver<Vec<(Counted, u64)>>,
    reader: JoinHandle<()>,
}

impl Control {
    /// Waits for the proxy to connect to `socket`, and for its `Hello`.
    pub async fn accept(&mut self, socket: UnixListener) {
        let (stream, _) = patiently(socket.accept()).await.unwrap();
        let (sender, mut receiver) = Channel::new(stream).split();
        let (hello, _) = patiently(receiver.receive()).await.unwrap().unwrap();
        assert!(
            matches!(
                hello,
                FromProxy::Hello {
                    version: VERSION,
                    ..
                }
            ),
            "{hello:?}"
        );
        let (to_events, events) = mpsc::unbounded_channel();
        let (to_counts, counts) = mpsc::unbounded_channel();
        let (to_answers, answers) = mpsc::unbounded_channel();
        let (to_told, told) = mpsc::unbounded_channel();
        let (to_tally, tally) = watch::channel(Vec::new());
        let (to_drains, drains) = watch::channel(false);
        let reader = tokio::spawn(async move {
            while let Ok(Some((message, _))) = receiver.receive::<FromProxy>().await {
                // A test that is over listens to nothing any more.
                let _ = match message {
                    FromProxy::Event(event) => to_events.send(*event).is_ok(),
                    FromProxy::Heartbeat(now) => to_counts.send(now).is_ok(),
                    FromProxy::Ready { generation } => to_answers.send(Ok(generation)).is_ok(),
                    FromProxy::Refused { why, .. } => to_answers.send(Err(why)).is_ok(),
                    FromProxy::Draining => to_drains.send(true).is_ok(),
                    FromProxy::Tally { rows } => to_tally.send(rows).is_ok(),
                    FromProxy::Hello { .. } => panic!("a second Hello"),
                    told => to_told.send(told).is_ok(),
                };
            }
        });
        self.link = Some(Linked {
            sender,
            events,
            counts,
            answers,
            drains,
            told,
            tally,
            reader,
        });
    }

    /// Dies: the socket closes, and the path is free for the next one.
    pub fn die(&mut self) {
        self.link.take().expect("alive").reader.abort();
        std::fs::remove_file(&self.path).unwrap();
    }

    /// Comes back: listens anew at the same path and waits for the proxy.
    pub async fn come_back(&mut self) {
        let socket = UnixListener::bind(&self.path).unwrap();
        self.accept(socket).await;
    }

    /// Sends the plan as a generation; gives the proxy's answer.
    pub async fn publish(&mut self, number: u64) -> Result<u64, String> {
        let lists = Lists::compile(&self.plan.lists).to_bytes();
        let memory = sealed::create("lists", &lists).unwrap();
        let mut descriptors: Vec<Descriptor> = Vec::new();
        for listener in &self.listeners {
            let address = listener.local_addr().unwrap();
            descriptors.push(Descriptor::Listener {
                service: "sts".into(),
                address,
            });
        }
        descriptors.push(Descriptor::Lists {
            length: lists.len() as u64,
        });
        let users = self.plan.users.map(|users| {
            descriptors.push(Descriptor::Users {
                length: users.len() as u64,
            });
            sealed::create("users", users.as_bytes()).unwrap()
        });
        let generation = Generation {
            number,
            descriptors,
            services: self.plan.services(),
            proxy_protocol_from: self.plan.proxy_protocol_from.clone(),
            appliance: self.plan.appliance.clone(),
        };
        let mut attached: Vec<_> = self.listeners.iter().map(AsFd::as_fd).collect();
        attached.push(memory.as_fd());
        attached.extend(users.as_ref().map(AsFd::as_fd));
        let link = self.link.as_mut().expect("alive");
        let message = ToProxy::Generation(Box::new(generation));
        link.sender.send(&message, &attached).await.unwrap();
        patiently(link.answers.recv()).await.expect("an answer")
    }

    /// Offers a directory, in this memory; gives the proxy's answer.
    pub async fn offer(
        &mut self,
        (epoch, length): (u64, u64),
        max_age: Duration,
        memory: &[OwnedFd],
    ) -> Result<u64, String> {
        let message = ToProxy::Directory {
            epoch,
            length,
            max_age,
        };
        self.say(&message, memory).await;
        self.taken().await
    }

    /// Takes the directory away.
    pub async fn take_away(&mut self) -> Result<u64, String> {
        self.say(&ToProxy::NoDirectory, &[]).await;
        self.taken().await
    }

    async fn say(&mut self, message: &ToProxy, memory: &[OwnedFd]) {
        let attached: Vec<_> = memory.iter().map(AsFd::as_fd).collect();
        let link = self.link.as_mut().expect("alive");
        link.sender.send(message, &attached).await.unwrap();
    }

    async fn taken(&mut self) -> Result<u64, String> {
        match self.told().await {
            FromProxy::DirectoryTaken { epoch } => Ok(epoch),
            FromProxy::DirectoryRefused { why, .. } => Err(why),
            other => panic!("{other:?}"),
        }
    }

    /// Tells the proxy to drain.
    pub async fn drain(&mut self, grace: Duration) {
        let link = self.link.as_mut().expect("alive");
        link.sender
            .send(&ToProxy::Drain { grace }, &[])
            .await
            .unwrap();
    }

    /// What the proxy counted by names, once that is such.
    pub async fn tally(
        &mut self,
        wanted: impl Fn(&[(Counted, u64)]) -> bool,
    ) -> Vec<(Counted, u64)> {
        let tally = &mut self.link.as_mut().expect("alive").tally;
        let rows = patiently(tally.wait_for(|rows| wanted(rows))).await;
        rows.expect("it is connected").clone()
    }

    /// Waits until the proxy says that it drains.
    pub async fn drains(&mut self) {
        let link = self.link.as_mut().expect("alive");
        let said = patiently(link.drains.wait_for(|drains| *drains)).await;
        said.expect("it says so before it ends");
    }

    /// The next event; there must be one.
    pub async fn event(&mut self) -> Event {
        let link = self.link.as_mut().expect("alive");
        patiently(link.events.recv()).await.expect("an event")
    }

    /// The next thing that the proxy tells of sign-ins or keys.
    pub async fn told(&mut self) -> FromProxy {
        let link = self.link.as_mut().expect("alive");
        patiently(link.told.recv())
            .await
            .expect("something is told")
    }

    /// Whether nothing more was told of sign-ins or keys, up to the next heartbeat.
    pub async fn nothing_told(&mut self) -> bool {
        self.counts(|_| true).await;
        let link = self.link.as_mut().expect("alive");
        link.told.try_recv().is_err()
    }

    /// Waits for a heartbeat whose counts are as `wanted` says.
    pub async fn counts(&mut self, wanted: impl Fn(&Counts) -> bool) -> Counts {
        let link = self.link.as_mut().expect("alive");
        loop {
            let counts = patiently(link.counts.recv()).await.expect("a heartbeat");
            if wanted(&counts) {
                return counts;
            }
        }
    }

    /// The counts of the last heartbeat before the proxy closes the link.
    pub async fn last_counts(&mut self) -> Counts {
        let link = self.link.as_mut().expect("alive");
        let mut last = Counts::default();
        while let Some(counts) = patiently(link.counts.recv()).await {
            last = counts;
        }
        last
    }

    /// Asserts that no event waits. Only after something that comes behind them.
    pub fn no_more_events(&mut self) {
        let event = self.link.as_mut().expect("alive").events.try_recv();
        assert!(event.is_err(), "{event:?}");
    }
}

/// Fails the test when something does not happen.
pub async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens in time")
}
