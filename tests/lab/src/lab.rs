//! A lab from beginning to end: claimed, raised, used, taken down, whatever happens in between.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use weir_lab_servers::plan::Plan;

use crate::cleanup::{Claim, State, run_directory, sweep};
use crate::exec::{Entry, Identity, clean};
use crate::hosts::Hosts;
use crate::netns::{Netns, Part};
use crate::settings::{self, Hook, Places, STRICT, Settings, Setup};
use crate::sources::{Class, Family, PROXY_UID};
use crate::supervisor::{Manager, Ready, Service, Supervisor, Unit, managed};
use crate::weir::{self, Control};
use crate::{require, tenant, topology};

/// What a lab is made from.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the lab; two labs with different names can stand at once.
    pub instance: String,
    /// Directory of configuration, keys, logs and results.
    pub out: PathBuf,
    /// Directory of `weir-control`, `weir-proxy`, `weir` and `weir-lab-servers`.
    pub bin_dir: PathBuf,
    /// The kernel object.
    pub object: PathBuf,
    /// Rules of the policy that are skipped.
    pub switched_off: Vec<String>,
    /// Where the kernel plane is told to decide.
    pub hook: Option<Hook>,
    /// Whether there is a tenant of Entra in the cloud.
    pub tenant: bool,
}

/// A standing lab.
#[derive(Debug)]
pub struct Lab {
    /// What it is made from, with absolute paths.
    pub options: Options,
    /// Its directory in memory, which every user of the lab can read.
    pub run: PathBuf,
    /// Names, addresses, users.
    pub plan: Plan,
    /// Name resolution.
    pub hosts: Hosts,
}

/// Weir's two processes, as the supervisor sees them.
#[derive(Clone, Debug)]
pub struct Daemons {
    /// weir-control.
    pub control: Unit,
    /// weir-proxy.
    pub proxy: Unit,
}

/// How long either of Weir's processes may be silent.
const WATCHDOG: Duration = Duration::from_secs(3);

/// The lab was told to end by a signal.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Raises a lab, does `work` in it, and takes it down: when `work` is done, when a process of the lab ends, and on
/// SIGINT, SIGTERM or SIGHUP ([`Interrupted`]). `progress` hears what is going on.
pub async fn with_lab<T>(
    options: Options,
    progress: &dyn Fn(&str),
    work: impl AsyncFnOnce(&Lab, &Daemons) -> Result<T>,
) -> Result<T> {
    let raise = async |lab: &Lab, supervisor: &mut Supervisor| {
        progress("namespaces, links, addresses, firewall");
        lab.make_directories()?;
        topology::raise(&lab.options.instance, &lab.plan, lab.options.hook)?;
        lab.build(supervisor, progress).await
    };
    with_middle(options, progress, raise, work).await
}

/// The same with a middle that is not this machine's: `raise` makes everything around it ([`Lab::surround`]), and
/// whatever stands in the middle.
pub async fn with_middle<M, T>(
    options: Options,
    progress: &dyn Fn(&str),
    raise: impl AsyncFnOnce(&Lab, &mut Supervisor) -> Result<M>,
    work: impl AsyncFnOnce(&Lab, &M) -> Result<T>,
) -> Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut told_to_end = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    };
    require::machine()?;
    if options.hook == Some(Hook::Xdp) {
        require::tools(&["ethtool"])?;
    }
    let lab = Lab::plan(options)?;
    let _claim = Claim::take(&lab.options.instance)?;
    sweep(&lab.options.instance)?;
    State::save(&lab.options.instance, &lab.options.out)?;
    let mut supervisor = Supervisor::new(&lab.options.out.join("logs"), &lab.run.join("notify"))?;
    let result = tokio::select! {
        result = raise(&lab, &mut supervisor) => result,
        () = told_to_end() => Err(Interrupted.into()),
    };
    let result = match result {
        Ok(middle) => tokio::select! {
            result = work(&lab, &middle) => result,
            failure = supervisor.failure() => Err(failure),
            () = told_to_end() => Err(Interrupted.into()),
        },
        Err(error) => Err(error),
    };
    progress("taking the lab down");
    supervisor.stop().await;
    sweep(&lab.options.instance).context("the lab did not go down cleanly")?;
    result
}

impl Lab {
    /// The lab of these options, not made yet; or one that stands, seen from another process.
    pub fn plan(mut options: Options) -> Result<Self> {
        fs::create_dir_all(&options.out)
            .with_context(|| format!("cannot make {}", options.out.display()))?;
        for path in [&mut options.out, &mut options.bin_dir, &mut options.object] {
            *path = path
                .canonicalize()
                .with_context(|| format!("there is no {}", path.display()))?;
        }
        let run = run_directory(&options.instance);
        let plan = Plan::new(&options.out);
        Ok(Self {
            hosts: Hosts::at(&run),
            run,
            plan,
            options,
        })
    }

    /// A namespace of it.
    pub fn namespace(&self, part: Part) -> Netns {
        Netns::of(&self.options.instance, part)
    }

    /// A place to start programs in.
    pub fn entry(&self, part: Part, family: Option<Family>, identity: Identity) -> Result<Entry> {
        Entry::new(&self.namespace(part), &self.hosts, family, identity)
    }

    /// Weir's control socket.
    pub fn control(&self) -> Control {
        Control::of(&self.run)
    }

    /// The certificate that clients trust, where every user of the lab can read it.
    pub fn ca(&self) -> PathBuf {
        self.run.join("ca.pem")
    }

    /// The home directory of a class's user, which is the user's own.
    pub fn home(&self, class: Class) -> PathBuf {
        self.run.join("home").join(class.name())
    }

    /// Writes Weir's configuration with these settings, and says where it is. What runs takes it over by a reload.
    pub fn configure(&self, settings: Settings) -> Result<PathBuf> {
        let setup = Setup {
            plan: &self.plan,
            places: Places::in_lab(&self.run, &self.options.object),
            switched_off: &self.options.switched_off,
            hook: self.options.hook,
        };
        settings::write(&self.etc(), &setup, settings)
    }

    /// Where Weir's configuration lies.
    pub fn etc(&self) -> PathBuf {
        self.options.out.join("etc")
    }

    /// What `lab.json` says: everything that an outside client needs.
    pub fn describe(&self) -> Value {
        let namespaces: serde_json::Map<String, Value> = Part::ALL
            .iter()
            .map(|&part| (part.name().to_owned(), self.namespace(part).name.into()))
            .collect();
        let sources: serde_json::Map<String, Value> = Class::ALL
            .iter()
            .map(|class| {
                let source = class.source();
                (
                    class.name().to_owned(),
                    json!({ "uid": source.uid, "4": source.v4, "6": source.v6, "list": settings::list_name(*class) }),
                )
            })
            .collect();
        let services: Vec<Value> = self
            .plan
            .services
            .iter()
            .map(|service| {
                json!({
                    "name": service.name,
                    "url": format!("https://{}/", service.host),
                    "sign_in": format!("https://{}/{}", self.plan.cloud.application.host, service.name),
                    "tunnel": service.certificate_host,
                    "addresses": service.listen,
                    "reverse_proxy": format!("https://{}/", self.plan.proxied(&service.host)),
                })
            })
            .collect();
        let users: Vec<Value> = self
            .plan
            .users
            .iter()
            .map(|user| {
                let domain = self
                    .plan
                    .domains
                    .iter()
                    .find(|domain| domain.name == user.domain());
                json!({
                    "user": user.upn,
                    "account": user.account,
                    "password": user.password,
                    "second_factor": user.second_factor,
                    "service": domain.map(|domain| &domain.service),
                })
            })
            .collect();
        json!({
            "instance": self.options.instance,
            "namespaces": namespaces,
            "sources": sources,
            "services": services,
            "urls": {
                "login": format!("https://{}/", self.plan.cloud.login.host),
                "application": format!("https://{}/", self.plan.cloud.application.host),
                "application_through_reverse_proxy":
                    format!("https://{}/", self.plan.proxied(&self.plan.cloud.application.host)),
            },
            "hosts_file": self.hosts.path(None),
            "ca_file": self.ca(),
            "users": users,
            "control_socket": self.control().socket(),
            "configuration": self.etc().join("weir.toml"),
            "logs": self.options.out.join("logs"),
        })
    }

    async fn build(&self, supervisor: &mut Supervisor, progress: &dyn Fn(&str)) -> Result<Daemons> {
        self.serve(supervisor, progress).await?;
        let daemons = self.start_weir(supervisor, progress).await?;
        let description = self.options.out.join("lab.json");
        fs::write(&description, serde_json::to_vec_pretty(&self.describe())?)
            .with_context(|| format!("cannot write {}", description.display()))?;
        Ok(daemons)
    }

    /// Makes everything around a machine: namespaces with taps for it, certificates, servers.
    pub async fn surround(
        &self,
        supervisor: &mut Supervisor,
        progress: &dyn Fn(&str),
    ) -> Result<()> {
        progress("namespaces, taps for the machine, addresses");
        self.make_directories()?;
        topology::raise_around(&self.options.instance, &self.plan)?;
        self.serve(supervisor, progress).await
    }

    /// Names, certificates, servers.
    async fn serve(&self, supervisor: &mut Supervisor, progress: &dyn Fn(&str)) -> Result<()> {
        self.hosts.write(&self.plan.hosts_file())?;
        progress("certificates");
        let plan = self.options.out.join("plan.json");
        self.plan
            .save(&plan)
            .with_context(|| format!("cannot write {}", plan.display()))?;
        let status = self
            .servers("pki", &plan)
            .status()
            .context("cannot run weir-lab-servers")?;
        if !status.success() {
            bail!("weir-lab-servers pki failed ({status})");
        }
        publish(&self.plan.files().ca(), &self.ca(), 0o644)?;
        progress("servers: federation services, realm discovery, application, reverse proxy");
        for service in &self.plan.services {
            let mut command = self.servers("idp", &plan);
            command.arg("--instance").arg(&service.name);
            self.entry(Part::Idp, None, Identity::Root)?
                .apply(&mut command);
            supervisor.start(server(&service.name, command)).await?;
        }
        let mut command = self.servers("cloud", &plan);
        self.entry(Part::Cloud, None, Identity::Root)?
            .apply(&mut command);
        supervisor.start(server("cloud", command)).await?;
        if self.options.tenant {
            progress("a tenant of Entra, with Graph");
            let mut command = tenant::command(self)?;
            self.entry(Part::Cloud, None, Identity::Root)?
                .apply(&mut command);
            supervisor.start(server("entra", command)).await?;
        }
        Ok(())
    }

    async fn start_weir(
        &self,
        supervisor: &mut Supervisor,
        progress: &dyn Fn(&str),
    ) -> Result<Daemons> {
        settings::write_lists(&self.etc(), &self.plan)?;
        let configuration = self.configure(Settings::of(STRICT))?;
        settings::write_books(&weir::state_directory(&self.run))?;
        progress("weir-control: kernel programs, tables, listeners");
        let mut command = managed(self.options.bin_dir.join("weir-control"));
        command.arg("--config").arg(&configuration);
        self.entry(Part::Weir, None, Identity::Root)?
            .apply(&mut command);
        let control = supervisor.start(daemon("weir-control", command)).await?;
        progress("weir-proxy, without privileges");
        publish(
            &self.options.bin_dir.join("weir-proxy"),
            &self.run.join("bin/weir-proxy"),
            0o755,
        )?;
        let mut command = managed(self.run.join("bin/weir-proxy"));
        command
            .arg("--control")
            .arg(weir::run_directory(&self.run).join("proxy.sock"));
        self.entry(Part::Weir, None, Identity::Bare(PROXY_UID))?
            .apply(&mut command);
        let proxy = supervisor.start(daemon("weir-proxy", command)).await?;
        let socket = self.control();
        tokio::select! {
            result = socket.both_planes_ready() => result?,
            failure = supervisor.failure() => return Err(failure),
        }
        Ok(Daemons { control, proxy })
    }

    /// The command line of Weir's own, on this lab's socket.
    pub fn weir(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = clean(self.options.bin_dir.join("weir"));
        command.arg("--socket").arg(self.control().socket());
        command.args(arguments).stdin(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        command
    }

    /// What `weir` prints.
    pub async fn said_by_weir(&self, arguments: &[&str]) -> Result<String> {
        let output = self.weir(arguments).output().await;
        let output = output.context("cannot run weir")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("weir {} failed: {}", arguments.join(" "), why.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A server program of the lab, by what it is to do.
    pub(crate) fn servers(&self, verb: &str, plan: &Path) -> Command {
        let mut command = clean(self.options.bin_dir.join("weir-lab-servers"));
        command.arg(verb).arg("--plan").arg(plan);
        command
    }

    /// The lab's directory is a file system of its own: `/run` is often mounted noexec, and one unmount takes away
    /// everything. Programs that run under another user id are copied here: home directories are closed to others.
    fn make_directories(&self) -> Result<()> {
        make(&self.run)?;
        mount_on(&self.run, c"tmpfs", "mode=755")?;
        for directory in ["bin", "bpf", "home"] {
            make(&self.run.join(directory))?;
        }
        mount_on(&self.run.join("bpf"), c"bpf", "mode=700")?;
        for class in Class::ALL {
            let home = self.home(class);
            make(&home)?;
            let uid = class.source().uid;
            chown(&home, Some(uid), Some(uid))?;
        }
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        publish(&own, &self.run.join("bin/weir-lab"), 0o755)
    }
}

/// A server of the lab, which nothing happens to.
fn server(name: &str, command: Command) -> Service {
    Service {
        name: name.to_owned(),
        command,
        ready: Ready::Words("ready".to_owned()),
        manager: None,
    }
}

/// A process of Weir's.
fn daemon(name: &str, command: Command) -> Service {
    Service {
        name: name.to_owned(),
        command,
        ready: Ready::Told,
        manager: Some(Manager { watchdog: WATCHDOG }),
    }
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

fn mount_on(directory: &Path, kind: &std::ffi::CStr, options: &str) -> Result<()> {
    mount(
        Some(kind),
        directory,
        Some(kind),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options),
    )
    .with_context(|| {
        format!(
            "cannot mount {} on {}",
            kind.to_string_lossy(),
            directory.display()
        )
    })
}

fn publish(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::copy(from, to)
        .and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
