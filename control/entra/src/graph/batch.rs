//! Up to twenty questions in one request (`$batch`).
//!
//! Answers come in any order and are matched by id. Each is metered alone, so some may be throttled beside others that
//! succeed: only those are put again.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, Ask, Asked, Call, Failure, Graph, Kind, Lane, Priority, TRIES, error};
use crate::decode::Malformed;
use crate::retry::{back_off, retry_after};

/// Most questions in one request.
const MOST: usize = 20;

#[derive(Deserialize)]
struct Responses<'a> {
    #[serde(borrow)]
    responses: Vec<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    id: String,
    status: u16,
    #[serde(default)]
    headers: Option<BTreeMap<String, Value>>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

/// How a question stands.
enum Standing<T> {
    /// To be put, for so many times more.
    Open(u32),
    Settled(Result<Answer<T>, Failure>),
}

impl Graph {
    /// Puts many questions, those of a lane together; there is an outcome for each, in their order. All of it may take
    /// as long as `within`, with all the waiting that Graph asks for.
    pub async fn batch<T>(
        &self,
        asks: &[Ask],
        priority: Priority,
        within: Duration,
        decode: impl Fn(&Ask, &[u8]) -> Result<T, Malformed>,
    ) -> Vec<Result<Answer<T>, Failure>> {
        let until = self.clock.elapsed() + within;
        let mut standings: Vec<_> = asks.iter().map(|ask| self.standing(ask)).collect();
        while let Some((lane, open)) = next(asks, &standings) {
            let asked = Asked {
                ask: &asks[open[0]],
                lane,
                count: u32::try_from(open.len()).expect("at most twenty"),
                until,
            };
            let outcomes = match self.round(asks, &open, &asked, priority, &decode).await {
                Ok(outcomes) => outcomes,
                // It was tried often enough already.
                Err(failure) => {
                    for index in open {
                        standings[index] = Standing::Settled(Err(failure.clone()));
                    }
                    continue;
                }
            };
            let mut wait = None;
            for (index, outcome) in open.into_iter().zip(outcomes) {
                let Standing::Open(tries) = standings[index] else {
                    continue;
                };
                let tries = tries + 1;
                standings[index] = match outcome {
                    Err(failure) if failure.is_transient() && tries < TRIES => {
                        let pause = failure.retry_after;
                        let pause = pause.unwrap_or_else(|| back_off(tries, self.clock.chance()));
                        if self.clock.elapsed() + pause >= until {
                            Standing::Settled(Err(Failure { tries, ..failure }))
                        } else {
                            wait = wait.max(Some(pause));
                            Standing::Open(tries)
                        }
                    }
                    Err(failure) => Standing::Settled(Err(Failure { tries, ..failure })),
                    Ok(answer) => Standing::Settled(Ok(Answer { tries, ..answer })),
                };
            }
            if let Some(wait) = wait {
                self.lane(lane).stop(self.clock.elapsed(), wait);
            }
        }
        let settled = standings.into_iter().filter_map(|standing| match standing {
            Standing::Settled(outcome) => Some(outcome),
            Standing::Open(_) => None,
        });
        settled.collect()
    }

    /// How a question begins.
    fn standing<T>(&self, ask: &Ask) -> Standing<T> {
        let part = ask.part();
        if self.registration.cloud.offers(part) {
            Standing::Open(0)
        } else {
            let failure = Failure::without_answer(part, Kind::NotOffered);
            Standing::Settled(Err(failure))
        }
    }

    /// One request. Fails as a whole, or has an outcome for each of its questions.
    async fn round<T>(
        &self,
        asks: &[Ask],
        open: &[usize],
        asked: &Asked<'_>,
        priority: Priority,
        decode: &impl Fn(&Ask, &[u8]) -> Result<T, Malformed>,
    ) -> Result<Vec<Result<Answer<T>, Failure>>, Failure> {
        let graph = self.registration.cloud.graph_url();
        let requests: Vec<_> = open
            .iter()
            .map(|index| request(*index, &asks[*index], graph))
            .collect();
        let body = json!({ "requests": requests });
        let mut url = graph.clone();
        url.set_path("/v1.0/$batch");
        let call = Call::start(asked.ask);
        let (outcomes, _) = self
            .persist(asked, |token| {
                let request = super::json(self.client.post(url.clone()), &body);
                let request = super::headers(request, token, priority);
                async move {
                    let whole = self.send(request, &call).await?;
                    let read = serde_json::from_slice::<Responses<'_>>(&whole.body);
                    let read = read.map_err(|error| Malformed::from(&error));
                    let read = read.and_then(|read| matched(read, open));
                    let read = read.map_err(|error| {
                        Failure::without_answer(asked.ask.part(), Kind::Malformed(error))
                    })?;
                    let each = open.iter().zip(read);
                    let each = each
                        .map(|(index, response)| self.outcome(&asks[*index], &response, decode));
                    let outcomes: Vec<_> = each.collect();
                    // The token is that of the whole request.
                    let refused = |outcome: &Result<_, Failure>| match outcome {
                        Err(failure) if failure.kind == Kind::Unauthorized => Some(failure.clone()),
                        _ => None,
                    };
                    match outcomes.iter().map(refused).collect::<Option<Vec<_>>>() {
                        Some(mut refused) => Err(refused.remove(0)),
                        None => Ok(outcomes),
                    }
                }
            })
            .await?;
        Ok(outcomes)
    }

    fn outcome<T>(
        &self,
        ask: &Ask,
        response: &Response<'_>,
        decode: &impl Fn(&Ask, &[u8]) -> Result<T, Malformed>,
    ) -> Result<Answer<T>, Failure> {
        let headers = headers(response);
        let body = response.body.map_or(&b""[..], |body| body.get().as_bytes());
        if response.status == 200 {
            let said = decode(ask, body);
            let said =
                said.map_err(|error| Failure::without_answer(ask.part(), Kind::Malformed(error)))?;
            return Ok(Answer {
                said,
                request_id: None,
                length: body.len(),
                tries: 1,
            });
        }
        let refused = error::Refused {
            ask,
            by_link: false,
            status: response.status,
            headers: &headers,
            body,
            retry_after: retry_after(&headers, self.clock.now()),
        };
        let mut failure = refused.failure();
        // What it depended on failed; by itself it may do.
        if response.status == 424 {
            failure.kind = Kind::Unavailable;
        }
        Err(failure)
    }
}

/// The questions of one lane that are to be put next, one at least.
fn next<T>(asks: &[Ask], standings: &[Standing<T>]) -> Option<(Lane, Vec<usize>)> {
    let open = standings.iter().zip(asks).enumerate();
    let open = open.filter(|(_, (standing, _))| matches!(standing, Standing::Open(_)));
    let mut open = open.map(|(index, (_, ask))| (index, ask.lane())).peekable();
    let (_, lane) = *open.peek()?;
    let open = open.filter(|(_, other)| *other == lane);
    let open = open.map(|(index, _)| index);
    Some((lane, open.take(MOST).collect()))
}

fn request(index: usize, ask: &Ask, graph: &url::Url) -> Value {
    let url = ask.url(graph);
    let path = url.path().trim_start_matches("/v1.0");
    let relative = match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let id = index.to_string();
    match ask.body() {
        Some(body) => json!({
            "id": id,
            "method": "POST",
            "url": relative,
            "headers": { "Content-Type": "application/json" },
            "body": body,
        }),
        None => json!({ "id": id, "method": "GET", "url": relative }),
    }
}

/// The responses in the order of the questions: one for each, and none besides.
fn matched<'a>(read: Responses<'a>, open: &[usize]) -> Result<Vec<Response<'a>>, Malformed> {
    let mut by_id = BTreeMap::new();
    for response in read.responses {
        let id = response.id.parse::<usize>();
        let id =
            id.map_err(|_| Malformed::new("a response in the batch has an id that was not asked"))?;
        if by_id.insert(id, response).is_some() {
            return Err(Malformed::new("two responses in the batch have one id"));
        }
    }
    let matched = open.iter().map(|index| {
        let response = by_id.remove(index);
        response.ok_or_else(|| Malformed::new("the batch lacks a response"))
    });
    let matched = matched.collect::<Result<_, _>>()?;
    if by_id.is_empty() {
        Ok(matched)
    } else {
        Err(Malformed::new(
            "a response in the batch has an id that was not asked",
        ))
    }
}

/// The headers of one response, which are JSON here.
fn headers(response: &Response<'_>) -> HeaderMap {
    let all = response.headers.iter().flatten();
    all.filter_map(|(name, value)| {
        let name = name.parse::<HeaderName>().ok()?;
        let value = match value {
            Value::String(text) => text.parse::<HeaderValue>().ok()?,
            Value::Number(number) => number.to_string().parse().ok()?,
            _ => return None,
        };
        Some((name, value))
    })
    .collect()
}
