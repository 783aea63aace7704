//! The lab's cloud as it runs: its listeners, and what tests hold of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use http::StatusCode;
use http::header::DATE;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;
use weir_lab_servers::http::{Handler, Request, Response, answer};
use weir_lab_servers::jwt::Jwt;
use weir_lab_servers::log::Log;
use weir_lab_servers::saml::sign::Signer;
use weir_lab_servers::server::{self, Names};

use crate::admin::Admin;
use crate::chance::Chance;
use crate::faults::{self, Act, Fault, Service};
use crate::graph::Graph;
use crate::material::{self, Material};
use crate::token::Login;
use crate::token::machine::Machine;
use crate::world::clock::http_date;
use crate::world::{Edit, Quirks, World, fabrik, populate};

/// How the lab starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What decides everything that is left to chance.
    pub seed: u64,
    /// How the services behave where Microsoft says little.
    pub quirks: Quirks,
    /// Whether there is a tenant with something of everything; else there is an empty one.
    pub filled: bool,
    /// The host name in the addresses of login and Graph.
    pub hosts: [String; 2],
    /// Where login, Graph, the machine's identity, the administration and the foreign host listen.
    pub listen: [SocketAddr; 5],
    /// Where keys and the log stand; if nowhere, in a folder that goes with the lab.
    pub directory: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            seed: 1,
            quirks: Quirks::default(),
            filled: true,
            hosts: ["localhost", "localhost"].map(str::to_owned),
            listen: [any; 5],
            directory: None,
        }
    }
}

/// Why the lab cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener, a key or the log.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// Key material.
    #[error(transparent)]
    Material(#[from] weir_lab_servers::pki::Error),
    /// A folder or a file.
    #[error("cannot use {path}: {error} (is it writable?)")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// The addresses by which the services are known to clients.
#[derive(Debug, Clone)]
pub struct Places {
    /// `https://login...`, without a slash at the end.
    pub login: String,
    /// `https://graph...`
    pub graph: String,
    /// The machine's identity, in clear text.
    pub machine: String,
    /// The administration, in clear text.
    pub admin: String,
    /// A host that is none of the cloud's: nobody should ever send it a token.
    pub elsewhere: String,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The host and port that were asked.
    pub host: String,
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Status of the answer.
    pub status: StatusCode,
    /// Whether it carried a token.
    pub token: bool,
}

/// What all handlers share; nothing of it is for tests.
pub struct Shared {
    world: Mutex<World>,
    seen: Mutex<Vec<Seen>>,
    pub(crate) jwt: Jwt,
    pub(crate) places: Places,
    pub(crate) seal: hmac::Key,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// The world. A test that failed while it held the lock leaves it usable for the others.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the script has for a request, after the wait that it asks for.
    pub(crate) async fn meet(&self, service: Service, request: &Request) -> Met {
        let met = {
            let mut world = self.world();
            let target = request.uri.to_string();
            Met {
                acts: world.faults.meet(service, request.method.as_str(), &target),
                now: world.clock.now(),
                chance: world.next_request(),
            }
        };
        tokio::time::sleep(faults::delay(&met.acts)).await;
        met
    }

    fn see(&self, request: &Request, status: StatusCode) {
        let seen = Seen {
            host: request.header("host").unwrap_or_default().to_owned(),
            method: request.method.to_string(),
            target: request.uri.to_string(),
            status,
            token: request.header("authorization").is_some(),
        };
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seen);
    }
}

/// What a handler begins with.
pub(crate) struct Met {
    /// What goes wrong.
    pub(crate) acts: Vec<Act>,
    /// When the request came.
    pub(crate) now: OffsetDateTime,
    /// Its chance.
    pub(crate) chance: Chance,
}

/// The lab's cloud, running until it is dropped.
#[derive(Debug)]
pub struct Entra {
    shared: Arc<Shared>,
    material: Material,
    directory: PathBuf,
    _temporary: Option<TempDir>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Entra {
    /// Starts it on loopback, with the tenant "Fabrik am See".
    pub async fn start() -> Self {
        Self::with(Settings::default())
            .await
            .expect("loopback has free ports and temporary files can be written")
    }

    /// Starts it as told.
    pub async fn with(settings: Settings) -> Result<Self, Error> {
        let (directory, temporary) = if let Some(directory) = &settings.directory {
            (directory.clone(), None)
        } else {
            let made = tempfile::tempdir().map_err(|error| Error::File {
                path: std::env::temp_dir(),
                error,
            })?;
            (made.path().to_owned(), Some(made))
        };
        let material = keys(&directory, &settings, temporary.is_some())?;
        let file = |name| material::path(&directory, name);
        let mut listeners = Vec::new();
        for address in settings.listen {
            listeners.extend(server::bind(&[address]).await?);
        }
        let places = places(&settings, &listeners);
        let log = file("log.jsonl");
        let log = Log::open("entra", &log).map_err(|error| Error::File { path: log, error })?;
        let signer = Signer::load(&file(material::SIGNING_KEY), &file(material::SIGNING))?;
        let mut world = World::new(settings.seed);
        world.quirks = settings.quirks;
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            seen: Mutex::default(),
            jwt: Jwt::new(&signer)?,
            places,
            seal: hmac::Key::new(hmac::HMAC_SHA256, &settings.seed.to_be_bytes()),
        });
        let certificate = CertificateDer::from_pem_slice(material.get(material::APP).as_bytes())
            .expect("it was made or loaded as a certificate")
            .to_vec();
        if settings.filled {
            fabrik::fabrik(&mut shared.world(), certificate, signer.certificate());
        } else {
            populate::bare(&mut shared.world(), certificate);
        }
        let (stop, stopped) = watch::channel(false);
        let mut lab = Self {
            shared,
            material,
            directory,
            _temporary: temporary,
            stop,
            tasks: Vec::new(),
        };
        lab.serve(listeners, &settings.hosts, &Arc::new(log), &stopped)?;
        Ok(lab)
    }

    /// Address of login, as a URL without a path.
    pub fn login(&self) -> &str {
        &self.shared.places.login
    }

    /// Address of Graph, as a URL without a path.
    pub fn graph(&self) -> &str {
        &self.shared.places.graph
    }

    /// Address of the machine's identity (`http://169.254.169.254` in the field).
    pub fn machine(&self) -> &str {
        &self.shared.places.machine
    }

    /// Address of the administration.
    pub fn admin(&self) -> &str {
        &self.shared.places.admin
    }

    /// Address of a host that is none of the cloud's, has the same certificate, and notes who comes.
    pub fn elsewhere(&self) -> &str {
        &self.shared.places.elsewhere
    }

    /// The authority to trust, as PEM.
    pub fn ca(&self) -> &str {
        self.material.get(material::CA)
    }

    /// The authority to trust, as a file.
    pub fn ca_file(&self) -> PathBuf {
        material::path(&self.directory, material::CA)
    }

    /// The application's certificate, as PEM.
    pub fn certificate(&self) -> &str {
        self.material.get(material::APP)
    }

    /// The key to the application's certificate, as PEM (PKCS #8).
    pub fn key(&self) -> &str {
        self.material.get(material::APP_KEY)
    }

    /// Everything that there is. Do not hold it across a wait.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Changes the first tenant.
    pub fn edit<R>(&self, change: impl FnOnce(&mut Edit<'_>) -> R) -> R {
        let mut world = self.world();
        let first = world.tenants[0].id;
        change(&mut world.edit(first).expect("it is the first"))
    }

    /// Id of the first tenant.
    pub fn tenant(&self) -> Uuid {
        self.world().tenants[0].id
    }

    /// Adds to the script of what goes wrong.
    pub fn fault(&self, fault: Fault) {
        self.world().faults.add(fault);
    }

    /// The requests that were answered so far, by any of the hosts, but not those to the administration.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = &self.shared.seen;
        seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the listeners end, which they do when asked to by a signal.
    pub async fn wait(mut self, mut stopped: watch::Receiver<bool>) {
        let _ = stopped.wait_for(|stopped| *stopped).await;
        let _ = self.stop.send(true);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }

    fn serve(
        &mut self,
        listeners: Vec<TcpListener>,
        hosts: &[String; 2],
        log: &Arc<Log>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let mut names = Names::default();
        for host in hosts.iter().map(String::as_str).chain(["localhost"]) {
            names.add(
                host,
                &material::path(&self.directory, material::CHAIN),
                &material::path(&self.directory, material::KEY),
                &["h2", "http/1.1"],
                None,
            )?;
        }
        let shared = &self.shared;
        let [login, graph, machine, admin, elsewhere] =
            <[TcpListener; 5]>::try_from(listeners).expect("one for each address");
        let tls = Some(names);
        let runs = Runs { log, stop };
        self.tasks = vec![
            runs.serve(
                login,
                tls.clone(),
                Witness(shared.clone(), Login(shared.clone())),
            ),
            runs.serve(
                graph,
                tls.clone(),
                Witness(shared.clone(), Graph(shared.clone())),
            ),
            runs.serve(
                machine,
                None,
                Witness(shared.clone(), Machine(shared.clone())),
            ),
            runs.serve(admin, None, Admin(shared.clone())),
            runs.serve(elsewhere, tls, Witness(shared.clone(), Elsewhere)),
        ];
        Ok(())
    }
}

impl Drop for Entra {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

struct Runs<'a> {
    log: &'a Arc<Log>,
    stop: &'a watch::Receiver<bool>,
}

impl Runs<'_> {
    fn serve<H: Handler>(
        &self,
        listener: TcpListener,
        names: Option<Names>,
        handler: H,
    ) -> JoinHandle<()> {
        let (log, stop) = (self.log.clone(), self.stop.clone());
        tokio::spawn(server::serve(
            vec![listener],
            names,
            Arc::new(handler),
            log,
            stop,
        ))
    }
}

/// Notes what a handler answered.
struct Witness<H>(Arc<Shared>, H);

impl<H: Handler> Handler for Witness<H> {
    async fn handle(&self, request: Request) -> Response {
        let mut response = self.1.handle(request.clone()).await;
        let date = http_date(self.0.world().clock.now());
        let headers = response.headers_mut();
        headers.entry(DATE).or_insert(date);
        self.0.see(&request, response.status());
        response
    }
}

/// A host that is none of the cloud's.
struct Elsewhere;

impl Handler for Elsewhere {
    async fn handle(&self, _request: Request) -> Response {
        answer(StatusCode::OK, "application/json", r#"{"value":[]}"#)
    }
}

/// Made once in a process for labs that go with their test; kept where a folder is named.
fn keys(directory: &Path, settings: &Settings, temporary: bool) -> Result<Material, Error> {
    let save = |material: &Material| {
        material.save(directory).map_err(|error| Error::File {
            path: directory.to_owned(),
            error,
        })
    };
    if !temporary && let Ok(kept) = Material::load(directory) {
        return Ok(kept);
    }
    let usual = settings
        .hosts
        .iter()
        .all(|host| material::NAMES.contains(&host.as_str()));
    let material = if usual {
        Material::shared().clone()
    } else {
        let usual = material::NAMES.map(str::to_owned);
        Material::new(&[&usual[..], &settings.hosts].concat())?
    };
    save(&material)?;
    Ok(material)
}

fn places(settings: &Settings, listeners: &[TcpListener]) -> Places {
    let port = |at: usize| {
        let address = listeners[at].local_addr();
        address.expect("it is bound").port()
    };
    let secure = |host: &str, at: usize| match port(at) {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    };
    let clear = |at: usize| {
        let address = listeners[at].local_addr().expect("it is bound");
        format!("http://{address}")
    };
    Places {
        login: secure(&settings.hosts[0], 0),
        graph: secure(&settings.hosts[1], 1),
        machine: clear(2),
        admin: clear(3),
        elsewhere: secure("localhost", 4),
    }
}
