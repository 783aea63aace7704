//! Asks Microsoft Graph, with a token, until there is an answer that can be used or a reason why there is none.
//!
//! A token leaves only for the Graph of the configuration. What Graph asks for is kept to: pauses stop all requests of
//! their kind. What comes back is whole, or a [`Failure`]; of a page that is cut short nothing is taken.

mod ask;
mod batch;
mod call;
mod error;
mod lane;
mod link;
mod prove;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderName};
use reqwest::{Client, RequestBuilder};
use url::Url;

pub use self::ask::{Ask, Lane};
pub use self::call::{At, Call, Priority};
pub use self::error::{Failure, Kind, Said};
pub use self::link::ForeignLink;
pub use self::prove::{Proof, ProofError};
pub(crate) use self::prove::{missing, too_much};
use crate::clock::Clock;
use crate::credential::Registration;
use crate::decode::Malformed;
use crate::model::Id;
use crate::network::{self, Answer as Whole, Network, SetupError};
use crate::retry::{back_off, retry_after, text};
use crate::token::{Token, Tokens};
use crate::words;

/// Longest answer, in bytes, packed or unpacked.
const LONGEST: usize = 32 << 20;
/// How often a question is put.
const TRIES: u32 = 6;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
const PRIORITY: HeaderName = HeaderName::from_static("x-ms-throttle-priority");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The Graph of a tenant.
pub struct Graph {
    registration: Arc<Registration>,
    tokens: Arc<Tokens>,
    client: Client,
    clock: Arc<dyn Clock>,
    lanes: [Mutex<lane::State>; Lane::ALL.len()],
}

/// What Graph answered.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The answer itself.
    pub said: T,
    /// Graph's name for the request: evidence, and for support.
    pub request_id: Option<String>,
    /// Length of the answer, in bytes.
    pub length: usize,
    /// How often it was asked.
    pub tries: u32,
}

impl Graph {
    /// Asks as a registration, over a network.
    pub fn new(
        registration: Arc<Registration>,
        tokens: Arc<Tokens>,
        network: &Network,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            registration,
            tokens,
            client: network.https()?,
            clock,
            lanes: Default::default(),
        })
    }

    /// Who asks.
    pub fn registration(&self) -> &Arc<Registration> {
        &self.registration
    }

    /// The tokens that it asks with.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Puts a question, and again where that may help. What `decode` refuses counts as no answer.
    pub async fn get<T>(
        &self,
        call: &Call<'_>,
        decode: impl Fn(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Answer<T>, Failure> {
        let part = call.ask.part();
        if !self.registration.cloud.offers(part) {
            return Err(Failure::without_answer(part, Kind::NotOffered));
        }
        let url = self.url(call)?;
        let decode = &decode;
        let asked = Asked {
            ask: call.ask,
            lane: call.ask.lane(),
            count: 1,
            until: self.clock.elapsed() + call.within,
        };
        self.persist(&asked, |token| {
            let request = match call.ask.body() {
                Some(body) => json(self.client.post(url.clone()), &body),
                None => self.client.get(url.clone()),
            };
            let request = match call.at {
                At::Delta(_) => request.header(PREFER, "return=minimal"),
                At::Start | At::Next(_) => request,
            };
            let request = headers(request, token, call.priority);
            async move {
                let whole = self.send(request, call).await?;
                let said = decode(&whole.body).map_err(|error| {
                    let mut failure = Failure::without_answer(part, Kind::Malformed(error));
                    failure.status = Some(whole.status);
                    failure.request_id = request_id(&whole).map(Into::into);
                    failure
                })?;
                Ok(Answer {
                    said,
                    request_id: request_id(&whole),
                    length: whole.body.len(),
                    tries: 1,
                })
            }
        })
        .await
        .map(|(answer, tries)| Answer { tries, ..answer })
    }

    /// Asks with a token, until there is an answer or no hope.
    async fn persist<'a, T, F: Future<Output = Result<T, Failure>>>(
        &'a self,
        asked: &Asked<'_>,
        once: impl Fn(&Token) -> F + 'a,
    ) -> Result<(T, u32), Failure> {
        let part = asked.ask.part();
        let mut tries = 0;
        let mut is_renewed = false;
        let mut last = None;
        loop {
            if let Err(wait) = self.enter(asked).await {
                return Err(last.unwrap_or_else(|| too_late(asked, wait)));
            }
            let token = self.tokens.get(&self.registration).await;
            let token = token
                .map_err(|error| Failure::without_answer(part, Kind::Token(Box::new(error))))?;
            tries += 1;
            let mut failure = match once(&token).await {
                Ok(answer) => {
                    token.was_taken();
                    return Ok((answer, tries));
                }
                Err(failure) => failure,
            };
            failure.tries = tries;
            let may_renew = matches!(failure.kind, Kind::Unauthorized) && !is_renewed;
            if may_renew && self.tokens.reject(&self.registration, &token) {
                is_renewed = true;
                continue;
            }
            if !failure.is_transient() || tries >= TRIES {
                return Err(failure);
            }
            let wait = failure.retry_after;
            let wait = wait.unwrap_or_else(|| back_off(tries, self.clock.chance()));
            let now = self.clock.elapsed();
            if failure.stops_lane() {
                self.lane(asked.lane).stop(now, wait);
            }
            if now + wait >= asked.until {
                return Err(failure);
            }
            if !failure.stops_lane() {
                self.clock.sleep(wait).await;
            }
            last = Some(failure);
        }
    }

    /// Waits for its turn; how long that would have taken, when it is longer than there is time.
    async fn enter(&self, asked: &Asked<'_>) -> Result<(), Duration> {
        loop {
            let now = self.clock.elapsed();
            let turn = self.lane(asked.lane).enter(asked.lane, asked.count, now);
            let Err(wait) = turn else { return Ok(()) };
            if now + wait >= asked.until {
                return Err(wait);
            }
            self.clock.sleep(wait).await;
        }
    }

    fn url(&self, call: &Call<'_>) -> Result<Url, Failure> {
        let cloud = &self.registration.cloud;
        match call.at {
            At::Start => Ok(call.ask.url(cloud.graph_url())),
            At::Next(link) | At::Delta(link) => self.check(call.ask, link),
        }
    }

    /// Whether a link leads on from a question, before it is followed or kept.
    pub(crate) fn check(&self, ask: &Ask, link: &str) -> Result<Url, Failure> {
        link::check(&self.registration.cloud, ask, link)
            .map_err(|error| Failure::without_answer(ask.part(), Kind::Foreign(error)))
    }

    /// Sends once; what is not a success is a failure.
    async fn send(&self, request: RequestBuilder, call: &Call<'_>) -> Result<Whole, Failure> {
        let whole = network::ask(request, LONGEST).await;
        let whole = whole
            .map_err(|error| Failure::without_answer(call.ask.part(), Kind::Network(error)))?;
        self.tokens.note_date(&whole.headers);
        self.lane(call.ask.lane())
            .told(&whole.headers, self.clock.elapsed());
        let kind = text(&whole.headers, &CONTENT_TYPE);
        // A captive portal says that all is well, with a page of its own.
        if whole.status == 200 && kind.is_none_or(|kind| kind.contains("json")) {
            return Ok(whole);
        }
        let refused = error::Refused {
            ask: call.ask,
            by_link: call.at != At::Start,
            status: whole.status,
            headers: &whole.headers,
            body: &whole.body,
            retry_after: retry_after(&whole.headers, self.clock.now()),
        };
        Err(refused.failure())
    }

    fn lane(&self, lane: Lane) -> MutexGuard<'_, lane::State> {
        let at = Lane::ALL.iter().position(|one| *one == lane);
        let at = at.expect("ALL names every lane");
        self.lanes[at]
            .lock()
            .expect("nobody panics while holding it")
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("registration", &self.registration)
            .finish_non_exhaustive()
    }
}

/// What is being asked for, and until when it is worth it.
struct Asked<'a> {
    ask: &'a Ask,
    lane: Lane,
    /// How many questions it is.
    count: u32,
    until: Duration,
}

fn too_late(asked: &Asked<'_>, wait: Duration) -> Failure {
    let mut failure = Failure::without_answer(asked.ask.part(), Kind::Throttled);
    "it was not its turn in time".clone_into(&mut failure.words);
    failure.retry_after = Some(wait);
    failure
}

/// What every request says.
fn headers(request: RequestBuilder, token: &Token, priority: Priority) -> RequestBuilder {
    request
        .bearer_auth(token.value())
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "gzip")
        .header(CLIENT_REQUEST_ID, Id::new_v4().to_string())
        .header(PRIORITY, priority.word())
}

fn json(request: RequestBuilder, body: &serde_json::Value) -> RequestBuilder {
    let request = request.header(CONTENT_TYPE, "application/json");
    request.body(body.to_string())
}

fn request_id(whole: &Whole) -> Option<String> {
    text(&whole.headers, &REQUEST_ID).map(words::name)
}
