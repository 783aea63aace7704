//! Where each fact comes from, in words for people.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use weir_directory::Part;

use crate::{Answered, Facts, Flow, Said, Sought, Source, TokenFacts, Told};

/// A fact, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its name, such as `user` or `claim department`.
    pub fact: String,
    /// What is known.
    pub value: String,
    /// Where it stood, or who says so.
    pub from: String,
}

/// The claim types that a mapping reads for a name.
pub type ClaimTypes<'a> = dyn Fn(&str) -> Vec<String> + 'a;

impl Origin {
    fn new(fact: &str, value: impl Into<String>, from: impl Into<String>) -> Self {
        Self {
            fact: fact.to_owned(),
            value: value.into(),
            from: from.into(),
        }
    }
}

impl Source {
    /// Where each fact about the source comes from.
    pub fn origins(&self) -> Vec<Origin> {
        let connection = "the connection, or the PROXY protocol of a trusted load balancer";
        let mut all = vec![Origin::new("peer", self.peer.to_string(), connection)];
        match self.effective {
            Some(effective) if effective == self.peer && !self.relayed => {}
            effective => {
                let value =
                    effective.map_or_else(|| "unknown".to_owned(), |it: IpAddr| it.to_string());
                let from = "header X-MS-Forwarded-Client-IP, by the word of a trusted relay";
                all.push(Origin::new("source", value, from));
            }
        }
        let from = match &self.list {
            Some(list) => format!("list {list}"),
            None if self.effective.is_none() => {
                "the relay does not say who is behind it".to_owned()
            }
            None => "it is on no list".to_owned(),
        };
        all.push(Origin::new("class", self.class.name(), from));
        all
    }
}

impl Facts {
    /// Every fact that is known, and where it comes from; `types` names the claim types that the
    /// service's mapping reads for a name.
    pub fn origins(&self, types: &ClaimTypes<'_>) -> Vec<Origin> {
        let mut all = vec![
            Origin::new("method", &self.method, "the request line"),
            Origin::new("host", &self.host, "header Host"),
            Origin::new("path", &self.path, "the request line, normalised"),
            Origin::new(
                "flow",
                self.flow.name(),
                "the profile, by path, query and form",
            ),
            Origin::new(
                "client",
                self.client.name(),
                "the flow and the headers, such as User-Agent",
            ),
        ];
        all.extend(self.source.origins());
        if self.class != self.source.class {
            let from = "the list exempts browsers only";
            all.push(Origin::new("judged as", self.class.name(), from));
        }
        if let Some(country) = &self.country {
            all.push(Origin::new(
                "country",
                country.to_string(),
                "the country table",
            ));
        }
        all.extend(said(
            "relying party",
            &self.relying_party,
            party_place(self.flow),
        ));
        for application in &self.applications {
            let from = format!("[application.{application}], by the relying party or the host");
            all.push(Origin::new("application", application, from));
        }
        all.extend(said("user", &self.user, user_place(self.flow)));
        if let Some(grant) = &self.grant_type {
            all.push(Origin::new("grant type", grant, "form, grant_type"));
        }
        if let Some(soap) = &self.soap {
            let message = soap.message_id.iter();
            all.extend(message.map(|id| Origin::new("message id", id, "SOAP header, MessageID")));
        }
        if self.redirects > 0 {
            let from = "cookie of Weir's own";
            all.push(Origin::new("redirects", self.redirects.to_string(), from));
        }
        if let Some(id) = &self.client_request_id {
            let from = "query or header, client-request-id";
            all.push(Origin::new("client request id", id, from));
        }
        let moment = self.moment.and_then(in_seconds);
        all.extend(moment.map(|moment| Origin::new("time", moment, "the clock")));
        match &self.token {
            Told::Nothing(why) => all.push(Origin::new("token", "none", &**why)),
            Told::Ahead => all.push(Origin::new(
                "token",
                "ahead",
                "the server's answer will bring it",
            )),
            Told::Unbelieved(why) => all.push(Origin::new("token", "not believed", &**why)),
            Told::Verified(told) => all.extend(claims(told, types)),
        }
        let heard = &self.directory;
        let users = "the directory of users";
        all.extend(
            heard
                .knows
                .map(|word| Origin::new("known user", word.name(), users)),
        );
        for (by, answered) in [("request", &heard.of_request), ("token", &heard.of_token)] {
            let answered = answered.iter().filter(|it| it.user != Sought::NoDirectory);
            all.extend(answered.flat_map(|answered| said_of(answered, by, self.moment)));
        }
        all
    }
}

/// What the directory of the tenant said of the user whom the request or the token names.
fn said_of(answered: &Answered, by: &str, moment: Option<UtcDateTime>) -> Vec<Origin> {
    let from = |part: Part| {
        let seen = answered.checked[part as usize];
        let age = seen
            .zip(moment)
            .map(|(seen, now)| now.unix_timestamp() - seen);
        let age = age.map_or_else(|| "never seen".to_owned(), seen_before);
        let epoch = answered.epoch;
        format!("the directory, epoch {epoch}, {age}, of the user whom the {by} names")
    };
    let Some(id) = answered.id else {
        let why = format!("{}: {}", from(Part::Users), answered.user.words());
        return vec![Origin::new("directory user", "unknown", why)];
    };
    let users = from(Part::Users);
    let mut all = vec![Origin::new("directory user", id.to_string(), &*users)];
    for (kind, named, part, yes) in [
        ("group", &answered.groups, Part::Groups, "member"),
        ("role", &answered.roles, Part::Roles, "held"),
    ] {
        if let Some(named) = named {
            let of = named.of.iter();
            all.extend(of.map(|name| Origin::new(&format!("{kind} {name}"), yes, from(part))));
            all.extend(named.unclear.iter().map(|(name, why)| {
                let from = format!("{}: it {}", from(part), why.words());
                Origin::new(&format!("{kind} {name}"), "unknown", from)
            }));
        }
    }
    all.extend(answered.attributes.iter().map(|(name, value)| {
        let value = value.as_deref().unwrap_or("nothing");
        Origin::new(&format!("attribute {name}"), value, &*users)
    }));
    all
}

/// How long before the request it was seen to be so.
fn seen_before(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..0 => return "seen by a clock that differs".to_owned(),
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "m"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("seen {count}{unit} before")
}

fn claims(told: &TokenFacts, types: &ClaimTypes<'_>) -> Vec<Origin> {
    let from = |name: &str| match types(name).as_slice() {
        [] => "the token; the mapping in force does not name it".to_owned(),
        [only] => format!("token claim {only}"),
        [first, others @ ..] => format!("token claim {first}, or {} others", others.len()),
    };
    let mut all = vec![Origin::new("token", "verified", "the server's answer")];
    for (name, values) in &told.values {
        let fact = format!("claim {name}");
        all.push(Origin::new(&fact, values.join(", "), from(name)));
    }
    for name in &told.missing {
        let value = if told.values.contains_key(name) {
            "incomplete"
        } else {
            "missing"
        };
        let why = "left out by the issuer, or not certain";
        all.push(Origin::new(
            &format!("claim {name}"),
            value,
            format!("{}: {why}", from(name)),
        ));
    }
    if !told.methods.is_empty() {
        let methods: Vec<&str> = told.methods.iter().map(crate::Method::name).collect();
        all.push(Origin::new("methods", methods.join(", "), from("method")));
    }
    let then = told.authenticated.and_then(in_seconds);
    all.extend(then.map(|then| Origin::new("authenticated", then, from("authenticated"))));
    all
}

fn in_seconds(moment: UtcDateTime) -> Option<String> {
    moment.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}

fn said(fact: &str, said: &Said, place: &str) -> Option<Origin> {
    Some(match said {
        Said::None => return None,
        Said::Unknown(why) => Origin::new(fact, "unknown", &**why),
        Said::Stated(values) => Origin::new(
            fact,
            values.join(", "),
            format!("{place}; stated, which proves nothing"),
        ),
        Said::Bound(value) => Origin::new(fact, value, place),
    })
}

const fn party_place(flow: Flow) -> &'static str {
    match flow {
        Flow::Active => "SOAP body, AppliesTo or Issuer",
        Flow::OauthBrowser | Flow::OauthToken => "query or form, client_id",
        _ => "query or form, the realm or the SAML request; or the path",
    }
}

const fn user_place(flow: Flow) -> &'static str {
    match flow {
        Flow::Active => "SOAP body, UsernameToken; or header Authorization",
        Flow::OauthToken => "form, username",
        _ => "form or query, such as UserName or login_hint",
    }
}
