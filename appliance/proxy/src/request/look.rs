//! The answer to a request whose token is looked at.

use http::header::SET_COOKIE;
use http::response::Parts;
use http::{HeaderValue, Response};
use weir_claims::carrier::{self, Answering, MAX_BODY, Watch};
use weir_policy::{Decision, DecisionKind, Facts, Ruling, Told, answer};

use super::again::Again;
use super::record::Record;
use super::{forward, lines, own, own_answer};
use crate::body::{self, Answer, Unread, Whole};
use crate::generation::{Live, Service};
use crate::serve::Client;
use crate::token::{Seen, Tokens};
use crate::upstream::UpstreamBody;

/// Whose answer is looked at, and how.
pub struct Look<'a> {
    pub client: &'a Client,
    pub live: &'a Live,
    pub service: &'a Service,
    pub tokens: &'a Tokens,
    pub answering: Answering,
    /// Absolute address of the request.
    pub url: &'a str,
    /// How the sign-in goes on when its token lacks multi-factor authentication.
    pub again: &'a (dyn Fn(&Facts, &Seen) -> Again + Sync),
    /// What the browser is to keep while the sign-in goes on.
    pub keeps: Option<HeaderValue>,
}

impl Look<'_> {
    /// The answer that goes to the client. What was decided already stands; where rules wait for the token,
    /// they have their say now.
    pub async fn judge(
        &self,
        mut record: Record<'_>,
        mut facts: Facts,
        ruling: Ruling,
        response: Response<UpstreamBody>,
    ) -> Response<Answer> {
        let waits = matches!(ruling, Ruling::AtToken { .. });
        let (parts, body) = response.into_parts();
        let mut parts = forward::cleaned(parts);
        let whole = match body::read_answer(body, MAX_BODY as u64, self.client).await {
            Ok(whole) => whole,
            // What broke off must not look whole.
            Err((why, begun)) if !waits && why != Unread::Broken => {
                facts.token = Told::Unbelieved("the answer could not be read whole".into());
                record.told(&facts);
                let body = begun.resume(None, self.client);
                return record.finish(Response::from_parts(parts, body));
            }
            Err((Unread::TooLarge, begun)) => {
                let so_far = carrier::Answer {
                    url: self.url,
                    status: parts.status.as_u16(),
                    headers: &lines(&parts.headers),
                    body: &begun.first.bytes,
                };
                if let Some(watch) = Watch::new(self.answering, &so_far) {
                    let body = begun.resume(Some(watch), self.client);
                    return record.finish(Response::from_parts(parts, body));
                }
                facts.token = Told::Unbelieved("the answer is larger than 2 MB".into());
                let ruling = self.live.judge(self.service, &mut facts);
                record.judged(&facts, &ruling);
                let decision = ruling.without_token();
                return Self::blocked(record, &facts, &decision, "The answer is too large.");
            }
            Err((why, _)) => {
                record.reason = Some(format!("the answer could not be read: {why:?}"));
                let status = if why == Unread::NoMemory { 503 } else { 502 };
                let soap = facts.soap.as_ref();
                let answer = answer::unavailable(facts.flow, soap, status, &record.id);
                return record.finish(own_answer(answer));
            }
        };
        let seen = (self.tokens).look(self.answering, self.url, &parts, &whole.bytes);
        let (shared, service) = (&self.client.shared, &*self.service.name);
        if seen.unknown_key {
            shared.keys_wanted.ask(self.tokens.keys_of(service));
        }
        // Without a token the sign-in goes on, with another page.
        let Some(told) = seen.told.clone() else {
            parts
                .headers
                .extend(self.keeps.clone().map(|cookie| (SET_COOKIE, cookie)));
            let body = Answer::whole(whole, self.client);
            return record.finish(Response::from_parts(parts, body));
        };
        facts.token = told;
        let decision = match ruling {
            Ruling::Now(decision) => {
                record.told(&facts);
                decision
            }
            Ruling::AtToken { .. } => {
                let ruling = self.live.judge(self.service, &mut facts);
                record.judged(&facts, &ruling);
                ruling.without_token()
            }
        };
        let at = (service, self.client.peer, &*record.id);
        let is_new = || seen.is_new(service, &shared.replays);
        if let Some(sign_in) = seen.sign_in(&facts, &decision, is_new, at) {
            shared.sign_ins.keep(sign_in);
        }
        match (decision.kind, &decision.target) {
            (DecisionKind::Pass, _) => {
                let body = Answer::whole(whole, self.client);
                record.finish(Response::from_parts(parts, body))
            }
            (DecisionKind::StepUp, _) => {
                let again = (self.again)(&facts, &seen);
                again.answer(record, &facts, &decision, &parts)
            }
            (DecisionKind::Redirect, Some(_)) => {
                self.moved(record, &facts, &decision, &seen, (parts, whole))
            }
            _ => {
                let answer = own(&facts, &decision, None, &record.id);
                record.finish(answer)
            }
        }
    }

    /// The page with its form sent to the reverse proxy; where that cannot be, a block that says why.
    fn moved(
        &self,
        record: Record<'_>,
        facts: &Facts,
        decision: &Decision,
        seen: &Seen,
        (parts, whole): (Parts, Whole),
    ) -> Response<Answer> {
        let own = self.service.policy.own_target(decision);
        match seen.moved(self.tokens, own, self.url, parts, &whole.bytes) {
            Ok((parts, page)) => {
                let body = Answer::whole(whole.with(page), self.client);
                record.finish(Response::from_parts(parts, body))
            }
            Err(why) => {
                let reason = format!(
                    "This sign-in has to go on at the reverse proxy, and its answer cannot be sent there: \
                     {why}."
                );
                Self::blocked(record, facts, decision, &reason)
            }
        }
    }

    /// What is no block by itself becomes one, for this reason.
    pub(super) fn blocked(
        mut record: Record<'_>,
        facts: &Facts,
        decision: &Decision,
        reason: &str,
    ) -> Response<Answer> {
        let block = Decision {
            kind: DecisionKind::Block,
            reason: reason.into(),
            status: Some(403),
            target: None,
            grant: None,
            rule: decision.rule.clone(),
        };
        record.judged(facts, &Ruling::Now(block.clone()));
        let answer = answer::block(facts, &block, &record.id);
        record.finish(own_answer(answer))
    }
}
