//! An administrator's own cases: what is asked, and what is expected.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use weir_config::{ByList, Config};
use weir_policy::{
    Client, Described, Flow, Head, Method, Policy, Said, Target, TokenFacts, Told, Tried, Uncounted,
};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
}

/// A request, and what is expected of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    service: Option<String>,
    source: IpAddr,
    method: Option<String>,
    #[serde(default = "root")]
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    flow: Option<String>,
    client: Option<String>,
    user: Option<String>,
    relying_party: Option<String>,
    #[serde(default)]
    claims: BTreeMap<String, Values>,
    #[serde(default)]
    missing: Vec<String>,
    #[serde(default)]
    auth_methods: Vec<String>,
    authenticated: Option<String>,
    /// Whether the token that comes cannot be believed.
    #[serde(default)]
    unbelieved: bool,
    time: Option<String>,
    pub expect: Expected,
}

/// What is expected.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// pass, redirect, block, step-up or refuse.
    pub decision: String,
    /// Full name of the rule; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

/// What came of a case.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    pub passed: bool,
    pub expected: Expected,
    pub decision: String,
    pub rule: String,
    pub tried: Vec<Tried>,
}

/// What cases are judged by.
pub struct Bench<'a> {
    pub config: &'a Config,
    pub policies: &'a [Policy],
    pub lists: ByList<'a>,
    pub users: Uncounted<'a>,
}

/// Decisions that can be expected.
const DECISIONS: [&str; 5] = ["pass", "redirect", "block", "step-up", "refuse"];

fn root() -> String {
    "/".to_owned()
}

impl Case {
    /// Judges it; what cannot be understood is said in words.
    pub fn judge(&self, bench: &Bench<'_>) -> Result<Outcome, String> {
        if !DECISIONS.contains(&self.expect.decision.as_str()) {
            return Err(unknown("decision", &self.expect.decision, &DECISIONS));
        }
        let (index, target) = self.find(bench.config)?;
        let policy = &bench.policies[index];
        let service = &bench.config.services[index];
        if let Some(rule) = &self.expect.rule {
            let known: Vec<&str> = policy.rule_names().collect();
            // A set's own last word is no rule, and neither is what is refused.
            let is_own = rule.ends_with("/no-rule")
                || rule.ends_with("/redirect-loop")
                || rule.starts_with("tunnel");
            if self.expect.decision != "refuse" && !is_own && !known.contains(&rule.as_str()) {
                return Err(unknown("rule", rule, &known));
            }
        }
        let headers: Vec<(&str, &[u8])> = (self.headers.iter())
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let host = target
            .host
            .as_deref()
            .or(service.hosts.first().map(String::as_str));
        let described = Described {
            head: Head {
                method: self.method.as_deref().unwrap_or(if self.body.is_empty() {
                    "GET"
                } else {
                    "POST"
                }),
                host: host.unwrap_or_default(),
                path: &target.path,
                query: target.query.as_deref(),
                headers: &headers,
            },
            body: self.body.as_bytes(),
            source: self.source,
            moment: moment("time", self.time.as_deref())?.unwrap_or_else(UtcDateTime::now),
            token: self.token()?,
        };
        let mut facts = match policy.suppose(&described, &bench.lists) {
            Ok(facts) => facts,
            Err(refusal) => {
                return Ok(self.outcome("refuse", refusal.why.as_ref(), Vec::new()));
            }
        };
        if self.unbelieved {
            facts.token = Told::Unbelieved("the case says so".into());
        }
        if let Some(word) = &self.flow {
            facts.flow = named("flow", word, &Flow::ALL, Flow::name)?;
        }
        if let Some(word) = &self.client {
            facts.client = named("client", word, &Client::ALL, Client::name)?;
        }
        if let Some(user) = &self.user {
            facts.user = Said::Bound(user.clone());
        }
        if let Some(party) = &self.relying_party {
            facts.relying_party = Said::Bound(party.clone());
        }
        policy.settle(&mut facts);
        let (ruling, tried) = policy.explain(&policy.as_judged(&facts), &bench.users);
        let (kind, rule, _) = ruling.told();
        Ok(self.outcome(kind.name(), rule, tried))
    }

    fn outcome(&self, decision: &str, rule: &str, tried: Vec<Tried>) -> Outcome {
        let expected = &self.expect;
        let by = expected.rule.as_deref().is_none_or(|wanted| wanted == rule);
        Outcome {
            name: self.name.clone(),
            passed: expected.decision == decision && by,
            expected: expected.clone(),
            decision: decision.to_owned(),
            rule: rule.to_owned(),
            tried,
        }
    }

    fn find(&self, config: &Config) -> Result<(usize, Target), String> {
        let target = Target::parse(&self.url).ok_or_else(|| {
            format!(
                "`{}` is no URL: write a path that begins with `/`, or https://host/path",
                self.url
            )
        })?;
        let names: Vec<&str> = config.services.iter().map(|it| it.name.as_str()).collect();
        let found = match (&self.service, &target.host) {
            (Some(name), _) => names.iter().position(|known| known == name),
            (None, Some(host)) => {
                let mut services = config.services.iter();
                services.position(|service| service.hosts.contains(host))
            }
            (None, None) => (!names.is_empty()).then_some(0),
        };
        match (found, &self.service) {
            (Some(index), _) => Ok((index, target)),
            (None, Some(name)) => Err(unknown("service", name, &names)),
            (None, None) => Err("no service has this host name".to_owned()),
        }
    }

    fn token(&self) -> Result<Option<TokenFacts>, String> {
        let values = self.claims.iter().map(|(name, values)| {
            let values = match values {
                Values::One(value) => vec![value.clone()],
                Values::Many(values) => values.clone(),
            };
            (name.clone(), values)
        });
        let token = TokenFacts {
            values: values.collect(),
            missing: self.missing.iter().cloned().collect(),
            methods: self
                .auth_methods
                .iter()
                .map(|word| Method::of(word))
                .collect(),
            authenticated: moment("authenticated", self.authenticated.as_deref())?,
        };
        Ok(Some(token).filter(|token| *token != TokenFacts::default()))
    }
}

fn moment(key: &str, text: Option<&str>) -> Result<Option<UtcDateTime>, String> {
    let Some(text) = text else { return Ok(None) };
    let moment = UtcDateTime::parse(text, &Rfc3339);
    moment.map(Some).map_err(|_| {
        format!("`{text}` for `{key}` is no time: write it as RFC 3339 says, 2026-01-01T08:00:00Z")
    })
}

fn named<T: Copy>(
    key: &str,
    word: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let found = all.iter().find(|one| name(**one) == word);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        unknown(key, word, &known)
    })
}

fn unknown(key: &str, word: &str, known: &[&str]) -> String {
    match weir_config::closest(word, known) {
        Some(near) => format!("there is no {key} `{word}`; did you mean `{near}`?"),
        None => format!(
            "there is no {key} `{word}`; there are: {}",
            known.join(", ")
        ),
    }
}
