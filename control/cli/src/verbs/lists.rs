//! `weir lists`: shows, changes and tests the lists in force.

use std::io::Write;
use std::net::IpAddr;

use clap::{Args, Subcommand};
use weir_api::{
    AddEntry, ApproveList, Changed, HeldList, ListDetail, ListSummary, ListTest, RemoteList,
};

use super::reload::changed;
use crate::client::{Client, encode};
use crate::failed::Failed;
use crate::render::{Colour, Out, age, clean, columns, moment};
use crate::words::address;

/// Shows, changes and tests the lists in force, and approves what is held of those that are fetched.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weir lists add hq-egress 203.0.113.0/24 --comment 'new line, Basel'"
)]
pub struct Lists {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows all lists, or the entries of one.
    #[command(
        after_help = "Examples:\n  weir lists show hq-egress\n  weir lists show hq-egress --prefix 203.0.113.0/24 --limit 20"
    )]
    Show {
        /// Name of a list.
        name: Option<String>,
        /// Only entries that lie in this prefix or cover it.
        #[arg(long, requires = "name")]
        prefix: Option<String>,
        /// At most so many entries.
        #[arg(long, short = 'n', value_name = "N", requires = "name")]
        limit: Option<usize>,
    },
    /// Adds an entry to a list that stands in a file, and puts it in force.
    #[command(
        after_help = "Example:\n  weir lists add hq-egress 203.0.113.0/24 --comment 'new line, Basel'"
    )]
    Add {
        /// Name of the list.
        name: String,
        /// A prefix or an address.
        prefix: String,
        /// Written behind the entry.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Removes an entry from a list that stands in a file, and puts that in force.
    #[command(after_help = "Example:\n  weir lists remove hq-egress 203.0.113.0/24")]
    Remove {
        /// Name of the list.
        name: String,
        /// The entry: a prefix or an address.
        prefix: String,
    },
    /// Fetches a list from where it comes, now.
    #[command(after_help = "Example:\n  weir lists refresh exchange-online")]
    Refresh {
        /// Name of the list.
        name: String,
    },
    /// Puts in force what is held of a list that is fetched. Compare it with its source first.
    #[command(after_help = "Example:\n  weir lists approve exchange-online 5f3a0c42")]
    Approve {
        /// Name of the list.
        name: String,
        /// The digest of what is held, as `weir lists` shows it; its first eight characters will do.
        digest: String,
    },
    /// Says which class an address has, and by which list and entry.
    #[command(after_help = "Example:\n  weir lists test 203.0.113.9")]
    Test {
        /// The address.
        #[arg(value_parser = address)]
        address: IpAddr,
    },
}

impl Lists {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        match self.verb {
            None | Some(Verb::Show { name: None, .. }) => {
                let answer = client.get::<Vec<ListSummary>>("/v1/lists").await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                overview(out, &answer.value)
            }
            Some(Verb::Show {
                name: Some(name),
                prefix,
                limit,
            }) => show(client, out, &name, prefix, limit).await,
            Some(Verb::Add {
                name,
                prefix,
                comment,
            }) => {
                let path = format!("/v1/lists/{}/entries", encode(&name));
                let answer = client
                    .post::<Changed>(&path, &AddEntry { prefix, comment })
                    .await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                changed(out, &answer.value)
            }
            Some(Verb::Remove { name, prefix }) => {
                let path = format!(
                    "/v1/lists/{}/entries?prefix={}",
                    encode(&name),
                    encode(&prefix)
                );
                let answer = client.delete::<Changed>(&path).await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                changed(out, &answer.value)
            }
            Some(Verb::Refresh { name }) => {
                let path = format!("/v1/lists/{}/refresh", encode(&name));
                let answer = client.post::<ListSummary>(&path, &()).await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                overview(out, &[answer.value])
            }
            Some(Verb::Approve { name, digest }) => {
                let path = format!("/v1/lists/{}/approve", encode(&name));
                let request = ApproveList { digest };
                let answer = client.post::<ListSummary>(&path, &request).await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                overview(out, &[answer.value])
            }
            Some(Verb::Test { address }) => {
                let path = format!("/v1/lists/test?source={}", encode(&address.to_string()));
                let answer = client.get::<ListTest>(&path).await?;
                if out.json {
                    return Ok(out.answer(&answer.text)?);
                }
                writeln!(out, "{}", verdict(&answer.value))?;
                Ok(())
            }
        }
    }
}

async fn show(
    client: &Client,
    out: &mut Out,
    name: &str,
    prefix: Option<String>,
    limit: Option<usize>,
) -> Result<(), Failed> {
    let query = [
        prefix.map(|prefix| format!("prefix={}", encode(&prefix))),
        limit.map(|limit| format!("limit={limit}")),
    ];
    let query: Vec<_> = query.into_iter().flatten().collect();
    let path = format!("/v1/lists/{}?{}", encode(name), query.join("&"));
    if out.json {
        return client.copy(&path, out).await;
    }
    let ListDetail {
        summary,
        matching,
        prefixes,
    } = client.get(&path).await?.value;
    overview(out, std::slice::from_ref(&summary))?;
    for prefix in &prefixes {
        writeln!(out, "  {prefix}")?;
    }
    let left = matching.saturating_sub(prefixes.len());
    if left > 0 {
        writeln!(out, "  and {left} more: --limit N shows more of them")?;
    }
    Ok(())
}

/// Rows of the lists, as `weir status` shows them too.
pub fn rows(out: &Out, lists: &[ListSummary]) -> Vec<String> {
    let head = ["LIST", "CLASS", "ENTRIES", "READ", "SOURCE"];
    let mut rows = vec![head.map(|name| out.paint(Colour::Head, name)).to_vec()];
    rows.extend(lists.iter().map(|list| {
        let scope = if list.scope == "all" {
            String::new()
        } else {
            format!(" ({})", list.scope)
        };
        vec![
            clean(&list.name),
            format!("{}{scope}", list.class.name()),
            format!("{:>7}", list.entries),
            format!("{} ago", age(list.age_seconds)),
            clean(&list.source),
        ]
    }));
    columns(&rows)
}

fn overview(out: &mut Out, lists: &[ListSummary]) -> Result<(), Failed> {
    if lists.is_empty() {
        writeln!(out, "no lists: every source is unmanaged")?;
        return Ok(());
    }
    for row in rows(out, lists) {
        writeln!(out, "{row}")?;
    }
    for list in lists {
        if let Some(refused) = &list.refused {
            let words = out.paint(Colour::Bad, "its file on disk is not in force");
            writeln!(out, "{}: {words}:", clean(&list.name))?;
            for line in refused.lines() {
                writeln!(out, "  {}", clean(line))?;
            }
        }
        if let Some(remote) = &list.remote {
            fetched(out, &clean(&list.name), remote)?;
        }
    }
    Ok(())
}

/// How a list is fetched, and what waits for a person.
fn fetched(out: &mut Out, name: &str, remote: &RemoteList) -> Result<(), Failed> {
    let asked = match remote.checked_seconds {
        Some(seconds) => format!("fetched {} ago", age(seconds)),
        None => "never fetched".to_owned(),
    };
    writeln!(out, "{name}: {asked}")?;
    if let Some(error) = &remote.error {
        let since = remote.failing_since.as_deref().map(moment);
        let words = format!(
            "fails since {} UTC: {}",
            since.unwrap_or_default(),
            clean(error)
        );
        writeln!(out, "{name}: {}", out.paint(Colour::Bad, &words))?;
    }
    if let Some(held) = &remote.held {
        waits(out, name, held)?;
    }
    Ok(())
}

fn waits(out: &mut Out, name: &str, held: &HeldList) -> Result<(), Failed> {
    let whys: Vec<_> = held.whys.iter().map(|why| clean(why)).collect();
    let words = format!(
        "held since {} UTC: {}",
        moment(&held.since),
        whys.join(", and ")
    );
    writeln!(out, "{name}: {}", out.paint(Colour::Bad, &words))?;
    for (sign, what, count, some) in [
        ('+', "come", held.added, &held.some_added),
        ('-', "go", held.removed, &held.some_removed),
    ] {
        for prefix in some {
            writeln!(out, "  {sign} {prefix}")?;
        }
        let left = count.saturating_sub(some.len());
        if left > 0 {
            writeln!(out, "  {sign} and {left} more {what}")?;
        }
    }
    let digest: String = clean(&held.digest).chars().take(16).collect();
    writeln!(out, "  weir lists approve {name} {digest}")?;
    Ok(())
}

fn verdict(test: &ListTest) -> String {
    let ListTest { source, class, .. } = test;
    match (&test.list, &test.prefix) {
        (Some(list), Some(prefix)) => {
            let scope = if test.scope == "all" {
                ""
            } else {
                ", for browsers only"
            };
            format!(
                "{source} is {}: list {}, entry {prefix}{scope}",
                class.name(),
                clean(list)
            )
        }
        _ => format!("{source} is {}: on no list", class.name()),
    }
}
