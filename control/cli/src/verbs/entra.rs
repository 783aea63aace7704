//! `weir entra`: how the tenant stands, and what an administrator does about it.

mod show;

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Args, Subcommand};
use weir_api::entra::{
    Checked, ConnectRequest, Connected, DecideRequest, Decided, DisconnectRequest, Disconnected,
    Entra as Answer, EntraStatus, Outcome, State, SyncRequest, Synced,
};

use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, count, wrap};

/// Lines are this long at most, where they can be.
const WIDTH: usize = 96;

/// Shows how the synchronisation with the tenant stands, and connects, checks, decides and disconnects.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir entra\n  weir entra check\n  weir entra approve 1a2b3c4d\n  weir entra disconnect --purge"
)]
pub struct Entra {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows how every part stands, what waits for a decision, and what to do next.
    #[command(
        after_help = "Exit status: 0 healthy, 1 needs attention, 2 cannot be asked.\n\nExample:\n  weir entra status"
    )]
    Status,
    /// Proves each credential by itself, and reads every part now. A token alone proves nothing: what counts is what the
    /// tenant says of itself, and what the token may do.
    #[command(
        after_help = "Exit status: 0 all is well, 1 something is not.\n\nExample:\n  weir entra check"
    )]
    Check,
    /// Begins to collect, and gives the link by which an administrator of the tenant consents.
    #[command(
        after_help = "Examples:\n  weir entra connect\n  weir entra connect --callback 'https://weir.corp.example/consent?admin_consent=True&tenant=...&state=...'"
    )]
    Connect {
        /// The address that the administrator's browser was sent back to, all of it.
        #[arg(long, value_name = "URL")]
        callback: Option<String>,
    },
    /// Reads a part, or all of them, now.
    #[command(after_help = "Examples:\n  weir entra sync\n  weir entra sync groups --full")]
    Sync {
        /// The part, such as `users`.
        part: Option<String>,
        /// Read users and groups as a whole, and not only what changed.
        #[arg(long)]
        full: bool,
    },
    /// Puts in force what is held. Look at it first: `weir entra` shows it.
    #[command(after_help = "Example:\n  weir entra approve 1a2b3c4d")]
    Approve {
        /// The digest, as `weir entra` shows it; its first eight characters will do.
        digest: String,
    },
    /// Drops what is held. The part is read in full next, and what still stands in the tenant is held again.
    #[command(after_help = "Example:\n  weir entra discard 1a2b3c4d")]
    Discard {
        /// The digest, as `weir entra` shows it; its first eight characters will do.
        digest: String,
    },
    SignIns(super::entra_sign_ins::SignIns),
    /// Ends collection, and destroys the credential's files. What is known stays until it is too old.
    #[command(
        after_help = "The credential is good until it is removed from the application in Entra: that is done there.\n\nExamples:\n  weir entra disconnect\n  weir entra disconnect --purge --yes"
    )]
    Disconnect {
        /// Destroy what is known of the tenant, too, with its history; both planes forget it.
        #[arg(long)]
        purge: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl Entra {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        match self.verb {
            None | Some(Verb::Status) => {
                let asked = client.get::<Answer>("/v1/entra").await;
                let answer = asked.map_err(Failed::in_status)?;
                if out.json {
                    out.answer(&answer.text)?;
                } else {
                    show::status(out, &answer.value)?;
                }
                told(answer.value.state < State::Stale)
            }
            Some(Verb::Check) => {
                let answer = client.post::<Checked>("/v1/entra/check", &()).await?;
                if out.json {
                    out.answer(&answer.text)?;
                } else {
                    show::checked(out, &answer.value)?;
                }
                told(answer.value.state < State::Stale)
            }
            Some(Verb::Connect { callback }) => {
                let request = ConnectRequest { callback };
                let answer = client.post("/v1/entra/connect", &request).await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                connected(out, &answer.value)
            }
            Some(Verb::Sync { part, full }) => {
                let request = SyncRequest { part, full };
                let answer = client
                    .post::<Vec<Synced>>("/v1/entra/sync", &request)
                    .await?;
                if out.json {
                    out.answer(&answer.text)?;
                } else {
                    show::synced(out, &answer.value)?;
                }
                let is_fine =
                    |one: &Synced| !matches!(one.outcome, Outcome::Held | Outcome::Failed);
                told(answer.value.iter().all(is_fine))
            }
            Some(Verb::Approve { digest }) => {
                let path = "/v1/entra/approve";
                decided(client, out, path, digest, "is in force").await
            }
            Some(Verb::Discard { digest }) => {
                let path = "/v1/entra/discard";
                decided(
                    client,
                    out,
                    path,
                    digest,
                    "is dropped; the part is read in full next",
                )
                .await
            }
            Some(Verb::SignIns(verb)) => verb.run(client, out).await,
            Some(Verb::Disconnect { purge, yes }) => {
                if !yes {
                    confirm(out, purge)?;
                }
                let request = DisconnectRequest { purge };
                let answer = client.post("/v1/entra/disconnect", &request).await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                disconnected(out, &answer.value)
            }
        }
    }
}

/// All is said already; the exit status says whether it is well.
fn told(is_well: bool) -> Result<(), Failed> {
    if is_well { Ok(()) } else { Err(Failed::Told) }
}

async fn decided(
    client: &Client,
    out: &mut Out,
    path: &str,
    digest: String,
    what: &str,
) -> Result<(), Failed> {
    let answer = client
        .post::<Decided>(path, &DecideRequest { digest })
        .await?;
    if out.json {
        return Ok(out.answer(&answer.text)?);
    }
    let Decided { part, digest } = answer.value;
    let short: String = clean(&digest).chars().take(16).collect();
    writeln!(out, "{}: {short} {what}", clean(&part))?;
    Ok(())
}

fn connected(out: &mut Out, done: &Connected) -> Result<(), Failed> {
    if done.begun {
        writeln!(out, "collection begins")?;
    }
    if done.consented {
        let words = "an administrator of the tenant has consented";
        writeln!(out, "{}", out.paint(Colour::Good, words))?;
        writeln!(out, "what it is good for: weir entra check")?;
    }
    for warning in &done.warnings {
        for line in wrap(&clean(warning), WIDTH) {
            writeln!(out, "{line}")?;
        }
    }
    if let Some(link) = &done.link {
        writeln!(
            out,
            "where an administrator of the tenant consents, within ten minutes and once:\n"
        )?;
        writeln!(out, "  {}\n", clean(link))?;
        writeln!(
            out,
            "then, with the address that the browser was sent back to:"
        )?;
        writeln!(out, "  weir entra connect --callback 'URL'")?;
    }
    Ok(())
}

/// Has a person at a terminal say what they are about to do.
fn confirm(out: &mut Out, purge: bool) -> Result<(), Failed> {
    let stdin = io::stdin();
    if out.json || !stdin.is_terminal() {
        return Err(Failed::usage(
            "nobody is there to be asked whether to disconnect",
            "add `--yes` to go on without a question",
        ));
    }
    let (word, more) = if purge {
        (
            "purge",
            ", and all that is known of the tenant, with its history",
        )
    } else {
        ("disconnect", "")
    };
    out.flush()?;
    eprintln!("Collection ends, and the files of the credential are destroyed{more}.");
    eprint!("Type `{word}` to go on: ");
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    if line.trim() == word {
        return Ok(());
    }
    Err(Failed::refused(
        "nothing was done",
        format!("type `{word}` when it is meant"),
    ))
}

fn disconnected(out: &mut Out, done: &Disconnected) -> Result<(), Failed> {
    writeln!(out, "collection has ended, also beyond a restart")?;
    if done.purged {
        writeln!(
            out,
            "what was known of the tenant is destroyed, and both planes forgot it"
        )?;
    }
    for file in &done.destroyed {
        writeln!(out, "destroyed: {}", clean(file))?;
    }
    for (file, why) in &done.left {
        let words = format!("not destroyed: {}: {}", clean(file), clean(why));
        writeln!(out, "{}", out.paint(Colour::Bad, &words))?;
    }
    if !done.next.is_empty() {
        writeln!(out, "\nstill to be done:")?;
    }
    for next in &done.next {
        for (number, line) in wrap(&clean(next), WIDTH - 4).iter().enumerate() {
            let mark = if number == 0 { "- " } else { "  " };
            writeln!(out, "  {mark}{line}")?;
        }
    }
    Ok(())
}

/// The tenant in `weir status`.
pub fn summary(out: &Out, status: &EntraStatus) -> String {
    let state = out.paint(show::colour(status.state), status.state.name());
    let mut words = vec![format!("{}: {state}", clean(&status.tenant))];
    match status.epoch {
        Some(_) => {
            words.push(format!("{} users", count(status.users)));
            words.push(format!("{} groups", count(status.groups)));
        }
        None => words.push("nothing is known of it".to_owned()),
    }
    if let Some(seconds) = status.age_seconds {
        words.push(format!("current {} ago", crate::render::age(seconds)));
    }
    words.join(", ")
}
