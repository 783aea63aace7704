//! Multi-factor authentication that is to be asked for: on the way to the server, and again where the token
//! turns out to lack it.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE};
use http::response::Parts;
use http::{HeaderValue, Method, Response};
use weir_policy::{Client, Decision, Facts, Flow, Head, Said as Known, answer};

use super::forward::Asked;
use super::look::Look;
use super::record::Record;
use super::{Asking, own_answer};
use crate::body::{Answer, Whole};
use crate::token::{Ask, Said, ask, begun};

/// How a sign-in goes on whose token lacks it.
#[derive(Debug)]
pub enum Again {
    /// The server was asked, so that is how it ends.
    Asked,
    /// At this path and query, which ask for it.
    At(String),
    /// It cannot begin again: why, as the end of a sentence for people.
    NoWay(&'static str),
}

impl Again {
    /// The answer that begins it again, with the cookies of the server's in `parts`; or the block.
    pub(super) fn answer(
        self,
        record: Record<'_>,
        facts: &Facts,
        decision: &Decision,
        parts: &Parts,
    ) -> Response<Answer> {
        let why = match self {
            Self::At(target) => {
                let mut answer = own_answer(answer::again(&target));
                // Whoever has proved one factor is asked for the other alone.
                for cookie in parts.headers.get_all(SET_COOKIE) {
                    answer.headers_mut().append(SET_COOKIE, cookie.clone());
                }
                return record.finish(answer);
            }
            Self::Asked => ", and the sign-in server does not say that there was one".to_owned(),
            Self::NoWay(why) => {
                format!(", and there is no way to ask the sign-in server for it: {why}")
            }
        };
        let reason = format!("This sign-in needs multi-factor authentication{why}.");
        Look::blocked(record, facts, decision, &reason)
    }
}

impl Asking<'_> {
    /// Changes what travels on so that it asks, where it begins a sign-in. What goes on with one is let go on:
    /// a form that is posted to the address that began it, too.
    pub(super) fn ask_now(&self, facts: &Facts, body: &Whole, asked: &mut Asked) {
        match self.ask(facts, body) {
            Ask::Query(query) if !self.is_post() => asked.query = Some(query),
            Ask::Form(form) => asked.body = Some(form.into()),
            Ask::Query(_) | Ask::Asked | Ask::NoWay(_) => {}
        }
    }

    /// How a sign-in goes on whose token lacks it. `changed`: the request asked for it because Weir changed it.
    pub(super) fn again(
        &self,
        facts: &Facts,
        body: &Whole,
        changed: bool,
        audiences: &[String],
    ) -> Again {
        match self.ask(facts, body) {
            Ask::Asked => Again::Asked,
            _ if changed => Again::Asked,
            Ask::Query(query) => Again::At(format!("{}?{query}", self.head.path)),
            Ask::Form(_) => {
                Again::NoWay("the application asks by a form, which cannot be sent again")
            }
            Ask::NoWay(why) => self.where_it_began(audiences).unwrap_or(Again::NoWay(why)),
        }
    }

    /// What the browser is to keep while the sign-in goes on, in case it has to begin again.
    pub(super) fn keeps(&self, facts: &Facts, asked: &Asked) -> Option<HeaderValue> {
        let begins = facts.navigates && !facts.step && facts.client == Client::Browser;
        if !begins || !is_page(facts.flow) || !self.service.policy.profile().has_steps() {
            return None;
        }
        let query = asked.query.as_deref().or(self.head.query);
        let kept = query
            .filter(|_| self.parts.method == Method::GET)
            .and_then(|query| begun::keep(&format!("{}?{query}", self.head.path)));
        // Better no way back than the way back to another sign-in.
        kept.or_else(|| begun::is_kept(&self.parts.headers).then(begun::forget)?)
    }

    fn ask(&self, facts: &Facts, body: &Whole) -> Ask {
        let said = Said {
            query: self.head.query,
            form: self.form(body),
        };
        ask(said, facts, self.service.policy.profile().mfa())
    }

    /// The form in the body, as policy would read it.
    fn form<'b>(&self, body: &'b Whole) -> Option<&'b str> {
        let headers = &self.parts.headers;
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media = kind.split(';').next()?.trim();
        let is_form = media.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let is_plain = self.is_post() && !headers.contains_key(CONTENT_ENCODING);
        (is_form && is_plain && self.reads(body)).then(|| std::str::from_utf8(&body.bytes).ok())?
    }

    fn is_post(&self) -> bool {
        self.parts.method == Method::POST
    }

    /// By the word of the browser, and only for the relying party that this token is for.
    fn where_it_began(&self, audiences: &[String]) -> Option<Again> {
        let target = begun::kept(&self.parts.headers)?;
        let head = Head {
            method: "GET",
            host: self.head.host,
            path: target.path(),
            query: target.query(),
            headers: &[],
        };
        let policy = &self.service.policy;
        let recognised = policy.recognise(&head).ok()?;
        let (peer, lists) = (self.client.peer.ip(), &self.live.sources);
        let facts = policy.facts(&head, &recognised, None, peer, lists);
        let is_for = match &facts.relying_party {
            // Named by the path: tokens have another name for it.
            Known::Bound(party) => party.starts_with('/') || audiences.contains(party),
            Known::None | Known::Unknown(_) | Known::Stated(_) => false,
        };
        if !is_for || !is_page(facts.flow) {
            return None;
        }
        let said = Said {
            query: head.query,
            form: None,
        };
        Some(match ask(said, &facts, policy.profile().mfa()) {
            Ask::Asked => Again::Asked,
            Ask::Query(query) => Again::At(format!("{}?{query}", head.path)),
            Ask::NoWay(why) => Again::NoWay(why),
            Ask::Form(_) => return None,
        })
    }
}

fn is_page(flow: Flow) -> bool {
    matches!(flow, Flow::Passive | Flow::OauthBrowser)
}
