//! What is sent to a relying party whose reply URLs Weir serves.
//!
//! In: a request, whole. At a reply URL the token that is posted is verified, and must be new; at other paths
//! there must be none. Out: rules decide, as they do at the token on its way to the browser, and what passes is
//! passed on to the byte. A token that is not believed is blocked by the policy of such a service, before any
//! rule of an administrator is asked.

use std::time::Instant;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::uri::Authority;
use http::{HeaderName, Response};
use weir_claims::carrier::{self, Posted};
use weir_policy::{DecisionKind, Facts, Flow, Told};

use super::look::Look;
use super::record::Record;
use super::{Asked, Asking, Reset, forward, own, without_answer};
use crate::body::{Answer, Whole};
use crate::token::{Seen, Tokens};

const PACKED: &str = "what is posted is packed, or has several content types";
const ASTRAY: &str = "what may be a token is sent to a path that is no reply URL";

impl Asking<'_> {
    /// Judges and answers a request to a relying party.
    pub(super) async fn receive(
        &self,
        mut record: Record<'_>,
        body: &Whole,
        started: Instant,
    ) -> Result<Response<Answer>, Reset> {
        let client = self.client;
        let tokens = self.service.tokens.as_ref();
        let tokens = tokens.expect("a generation with a relying party without tokens is refused");
        let mut facts = self.facts(body);
        let seen = self.token(tokens, &mut facts, body);
        let ruling = self.live.judge(self.service, &mut facts);
        record.decided(&facts, &ruling, started);
        client.shared.counters.requests.add();
        let decision = ruling.without_token();
        if let Some(seen) = &seen {
            let at = (&*self.service.name, client.peer, &*record.id);
            // Nobody gets here with a token that was seen before.
            let is_new = || matches!(facts.token, Told::Verified(_));
            if let Some(sign_in) = seen.sign_in(&facts, &decision, is_new, at) {
                client.shared.sign_ins.keep(sign_in);
            }
        }
        match decision.kind {
            DecisionKind::Pass => {}
            DecisionKind::StepUp => {
                let reason = "This sign-in needs multi-factor authentication, and its token does not say \
                              that there was one.";
                return Ok(Look::blocked(record, &facts, &decision, reason));
            }
            _ => {
                let own = own(&facts, &decision, self.head.query, &record.id);
                return Ok(record.finish(own));
            }
        }
        let asked = Asked::default();
        let outgoing = || forward::request(self, &facts, body.bytes.clone(), &asked);
        match self.service.upstream.send(outgoing, client).await {
            Ok(response) => Ok(record.finish(forward::response(response))),
            Err(failure) => without_answer(record, &facts, &failure),
        }
    }

    /// Looks at what is posted, and says in the facts what it told.
    fn token(&self, tokens: &Tokens, facts: &mut Facts, body: &Whole) -> Option<Seen> {
        let unbelieved = |facts: &mut Facts, why: &str| {
            facts.token = Told::Unbelieved(why.to_owned().into());
            None
        };
        let content_type = self.one(CONTENT_TYPE);
        let is_packed = !matches!(self.one(CONTENT_ENCODING), Ok(None | Some("identity")));
        let is_whole = body.bytes.is_empty() || !is_packed;
        let (Ok(content_type), true) = (content_type, is_whole) else {
            return unbelieved(facts, PACKED);
        };
        let posted = Posted {
            query: self.head.query,
            content_type,
            body: &body.bytes,
        };
        if !self.recognised.is_reply() {
            if carrier::strays(&posted, facts.flow == Flow::SignOut) {
                return unbelieved(facts, ASTRAY);
            }
            return None;
        }
        let shared = &self.client.shared;
        let service = &*self.service.name;
        let seen = tokens.receive(&posted, &self.here());
        if seen.unknown_key {
            shared.keys_wanted.ask(tokens.keys_of(service));
        }
        facts.token = seen.told.clone()?;
        if let Some(Err(why)) = seen.first(service, &shared.replays) {
            return unbelieved(facts, &why.to_string());
        }
        if let Some(party) = seen.party(tokens) {
            self.service.policy.received(facts, party);
        }
        Some(seen)
    }

    /// The one value of a header; an error when there are several, or it is not text.
    fn one(&self, name: HeaderName) -> Result<Option<&str>, ()> {
        let mut values = self.parts.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    }

    /// The reply URL, as tokens name it.
    fn here(&self) -> String {
        let authority = self.target.header.to_str().ok();
        let authority = authority.and_then(|text| text.parse::<Authority>().ok());
        let port = authority.and_then(|authority| authority.port_u16());
        let url = self.url();
        match port {
            Some(port) if port != 443 => {
                let host = self.head.host;
                let start = format!("https://{host}");
                url.replacen(&start, &format!("{start}:{port}"), 1)
            }
            _ => url,
        }
    }
}
