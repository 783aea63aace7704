//! Tokens, looked at on their way from the sign-in server to whoever asked.
//!
//! In: the answer of an upstream and what policy said of the request, or what a browser posts to a relying
//! party. Out: the answer as it came, or with its form sent to the reverse proxy, or Weir's own in its place;
//! what the token told, for policy, the audit log and the books of weir-control. What passes is passed on to the
//! byte. Where rules wait for the token, an answer that cannot be read is judged as one whose token nobody
//! believes: it opens nothing.

pub mod begun;
mod moved;
mod replay;
mod step_up;
mod wanted;

use std::collections::BTreeMap;

use http::response::Parts;
use time::UtcDateTime;
use url::Url;
use weir_claims::carrier::{self, Answering, By, Carried, Found, Kind};
use weir_claims::mapping::{Mapping, MappingError, Named, Principal};
use weir_claims::{Claims, Expected, KeyError, Refused, Token, Trust, jwt, saml};
use weir_link::{GrantAsked, PrincipalId, SignIn};
use weir_policy::{Decision, DecisionKind, Facts, Flow, Method as Proof, TokenFacts, Told};

use crate::request::lines;

pub use replay::{NotNew, Replays};
pub use step_up::{Ask, Said, ask};
pub use wanted::Wanted;

/// How far the clocks of a sign-in server and of Weir may differ.
const SKEW: std::time::Duration = std::time::Duration::from_mins(5);

/// How the tokens of a service are looked at.
#[derive(Debug)]
pub struct Tokens {
    trust: Trust,
    mapping: Mapping,
    audiences: Vec<String>,
    /// By the origin that forms are sent to, the one at the reverse proxy.
    forms: BTreeMap<String, Url>,
    /// The service whose keys they are, when it is another one.
    keys_of: Option<String>,
    /// Rules have the last word at the token.
    pub decides: bool,
}

/// Tokens cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Keys that are none.
    #[error("the keys of its tokens: {0}")]
    Keys(#[from] KeyError),
    /// Names that are none.
    #[error("the claims of its tokens: {}", words(.0))]
    Mapping(Vec<MappingError>),
    /// Something that is no origin.
    #[error(
        "the forms with its tokens: `{0}` is no origin such as https://login.microsoftonline.com"
    )]
    Form(String),
}

/// What an answer told.
#[derive(Debug)]
pub struct Seen {
    /// For policy and the audit log; nothing when the sign-in is not over yet.
    pub told: Option<Told>,
    carried: Carried,
    named: Option<(Claims, Named)>,
    /// The token was signed with a key that is not known.
    pub unknown_key: bool,
}

impl Tokens {
    /// What weir-control says of them. Until it knows keys of the service, no token of it is believed.
    pub fn compile(tokens: &weir_link::Tokens, decides: bool) -> Result<Self, Unfit> {
        let trust = if tokens.keys.is_empty() {
            Trust::nobody()
        } else {
            Trust::new(&tokens.keys)?
        };
        Ok(Self {
            trust,
            mapping: Mapping::new(&tokens.mapping).map_err(Unfit::Mapping)?,
            audiences: tokens.audiences.clone(),
            forms: moved::forms(&tokens.forms)?,
            keys_of: tokens.keys_of.clone(),
            decides,
        })
    }

    /// The service whose keys these are; `service` is the one whose tokens they verify.
    pub fn keys_of<'a>(&'a self, service: &'a str) -> &'a str {
        self.keys_of.as_deref().unwrap_or(service)
    }

    /// Looks at what is posted to a relying party's reply URL `here`.
    pub fn receive(&self, posted: &carrier::Posted<'_>, here: &str) -> Seen {
        self.seen(carrier::posted(posted), Some(here))
    }

    /// Looks at an answer to a request for `url`.
    pub fn look(&self, answering: Answering, url: &str, parts: &Parts, body: &[u8]) -> Seen {
        let headers = lines(&parts.headers);
        let answer = carrier::Answer {
            url,
            status: parts.status.as_u16(),
            headers: &headers,
            body,
        };
        let carried = carrier::answer(answering, &answer);
        self.seen(carried, None)
    }

    /// `here` is the address that it has arrived at.
    fn seen(&self, carried: Carried, here: Option<&str>) -> Seen {
        let mut named = None;
        let mut unknown_key = false;
        let told = match &carried {
            Carried::Nothing | Carried::Redirect { .. } => None,
            Carried::Token(found) => Some(match self.verify(found, here) {
                Token::Verified(claims) => {
                    let (facts, by_name) = self.facts(&claims);
                    named = Some((claims, by_name));
                    Told::Verified(facts)
                }
                Token::Refused { why, .. } => {
                    unknown_key = matches!(why, Refused::UnknownKey | Refused::BadSignature);
                    Told::Unbelieved(why.to_string().into())
                }
                Token::Opaque => Told::Unbelieved(OPAQUE.into()),
            }),
            Carried::Opaque(_) => Some(Told::Unbelieved(OPAQUE.into())),
            Carried::Code(_) => Some(Told::Unbelieved(
                "the answer carries a code, and the token goes another way".into(),
            )),
            Carried::Several => Some(Told::Unbelieved(
                "the answer carries more than one token that could be meant".into(),
            )),
            Carried::Unreadable(why) => Some(Told::Unbelieved(why.0.into())),
        };
        Seen {
            told,
            carried,
            named,
            unknown_key,
        }
    }

    fn verify(&self, found: &Found, here: Option<&str>) -> Token {
        let expected = Expected {
            audiences: (!self.audiences.is_empty()).then_some(&self.audiences[..]),
            recipient: match (&found.by, found.kind) {
                (By::Form { action }, Kind::SamlResponse) => Some(action),
                _ => here,
            },
            now: UtcDateTime::now(),
            skew: SKEW,
        };
        match found.kind {
            Kind::Wresult | Kind::SamlResponse | Kind::WsTrust => {
                saml::look(&found.text, &self.trust, &expected)
            }
            Kind::IdToken | Kind::AccessToken => jwt::look(&found.text, &self.trust, &expected),
        }
    }

    fn facts(&self, claims: &Claims) -> (TokenFacts, Named) {
        let named = self.mapping.apply(claims);
        let facts = TokenFacts {
            values: named.values.clone(),
            missing: named.missing.clone(),
            methods: claims.methods.iter().map(|word| Proof::of(word)).collect(),
            authenticated: claims.authenticated,
        };
        (facts, named)
    }
}

const OPAQUE: &str = "the token is encrypted to whom it is for";

impl Seen {
    /// Whether its token was verified and is seen for the first time at this service. From now on it was seen.
    pub fn is_new(&self, service: &str, replays: &Replays) -> bool {
        let first = self.first(service, replays);
        if let Some(Err(why)) = first {
            tracing::warn!(service, %why, "a token is not taken for a new one");
        }
        matches!(first, Some(Ok(())))
    }

    /// The same, or why it is not; nothing when no token was verified.
    pub fn first(&self, service: &str, replays: &Replays) -> Option<Result<(), NotNew>> {
        let (claims, _) = self.named.as_ref()?;
        let now = UtcDateTime::now();
        Some(replays.first(service, &claims.id, claims.not_after, now))
    }

    /// Whom a verified token is for, in its own words.
    pub fn audiences(&self) -> &[String] {
        let named = self.named.as_ref();
        named.map_or(&[], |(claims, _)| &claims.audiences)
    }

    /// The relying party that a verified token is for.
    pub fn party<'a>(&self, tokens: &'a Tokens) -> Option<&'a str> {
        let (claims, _) = self.named.as_ref()?;
        let mut expected = tokens.audiences.iter();
        let party = expected.find(|audience| claims.audiences.contains(audience))?;
        Some(party)
    }

    /// The sign-in that the books are to know of: by whom, when the token says so by the ids of Entra; with
    /// what the rule grants, when the token is fresh and was never seen.
    pub fn sign_in(
        &self,
        facts: &Facts,
        decision: &Decision,
        is_new: impl FnOnce() -> bool,
        at: (&str, std::net::SocketAddr, &str),
    ) -> Option<SignIn> {
        let (claims, named) = self.named.as_ref()?;
        let Some(Principal::Object { tenant, object }) = named.principal() else {
            return None;
        };
        let principal: PrincipalId = format!("{tenant}/{object}").parse().ok()?;
        let (service, peer, id) = at;
        let now = UtcDateTime::now();
        let is_fresh = claims
            .issued
            .is_some_and(|issued| issued >= now - SKEW && issued <= now + SKEW);
        let is_new = is_new();
        let passes = decision.kind == DecisionKind::Pass;
        let grant = decision
            .grant
            .as_ref()
            .filter(|_| passes && is_fresh && is_new);
        Some(SignIn {
            number: 0,
            ago: 0,
            principal,
            source: facts.source.effective?,
            peer,
            service: service.to_owned(),
            id: id.to_owned(),
            grant: grant.map(|grant| GrantAsked {
                rule: decision.rule.to_string(),
                class: grant.class,
                seconds: grant.lasts.as_secs(),
                kernel: grant.kernel,
            }),
        })
    }
}

/// Which answers to such a request may carry a token.
pub fn answering(facts: &Facts) -> Option<Answering> {
    match facts.flow {
        Flow::Passive => Some(Answering::Passive),
        Flow::OauthBrowser => Some(Answering::OauthBrowser),
        Flow::OauthToken => Some(Answering::OauthToken),
        Flow::Active => Some(Answering::Active),
        _ => None,
    }
}

fn words(errors: &[MappingError]) -> String {
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    words.join("; ")
}
