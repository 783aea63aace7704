//! From a request to the brain's method that answers it.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use nix::unistd::{Uid, User};
use serde::Serialize;
use weir_api::{Actor, Failure, RecordBody};

use super::request::{Command, Head};
use super::{
    Body, CONTROL, DESCRIPTION, Peer, Refusal, Role, Server, events, evidence, flows, lists,
};
use crate::{Error, clock, metrics};

/// How long this machine may take to name a user.
const NAME_WITHIN: Duration = Duration::from_secs(2);
/// How much more than the largest body is read and thrown away, so that the client hears why.
const READ_ON: usize = 16;

impl Server {
    pub(super) async fn answer(
        &self,
        role: Role,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let response = match self.command(role, peer, request).await {
            Ok(command) => self.run(peer, command).await.unwrap_or_else(|error| {
                let generation = self.brain.running().number;
                failure(status(&error), error.to_string(), error.help(), generation)
            }),
            Err(refusal) => self.refuse(&refusal),
        };
        self.counts.answered(response.status());
        response
    }

    async fn command(
        &self,
        role: Role,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Command, Refusal> {
        let uri = request.uri();
        let head = Head::of(request.method(), uri.path(), uri.query())?;
        if head.operation.changes && role == Role::Read {
            self.note_denied(peer, request.method().as_str(), uri.path())
                .await;
            return Err(Refusal::Denied {
                instead: self.who_may_change(),
            });
        }
        let body = match head.operation.body {
            Some(_) => self.body(request.into_body()).await?,
            None => Bytes::new(),
        };
        head.command(&body)
    }

    async fn run(&self, peer: Peer, command: Command) -> Result<Response<Body>, Error> {
        let brain = &self.brain;
        Ok(match command {
            Command::Status => {
                let mut status = brain.status().await?;
                status.control = self.counts.status();
                done(&status)
            }
            Command::Counters => done(&brain.counters().await?),
            Command::Metrics => {
                let text = brain.metrics().await?;
                let text = Bytes::copy_from_slice(text.as_bytes());
                answer_of(StatusCode::OK, metrics::TEXT, whole(text))
            }
            Command::Events(wanted) => self.events(*wanted).await?,
            Command::Flows(wanted) => flows::answer(brain, *wanted),
            Command::Capture(wanted) => {
                flows::file(brain.capture(actor(peer).await, &wanted).await?)
            }
            Command::Lists => done(&brain.lists()),
            Command::TestLists(source) => done(&brain.test_lists(source)),
            Command::List {
                name,
                prefix,
                limit,
            } => lists::answer(brain, &name, prefix, limit)?,
            Command::AddEntry { name, entry } => {
                let who = actor(peer).await;
                let added = brain.add_entry(who, &name, &entry.prefix, entry.comment.as_deref());
                done(&added.await?)
            }
            Command::RemoveEntry { name, prefix } => done(
                &brain
                    .remove_entry(actor(peer).await, &name, &prefix)
                    .await?,
            ),
            Command::RefreshList(name) => done(&brain.refresh_list(actor(peer).await, name).await?),
            Command::ApproveList { name, held } => {
                let who = actor(peer).await;
                done(&brain.approve_list(who, name, held.digest).await?)
            }
            Command::Reload(wanted) => {
                let who = actor(peer).await;
                done(&brain.reload_as_asked(who, wanted).await?)
            }
            Command::Confirm => done(&brain.confirm(actor(peer).await).await?),
            Command::Undo => done(&brain.undo(actor(peer).await).await?),
            Command::Explain(wanted) => done(&brain.explain(*wanted, &self.readers).await?),
            Command::Claims { user, service } => {
                done(&brain.claims(user, service, &self.readers).await?)
            }
            Command::DiffRules(wanted) => done(&brain.rehearse(*wanted, &self.readers).await?),
            Command::Grants => done(&brain.grants()),
            Command::TakeGrant(address) => {
                done(&brain.take_grant(actor(peer).await, address).await?)
            }
            Command::TakeGrants(principal) => {
                done(&brain.take_grants(actor(peer).await, principal).await?)
            }
            Command::Revoke(wanted) => {
                let (who, principal) = (actor(peer).await, wanted.principal.parse()?);
                done(&brain.revoke(who, principal, wanted.reason).await?)
            }
            Command::Restore(wanted) => {
                let (who, principal) = (actor(peer).await, wanted.principal.parse()?);
                done(&brain.restore(who, principal).await?)
            }
            Command::Keys => done(&brain.keys()),
            Command::RefreshKeys(wanted) => done(
                &brain
                    .refresh_keys(actor(peer).await, wanted.service)
                    .await?,
            ),
            Command::ApproveKeys(wanted) => {
                let who = actor(peer).await;
                done(
                    &brain
                        .approve_keys(who, wanted.service, wanted.fingerprints)
                        .await?,
                )
            }
            Command::ExplainUser(user) => done(&brain.explain_user(user, &self.reviewers).await?),
            Command::Review(wanted) => {
                let who = actor(peer).await;
                evidence::answer(brain.review(who, wanted, &self.reviewers).await?)
            }
            Command::ReviewKey => evidence::key(&brain.review_key().await?),
            Command::ReviewSignature(number) => {
                evidence::signature(&brain.review_signature(number).await?)
            }
            Command::SignIns(wanted) => done(&brain.sign_ins(*wanted, &self.readers).await?),
            Command::Entra(wanted) => self.tenant(peer, wanted).await?,
            Command::Describe => answer_of(
                StatusCode::OK,
                "application/json",
                whole(Bytes::from_static(DESCRIPTION.as_bytes())),
            ),
        })
    }

    async fn events(&self, wanted: super::request::WantedEvents) -> Result<Response<Body>, Error> {
        events::answer(self.brain.audit(), &self.readers, wanted).await
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        let mut response = failure(
            refusal.status(),
            refusal.to_string(),
            Some(refusal.help()),
            self.brain.running().number,
        );
        if let Refusal::Method { allow, .. } = refusal
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }

    /// Reads a body. One that is too long is read on for a while, so that the client is not cut off
    /// while it still writes, and hears why.
    async fn body(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        let limit = self.limits.body;
        let reading = async {
            let mut bytes = BytesMut::new();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Refusal::BodyBroken(error.to_string()))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                length += data.len();
                if length <= limit {
                    bytes.extend_from_slice(&data);
                } else if length > limit.saturating_mul(READ_ON) {
                    break;
                }
            }
            if length > limit {
                return Err(Refusal::BodyTooLong(limit));
            }
            Ok(bytes.freeze())
        };
        let within = self.limits.body_within;
        tokio::time::timeout(within, reading)
            .await
            .unwrap_or(Err(Refusal::BodyTooSlow(within.as_secs())))
    }

    async fn note_denied(&self, peer: Peer, method: &str, path: &str) {
        let Some(untold) = self.denied.due(peer.uid, Instant::now()) else {
            return;
        };
        let path: String = path.chars().take(200).collect();
        let before = match untold {
            0 => String::new(),
            count => format!(", and {count} more since the line before"),
        };
        let who = actor(peer).await;
        tracing::warn!(%who, method, path, "a change was asked for on the socket that only reads");
        self.brain
            .audit()
            .append(RecordBody::Change(weir_api::Change {
                time: clock::now(),
                kind: weir_api::record::ChangeKind::Change,
                generation: self.brain.running().number,
                who,
                action: "denied".to_owned(),
                done: false,
                detail: format!("{method} {path} on the socket that only reads{before}"),
            }));
    }

    fn who_may_change(&self) -> String {
        let running = self.brain.running();
        let appliance = &running.candidate.config().appliance;
        let socket = appliance.run.join(CONTROL);
        let socket = socket.display();
        match &appliance.control_group {
            Some(group) => format!("ask on {socket}: root and members of group `{group}` may"),
            None => format!(
                "ask on {socket} as root; `control_group` in [appliance] names a group that may too"
            ),
        }
    }
}

/// Who asked, with the name that this machine knows. It may be asked of a directory that is away.
pub(super) async fn actor(peer: Peer) -> Actor {
    let Peer { uid, pid } = peer;
    let asking = tokio::task::spawn_blocking(move || User::from_uid(Uid::from_raw(uid)));
    let name = match tokio::time::timeout(NAME_WITHIN, asking).await {
        Ok(Ok(Ok(Some(user)))) => Some(user.name),
        _ => None,
    };
    Actor::User { uid, pid, name }
}

/// An answer with a body of a type.
pub(super) fn answer_of(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

pub(super) fn done(value: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, value)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text =
        serde_json::to_vec(value).expect("answers have string keys and no failing parts");
    text.push(b'\n');
    answer_of(status, "application/json", whole(text.into()))
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| -> io::Error { match never {} })
        .boxed_unsync()
}

fn failure(
    status: StatusCode,
    error: String,
    help: Option<String>,
    generation: u64,
) -> Response<Body> {
    json(
        status,
        &Failure {
            error,
            help,
            generation: Some(generation),
        },
    )
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::Config(_)
        | Error::Prefix(_)
        | Error::Comment
        | Error::Principal(_)
        | Error::Grant(_)
        | Error::Reason
        | Error::Names { .. }
        | Error::Rules { .. }
        | Error::Emptied { .. }
        | Error::StateMoves
        | Error::NoAccount { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::NoList { .. }
        | Error::NoService { .. }
        | Error::NoEntry { .. }
        | Error::NoGrant(_)
        | Error::NoClaims { .. }
        | Error::NoEvent { .. }
        | Error::NotRevoked(_) => StatusCode::NOT_FOUND,
        Error::Keys(error) => error.status(),
        Error::Feeds(error) => error.status(),
        Error::Entra(error) => error.status(),
        Error::Evidence(error) => error.status(),
        Error::InlineList { .. }
        | Error::RemoteList { .. }
        | Error::Unconfirmed { .. }
        | Error::NothingPending
        | Error::NothingToUndo
        | Error::RolledBack { .. }
        | Error::Capturing => StatusCode::CONFLICT,
        Error::NoAddress { .. } | Error::Request(_) => StatusCode::BAD_REQUEST,
        Error::ProxyRefused { .. } | Error::ProxyLate { .. } => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
