//! `weir explain user`: all that is known of a user of the tenant, and what follows from it.

use std::io::Write;

use clap::Args;
use weir_api::person::{ExplainedUser, PartAge, UserGroup};

use super::write_rows;
use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, age, clean, moment};

/// Says all that is known of a user of the Entra tenant: each group and why, roles, second factor, last sign-in,
/// the rules that name any of it, and what sign-ins of the user are granted.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir explain user alice@corp.example\n  weir explain user 5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20"
)]
pub struct User {
    /// User principal name, object id, or `TENANT/OBJECT`.
    user: String,
}

impl User {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let path = format!("/v1/explain/user?user={}", encode(&self.user));
        let answer = client.get::<ExplainedUser>(&path).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        tell(out, &answer.value)
    }
}

fn tell(out: &mut Out, user: &ExplainedUser) -> Result<(), Failed> {
    let head = out.paint(Colour::Head, &clean(&user.upn));
    writeln!(
        out,
        "{head}  {}, {}",
        clean(&user.name),
        clean(&user.principal)
    )?;
    let kind = match user.kind.as_str() {
        "" => "kind not told".to_owned(),
        kind => clean(kind).to_lowercase(),
    };
    let enabled = match user.enabled {
        Some(true) => out.paint(Colour::Good, "enabled"),
        Some(false) => out.paint(Colour::Bad, "disabled"),
        None => unknown(out, user, "users"),
    };
    let mfa = match (user.mfa_registered, user.mfa_capable) {
        (_, Some(true)) => out.paint(Colour::Good, "registered"),
        (Some(true), _) => out.paint(
            Colour::Careful,
            "registered, but none that the tenant allows",
        ),
        (Some(false), _) => out.paint(Colour::Careful, "none registered"),
        _ => unknown(out, user, "registrations"),
    };
    let last = match (&user.last_sign_in, user.sign_ins_known) {
        (Some(at), _) => format!("{} UTC", moment(at)),
        (None, true) => "none that succeeded and that the log still has".to_owned(),
        (None, false) => unknown(out, user, "sign-ins"),
    };
    let mut rows = vec![
        row("account", format!("{enabled}, {kind}")),
        row("second factor", mfa),
        row("last sign-in", last),
        row("roles", list(out, user, user.roles.as_deref(), "roles")),
        row(
            "may take",
            list(out, user, user.eligible.as_deref(), "roles"),
        ),
        row(
            "left out by",
            list(
                out,
                user,
                user.policies_excluding.as_deref(),
                "conditional-access",
            ),
        ),
    ];
    let bounds = user.classes.iter().flatten().map(|bound| {
        let (class, group) = (bound.class.name(), clean(&bound.group));
        row(
            "bound",
            format!("grants reach {class} at most, by group {group}"),
        )
    });
    rows.extend(bounds);
    rows.extend(user.grants.iter().map(|grant| {
        let told = super::super::grants::told(grant);
        row("grant", format!("{}: {told}", grant.address))
    }));
    if let Some(revoked) = &user.revoked {
        let word = out.paint(Colour::Bad, "granted nothing");
        let told = format!(
            "{word}, {} UTC by {}: {}",
            moment(&revoked.time),
            clean(&revoked.by),
            clean(&revoked.reason)
        );
        rows.push(row("revoked", told));
    }
    write_rows(out, &rows)?;
    groups(out, user)?;
    rules(out, user)?;
    writeln!(out, "{}", out.paint(Colour::Head, "where this is from"))?;
    let rows: Vec<_> = user.parts.iter().map(|part| read(out, part)).collect();
    write_rows(out, &rows)?;
    if user
        .parts
        .iter()
        .any(|part| part.stale && part.current.is_some())
    {
        let most = age(user.max_age);
        let words = format!("what is older than {most} is unknown to rules");
        writeln!(out, "{}", out.paint(Colour::Careful, &words))?;
    }
    Ok(())
}

fn groups(out: &mut Out, user: &ExplainedUser) -> Result<(), Failed> {
    let head = out.paint(Colour::Head, "groups");
    match &user.groups {
        None => writeln!(out, "{head}  {}", unknown(out, user, "groups"))?,
        Some(groups) if groups.is_empty() => writeln!(out, "{head}  none")?,
        Some(groups) => {
            writeln!(out, "{head}")?;
            let rows: Vec<_> = groups.iter().map(|group| why(out, group)).collect();
            write_rows(out, &rows)?;
        }
    }
    Ok(())
}

/// A group, and the way into it.
fn why(out: &Out, group: &UserGroup) -> Vec<String> {
    let names: Vec<_> = group.path.iter().map(|name| clean(name)).collect();
    let mut why = if group.direct {
        "directly".to_owned()
    } else {
        format!("in {}", names.join(", which is in "))
    };
    if let Some(rule) = &group.rule {
        why = format!("{why}; by the tenant's rule {}", clean(rule));
    }
    let id = out.paint(Colour::Faint, &clean(&group.id));
    vec![format!("  {}", clean(&group.name)), id, why]
}

fn rules(out: &mut Out, user: &ExplainedUser) -> Result<(), Failed> {
    let head = out.paint(Colour::Head, "rules that name a group or role");
    writeln!(out, "{head}  as generation {} has them", user.generation)?;
    if user.rules.is_empty() {
        writeln!(out, "  none")?;
    }
    let rows = user.rules.iter().map(|rule| {
        let not = if rule.negated { " (under `not`)" } else { "" };
        vec![
            format!("  {}", clean(&rule.service)),
            clean(&rule.rule),
            clean(&rule.decision),
            format!("{}{not}", clean(&rule.names.join(", "))),
        ]
    });
    write_rows(out, &rows.collect::<Vec<_>>())
}

fn read(out: &Out, part: &PartAge) -> Vec<String> {
    let mut told = match (&part.current, part.age) {
        (Some(at), Some(ago)) => format!("current {} UTC, {} ago", moment(at), age(ago)),
        _ => out.paint(Colour::Careful, "never read"),
    };
    if part.stale && part.current.is_some() {
        told = format!(
            "{told}, {}",
            out.paint(Colour::Careful, "too old for rules")
        );
    }
    if let Some(why) = &part.failure {
        told = format!("{told}, fails: {}", out.paint(Colour::Careful, &clean(why)));
    }
    if part.held {
        told = format!("{told}, changes wait for an approval");
    }
    vec![format!("  {}", clean(&part.part)), told]
}

/// Nobody knows, and why.
fn unknown(out: &Out, user: &ExplainedUser, part: &str) -> String {
    let of = user.parts.iter().find(|one| one.part == part);
    let why = match of.and_then(|part| part.failure.as_deref()) {
        Some(why) => format!(": `{part}` fails: {}", clean(why)),
        None if of.is_some_and(|part| part.current.is_none()) => {
            format!(": `{part}` was never read")
        }
        None => String::new(),
    };
    format!("{}{why}", out.paint(Colour::Careful, "unknown"))
}

fn list(out: &Out, user: &ExplainedUser, list: Option<&[String]>, part: &str) -> String {
    match list {
        None => unknown(out, user, part),
        Some([]) => "none".to_owned(),
        Some(list) => clean(&list.join("; ")),
    }
}

fn row(name: &str, told: String) -> Vec<String> {
    vec![format!("  {name}"), told]
}
