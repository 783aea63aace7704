//! The answer to a request whose token is looked at.

use http::Response;
use http::header::SET_COOKIE;
use weir_claims::carrier::{Answering, MAX_BODY};
use weir_policy::{Decision, DecisionKind, Facts, Ruling, Told, answer};

use super::record::Record;
use super::{forward, own, own_answer};
use crate::body::{self, Answer, Unread};
use crate::generation::{Live, Service};
use crate::serve::Client;
use crate::token::Tokens;
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
    /// The server was asked for multi-factor authentication.
    pub asked: bool,
    /// Path and query of a request that asks for it.
    pub again: Option<String>,
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
        let parts = forward::cleaned(parts);
        let whole = match body::read_answer(body, MAX_BODY as u64, self.client).await {
            Ok(whole) => whole,
            // What broke off must not look whole.
            Err((why, rest)) if !waits && why != Unread::Broken => {
                facts.token = Told::Unbelieved("the answer could not be read whole".into());
                record.told(&facts);
                return record.finish(Response::from_parts(parts, rest));
            }
            Err((Unread::TooLarge, _)) => {
                facts.token = Told::Unbelieved("the answer is larger than 2 MB".into());
                let ruling = self.service.policy.decide(&facts, self.live);
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
        let shared = &self.client.shared;
        if seen.unknown_key {
            shared.keys_wanted.ask(&self.service.name);
        }
        // Without a token the sign-in goes on, with another page.
        let Some(told) = seen.told.clone() else {
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
                let ruling = self.service.policy.decide(&facts, self.live);
                record.judged(&facts, &ruling);
                ruling.without_token()
            }
        };
        let at = (&*self.service.name, self.client.peer, &*record.id);
        let sign_in = seen.sign_in(&facts, &decision, &shared.replays, at);
        if let Some(sign_in) = sign_in {
            shared.sign_ins.keep(sign_in);
        }
        match (decision.kind, &decision.target) {
            (DecisionKind::Pass, _) => {
                let body = Answer::whole(whole, self.client);
                record.finish(Response::from_parts(parts, body))
            }
            (DecisionKind::StepUp, _) => {
                let again = self.again.as_ref().filter(|_| !self.asked);
                if let Some(again) = again {
                    let mut answer = own_answer(answer::again(again));
                    // Whoever has proved one factor is asked for the other alone.
                    for cookie in parts.headers.get_all(SET_COOKIE) {
                        answer.headers_mut().append(SET_COOKIE, cookie.clone());
                    }
                    return record.finish(answer);
                }
                let reason = "This sign-in needs multi-factor authentication, and the sign-in server does \
                              not say that there was one.";
                Self::blocked(record, &facts, &decision, reason)
            }
            (DecisionKind::Redirect, Some(target)) => {
                let moved = seen.moved(self.tokens, target, self.url, parts, &whole.bytes);
                if let Some((parts, page)) = moved {
                    let body = Answer::whole(whole.with(page), self.client);
                    return record.finish(Response::from_parts(parts, body));
                }
                let reason = "This sign-in has to go on at the reverse proxy, and its answer cannot be \
                              sent there.";
                Self::blocked(record, &facts, &decision, reason)
            }
            _ => {
                let answer = own(&facts, &decision, None, &record.id);
                record.finish(answer)
            }
        }
    }

    /// What is no block by itself becomes one, for this reason.
    fn blocked(
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
