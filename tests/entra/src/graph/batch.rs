//! `$batch`: up to twenty requests in one, each with a fate of its own.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Refusal;
use super::query::Query;
use super::{Call, Context, Reply, one, scripted};
use crate::faults::Service;

#[derive(Deserialize)]
struct Batch {
    requests: Vec<Inner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    depends_on: Vec<String>,
}

const MOST: usize = 20;

/// Answers each request in turn; the answers come in any order.
pub fn answer(context: &mut Context<'_>) -> Result<Reply, Refusal> {
    let invalid = |text: &str| Refusal::new(http::StatusCode::BAD_REQUEST, "BadRequest", text);
    let batch: Batch = serde_json::from_slice(&context.call.body)
        .map_err(|_| invalid("Invalid batch payload format."))?;
    if batch.requests.len() > MOST {
        return Err(invalid(
            "Number of batch request steps exceeds the maximum value of 20.",
        ));
    }
    let ids: BTreeSet<&str> = batch
        .requests
        .iter()
        .map(|inner| inner.id.as_str())
        .collect();
    if ids.len() != batch.requests.len() {
        return Err(invalid("Invalid batch payload format: ids must be unique."));
    }
    let mut failed = BTreeSet::new();
    let mut responses = Vec::new();
    for (at, inner) in batch.requests.iter().enumerate() {
        let depends = inner
            .depends_on
            .iter()
            .any(|id| failed.contains(id.as_str()));
        let response = if depends {
            json!({ "id": inner.id, "status": 424, "headers": {}, "body": { "error": {
                "code": "FailedDependency", "message": "A request that this one depends on failed." } } })
        } else {
            single(context, inner, at)
        };
        if response["status"]
            .as_u64()
            .is_none_or(|status| status >= 400)
        {
            failed.insert(inner.id.as_str());
        }
        responses.push(response);
    }
    context.chance.of_text("batch").shuffle(&mut responses);
    Ok(Reply::json(json!({ "responses": responses }).to_string()))
}

fn single(context: &mut Context<'_>, inner: &Inner, at: usize) -> Value {
    let target = format!("/v1.0/{}", inner.url.trim_start_matches('/'));
    let acts = context
        .world
        .faults
        .meet(Service::Graph, &inner.method, &target);
    let (path, query) = inner.url.split_once('?').unwrap_or((&inner.url, ""));
    let header = |name: &str| {
        let found = inner.headers.iter();
        found
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
            .next()
            .unwrap_or_default()
    };
    let call = Call {
        post: inner.method == "POST",
        path: path.trim_start_matches('/').to_owned(),
        query: Query::parse(query),
        prefer: header("prefer"),
        eventual: header("consistencylevel").eq_ignore_ascii_case("eventual"),
        body: Bytes::from(inner.body.to_string()),
    };
    let chance = context.chance.of(at as u64);
    let reply = match acts.iter().find_map(scripted) {
        Some(refusal) => Err(refusal),
        None if call.path == "$batch" => Err(Refusal::bad("A batch cannot contain a batch.")),
        None => one(
            context.world,
            context.shared,
            context.session,
            &call,
            chance,
        ),
    };
    let (status, kind, headers, body) = match reply {
        Ok(reply) => {
            let body = serde_json::from_slice(&reply.body);
            let body = body.unwrap_or_else(|_| json!(STANDARD.encode(&reply.body)));
            (reply.status, reply.kind, reply.headers, body)
        }
        Err(refusal) => {
            let id = chance.of_text("request-id").id();
            let body = refusal.body(context.world.clock.now(), id, &id.to_string());
            (refusal.status, "application/json", refusal.headers, body)
        }
    };
    let mut shown = json!({ "Content-Type": kind });
    for (name, value) in headers {
        // In a batch it is a decimal.
        let value = match name.as_str() {
            "Retry-After" if !value.contains('.') => format!("{value}.5"),
            _ => value,
        };
        shown[name] = json!(value);
    }
    json!({ "id": inner.id, "status": status.as_u16(), "headers": shown, "body": body })
}
