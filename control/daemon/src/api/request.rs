//! From the method, path, query and body of a request to what is asked. Pure: no I/O, no clock.
//!
//! In: what any process that may connect has sent. Out: a [`Command`], or a [`Refusal`] that says what
//! to write instead. It must never guess: a key, a value or an escape that is not known is refused.

mod evidence;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use http::Method;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_api::grants::{RestoreRequest, RevokeRequest};
use weir_api::keys::{ApproveKeys, RefreshKeys};
use weir_api::{AddEntry, ApproveList, CaptureRequest, DiffRequest, ExplainRequest, ReloadRequest};
use weir_link::PrincipalId;

use super::operations::{Does, Operation};
use super::refusal::{Refusal, meant, quoted};
use super::tenant::Tenant;
use crate::audit::Filter;
use crate::flows::Wanted;
use crate::{evidence as exports, sign_ins};

/// Longest body, in bytes, in which a key that is misspelt is looked for.
const SHORT: usize = 64 << 10;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `GET /v1/status`
    Status,
    /// `GET /v1/counters`
    Counters,
    /// `GET /v1/metrics`
    Metrics,
    /// `GET /v1/events`
    Events(Box<WantedEvents>),
    /// `GET /v1/flows`
    Flows(Box<WantedFlows>),
    /// `POST /v1/capture`
    Capture(Box<CaptureRequest>),
    /// `GET /v1/lists`
    Lists,
    /// `GET /v1/lists/test`
    TestLists(IpAddr),
    /// `GET /v1/lists/{name}`
    List {
        /// Name of the list.
        name: String,
        /// Only entries that lie in it or cover it.
        prefix: Option<IpNet>,
        /// At most so many.
        limit: usize,
    },
    /// `POST /v1/lists/{name}/entries`
    AddEntry {
        /// Name of the list.
        name: String,
        /// The entry.
        entry: AddEntry,
    },
    /// `DELETE /v1/lists/{name}/entries`
    RemoveEntry {
        /// Name of the list.
        name: String,
        /// The entry.
        prefix: String,
    },
    /// `POST /v1/lists/{name}/refresh`
    RefreshList(String),
    /// `POST /v1/lists/{name}/approve`
    ApproveList {
        /// Name of the list.
        name: String,
        /// What is held.
        held: ApproveList,
    },
    /// `POST /v1/reload`
    Reload(ReloadRequest),
    /// `POST /v1/confirm`
    Confirm,
    /// `POST /v1/undo`
    Undo,
    /// `POST /v1/explain`
    Explain(Box<ExplainRequest>),
    /// `GET /v1/claims`
    Claims {
        /// Whose: by user principal name, mail address, name id, or `TENANT/OBJECT`.
        user: String,
        /// Only of this service.
        service: Option<String>,
    },
    /// `POST /v1/rules/diff`
    DiffRules(Box<DiffRequest>),
    /// `GET /v1/grants`
    Grants,
    /// `DELETE /v1/grants?address=`
    TakeGrant(IpAddr),
    /// `DELETE /v1/grants?principal=`
    TakeGrants(PrincipalId),
    /// `POST /v1/principals/revoke`
    Revoke(RevokeRequest),
    /// `POST /v1/principals/restore`
    Restore(RestoreRequest),
    /// `GET /v1/keys`
    Keys,
    /// `POST /v1/keys/refresh`
    RefreshKeys(RefreshKeys),
    /// `POST /v1/keys/approve`
    ApproveKeys(ApproveKeys),
    /// `GET /v1/explain/user`
    ExplainUser(String),
    /// `GET /v1/entra/review/...`
    Review(exports::Wanted),
    /// `GET /v1/entra/review/key`
    ReviewKey,
    /// `GET /v1/entra/review/signature`
    ReviewSignature(u64),
    /// `GET /v1/entra/sign-ins`
    SignIns(Box<sign_ins::Wanted>),
    /// `/v1/entra`, and below it what is done about the tenant
    Entra(Tenant),
    /// `GET /v1/openapi.json`
    Describe,
}

/// Which lines of the audit log are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedEvents {
    /// Only later ones than this, the oldest first.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Then those that come.
    pub follow: bool,
    /// Which.
    pub filter: Filter,
}

/// Which beginnings of flows are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedFlows {
    /// At most so many of those that are held.
    pub limit: Option<usize>,
    /// Then those that come.
    pub follow: bool,
    /// Which.
    pub filter: Wanted,
}

/// Everything at once; the daemon does it in two steps, to look at the role before it reads a body.
pub fn parse(
    method: &Method,
    path: &str,
    query: Option<&str>,
    body: &[u8],
) -> Result<Command, Refusal> {
    Head::of(method, path, query)?.command(body)
}

/// A request without its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) operation: &'static Operation,
    /// What stands for `{name}` in the path.
    name: String,
    query: Query,
}

impl Head {
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let segments = path.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let operation = Operation::find(method, path, &segments)?;
        let query = Query::of(query, operation.keys)?;
        let name = operation
            .path
            .split('/')
            .zip(segments)
            .find(|(mine, _)| mine.starts_with('{'))
            .map_or_else(String::new, |(_, name)| name.to_owned());
        Ok(Self {
            operation,
            name,
            query,
        })
    }

    pub(super) fn command(self, body: &[u8]) -> Result<Command, Refusal> {
        let Self {
            operation,
            name,
            mut query,
        } = self;
        let known = operation.body.unwrap_or_default();
        Ok(match operation.does {
            Does::Status => Command::Status,
            Does::Counters => Command::Counters,
            Does::Metrics => Command::Metrics,
            Does::Events => Command::Events(Box::new(events(&mut query)?)),
            Does::Flows => Command::Flows(Box::new(flows(&mut query)?)),
            Does::Capture => Command::Capture(Box::new(object(body, known)?)),
            Does::Lists => Command::Lists,
            Does::TestLists => Command::TestLists(query.address("source")?),
            Does::List => Command::List {
                name,
                prefix: query.prefix("prefix")?,
                limit: query.number("limit")?.unwrap_or(usize::MAX),
            },
            Does::AddEntry => Command::AddEntry {
                name,
                entry: object(body, known)?,
            },
            Does::RemoveEntry => Command::RemoveEntry {
                name,
                prefix: query.take("prefix").ok_or(Refusal::Missing("prefix"))?,
            },
            Does::RefreshList => Command::RefreshList(name),
            Does::ApproveList => Command::ApproveList {
                name,
                held: object(body, known)?,
            },
            Does::Reload => Command::Reload(object(body, known)?),
            Does::Confirm => Command::Confirm,
            Does::Undo => Command::Undo,
            Does::Explain => Command::Explain(Box::new(object(body, known)?)),
            Does::Claims => Command::Claims {
                user: query.take("user").ok_or(Refusal::Missing("user"))?,
                service: query.take("service"),
            },
            Does::DiffRules => Command::DiffRules(Box::new(object(body, known)?)),
            Does::Grants => Command::Grants,
            Does::TakeGrants => match query.take("principal") {
                None => Command::TakeGrant(query.address("address")?),
                Some(_) if query.has("address") => {
                    return Err(Refusal::Together("address", "principal"));
                }
                Some(text) => match text.parse() {
                    Ok(principal) => Command::TakeGrants(principal),
                    Err(_) => {
                        return Err(Refusal::Value {
                            key: "principal",
                            value: text,
                            expected: "write TENANT/OBJECT, by the ids of Entra".to_owned(),
                        });
                    }
                },
            },
            Does::Revoke => Command::Revoke(object(body, known)?),
            Does::Restore => Command::Restore(object(body, known)?),
            Does::Keys => Command::Keys,
            Does::RefreshKeys => Command::RefreshKeys(object(body, known)?),
            Does::ApproveKeys => Command::ApproveKeys(object(body, known)?),
            Does::ExplainUser => {
                Command::ExplainUser(query.take("user").ok_or(Refusal::Missing("user"))?)
            }
            Does::Review(what) => Command::Review(evidence::review(&mut query, what)?),
            Does::ReviewKey => Command::ReviewKey,
            Does::ReviewSignature => {
                let number = query.number("export")?;
                Command::ReviewSignature(number.ok_or(Refusal::Missing("export"))?)
            }
            Does::SignIns => Command::SignIns(Box::new(evidence::sign_ins(&mut query)?)),
            Does::Entra => Command::Entra(Tenant::Show),
            Does::CheckEntra => Command::Entra(Tenant::Check),
            Does::ConnectEntra => Command::Entra(Tenant::Connect(object(body, known)?)),
            Does::SyncEntra => Command::Entra(Tenant::Sync(object(body, known)?)),
            Does::ApproveEntra => Command::Entra(Tenant::Approve(object(body, known)?)),
            Does::DiscardEntra => Command::Entra(Tenant::Discard(object(body, known)?)),
            Does::DisconnectEntra => Command::Entra(Tenant::Disconnect(object(body, known)?)),
            Does::Describe => Command::Describe,
        })
    }
}

fn events(query: &mut Query) -> Result<WantedEvents, Refusal> {
    let follow = query.value("follow", "`true` or `false`")?.unwrap_or(false);
    let filter = Filter {
        source: query.prefix("source")?,
        user: query.take("user"),
        rule: query.take("rule"),
        id: query.take("id"),
        decision: query.take("decision"),
        service: query.take("service"),
        kind: query.take("kind"),
        since: query.time("since")?,
        until: query.time("until")?,
        told_of: None,
    };
    if follow && filter.until.is_some() {
        return Err(Refusal::Together("follow", "until"));
    }
    let after = query.number("after")?;
    if after.is_some() && filter.since.is_some() {
        return Err(Refusal::Together("since", "after"));
    }
    Ok(WantedEvents {
        after,
        limit: query.number("limit")?,
        follow,
        filter,
    })
}

fn flows(query: &mut Query) -> Result<WantedFlows, Refusal> {
    Ok(WantedFlows {
        limit: query.number("limit")?,
        follow: query.value("follow", "`true` or `false`")?.unwrap_or(false),
        filter: Wanted {
            source: query.prefix("source")?,
            service: query.take("service"),
            class: query.word("class", Class::ALL.map(|one| (one.name(), one)))?,
            verdict: query.word("verdict", Verdict::ALL.map(|one| (one.name(), one)))?,
            reason: query
                .word("reason", Reason::ALL.map(|one| (one.name(), one)))?
                .map(|reason| reason.name().to_owned()),
            hook: query.word("hook", Hook::ALL.map(|one| (one.name(), one)))?,
        },
    })
}

/// The query of a request, by name.
#[derive(Debug)]
struct Query(BTreeMap<String, String>);

impl Query {
    fn of(query: Option<&str>, known: &'static [&'static str]) -> Result<Self, Refusal> {
        let mut values = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&') {
            if pair.is_empty() {
                continue;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode(key)?.into_owned();
            if !known.contains(&key.as_str()) {
                return Err(Refusal::Key { key, known });
            }
            if values
                .insert(key.clone(), decode(value)?.into_owned())
                .is_some()
            {
                return Err(Refusal::Twice(key));
            }
        }
        Ok(Self(values))
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    fn value<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|_| Refusal::Value {
            key,
            value,
            expected: format!("write {expected}"),
        })
    }

    fn word<T: Copy, const N: usize>(
        &mut self,
        key: &'static str,
        known: [(&'static str, T); N],
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match known.iter().find(|(word, _)| *word == value) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => Err(Refusal::Value {
                key,
                value,
                expected: format!("write one of {}", quoted(&known.map(|(word, _)| word))),
            }),
        }
    }

    fn number<T: FromStr>(&mut self, key: &'static str) -> Result<Option<T>, Refusal> {
        self.value(key, "a whole number")
    }

    fn prefix(&mut self, key: &str) -> Result<Option<IpNet>, Refusal> {
        let text = self.take(key);
        Ok(text
            .map(|text| weir_tables::parse_prefix(&text))
            .transpose()?
            .map(|entry| entry.prefix))
    }

    fn address(&mut self, key: &'static str) -> Result<IpAddr, Refusal> {
        let text = self.take(key).ok_or(Refusal::Missing(key))?;
        let net = weir_tables::parse_prefix(&text)?.prefix;
        if net.prefix_len() == net.max_prefix_len() {
            return Ok(net.addr());
        }
        Err(Refusal::Value {
            key,
            value: text,
            expected: format!("write one address, such as {}", net.addr()),
        })
    }

    /// RFC 3339, as it stands in the audit log.
    fn time(&mut self, key: &'static str) -> Result<Option<String>, Refusal> {
        use time::format_description::well_known::Rfc3339;
        use time::{OffsetDateTime, UtcOffset};
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let time = OffsetDateTime::parse(&value, &Rfc3339).ok();
        // At the end of time there is no UTC.
        match time.and_then(|time| time.checked_to_offset(UtcOffset::UTC)) {
            Some(time) => Ok(Some(crate::clock::text(time))),
            None => Err(Refusal::Value {
                key,
                value,
                expected: "write a time as RFC 3339 says: 2026-01-01T08:00:00Z".to_owned(),
            }),
        }
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    let wrong = |why| {
        Err(Refusal::Encoding {
            text: text.to_owned(),
            why,
        })
    };
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            _ => return wrong("has a `%` without two hexadecimal digits behind it"),
        }
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if decoded.chars().any(char::is_control) => wrong("holds a control character"),
        Ok(decoded) => Ok(decoded),
        Err(_) => wrong("is not UTF-8 after percent-decoding"),
    }
}

/// A body: a JSON object with these keys, or nothing for one with none.
fn object<T: DeserializeOwned>(body: &[u8], known: &[&str]) -> Result<T, Refusal> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        // Only to find a key that is misspelt: not worth much memory.
        let short = if body.len() <= SHORT { body } else { b"{}" };
        let keys: BTreeMap<String, Value> = serde_json::from_slice(short).unwrap_or_default();
        let unknown = keys.keys().find(|key| !known.contains(&key.as_str()));
        let near = unknown.and_then(|key| meant(key, known));
        Refusal::Body {
            why: error.to_string().chars().take(400).collect(),
            help: near
                .unwrap_or_else(|| format!("send a JSON object with the keys {}", quoted(known))),
        }
    })
}
