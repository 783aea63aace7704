//! From a request to the brain's method that answers it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use weir_api::{Actor, AddEntry, ExplainRequest, Failure, ReloadRequest};

use super::{Body, events, failure, json};
use crate::Error;
use crate::brain::Brain;

/// How long a client may take to send the body of a request.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Largest body of a request, in bytes.
const LARGEST_BODY: usize = 4 << 20;

pub(super) async fn answer(
    brain: Arc<Brain>,
    who: Actor,
    request: Request<Incoming>,
) -> Response<Body> {
    match route(&brain, who, request).await {
        Ok(response) => response,
        Err(error) => failure(&error, brain.running().number),
    }
}

async fn route(
    brain: &Arc<Brain>,
    who: Actor,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let Some(rest) = path.strip_prefix("/v1/") else {
        return Ok(nothing_here(&path));
    };
    let query = Query::of(request.uri().query())?;
    let parts = rest.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    if allowed(&parts).is_some() {
        query.only(keys(request.method(), &parts))?;
    }
    let ok = StatusCode::OK;
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["status"]) => Ok(json(ok, &brain.status().await?)),
        (&Method::GET, ["counters"]) => Ok(json(ok, &brain.counters().await?)),
        (&Method::GET, ["events"]) => Ok(events::answer(brain, &query)?),
        (&Method::GET, ["lists"]) => Ok(json(ok, &brain.lists())),
        (&Method::GET, ["lists", "test"]) => {
            let source: IpAddr = query.required("source")?;
            Ok(json(ok, &brain.test_lists(source)))
        }
        (&Method::GET, ["lists", name]) => Ok(json(ok, &brain.list(name)?)),
        (&Method::POST, ["lists", name, "entries"]) => {
            let entry: AddEntry = body(request).await?;
            let changed = brain.add_entry(who, name, &entry.prefix, entry.comment.as_deref());
            Ok(json(ok, &changed.await?))
        }
        (&Method::DELETE, ["lists", name, "entries"]) => {
            let prefix: String = query.required("prefix")?;
            Ok(json(ok, &brain.remove_entry(who, name, &prefix).await?))
        }
        (&Method::POST, ["reload"]) => {
            let wanted: ReloadRequest = body(request).await?;
            Ok(json(ok, &brain.reload(who, wanted.dry_run).await?))
        }
        (&Method::POST, ["explain"]) => {
            let wanted: ExplainRequest = body(request).await?;
            Ok(json(ok, &brain.explain(wanted).await?))
        }
        (method, parts) => Ok(match allowed(parts) {
            Some(allow) => wrong_method(method, &path, allow),
            None => nothing_here(&path),
        }),
    }
}

/// The query of a request, by name.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Error> {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name)?.into_owned(), decode(value)?.into_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Refuses what nobody would read: a filter that is misspelt must not show everything.
    fn only(&self, known: &[&str]) -> Result<(), Error> {
        let Some(unknown) = self.0.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let known = match known {
            [] => "none".to_owned(),
            known => format!("`{}`", known.join("`, `")),
        };
        Err(Error::Request(format!(
            "`{unknown}` is no key of this query; known: {known}"
        )))
    }

    /// A value, when it is there.
    pub(super) fn get<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        self.0
            .get(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    Error::Request(format!("`{value}` cannot be the value of `{name}`"))
                })
            })
            .transpose()
    }

    fn required<T: std::str::FromStr>(&self, name: &str) -> Result<T, Error> {
        self.get(name)?
            .ok_or_else(|| Error::Request(format!("`{name}` is missing from the query")))
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Error> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Error::Request(format!("`{text}` is not UTF-8 after percent-decoding")))
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Error> {
    let collecting = Limited::new(request.into_body(), LARGEST_BODY).collect();
    let bytes = tokio::time::timeout(BODY_WITHIN, collecting)
        .await
        .map_err(|_| {
            Error::Request("the body did not come within ten seconds; send all of it".to_owned())
        })?
        .map_err(|error| {
            Error::Request(if error.is::<LengthLimitError>() {
                format!("the body is longer than {LARGEST_BODY} bytes")
            } else {
                format!("the body cannot be read: {error}")
            })
        })?
        .to_bytes();
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text)
        .map_err(|error| Error::Request(format!("the body is not what is expected here: {error}")))
}

/// Keys that the query of a request may have.
fn keys(method: &Method, parts: &[&str]) -> &'static [&'static str] {
    match (method, parts) {
        (&Method::GET, ["events"]) => events::KEYS,
        (&Method::GET, ["lists", "test"]) => &["source"],
        (&Method::DELETE, ["lists", _, "entries"]) => &["prefix"],
        _ => &[],
    }
}

fn allowed(parts: &[&str]) -> Option<&'static str> {
    Some(match parts {
        ["status" | "counters" | "events" | "lists"] | ["lists", _] => "GET",
        ["lists", _, "entries"] => "POST, DELETE",
        ["reload" | "explain"] => "POST",
        _ => return None,
    })
}

fn wrong_method(method: &Method, path: &str, allow: &'static str) -> Response<Body> {
    let mut response = json(
        StatusCode::METHOD_NOT_ALLOWED,
        &Failure {
            error: format!("{path} does not answer {method}"),
            help: Some(format!("it answers {allow}")),
            generation: None,
        },
    );
    response
        .headers_mut()
        .insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}

fn nothing_here(path: &str) -> Response<Body> {
    let help = "GET /v1/status, /v1/counters, /v1/events, /v1/lists; POST /v1/reload, /v1/explain";
    json(
        StatusCode::NOT_FOUND,
        &Failure {
            error: format!("there is nothing at {path}"),
            help: Some(help.to_owned()),
            generation: None,
        },
    )
}
