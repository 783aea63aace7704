//! Runs one of the lab's servers until it is told to end (SIGTERM, SIGINT). Prints `ready` when it listens.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use weir_lab_servers::control::{Control, Keys, Twist};
use weir_lab_servers::plan::{Plan, Product};
use weir_lab_servers::{cloud, idp, pki, program, server};

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
    /// Tell a running federation service what to do otherwise; without options, to do as usual.
    Control {
        #[command(flatten)]
        from: FromPlan,
        /// Which: a service's name.
        #[arg(long)]
        instance: String,
        /// Which product it is, if it is not the plan's.
        #[arg(long, value_enum)]
        product: Option<Product>,
        /// The token-signing keys in use.
        #[arg(long, value_enum, default_value_t = Keys::First)]
        keys: Keys,
        /// What is done otherwise for everybody; may be given several times.
        #[arg(long)]
        twist: Vec<Twist>,
        /// What is done otherwise for one user: UPN=TWIST; may be given several times.
        #[arg(long, value_parser = user_twist)]
        user: Vec<(String, Twist)>,
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

fn user_twist(text: &str) -> Result<(String, Twist), String> {
    let (upn, twist) = text
        .split_once('=')
        .ok_or_else(|| format!("{text} is not UPN=TWIST"))?;
    Ok((upn.to_owned(), Twist::from_str(twist, false)?))
}

fn main() -> ExitCode {
    program::run("weir-lab-servers", || run(&Arguments::parse().role))
}

fn run(role: &Role) -> Result<(), Box<dyn std::error::Error>> {
    let plan = match role {
        Role::Plan { directory, plan } => return Ok(Plan::new(directory).save(plan)?),
        Role::Pki(from) => return Ok(pki::create(&Plan::load(&from.plan)?)?),
        Role::Control {
            from,
            instance,
            product,
            keys,
            twist,
            user,
        } => {
            let plan = Plan::load(&from.plan)?;
            let service = plan
                .service(instance)
                .ok_or_else(|| format!("the plan has no service {instance}"))?;
            let mut control = Control {
                product: *product,
                keys: *keys,
                twists: twist.clone(),
                ..Control::default()
            };
            for (upn, twist) in user {
                control.users.entry(upn.clone()).or_default().push(*twist);
            }
            return Ok(control.save(plan.files(), &service.name)?);
        }
        Role::Idp { from, .. } | Role::Cloud(from) => Plan::load(&from.plan)?,
    };
    program::wait(async {
        let stop = server::stop_on_signal();
        match role {
            Role::Plan { .. } | Role::Pki(_) | Role::Control { .. } => {}
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
    })?
}
