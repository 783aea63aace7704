//! `weir claims`: what tokens tell of users.

use std::io::Write;

use clap::{Args, Subcommand};
use weir_api::{RuleSaw, ShownClaim, ShownClaims};

use super::explain::{mark, verdict_colour, write_rows};
use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, clip, moment};

/// Shows what was last received of a user in a token, and what the rules make of it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir claims show alice@corp.example")]
pub struct Claims {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the claims of the newest verified token of a user in the audit log, which rules in force ask
    /// for each, and what they made of them. The token itself is never kept.
    #[command(
        after_help = "Examples:\n  weir claims show alice@corp.example --service sts\n  weir claims show 8d3a1c52-0b1e-4c55-9d57-2f6f2b1f6c11/5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20"
    )]
    Show {
        /// User principal name, mail address, name id, or `TENANT/OBJECT` by the ids of Entra.
        user: String,
        /// Only from tokens for this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
}

impl Claims {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let Verb::Show { user, service } = self.verb;
        let mut path = format!("/v1/claims?user={}", encode(&user));
        if let Some(service) = service {
            path.push_str("&service=");
            path.push_str(&encode(&service));
        }
        let answer = client.get::<ShownClaims>(&path).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        tell(out, &answer.value)
    }
}

fn tell(out: &mut Out, shown: &ShownClaims) -> Result<(), Failed> {
    let or_none = |text: &Option<String>| clean(text.as_deref().unwrap_or("none"));
    let head = out.paint(Colour::Head, "received");
    writeln!(
        out,
        "{head}  {} UTC, from {}, client {}",
        moment(&shown.time),
        shown.source,
        or_none(&shown.client)
    )?;
    let decision = out.paint(verdict_colour(&shown.decision), &clean(&shown.decision));
    let rows = [
        vec![
            "  sign-in".to_owned(),
            format!(
                "{} (`weir explain --id {}`)",
                clean(&shown.id),
                clean(&shown.id)
            ),
        ],
        vec![
            "  for".to_owned(),
            format!(
                "service {}, relying party {}",
                or_none(&shown.service),
                or_none(&shown.relying_party)
            ),
        ],
        vec![
            "  decision".to_owned(),
            format!("{decision} by {}", clean(&shown.rule)),
        ],
    ];
    write_rows(out, &rows)?;
    writeln!(out, "{}", out.paint(Colour::Head, "claims"))?;
    let rows: Vec<_> = shown.claims.iter().map(|claim| row(out, claim)).collect();
    write_rows(out, &rows)?;
    let generation = shown.generation;
    let head = out.paint(Colour::Head, "rules that ask for them");
    writeln!(out, "{head}  as generation {generation} has them")?;
    let rules = by_rule(&shown.claims);
    if rules.is_empty() {
        writeln!(out, "  none")?;
    }
    let rows: Vec<_> = rules
        .into_iter()
        .map(|(saw, names)| {
            let mark = if saw.tried {
                mark(out, saw.matched, saw.waits)
            } else {
                out.paint(Colour::Faint, "-")
            };
            let names = clip(&names.join(", "), 30);
            vec![
                format!("  {mark}"),
                clean(&saw.rule),
                names,
                clean(&saw.why),
            ]
        })
        .collect();
    write_rows(out, &rows)?;
    if let Some(note) = &shown.note {
        let note = clean(note);
        writeln!(out, "{}", out.paint(Colour::Careful, &note))?;
    }
    Ok(())
}

fn row(out: &Out, claim: &ShownClaim) -> Vec<String> {
    let mut value = clean(&claim.values.join(", "));
    if claim.missing {
        let word = if value.is_empty() {
            "missing"
        } else {
            " (and more that are missing)"
        };
        value.push_str(&out.paint(Colour::Careful, word));
    } else if claim.values.is_empty() {
        value = out.paint(Colour::Faint, "not received");
    }
    vec![format!("  {}", clean(&claim.name)), value]
}

/// Each rule once, in the order in which they are tried, with the claims that it asks for.
fn by_rule(claims: &[ShownClaim]) -> Vec<(&RuleSaw, Vec<String>)> {
    let mut rules: Vec<(&RuleSaw, Vec<String>)> = Vec::new();
    for claim in claims {
        for saw in &claim.rules {
            match rules.iter_mut().find(|(known, _)| known.rule == saw.rule) {
                Some((_, names)) => names.push(clean(&claim.name)),
                None => rules.push((saw, vec![clean(&claim.name)])),
            }
        }
    }
    rules.sort_by_key(|(saw, _)| (!saw.tried, saw.matched));
    rules
}
