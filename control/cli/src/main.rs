//! weir: the command line of Weir.
//!
//! In: arguments, and the answers of weir-control on its control socket. Out: text for people, or the
//! same as JSON with `--json`, and an exit status that scripts can rely on: 0 done, 1 refused or
//! invalid, 2 wrong usage, 3 weir-control cannot be reached (`status`: 0 healthy, 1 needs attention, 2
//! cannot be asked; `rules`: 0 nothing differs, 1 something does, 2 it cannot be tried). It decides nothing itself and needs no privileges of its own; `init` and `check`
//! work without the daemon.

mod client;
mod failed;
mod machine;
mod raw;
mod render;
mod verbs;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Client;
use failed::Failed;

/// Operates the Weir appliance.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    after_help = "Exit status: 0 done, 1 refused or invalid, 2 wrong usage, 3 weir-control cannot be reached.\n\nExample:\n  weir status"
)]
struct Arguments {
    /// Socket of weir-control.
    #[arg(
        long,
        global = true,
        env = "WEIR_SOCKET",
        value_name = "PATH",
        default_value = "/run/weir/control.sock"
    )]
    socket: PathBuf,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(verbs::init::Init),
    Check(verbs::check::Check),
    Status(verbs::status::Status),
    Top(verbs::top::Top),
    Explain(verbs::explain::Explain),
    Lists(verbs::lists::Lists),
    Reload(verbs::reload::Reload),
    Confirm(verbs::reload::Confirm),
    Undo(verbs::reload::Undo),
    Events(verbs::events::Events),
    Flows(verbs::flows::Flows),
    Claims(verbs::claims::Claims),
    Rules(verbs::rules::Rules),
    Grants(verbs::grants::Grants),
    Revoke(verbs::grants::Revoke),
    Restore(verbs::grants::Restore),
    Keys(verbs::keys::Keys),
    Entra(verbs::entra::Entra),
    Review(verbs::review::Review),
    Capture(verbs::capture::Capture),
    Completions(verbs::completions::Completions),
    Man(verbs::man::Man),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("weir: no event loop can be made: {error}");
            return ExitCode::FAILURE;
        }
    };
    let json = arguments.json;
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => failed.tell(json),
    }
}

async fn run(arguments: Arguments) -> Result<(), Failed> {
    let client = Client::new(arguments.socket);
    let mut out = render::Out::new(arguments.json);
    let done = match arguments.verb {
        Verb::Init(verb) => verb.run(&mut out),
        Verb::Check(verb) => verb.run(&mut out),
        Verb::Status(verb) => verb.run(&client, &mut out).await,
        Verb::Top(verb) => verb.run(&client, &mut out).await,
        Verb::Explain(verb) => verb.run(&client, &mut out).await,
        Verb::Lists(verb) => verb.run(&client, &mut out).await,
        Verb::Reload(verb) => verb.run(&client, &mut out).await,
        Verb::Confirm(verb) => verb.run(&client, &mut out).await,
        Verb::Undo(verb) => verb.run(&client, &mut out).await,
        Verb::Events(verb) => verb.run(&client, &mut out).await,
        Verb::Flows(verb) => verb.run(&client, &mut out).await,
        Verb::Claims(verb) => verb.run(&client, &mut out).await,
        Verb::Rules(verb) => verb.run(&client, &mut out).await,
        Verb::Grants(verb) => verb.run(&client, &mut out).await,
        Verb::Revoke(verb) => verb.run(&client, &mut out).await,
        Verb::Restore(verb) => verb.run(&client, &mut out).await,
        Verb::Keys(verb) => verb.run(&client, &mut out).await,
        Verb::Review(verb) => verb.run(&client, &mut out).await,
        Verb::Entra(verb) => verb.run(&client, &mut out).await,
        Verb::Capture(verb) => verb.run(&client, &mut out).await,
        Verb::Completions(verb) => verb.run(&mut out),
        Verb::Man(verb) => verb.run(&mut out),
    };
    // What was written before something failed is shown too.
    out.flush()?;
    done
}
