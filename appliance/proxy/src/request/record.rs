//! The audit event of one request, from its first byte on.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use http::Response;
use weir_link::{Event, EventKind};
use weir_policy::{Facts, Ruling};

use crate::events::{Events, event, reference_id};
use crate::generation::Live;
use crate::serve::Client;

/// The audit event of one request. It is sent exactly once: with the status of the answer, or when
/// the client goes away before there is one.
pub struct Record<'a> {
    event: Option<Box<Event>>,
    events: &'a Events,
    began: Instant,
}

impl<'a> Record<'a> {
    pub fn new(client: &'a Client, live: &Live) -> Self {
        let mut event = event(reference_id(), EventKind::Request, live.number, client.peer);
        event.service = Some(client.service.clone());
        Self {
            event: Some(event),
            events: &client.shared.events,
            began: Instant::now(),
        }
    }

    /// Fills in what policy saw and said.
    pub fn decided(&mut self, facts: &Facts, ruling: &Ruling, started: Instant) {
        let peer = self.peer.ip();
        self.effective_source = facts
            .source
            .effective
            .filter(|effective| *effective != peer);
        self.class = facts.class;
        self.list.clone_from(&facts.source.list);
        self.host = Some(facts.host.clone());
        self.path = Some(facts.path.clone());
        self.flow = Some(facts.flow.name().to_owned());
        self.client = Some(facts.client.name().to_owned());
        self.relying_party = facts.relying_party.text().map(str::to_owned);
        self.stated_user = facts.user.text().map(str::to_owned);
        self.client_request_id.clone_from(&facts.client_request_id);
        self.judged(facts, ruling);
        self.decided_in_us = Some(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    /// Fills in what policy said of these facts.
    pub fn judged(&mut self, facts: &Facts, ruling: &Ruling) {
        let (kind, rule, reason) = ruling.told();
        self.decision = kind.name().into();
        self.rule = rule.to_string();
        self.reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        self.told(facts);
    }

    /// Keeps the facts, as far as they are known by now.
    pub fn told(&mut self, facts: &Facts) {
        self.facts = Some(Box::new(facts.clone()));
    }

    /// Sends the event with the status of this answer.
    pub fn finish<B>(mut self, answer: Response<B>) -> Response<B> {
        self.status = Some(answer.status().as_u16());
        if let Some(service) = &self.service {
            self.events.answered(service, self.began.elapsed());
        }
        self.send();
        answer
    }

    /// Sends the event as it is: there is no answer.
    pub fn send(mut self) {
        if let Some(event) = self.event.take() {
            self.events.send(event);
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if let Some(mut event) = self.event.take() {
            if event.decision.is_empty() {
                event.kind = EventKind::Refused;
                event.decision = "refuse".into();
                event.rule = "proxy/client-gone".into();
            }
            event.reason = Some("the client went away before it was answered".into());
            self.events.send(event);
        }
    }
}

impl Deref for Record<'_> {
    type Target = Event;

    fn deref(&self) -> &Event {
        self.event
            .as_ref()
            .expect("taken only by `send` and `drop`")
    }
}

impl DerefMut for Record<'_> {
    fn deref_mut(&mut self) -> &mut Event {
        self.event
            .as_mut()
            .expect("taken only by `send` and `drop`")
    }
}
