//! `weir entra sign-ins`: sign-ins that the tenant's log tells of, and what Weir had to do with them.

use std::io::Write;

use clap::Args;
use weir_api::sign_ins::{Seen, SignInShown, SignIns as Answer};

use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, clip, columns, moment};
use crate::words::time;

/// Shows sign-ins of the tenant's log, each with the class of its source and what Weir had to do with it.
///
/// What the kernel forwards is not decrypted, so that only the tenant knows whose sign-ins those are. Lists and
/// services are those in force now. The log comes some minutes late.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir entra sign-ins --user alice@corp.example\n  weir entra sign-ins --from 2h --source 203.0.113.0/24 --limit 500"
)]
pub struct SignIns {
    /// At this time or later: how long ago (30m, 2h), a day (2026-03-31) or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = stated)]
    from: Option<String>,
    /// Not later than this; of a day, to its end.
    #[arg(long, value_name = "TIME", value_parser = stated)]
    to: Option<String>,
    /// Of this user, by name or object id; `@domain` for all of a domain.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// From an address in this prefix.
    #[arg(long, value_name = "PREFIX")]
    source: Option<String>,
    /// At most so many, the newest; 1000 at most [default: 100].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl SignIns {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let limit = self.limit.map(|limit| limit.to_string());
        let asked = [
            ("from", self.from),
            ("to", self.to),
            ("user", self.user),
            ("source", self.source),
            ("limit", limit),
        ];
        let asked = asked
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", encode(&value?))));
        let query: Vec<_> = asked.collect();
        let path = format!("/v1/entra/sign-ins?{}", query.join("&"));
        let answer = client.get::<Answer>(&path).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        tell(out, &answer.value)
    }
}

fn tell(out: &mut Out, answer: &Answer) -> Result<(), Failed> {
    let read = answer.read.as_deref().map_or("never".to_owned(), moment);
    if answer.sign_ins.is_empty() {
        writeln!(
            out,
            "the tenant's log, read {read} UTC, tells of no such sign-in"
        )?;
        return Ok(());
    }
    let head = ["TIME", "USER", "SOURCE", "CLASS", "RESULT", "WEIR", "BY"];
    let mut table = vec![head.map(|name| out.paint(Colour::Head, name)).to_vec()];
    table.extend(answer.sign_ins.iter().map(|one| row(out, one)));
    let mut lines = columns(&table).into_iter();
    writeln!(out, "{}", lines.next().unwrap_or_default())?;
    let mut told = "";
    for (line, sign_in) in lines.zip(&answer.sign_ins) {
        writeln!(out, "{line}")?;
        // The same reason is not said again and again.
        let why = match sign_in.weir {
            Seen::Unseen | Seen::Unknown => sign_in.why.as_str(),
            Seen::Decided | Seen::Forwarded | Seen::NotFederated => "",
        };
        if !why.is_empty() && why != told {
            let words = format!("  {}", clean(why));
            writeln!(out, "{}", out.paint(Colour::Faint, &words))?;
        }
        told = why;
    }
    let more = if answer.more {
        "; older ones are left out"
    } else {
        ""
    };
    let words = format!(
        "log read {read} UTC; lists and services as generation {} has them{more}",
        answer.generation
    );
    writeln!(out, "{}", out.paint(Colour::Faint, &words))?;
    if answer.looked.cut {
        let words = "the audit log was too long to be read to its end: ask for a shorter time";
        writeln!(out, "{}", out.paint(Colour::Careful, words))?;
    }
    Ok(())
}

fn row(out: &Out, sign_in: &SignInShown) -> Vec<String> {
    let user = sign_in.user.as_deref().unwrap_or(&sign_in.user_id);
    let source = sign_in
        .source
        .map_or("unknown".to_owned(), |it| it.to_string());
    let class = match (sign_in.class, &sign_in.list) {
        (Some(class), Some(list)) => format!("{} ({})", class.name(), clean(list)),
        (Some(class), None) => class.name().to_owned(),
        (None, _) => "unknown".to_owned(),
    };
    let result = match sign_in.error {
        Some(0) => out.paint(Colour::Good, "ok"),
        Some(error) => out.paint(Colour::Bad, &format!("AADSTS{error}")),
        None => "unknown".to_owned(),
    };
    let (colour, word) = match sign_in.weir {
        Seen::Decided => (Colour::Good, "decided"),
        Seen::Forwarded => (Colour::Good, "forwarded"),
        Seen::Unseen => (Colour::Careful, "unseen"),
        Seen::NotFederated => (Colour::Faint, "not federated"),
        Seen::Unknown => (Colour::Careful, "unknown"),
    };
    let by = match (&sign_in.decision, &sign_in.service) {
        (Some(decided), _) => {
            let sure = if decided.names_user {
                ""
            } else {
                ", by address"
            };
            format!("{} {}{sure}", clean(&decided.decision), clean(&decided.id))
        }
        (None, Some(service)) => format!("service {}", clean(service)),
        (None, None) => String::new(),
    };
    vec![
        moment(&sign_in.time),
        clip(&clean(user), 40),
        source,
        class,
        result,
        out.paint(colour, word),
        by,
    ]
}

/// A time as [`time`] reads it, or a day.
fn stated(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let is_day = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
    if is_day {
        return Ok(text.to_owned());
    }
    time(text)
}
