//! Runs one of the lab's servers until it is told to end (SIGTERM, SIGINT). Prints `ready` when it listens.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir_lab_servers::plan::Plan;
use weir_lab_servers::{cloud, idp, pki, server};

/// The lab's federation server and cloud.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: weir-lab-servers pki --plan plan.json && weir-lab-servers idp --plan plan.json --instance wap"
)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Write the plan of the lab as documented.
    Plan {
        /// Where the lab keeps its key material and logs.
        #[arg(long)]
        directory: PathBuf,
        /// The file to write.
        #[arg(long)]
        plan: PathBuf,
    },
    /// Make the authority, the certificates and the signing keys.
    Pki(FromPlan),
    /// Be a federation service.
    Idp {
        #[command(flatten)]
        from: FromPlan,
        /// Which: a service's name, or its kind (`wap`, `adfs`).
        #[arg(long)]
        instance: String,
    },
    /// Be the cloud: token endpoint, relying party, reverse proxy.
    Cloud(FromPlan),
}

#[derive(Debug, clap::Args)]
struct FromPlan {
    /// The lab's plan (JSON).
    #[arg(long)]
    plan: PathBuf,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run(&Arguments::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-lab-servers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(role: &Role) -> Result<(), Box<dyn std::error::Error>> {
    let plan = match role {
        Role::Plan { directory, plan } => return Ok(Plan::new(directory).save(plan)?),
        Role::Pki(from) => return Ok(pki::create(&Plan::load(&from.plan)?)?),
        Role::Idp { from, .. } | Role::Cloud(from) => Plan::load(&from.plan)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = server::stop_on_signal();
        match role {
            Role::Plan { .. } | Role::Pki(_) => {}
            Role::Idp { instance, .. } => {
                let service = plan
                    .services
                    .iter()
                    .find(|service| service.name == *instance || service.kind.name() == instance)
                    .ok_or_else(|| format!("the plan has no service {instance}"))?;
                let sockets = idp::Sockets::bind(service).await?;
                let serving = idp::serve(&plan, &service.name, sockets, stop)?;
                println!("ready");
                serving.await;
            }
            Role::Cloud(_) => {
                let sockets = cloud::Sockets::bind(&plan.cloud).await?;
                let serving = cloud::serve(&plan, sockets, stop)?;
                println!("ready");
                serving.await;
            }
        }
        Ok(())
    })
}
