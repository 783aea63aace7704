//! Requests that are described, not sent: what they would be judged by.
//!
//! In flow a request in words ([`Described`]) or facts that were recorded; out come [`Facts`], gathered as
//! the proxy gathers them. Nothing is counted.

use std::borrow::Cow;
use std::net::IpAddr;

use time::UtcDateTime;

use crate::{BodyNeed, Classify, Client, Facts, Head, Policy, Refusal, TokenFacts, Told, rules};

/// A request that somebody describes.
#[derive(Clone, Debug)]
pub struct Described<'a> {
    /// Its head.
    pub head: Head<'a>,
    /// Its whole body.
    pub body: &'a [u8],
    /// Address that it comes from.
    pub source: IpAddr,
    /// When it is made.
    pub moment: UtcDateTime,
    /// What the token of the answer is supposed to tell; without it the token is still to come.
    pub token: Option<TokenFacts>,
}

/// Where a described request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host with its port, where the address names one.
    pub host: Option<String>,
    /// Raw path.
    pub path: String,
    /// Raw query.
    pub query: Option<String>,
}

impl Target {
    /// Reads a whole URL, or a path that begins with `/`; nothing when it is neither.
    pub fn parse(url: &str) -> Option<Self> {
        let (host, rest) = match url.split_once("://") {
            Some((_, rest)) => {
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority.to_owned()), path)
            }
            None if url.starts_with('/') => (None, url),
            None => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        Some(Self { host, path, query })
    }
}

impl Policy {
    /// The facts of a request that is described.
    pub fn suppose(
        &self,
        described: &Described<'_>,
        lists: &dyn Classify,
    ) -> Result<Facts, Refusal> {
        let recognised = self.recognise(&described.head)?;
        let body = match recognised.body {
            BodyNeed::UpTo(limit) if described.body.len() <= limit => Some(described.body),
            _ => None,
        };
        let source = described.source;
        let mut facts = self.facts(&described.head, &recognised, body, source, lists);
        facts.moment = Some(described.moment);
        facts.token = match &described.token {
            Some(token) => Told::Verified(token.clone()),
            None if self.looks(&facts) => Told::Ahead,
            None => Told::default(),
        };
        Ok(facts)
    }

    /// Works out again what follows from other facts: the class, and the applications.
    pub fn settle(&self, facts: &mut Facts) {
        facts.class = facts.source.class_for(facts.client == Client::Browser);
        facts.applications = rules::applications(&self.compiled.applications, facts);
    }

    /// Recorded facts as this policy judges them. Where it does not decide at the token, nothing that the
    /// token told afterwards has a say.
    pub fn as_judged<'f>(&self, facts: &'f Facts) -> Cow<'f, Facts> {
        if self.decides || facts.token == Told::default() {
            return Cow::Borrowed(facts);
        }
        Cow::Owned(Facts {
            token: Told::default(),
            ..facts.clone()
        })
    }

    /// Whether the service's tokens have a say in its decisions.
    pub fn decides_at_token(&self) -> bool {
        self.decides
    }

    /// Whether the answer to this request is where a token is looked at.
    fn looks(&self, facts: &Facts) -> bool {
        let is_asked = !matches!(facts.method.as_str(), "HEAD" | "OPTIONS");
        self.decides && is_asked && facts.flow.signs_in()
    }
}
