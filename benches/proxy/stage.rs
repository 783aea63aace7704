//! The stage: certificates, a backend, and the proxies in front of it, all on loopback.
//!
//! Every proxy terminates TLS 1.3 with the same P-256 leaf and speaks TLS 1.3 to the backend, on connections that
//! are kept; each has one thread for its work and one processor. nginx and HAProxy pass on what comes, and log
//! nothing. Weir judges every request and writes an audit event for it, which is read as weir-control reads it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::control::Control;
use crate::process::{Process, Processors};

/// What all of them are called. The clients resolve it without any help.
pub const HOST: &str = "localhost";

/// Everything that proxies need to run.
pub struct Stage {
    pub processors: Processors,
    /// PEM of the authority behind every certificate.
    pub authority: String,
    /// Chain and key, PEM.
    pub certificate: (String, String),
    backend: SocketAddr,
    /// Held for as long as the stage stands, and let go of before its folder.
    _server: Process,
    folder: TempDir,
}

/// What may stand in front of the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    Nginx(PathBuf),
    Haproxy(PathBuf),
    /// A name to tell it by, and the binary.
    Weir(&'static str, PathBuf),
}

/// A proxy that serves.
pub struct Running {
    pub address: SocketAddr,
    /// The process that does the work.
    pub pid: Pid,
    process: Process,
    /// What plays weir-control.
    pub control: Option<Control>,
}

impl Stage {
    /// Makes certificates and raises the backend.
    pub fn raise(processors: &Processors, nginx: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let mut params = named("authority of the bench", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = named(HOST, vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
        let certificate = (leaf.pem(), key.serialize_pem());
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("chain.pem"), &certificate.0)?;
        std::fs::write(file("key.pem"), &certificate.1)?;
        std::fs::write(
            file("both.pem"),
            format!("{}{}", certificate.0, certificate.1),
        )?;
        let authority = issuer.pem();
        std::fs::write(file("ca.pem"), &authority)?;
        for (name, bytes) in crate::traffic::PAGES {
            std::fs::write(file(&format!("{name}.html")), crate::traffic::page(bytes))?;
        }
        let backend = free_port()?;
        let config = file("backend.conf");
        std::fs::write(&config, backend_config(folder.path(), backend))?;
        let mut server = Process::start("the backend", &mut nginx_command(nginx, &config))?;
        wait_for(backend, &mut server)?;
        Ok(Self {
            processors: *processors,
            authority,
            certificate,
            backend,
            _server: server,
            folder,
        })
    }

    /// A file of the stage.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the backend listens.
    pub fn backend(&self) -> SocketAddr {
        self.backend
    }

    /// Starts a proxy in front of the backend.
    pub fn start(&self, proxy: &Proxy) -> Result<Running> {
        match proxy {
            Proxy::Nginx(program) => {
                let address = free_port()?;
                let config = self.file("nginx.conf");
                std::fs::write(&config, self.nginx_config(address))?;
                let mut command = nginx_command(program, &config);
                let mut process = self.processors.proxy("nginx", &mut command)?;
                wait_for(address, &mut process)?;
                Ok(Running {
                    address,
                    pid: process.only_child()?,
                    process,
                    control: None,
                })
            }
            Proxy::Haproxy(program) => {
                let address = free_port()?;
                let config = self.file("haproxy.cfg");
                std::fs::write(&config, self.haproxy_config(address))?;
                let mut command = Command::new(program);
                command.args(["-q", "-db", "-f"]).arg(&config);
                let mut process = self.processors.proxy("HAProxy", &mut command)?;
                wait_for(address, &mut process)?;
                Ok(Running {
                    address,
                    pid: process.pid(),
                    process,
                    control: None,
                })
            }
            Proxy::Weir(name, program) => {
                let control = Control::listen(self)?;
                let mut command = control.command(program)?;
                let process = self.processors.proxy(name, &mut command)?;
                let control = control.put_in_force()?;
                Ok(Running {
                    address: control.address(),
                    pid: process.pid(),
                    process,
                    control: Some(control),
                })
            }
        }
    }

    fn nginx_config(&self, address: SocketAddr) -> String {
        let folder = self.folder.path().display();
        let backend = self.backend;
        format!(
            "{}
             http {{
               access_log off; server_tokens off; {TEMPORARY}
               keepalive_requests 1000000000; keepalive_timeout 300s;
               upstream backend {{ server {backend}; keepalive 128; keepalive_requests 1000000000; }}
               server {{
                 listen {address} ssl http2 reuseport backlog=4096;
                 ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;
                 {TLS} ssl_session_tickets on; ssl_session_cache off; ssl_buffer_size 16k;
                 location / {{
                   proxy_pass https://backend; proxy_http_version 1.1;
                   proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
                   proxy_ssl_protocols TLSv1.3; proxy_ssl_name {HOST}; proxy_ssl_server_name on;
                   proxy_ssl_verify on; proxy_ssl_trusted_certificate {folder}/ca.pem;
                   proxy_ssl_conf_command Ciphersuites {SUITE}; proxy_ssl_conf_command Groups X25519;
                   proxy_buffers 16 8k; proxy_buffer_size 8k;
                 }}
               }}
             }}",
            nginx_start(&self.file("nginx")),
        )
    }

    fn haproxy_config(&self, address: SocketAddr) -> String {
        let folder = self.folder.path().display();
        let backend = self.backend;
        format!(
            "global
  nbthread 1
  ssl-default-bind-curves X25519
  ssl-default-bind-ciphersuites {SUITE}
  ssl-default-server-ciphersuites {SUITE}
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
  option http-keep-alive
frontend in
  bind {address} ssl crt {folder}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3 backlog 4096
  default_backend out
backend out
  http-reuse always
  server one {backend} ssl verify required ca-file {folder}/ca.pem sni str({HOST}) verifyhost {HOST} \
  ssl-min-ver TLSv1.3 alpn http/1.1 maxconn 1000
"
        )
    }
}

impl Proxy {
    /// What it is called in rows.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nginx(_) => "nginx",
            Self::Haproxy(_) => "HAProxy",
            Self::Weir(name, _) => name,
        }
    }
}

impl Running {
    /// Fails when the proxy has ended.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }
}

/// OpenSSL takes a certificate whose issuer has its own name for a self-signed one.
fn named(name: &str, hosts: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// The suite of every connection.
pub const SUITE: &str = "TLS_AES_128_GCM_SHA256";
const TLS: &str = "ssl_protocols TLSv1.3; ssl_ecdh_curve X25519; \
                   ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;";
const TEMPORARY: &str = "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
                         uwsgi_temp_path uwsgi; scgi_temp_path scgi;";

fn nginx_start(prefix: &Path) -> String {
    format!(
        "daemon off; worker_processes 1; error_log stderr error; pid {}.pid;
         events {{ worker_connections 8192; }}",
        prefix.display()
    )
}

fn backend_config(folder: &Path, address: SocketAddr) -> String {
    let root = folder.display();
    let answer = crate::traffic::page(1 << 10).replace('\n', " ");
    format!(
        "{}
         http {{
           access_log off; server_tokens off; {TEMPORARY} default_type text/html;
           keepalive_requests 1000000000; keepalive_timeout 300s;
           open_file_cache max=100; root {root};
           server {{
             listen {address} ssl reuseport backlog=4096;
             ssl_certificate {root}/chain.pem; ssl_certificate_key {root}/key.pem; {TLS}
             location = /adfs/ls/ {{ rewrite ^ /$arg_page.html break; }}
             location /adfs/services/trust/ {{
               default_type \"application/soap+xml; charset=utf-8\"; return 200 '{answer}';
             }}
           }}
         }}",
        nginx_start(&folder.join("backend")),
    )
}

fn nginx_command(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    let folder = config.parent().unwrap_or(Path::new("/"));
    command.arg("-p").arg(folder).arg("-c").arg(config);
    // What it would write to before it has read where.
    command.args(["-e", "stderr"]);
    command
}

/// An address on loopback where nothing listens.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn wait_for(address: SocketAddr, process: &mut Process) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        process.check()?;
        if Instant::now() > until {
            bail!("nothing listens at {address}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.check().context("something else listens there")
}
