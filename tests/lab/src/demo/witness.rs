//! What others than Weir saw of a row: the wire in front of it, and the logs of the services behind it. What the planes
//! say is held against it: a row from another address, or a blocked one that arrived all the same, is not as expected.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::capture::{Capture, Opened};
use super::row::{Decider, Row};
use crate::lab::Lab;
use crate::netns::Part;
use crate::sources::{Class, Family};

/// The services, by name.
pub const SERVICES: [&str; 2] = ["sts", "adfs"];
/// The port of the services; requests to others are not Weir's.
const PORT: u16 = 443;

/// Those who watch while rows are done.
#[derive(Debug)]
pub struct Witness {
    capture: Capture,
    logs: Vec<(PathBuf, u64)>,
    services: Vec<(&'static str, IpAddr)>,
}

/// What they saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Connections that clients of any class opened to the services' addresses, and datagrams that they sent there.
    pub opened: Vec<Opened>,
    /// Connections that arrived at a service from a client's own address.
    pub direct: Vec<SocketAddr>,
    /// Requests that arrived at a service, whoever sent them.
    pub requests: usize,
    /// What the bodies of the services' answers are known by.
    #[serde(skip)]
    pub answers: BTreeSet<String>,
}

/// A line of a service's log, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    peer: SocketAddr,
    local: SocketAddr,
    #[serde(default)]
    answer: Option<String>,
}

impl Witness {
    /// Watches from now on.
    pub fn begin(lab: &Lab) -> Result<Self> {
        let files = lab.plan.files();
        let logs = SERVICES.iter().map(|name| (files.log(name), 0)).collect();
        let services = lab.plan.services.iter().flat_map(|service| {
            let name = SERVICES.into_iter().find(|name| *name == service.name);
            let addresses = service.listen.iter().map(SocketAddr::ip);
            addresses.filter_map(move |address| Some((name?, address)))
        });
        let mut witness = Self {
            logs,
            services: services.collect(),
            capture: Capture::start(&lab.namespace(Part::Inet))?,
        };
        witness.seen()?;
        Ok(witness)
    }

    /// What was seen since the call before.
    pub fn seen(&mut self) -> Result<Seen> {
        let mut opened = self.capture.take()?;
        opened.retain(|opened| is_client(opened.from.ip()) && self.service(opened).is_some());
        let mut seen = Seen {
            opened,
            ..Seen::default()
        };
        for (path, before) in &mut self.logs {
            let text = read_from(path, *before)
                .with_context(|| format!("cannot read {}", path.display()))?;
            *before += text.len() as u64;
            for line in text.lines() {
                let line: Line = serde_json::from_str(line)
                    .with_context(|| format!("not a line of {}: {line}", path.display()))?;
                seen.note(line);
            }
        }
        Ok(seen)
    }

    /// To which service a packet went.
    pub fn service(&self, opened: &Opened) -> Option<&'static str> {
        let to = opened.to.ip();
        let of = |(name, address): &(&'static str, IpAddr)| (*address == to).then_some(*name);
        self.services.iter().find_map(of)
    }
}

impl Seen {
    fn note(&mut self, line: Line) {
        if line.local.port() != PORT {
            return;
        }
        match line.event.as_str() {
            "connection" if is_client(line.peer.ip()) => self.direct.push(line.peer),
            "request" => {
                self.requests += 1;
                self.answers.extend(line.answer);
            }
            _ => {}
        }
    }

    /// Where this does not fit what the planes say, who decided it; empty when it fits. Who decides at the token has let
    /// the request through.
    pub fn doubts(&self, row: &Row, by: &[Decider], at_token: bool) -> Vec<String> {
        let source = row.address();
        let mut doubts = Vec::new();
        let is_ours = |opened: &&Opened| opened.from.ip() == source;
        for opened in self.opened.iter().filter(|opened| !is_ours(opened)) {
            doubts.push(format!("{} connected to {}", opened.from.ip(), opened.to));
        }
        if !by.is_empty() && self.opened.iter().find(is_ours).is_none() {
            doubts.push(format!("{source} connected to no service"));
        }
        let forwarded = by.iter().any(Decider::forwards);
        let arrived = self.direct.iter().any(|peer| peer.ip() == source);
        if forwarded != arrived {
            doubts.push(if arrived {
                "the service saw the client's own connection".to_owned()
            } else {
                "the service saw no connection of the client's own".to_owned()
            });
        }
        let passed = forwarded || at_token || by.iter().any(Decider::passes);
        if passed != (self.requests > 0) {
            doubts.push(format!("the services saw {} requests", self.requests));
        }
        doubts
    }
}

/// Whether a class connects from this address.
fn is_client(address: IpAddr) -> bool {
    let address = address.to_canonical();
    Class::ALL.iter().any(|class| {
        Family::ALL
            .iter()
            .any(|&family| class.source().address(family) == address)
    })
}

/// The whole lines after the first `start` bytes.
fn read_from(path: &PathBuf, start: u64) -> std::io::Result<String> {
    if !path.exists() {
        return Ok(String::new());
    }
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::rows;

    /// A row of that source, whatever else it is.
    fn row(class: Class, family: Family) -> Row {
        let houses = rows::all(&weir_lab_servers::plan::Plan::new("/lab"));
        let fits = |row: &Row| row.class == class && row.family == family && row.service == "sts";
        let rows = houses.into_iter().flat_map(|house| house.rows);
        rows.into_iter().find(fits).expect("there are such rows")
    }

    fn opened(from: &str, to: &str) -> Opened {
        Opened {
            at: time::OffsetDateTime::UNIX_EPOCH,
            from: from.parse().expect("a literal"),
            to: to.parse().expect("a literal"),
        }
    }

    #[test]
    fn a_forwarded_row_arrives_from_the_clients_own_address() {
        let row = row(Class::Managed, Family::V6);
        let mut seen = Seen {
            opened: vec![opened("[2001:db8:a1::10]:40000", "[2001:db8:10::10]:443")],
            direct: vec!["[2001:db8:a1::10]:40000".parse().expect("a literal")],
            requests: 1,
            ..Seen::default()
        };
        assert_eq!(
            seen.doubts(&row, &[Decider::forward()], false),
            Vec::<String>::new()
        );
        assert_eq!(
            seen.doubts(&row, &[Decider::pass("set/rule")], false).len(),
            1
        );
        seen.direct.clear();
        assert_eq!(seen.doubts(&row, &[Decider::forward()], false).len(), 1);
    }

    #[test]
    fn a_row_of_one_family_that_was_done_over_the_other_is_doubted() {
        let row = row(Class::Managed, Family::V6);
        let seen = Seen {
            opened: vec![opened("203.0.113.10:40000", "192.0.2.10:443")],
            direct: vec!["203.0.113.10:40000".parse().expect("a literal")],
            requests: 1,
            ..Seen::default()
        };
        assert_eq!(seen.doubts(&row, &[Decider::forward()], false).len(), 3);
    }

    #[test]
    fn nothing_of_a_blocked_row_may_arrive() {
        let row = row(Class::Blocked, Family::V4);
        let mut seen = Seen {
            opened: vec![opened("203.0.113.100:40000", "192.0.2.10:443")],
            ..Seen::default()
        };
        assert_eq!(
            seen.doubts(&row, &[Decider::drop()], false),
            Vec::<String>::new()
        );
        seen.note(Line {
            event: "request".to_owned(),
            peer: "192.0.2.1:40000".parse().expect("a literal"),
            local: "192.0.2.10:443".parse().expect("a literal"),
            answer: None,
        });
        assert_eq!(
            seen.doubts(&row, &[Decider::drop()], false),
            ["the services saw 1 requests"]
        );
    }
}
