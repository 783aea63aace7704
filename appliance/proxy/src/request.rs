//! One request: from its head to an answer, with one audit event.
//!
//! Refusals come first (whose request is it at all?), then policy, then the upstream. The raw path
//! and query are what travels on; only policy sees the normalised ones.

mod again;
mod forward;
mod look;
mod record;
mod reply;
mod target;

use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
use hyper::body::Incoming;
use time::UtcDateTime;
use weir_link::{Event, EventKind};
use weir_policy::{
    BodyNeed, Classify, Decision, DecisionKind, Facts, Flow, Head, NormalPath, Recognised, Refusal,
    Ruling, Told, answer,
};

use crate::body::{self, Answer, Unread, Whole};
use crate::generation::{Live, Service};
use crate::serve::Client;
use crate::token;
use crate::upstream::Failure;
use forward::Asked;
use look::Look;
use record::Record;
use target::{Refused, Target};

/// So much of a method stands in the audit log; those that are served are far shorter.
const MAX_METHOD: usize = 32;

/// The request cannot be answered on this HTTP/2 connection: its stream is reset, with a reason
/// that makes clients come again over HTTP/1.1.
#[derive(Debug, thiserror::Error)]
#[error("this stream needs HTTP/1.1")]
pub struct Reset(#[source] h2::Error);

/// Answers one request.
pub async fn handle(
    client: &Client,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Reset> {
    let started = Instant::now();
    let live = client.shared.live.load_full();
    let mut record = Record::new(client, &live);
    let (parts, incoming) = request.into_parts();
    record.method = Some(parts.method.as_str().chars().take(MAX_METHOD).collect());

    let service = live
        .service_at(client.listener)
        .filter(|service| service.name == client.service);
    let target = match (Target::of(&parts, client), service) {
        (Ok(target), Some(service)) if service.hosts.contains(&target.host) => {
            Ok((target, service))
        }
        (Ok(target), _) => Err(Refused::foreign_host(target.host)),
        (Err(refused), _) => Err(refused),
    };
    let raw_path = parts.uri.path();
    let (target, service) = match target {
        Ok(found) => found,
        Err(refused) => {
            record.path = normal(raw_path);
            record.host = refused.host;
            let (rule, refusal) = (refused.rule, refused.refusal);
            return Ok(refuse(record, &live, client, rule, &refusal));
        }
    };
    record.host = Some(target.host.clone());

    let headers = lines(&parts.headers);
    let head = Head {
        method: parts.method.as_str(),
        host: &target.host,
        path: raw_path,
        query: parts.uri.query(),
        headers: &headers,
    };
    let recognised = match service.policy.recognise(&head) {
        Ok(recognised) => recognised,
        Err(refusal) => {
            record.path = normal(raw_path);
            return Ok(refuse(record, &live, client, "proxy/path", &refusal));
        }
    };
    record.path = Some(recognised.path.as_str().to_owned());
    record.flow = Some(recognised.flow.name().to_owned());

    let body = match body_of(client, &parts, &recognised, incoming).await {
        Ok(body) => body,
        Err((rule, refusal)) if refusal.status == 503 => {
            let flow = recognised.flow;
            return Ok(put_off(record, &live, client, flow, rule, &refusal));
        }
        Err((rule, refusal)) => return Ok(refuse(record, &live, client, rule, &refusal)),
    };
    let asking = Asking {
        client,
        live: &live,
        service,
        parts: &parts,
        head: &head,
        target: &target,
        recognised: &recognised,
    };
    asking.answer(record, &body, started).await
}

/// A request that is a service's, and may be judged.
struct Asking<'a> {
    client: &'a Client,
    live: &'a Live,
    service: &'a Service,
    parts: &'a request::Parts,
    head: &'a Head<'a>,
    target: &'a Target,
    recognised: &'a Recognised,
}

impl Asking<'_> {
    async fn answer(
        &self,
        mut record: Record<'_>,
        body: &Whole,
        started: Instant,
    ) -> Result<Response<Answer>, Reset> {
        let (client, policy) = (self.client, &self.service.policy);
        if policy.profile().replies() {
            return self.receive(record, body, started).await;
        }
        let mut facts = self.facts(body);
        let looks = self.service.tokens.as_ref().and_then(|tokens| {
            let answering = token::answering(&facts)?;
            Some((tokens, answering))
        });
        if looks.is_some_and(|(tokens, _)| tokens.decides) {
            facts.token = Told::Ahead;
        }
        let ruling = self.live.judge(self.service, &mut facts);
        record.decided(&facts, &ruling, started);
        client.shared.counters.requests.add();

        let mut asked = Asked {
            plain: looks.is_some(),
            ..Asked::default()
        };
        match &ruling {
            Ruling::Now(decision) if decision.kind == DecisionKind::Pass => {}
            Ruling::Now(decision) => {
                let own = own(&facts, decision, self.head.query, &record.id);
                return Ok(record.finish(own));
            }
            Ruling::AtToken { step_up, .. } if step_up.is_some() => {
                self.ask_now(&facts, body, &mut asked);
            }
            Ruling::AtToken { .. } => {}
        }
        let sent = asked.body.as_ref().unwrap_or(&body.bytes);
        let outgoing = || forward::request(self, &facts, sent.clone(), &asked);
        let answered = self.service.upstream.send(outgoing, client).await;
        match (answered, looks) {
            (Ok(response), None) => Ok(record.finish(forward::response(response))),
            (Ok(response), Some((tokens, answering))) => {
                let changed = asked.query.is_some() || asked.body.is_some();
                let waits = matches!(ruling, Ruling::AtToken { .. });
                let look = Look {
                    client,
                    again: &|facts, seen| self.again(facts, body, changed, seen.audiences()),
                    keeps: waits.then(|| self.keeps(&facts, &asked)).flatten(),
                    live: self.live,
                    service: self.service,
                    tokens,
                    answering,
                    url: &self.url(),
                };
                Ok(look.judge(record, facts, ruling, response).await)
            }
            (Err(failure), _) => without_answer(record, &facts, &failure),
        }
    }

    fn facts(&self, body: &Whole) -> Facts {
        let seen = self.reads(body).then_some(&body.bytes[..]);
        let (peer, lists) = (self.client.peer.ip(), &self.live.sources);
        let policy = &self.service.policy;
        let mut facts = policy.facts(self.head, self.recognised, seen, peer, lists);
        facts.moment = Some(UtcDateTime::now());
        facts
    }

    /// Whether policy looks at the body.
    fn reads(&self, body: &Whole) -> bool {
        matches!(self.recognised.body, BodyNeed::UpTo(most) if body.bytes.len() <= most)
    }

    /// Its absolute address.
    fn url(&self) -> String {
        let Head { host, path, .. } = self.head;
        match self.head.query {
            Some(query) => format!("https://{host}{path}?{query}"),
            None => format!("https://{host}{path}"),
        }
    }
}

/// Headers, line by line.
pub(crate) fn lines(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

/// A path for the record of a request that is refused before policy has normalised it.
fn normal(path: &str) -> Option<String> {
    let path = NormalPath::parse(path).ok()?;
    Some(path.as_str().to_owned())
}

/// The body of a request, whole; or by which rule and why it is refused.
async fn body_of(
    client: &Client,
    parts: &request::Parts,
    recognised: &Recognised,
    incoming: Incoming,
) -> Result<Whole, (&'static str, Refusal)> {
    // Only HTTP/1.1 needs leniency: HTTP/2 resets the stream alone. A client that waits for
    // `100 Continue` has sent nothing yet.
    let lenient = client.pin.is_some() && !parts.headers.contains_key(http::header::EXPECT);
    match body::read(incoming, recognised.body_limit, lenient, client).await {
        // Policy has not looked at it, and servers differ in what they do with it (RFC 9110, section
        // 9.3.1).
        Ok(body) if !body.bytes.is_empty() && parts.method != Method::POST => {
            let why = "a request of this method has no body".into();
            Err(("proxy/body-unexpected", Refusal { status: 400, why }))
        }
        Ok(body) => Ok(body),
        // Never forwarded, with or without a body: policy has the answer.
        Err(_) if matches!(recognised.flow, Flow::Internal | Flow::Other) => Ok(Whole::default()),
        Err(unread) => Err(unread_body(unread)),
    }
}

/// Answers a request that never reached policy.
fn refuse(
    mut record: Record<'_>,
    live: &Live,
    client: &Client,
    rule: &'static str,
    refusal: &Refusal,
) -> Response<Answer> {
    refused(&mut record, live, client, rule, refusal);
    let answer = own_answer(answer::refuse(refusal, &record.id));
    record.finish(answer)
}

/// Answers a request that never reached policy, but may do so in a moment.
fn put_off(
    mut record: Record<'_>,
    live: &Live,
    client: &Client,
    flow: Flow,
    rule: &'static str,
    refusal: &Refusal,
) -> Response<Answer> {
    refused(&mut record, live, client, rule, refusal);
    let answer = own_answer(answer::unavailable(flow, None, refusal.status, &record.id));
    record.finish(answer)
}

/// Records a request that never reached policy.
fn refused(event: &mut Event, live: &Live, client: &Client, rule: &'static str, refusal: &Refusal) {
    let found = live.sources.classify(client.peer.ip());
    event.kind = EventKind::Refused;
    event.class = found.class;
    event.list = found.list;
    event.decision = "refuse".into();
    event.rule = rule.into();
    event.reason = Some(refusal.why.to_string());
}

/// What becomes of a request that was passed, but got no answer from the upstream.
fn without_answer(
    mut record: Record<'_>,
    facts: &Facts,
    failure: &Failure,
) -> Result<Response<Answer>, Reset> {
    if matches!(failure, Failure::NeedsHttp1) {
        record.reason = Some("asked to come again over HTTP/1.1".into());
        record.send();
        return Err(Reset(h2::Reason::HTTP_1_1_REQUIRED.into()));
    }
    Ok(failed(record, facts, failure))
}

/// Answers a request that was passed, but got no answer from the upstream.
fn failed(mut record: Record<'_>, facts: &Facts, failure: &Failure) -> Response<Answer> {
    record.kind = EventKind::Upstream;
    record.reason = Some(failure.to_string());
    tracing::warn!(id = record.id, %failure, "no answer from the upstream");
    let (status, soap) = (failure.status(), facts.soap.as_ref());
    let answer = answer::unavailable(facts.flow, soap, status, &record.id);
    record.finish(own_answer(answer))
}

/// What Weir says itself, where it does not pass.
fn own(facts: &Facts, decision: &Decision, query: Option<&str>, id: &str) -> Response<Answer> {
    let redirect = match decision.kind {
        DecisionKind::Redirect => answer::redirect(facts, decision, query),
        _ => None,
    };
    own_answer(redirect.unwrap_or_else(|| answer::block(facts, decision, id)))
}

fn own_answer(answer: answer::Answer) -> Response<Answer> {
    let mut response = Response::new(Answer::own(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(name, value);
        } else {
            tracing::error!(name, "a header of an answer cannot be sent");
        }
    }
    response
}

fn unread_body(unread: Unread) -> (&'static str, Refusal) {
    match unread {
        Unread::TooLarge => (
            "proxy/body-too-large",
            Refusal {
                status: 413,
                why: "the body is larger than any sign-in needs".into(),
            },
        ),
        Unread::NoMemory => (
            "proxy/memory",
            Refusal {
                status: 503,
                why: "the bodies of other requests fill the memory that there is for them".into(),
            },
        ),
        Unread::Slow => (
            "proxy/body-slow",
            Refusal {
                status: 408,
                why: "the body did not arrive in time".into(),
            },
        ),
        Unread::Broken => (
            "proxy/body-broken",
            Refusal {
                status: 400,
                why: "the body did not arrive whole".into(),
            },
        ),
    }
}
