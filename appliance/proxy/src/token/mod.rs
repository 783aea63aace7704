//! Tokens, looked at on their way from the sign-in server to whoever asked.
//!
//! In: the answer of an upstream and what policy said of the request. Out: the answer as it came, or with its
//! form sent to the reverse proxy, or Weir's own in its place; what the token told, for policy, the audit log
//! and the books of weir-control. What passes is passed on to the byte. Where rules wait for the token, an
//! answer that cannot be read is judged as one whose token nobody believes: it opens nothing.

mod replay;
mod step_up;
mod wanted;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderValue};
use http::response::Parts;
use time::UtcDateTime;
use url::Url;
use weir_claims::carrier::{self, Answering, By, Carried, Found, Kind};
use weir_claims::mapping::{Mapping, MappingError, Named, Principal};
use weir_claims::{Claims, Expected, KeyError, Refused, Token, Trust, jwt, saml};
use weir_link::{GrantAsked, PrincipalId, SignIn};
use weir_policy::{
    Decision, DecisionKind, Facts, Flow, Method as Proof, Template, TokenFacts, Told,
};

pub use replay::Replays;
pub use step_up::{asked, is_asked};
pub use wanted::Wanted;

/// How far the clocks of a sign-in server and of Weir may differ.
const SKEW: std::time::Duration = std::time::Duration::from_mins(5);

/// How the tokens of a service are looked at.
#[derive(Debug)]
pub struct Tokens {
    trust: Trust,
    mapping: Mapping,
    audiences: Vec<String>,
    form_origins: Vec<String>,
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
            form_origins: tokens.form_origins.clone(),
            decides,
        })
    }

    /// Looks at an answer to a request for `url`.
    pub fn look(&self, answering: Answering, url: &str, parts: &Parts, body: &[u8]) -> Seen {
        let headers: Vec<(&str, &[u8])> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let answer = carrier::Answer {
            url,
            status: parts.status.as_u16(),
            headers: &headers,
            body,
        };
        let carried = carrier::answer(answering, &answer);
        self.seen(carried)
    }

    fn seen(&self, carried: Carried) -> Seen {
        let mut named = None;
        let mut unknown_key = false;
        let told = match &carried {
            Carried::Nothing | Carried::Redirect { .. } => None,
            Carried::Token(found) => Some(match self.verify(found) {
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

    fn verify(&self, found: &Found) -> Token {
        let expected = Expected {
            audiences: (!self.audiences.is_empty()).then_some(&self.audiences[..]),
            recipient: match (&found.by, found.kind) {
                (By::Form { action }, Kind::SamlResponse) => Some(action),
                _ => None,
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
    /// The sign-in that the books are to know of: by whom, when the token says so by the ids of Entra; with
    /// what the rule grants, when the token is fresh and was never seen.
    pub fn sign_in(
        &self,
        facts: &Facts,
        decision: &Decision,
        replays: &Replays,
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
        let is_new = replays.is_new(service, &claims.id, claims.not_after, now);
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

    /// The page with its form sent to the origin of `target`, and a head that lets the browser go there;
    /// nothing when that is not to be had.
    pub fn moved(
        &self,
        tokens: &Tokens,
        target: &Template,
        url: &str,
        mut parts: Parts,
        body: &[u8],
    ) -> Option<(Parts, Bytes)> {
        let Carried::Token(Found {
            by: By::Form { action },
            ..
        }) = &self.carried
        else {
            return None;
        };
        let from = Url::parse(action).ok()?;
        let mut to = from.clone();
        let origin = Url::parse(target.origin()).ok()?;
        to.set_scheme(origin.scheme()).ok()?;
        to.set_host(origin.host_str()).ok()?;
        to.set_port(origin.port()).ok()?;
        let headers: Vec<(&str, &[u8])> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let answer = carrier::Answer {
            url,
            status: parts.status.as_u16(),
            headers: &headers,
            body,
        };
        let page = carrier::rewrite(&answer, &tokens.form_origins, to.as_str()).ok()?;
        drop(headers);
        let before: Vec<String> = parts
            .headers
            .get_all(CONTENT_SECURITY_POLICY)
            .iter()
            .map(|value| value.to_str().map(str::to_owned))
            .collect::<Result<_, _>>()
            .ok()?;
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let after = carrier::csp(
            &before,
            &from.origin().ascii_serialization(),
            &to.origin().ascii_serialization(),
        );
        parts.headers.remove(CONTENT_SECURITY_POLICY);
        for value in after {
            let value = HeaderValue::try_from(value).ok()?;
            parts.headers.append(CONTENT_SECURITY_POLICY, value);
        }
        // What was said of the page before is not true of this one.
        for name in [
            "etag",
            "content-md5",
            "digest",
            "content-digest",
            "repr-digest",
        ] {
            parts.headers.remove(name);
        }
        parts.headers.insert(CONTENT_LENGTH, page.len().into());
        Some((parts, page.into()))
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
