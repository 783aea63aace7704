//! The first configuration, written from a few answers.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use toml::Value;
use weir_link::UpstreamKind;

use crate::config::Managed;

/// What `weir init` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Name of this appliance.
    pub appliance: String,
    /// Interface towards the Internet.
    pub outside: String,
    /// Interface towards the federation servers.
    pub inside: String,
    /// Host name of the federation service, such as `sts.corp.example`.
    pub host: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How its requests are recognised: the name of a profile, such as `adfs`.
    pub profile: String,
    /// What stands behind.
    pub upstream: UpstreamKind,
    /// Addresses of the servers; the service's own addresses at port 443 when empty.
    pub servers: Vec<SocketAddr>,
    /// Where managed flows go; `None` leaves the line for the administrator to decide.
    pub managed: Option<Managed>,
    /// Egress prefixes of managed devices.
    pub managed_prefixes: Vec<IpNet>,
    /// Reverse proxy that unmanaged browsers are sent to.
    pub reverse_proxy: Option<String>,
    /// Certificate chain, PEM.
    pub certificate: String,
    /// Private key, PEM.
    pub key: String,
}

/// The commented configuration file. [`crate::load`] accepts it once its files are there, except where
/// a decision is left open: [`Answers::managed`] is `None`, or `forward` to AD FS itself, which the
/// administrator has to accept in the file.
#[expect(clippy::too_many_lines, reason = "most of them are the file itself")]
pub fn first_configuration(answers: &Answers) -> String {
    let name = answers.host.split('.').next().unwrap_or("sts");
    let servers: Vec<SocketAddr> = if answers.servers.is_empty() {
        answers
            .addresses
            .iter()
            .map(|address| SocketAddr::new(*address, 443))
            .collect()
    } else {
        answers.servers.clone()
    };
    let forwards_to_adfs =
        answers.managed == Some(Managed::Forward) && answers.upstream == UpstreamKind::Adfs;
    let managed = match answers.managed {
        Some(Managed::Forward) => "managed = \"forward\"",
        Some(Managed::Proxy) => "managed = \"proxy\"",
        None => "# managed = \"forward\" or \"proxy\": decide, then remove the `#`",
    };
    let accept = if forwards_to_adfs {
        "\n# AD FS takes forwarded sign-ins for intranet traffic: no extranet lockout, Windows\n\
         # authentication offered. Only if that is accepted, remove the `#`.\n\
         # accept_intranet = true"
    } else {
        ""
    };
    let kind = match answers.upstream {
        UpstreamKind::Wap => "wap",
        UpstreamKind::Adfs => "adfs",
        UpstreamKind::Plain => "plain",
    };
    let reverse_proxy = match &answers.reverse_proxy {
        Some(target) => format!("reverse_proxy = {}", quote(target)),
        None => "# reverse_proxy = \"https://sts-corp-example.proxy.example{query}\"".to_owned(),
    };
    format!(
        r#"# Weir's configuration. `weir check` says what is wrong with it, and puts nothing in force.
# `weir reload` puts it in force; on an error everything stays as it is.

[appliance]
# The sign-in server sees this name as X-MS-Proxy, the audit log holds it.
name = {appliance}
# run = "/run/weir"            # control.sock, read.sock and proxy.sock
# state = "/var/lib/weir"      # audit log
# control_group = "weir"       # may ask and change with the `weir` command, besides root
# read_group = "weir-read"     # may only ask
# proxy_user = "weir-proxy"    # the unprivileged user that weir-proxy runs as
# restart_grace = "5s"         # how long connections wait for a proxy that is away

[kernel]
# Interfaces towards the Internet, and towards the sign-in servers.
outside = [{outside}]
inside = [{inside}]
# Where the kernel acts: `auto` takes XDP where the driver allows it and tcx elsewhere, `xdp` insists.
# hook = "auto"
# Connections that one source (an IPv4 address, an IPv6 /64) may begin in a second; four times as many at
# once. A carrier has thousands of people behind one address. 0 sets no bound.
# new_connections = 500              # to weir-proxy
# new_connections_forwarded = 5000   # through to the sign-in servers
# `weir flows` shows one of so many beginnings of flows; 0 shows none.
# flow_sample = 1
# What servers of the topology `nat` see instead of the clients: the service's own address, unless an
# address of this machine is named here, and these ports.
# nat_address = ["10.0.0.5"]
# nat_ports = "4096-32767"
# Judge and count only, and let every packet go on as if Weir were not there: to look before it acts. Here
# for all services, or in one `[[service]]`.
# observe = true

# The sign-in service that Weir stands in front of.
[[service]]
name = {name}
hosts = [{host}]
addresses = [{addresses}]
ports = [443]
# How its requests are recognised: `adfs`, `okta`, `pingfederate`, `shibboleth`, `simplesamlphp`, or a
# `[profile.NAME]` of your own.
profile = {profile}
# The default policy. `office365-strict` believes nothing that anyone can forge; `office365` also lets
# Outlook through by its User-Agent.
rules = "office365-strict"
# Either lets token calls pass that show a client secret, as a server's; only the sign-in server can tell
# a wrong one. Where no application outside asks for tokens:
# switched_off = ["office365-strict/server-unmanaged"]
# Devices that must sign in to Windows before their tunnel is up, for users of `[directory]` alone:
# windows_logon = "pass"
# windows_logon_rate = {{ user_per_hour = 10, service_per_minute = 600 }}
# Where sign-ins of managed devices go:
#   forward  in the kernel, undecrypted: fastest; needs a Web Application Proxy behind Weir
#   proxy    decrypted: every sign-in is judged and audited
{managed}{accept}
# While no weir-proxy works, connections that are not forwarded are refused (`reject`) or left without
# an answer (`drop`); `forward-managed` forwards managed sources meanwhile.
# proxy_down = "reject"
certificate = {certificate}
key = {key}
# Where browsers on unmanaged sources are sent; without it they are blocked. `{{query}}` takes the path
# and the query of the request. List the reverse proxy's egress as `bypass` below.
{reverse_proxy}
# How forwarded packets get to the servers. `route`: to who owns the address, behind Weir. `dsr`: to one of
# several, which have the service's addresses on their loopback and answer clients themselves. `nat`: to
# one of several that need nothing but a way to Weir, and see Weir instead of the clients.
# topology = "dsr"
# servers = ["192.0.2.21", "192.0.2.22", "2001:db8:10::21", "2001:db8:10::22"]
# Hosts that are passed on undecrypted (certificate sign-in), for managed and bypass sources only.
# tunnel = ["certauth.{bare_host}"]

[service.upstream]
# wap: a Web Application Proxy; adfs: AD FS itself; plain: another product.
kind = {kind}
servers = [{servers}]
# server_name = {host}
# ca = "ca.pem"                # authorities of its certificate; the system's when absent

# What the sign-in server says of people in its tokens, for rules; its keys are fetched from it.
# [service.tokens]
# decide = true                # rules have the last word at the token, on its way to the browser
# audiences = ["urn:federation:MicrosoftOnline"]
# forms = {{ "https://login.microsoftonline.com" = "https://login.microsoftonline.com.proxy.example" }}
# [service.tokens.claims]
# department = "http://schemas.example.com/claims/department"

# Lists say what a source is: managed, bypass, blocked or relay; all others are unmanaged.
# A local `blocked` beats everything, else the longest prefix wins.
[[list]]
name = "managed-egress"
class = "managed"
prefixes = [{prefixes}]

# A list with a file can be changed while Weir runs: `weir lists add partners 198.51.100.7`.
# [[list]]
# name = "partners"
# class = "bypass"
# file = "lists/partners.list"

# Whom Windows logon is for: user principal names, one a line. Can be changed while Weir runs.
# [directory]
# users = "users.list"
# countries = "countries.csv"  # networks and their countries, for rules that ask: 203.0.113.0/24,DE

# The tenant in Microsoft Entra ID, for rules that ask for groups and roles. `weir entra connect` says what is
# to be consented to there, `weir entra status` how it goes.
# [entra]
# tenant = "00000000-0000-0000-0000-000000000001"        # Directory (tenant) ID
# application = "00000000-0000-0000-0000-000000000002"   # Application (client) ID
# cloud = "global"             # or "usgov", "usgov-dod", "china"
# max_age = "24h"              # what was not seen to be so for this long is unknown
# What Weir signs in with there: a certificate is best; else a secret, or the identity of this machine in
# Azure (`managed_identity`).
# [entra.credential]
# certificate = "entra.pem"
# key = "entra.key"
# A group takes away from what rules grant, and gives nothing: "bypass" keeps its members' sign-ins from the
# kernel's path, "unmanaged" lets them earn nothing at all.
# [[entra.group]]
# group = "Contractors"
# class = "unmanaged"

# Where every address belongs to one person, a sign-in may open the kernel's path for its address.
# [grants]
# single_user = ["10.20.0.0/16"]

# Prometheus metrics, /livez and /readyz over HTTP, without a password: for the management side alone.
[metrics]
listen = ["127.0.0.1:9464"]

# Rules stand in front of the default policy; the first that matches decides.
# [[rule]]
# name = "contractors"
# when = {{ flow = "active", user = "@contractors.example" }}
# then = {{ decision = "block", reason = "Contractors sign in with a browser." }}
#
# [[rule]]                       # needs [service.tokens] with decide = true
# name = "administrators"
# when = {{ flow = "passive", group = "Administrators" }}
# then = {{ decision = "step-up", within = "8h" }}
"#,
        appliance = quote(&answers.appliance),
        outside = quote(&answers.outside),
        inside = quote(&answers.inside),
        name = quote(name),
        host = quote(&answers.host),
        bare_host = answers.host,
        addresses = join(answers.addresses.iter().map(ToString::to_string)),
        profile = quote(&answers.profile),
        certificate = quote(&answers.certificate),
        key = quote(&answers.key),
        kind = quote(kind),
        servers = join(servers.iter().map(ToString::to_string)),
        prefixes = join(answers.managed_prefixes.iter().map(ToString::to_string)),
    )
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

fn join(items: impl Iterator<Item = String>) -> String {
    items
        .map(|item| quote(&item))
        .collect::<Vec<_>>()
        .join(", ")
}
