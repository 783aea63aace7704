//! The lab's cloud as a process of its own: login, Graph, the identity of a machine, and a port to change it all.
//! Prints `ready` when it listens, and writes `entra.json` with everything that a client needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use weir_lab_entra::world::Quirks;
use weir_lab_entra::world::populate::{APP, MACHINE_APP, SECRET, Size, TENANT, fill};
use weir_lab_entra::{Entra, Settings, material};
use weir_lab_servers::plan::write_private;
use weir_lab_servers::program;
use weir_lab_servers::server::stop_on_signal;

/// The lab's Entra: token endpoint, admin consent, Microsoft Graph.
#[derive(Debug, Parser)]
#[command(after_help = "Example: weir-lab-entra --directory /tmp/entra, then
curl --cacert /tmp/entra/ca.pem https://localhost:PORT/common/v2.0/.well-known/openid-configuration")]
struct Arguments {
    /// Where the authority, the keys, the log and `entra.json` stand; keys that stand there are used again.
    #[arg(long)]
    directory: PathBuf,
    /// What decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Behave as documented: nothing told twice, nothing kept quiet, nothing empty.
    #[arg(long)]
    by_the_book: bool,
    /// Never say that it is too much.
    #[arg(long)]
    unlimited: bool,
    /// Where login listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    login: SocketAddr,
    /// Where Graph listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    graph: SocketAddr,
    /// Where the identity of the machine listens, in clear text.
    #[arg(long, default_value = "127.0.0.1:0")]
    machine: SocketAddr,
    /// Where changes are taken, in clear text.
    #[arg(long, default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Where a host listens that is none of the cloud's.
    #[arg(long, default_value = "127.0.0.1:0")]
    elsewhere: SocketAddr,
    /// The host name of login.
    #[arg(long, default_value = "localhost")]
    login_host: String,
    /// The host name of Graph.
    #[arg(long, default_value = "localhost")]
    graph_host: String,
    /// Users to fill the tenant with, besides the lab's people.
    #[arg(long, default_value_t = 0)]
    users: usize,
    /// Groups to fill the tenant with.
    #[arg(long, default_value_t = 0)]
    groups: usize,
    /// Memberships of those users in those groups.
    #[arg(long, default_value_t = 0)]
    edges: usize,
}

fn main() -> ExitCode {
    program::run("weir-lab-entra", || program::wait(run(Arguments::parse()))?)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let stop = stop_on_signal();
    let settings = Settings {
        seed: arguments.seed,
        quirks: if arguments.by_the_book {
            Quirks::none()
        } else {
            Quirks::default()
        },
        filled: true,
        hosts: [arguments.login_host, arguments.graph_host],
        listen: [
            arguments.login,
            arguments.graph,
            arguments.machine,
            arguments.admin,
            arguments.elsewhere,
        ],
        directory: Some(arguments.directory.clone()),
    };
    let lab = Entra::with(settings).await?;
    {
        let mut world = lab.world();
        world.throttle.on = !arguments.unlimited;
        let size = Size {
            users: arguments.users,
            groups: arguments.groups,
            edges: arguments.edges,
        };
        fill(&mut world, size);
    }
    let file = |name| arguments.directory.join(name);
    let told = json!({ "login": lab.login(), "graph": lab.graph(), "machine": lab.machine(),
            "admin": lab.admin(), "elsewhere": lab.elsewhere(), "ca_file": lab.ca_file(), "tenant_id": TENANT,
            "app_id": APP, "secret": SECRET, "certificate_file": file(material::APP),
            "key_file": file(material::APP_KEY), "machine_app_id": MACHINE_APP });
    write_private(&file("entra.json"), &serde_json::to_vec_pretty(&told)?)?;
    println!("ready");
    lab.wait(stop).await;
    Ok(())
}
