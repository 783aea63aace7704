//! `weir grants`, `weir revoke` and `weir restore`: what single addresses are granted by sign-ins, and who is
//! granted nothing.

use std::io::Write;
use std::net::IpAddr;

use clap::{Args, Subcommand};
use weir_api::grants::{
    Granted, Grants as Answer, GrantsStatus, Limit, RestoreRequest, RevokeRequest, Taken,
};

use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, columns, count, moment};
use crate::words::address;

/// Shows what addresses are granted for a time, by whose sign-in; and takes it away.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weir grants\n  weir grants revoke 203.0.113.20")]
pub struct Grants {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Ends the grant of an address, or all of a principal, and cuts the connections that go on by it. A
    /// new sign-in may earn another; `weir revoke` prevents that.
    #[command(
        after_help = "Examples:\n  weir grants revoke 203.0.113.20\n  weir grants revoke --principal 8d3a1c52-0b1e-4c55-9d57-2f6f2b1f6c11/5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20"
    )]
    Revoke {
        /// The address.
        #[arg(value_parser = address, required_unless_present = "principal")]
        address: Option<IpAddr>,
        /// All grants of this principal: `TENANT/OBJECT`, by the ids of Entra.
        #[arg(long, value_name = "ID", conflicts_with = "address")]
        principal: Option<String>,
    },
}

/// Takes a principal everything that it was granted, cuts its connections, and grants it nothing more, until
/// `weir restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weir revoke 8d3a1c52-0b1e-4c55-9d57-2f6f2b1f6c11/5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20 --reason 'laptop stolen'"
)]
pub struct Revoke {
    /// `TENANT/OBJECT`, by the ids of Entra; `weir grants` shows them.
    principal: String,
    /// Why; it stands in the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Lifts what `weir revoke` did: the principal may earn grants again.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weir restore 8d3a1c52-0b1e-4c55-9d57-2f6f2b1f6c11/5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20"
)]
pub struct Restore {
    /// `TENANT/OBJECT`, by the ids of Entra; `weir grants` shows them.
    principal: String,
}

impl Grants {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let path = match self.verb {
            None => return show(client, out).await,
            Some(Verb::Revoke {
                address: Some(address),
                ..
            }) => format!("address={}", encode(&address.to_string())),
            Some(Verb::Revoke { principal, .. }) => {
                let principal = principal.expect("one of the two is required");
                format!("principal={}", encode(&principal))
            }
        };
        let answer = client
            .delete::<Taken>(&format!("/v1/grants?{path}"))
            .await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        taken(out, &answer.value)
    }
}

impl Revoke {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let request = RevokeRequest {
            principal: self.principal,
            reason: self.reason,
        };
        let answer = client
            .post::<Taken>("/v1/principals/revoke", &request)
            .await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        taken(out, &answer.value)?;
        writeln!(out, "it is granted nothing more, until `weir restore`")?;
        Ok(())
    }
}

impl Restore {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let request = RestoreRequest {
            principal: self.principal,
        };
        let answer = client
            .post::<Taken>("/v1/principals/restore", &request)
            .await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        writeln!(out, "its next sign-in may earn a grant")?;
        Ok(())
    }
}

async fn show(client: &Client, out: &mut Out) -> Result<(), Failed> {
    let answer = client.get::<Answer>("/v1/grants").await?;
    if out.json {
        return Ok(out.answer(&answer.text)?);
    }
    let Answer { grants, revoked } = answer.value;
    if grants.is_empty() {
        writeln!(out, "no address is granted anything")?;
    } else {
        for line in rows(out, &grants) {
            writeln!(out, "{line}")?;
        }
    }
    for one in revoked {
        let word = out.paint(Colour::Bad, "revoked");
        writeln!(
            out,
            "{word} {}, {} UTC by {}: {}",
            clean(&one.principal),
            moment(&one.time),
            clean(&one.by),
            clean(&one.reason)
        )?;
    }
    Ok(())
}

/// A table; below each row why the kernel does not go by it.
fn rows(out: &Out, grants: &[Granted]) -> Vec<String> {
    let head = ["ADDRESS", "CLASS", "SINCE", "UNTIL", "KERNEL", "PRINCIPAL"];
    let mut table = vec![head.map(|name| out.paint(Colour::Head, name)).to_vec()];
    table.extend(grants.iter().map(|grant| {
        vec![
            grant.address.to_string(),
            grant.class.name().to_owned(),
            moment(&grant.since),
            moment(&grant.until),
            if grant.kernel { "yes" } else { "no" }.to_owned(),
            clean(&grant.principal),
        ]
    }));
    let mut lines = columns(&table).into_iter();
    let mut all: Vec<String> = lines.next().into_iter().collect();
    for (line, grant) in lines.zip(grants) {
        all.push(line);
        if let Some(why) = &grant.why_not {
            all.push(out.paint(
                Colour::Faint,
                &format!("  not in the kernel: {}", clean(why)),
            ));
        }
        if let Some(limit) = &grant.limit {
            all.push(out.paint(Colour::Faint, &format!("  {}", limited(limit))));
        }
    }
    all
}

fn taken(out: &mut Out, taken: &Taken) -> Result<(), Failed> {
    if taken.ended.is_empty() {
        writeln!(out, "it had no grant")?;
    }
    for grant in &taken.ended {
        writeln!(
            out,
            "{} of {} ended, and what went on by it is cut",
            grant.class.name(),
            grant.address
        )?;
    }
    Ok(())
}

/// What a grant of a source says in `weir explain`.
pub fn told(grant: &Granted) -> String {
    let kernel = match &grant.why_not {
        None => String::new(),
        Some(why) => format!("; not in the kernel: {}", clean(why)),
    };
    let limit = grant
        .limit
        .as_ref()
        .map_or_else(String::new, |limit| format!("; {}", limited(limit)));
    format!(
        "{} until {} UTC, earned by {}{kernel}{limit}",
        grant.class.name(),
        moment(&grant.until),
        clean(&grant.principal)
    )
}

/// How far the groups of a principal let its grants open, and why.
fn limited(limit: &Limit) -> String {
    let why = clean(&limit.why);
    match limit.class {
        Some(class) => format!("its principal may have up to {}: {why}", class.name()),
        None => format!("what its principal may have is unknown: {why}"),
    }
}

/// Grants in `weir status`; nothing while there are none, and nothing happened.
pub fn summary(out: &Out, status: &GrantsStatus) -> Option<String> {
    let mut words = Vec::new();
    if status.live + status.held > 0 {
        words.push(format!("{} live", status.live));
        words.push(format!("{} of them in the kernel", status.kernel));
        words.push(format!(
            "{} of {} places taken",
            status.watched, status.room
        ));
    }
    let counted = [
        (status.earned, "earned"),
        (status.refused, "refused"),
        (status.strangers, "ended by strangers"),
        (status.unconnected, "without a connection"),
        (status.withdrawn, "ended by the directory"),
        (status.unsure, "of unknown groups"),
    ];
    words.extend(
        counted
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, of)| format!("{} {of}", count(number))),
    );
    if status.revoked > 0 {
        words.push(format!("{} principals revoked", status.revoked));
    }
    let unwatched = status.unwatched.iter();
    words.extend(unwatched.map(|one| {
        let until = moment(&one.until);
        format!(
            "{} is watched, and opens nothing before {until} UTC",
            one.prefix
        )
    }));
    if status.missed > 0 {
        let missed = format!("{} sign-ins missed", count(status.missed));
        words.push(out.paint(Colour::Bad, &missed));
    }
    words.extend((status.trouble.as_ref()).map(|trouble| out.paint(Colour::Bad, &clean(trouble))));
    (!words.is_empty()).then(|| words.join(", "))
}
