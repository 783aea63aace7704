//! The keys that sign JWTs, and where they are published: a JWKS (RFC 7517) and the discovery document that
//! names it (OpenID Connect Discovery 1.0 §3).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::{self, Unreadable};
use crate::keys::{Fingerprint, KeyError};
use crate::public_key::{Curve, PublicKey};

/// Longest document that is read.
const MAX_DOCUMENT: usize = 256 * 1024;
/// Most keys in a set.
const MAX_KEYS: usize = 64;
/// Longest name of a key.
const MAX_KID: usize = 512;
/// Members of a JWK that only a private key has (RFC 7518 §6.2.2, §6.3.2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// A public key for signatures of JWTs, by the members that say so. It travels as a JWK.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Jwk {
    kid: Option<String>,
    alg: Option<String>,
    key: PublicKey,
}

/// A set of keys, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwks {
    /// Those that may sign tokens.
    pub keys: Vec<Jwk>,
    /// Those that are left out, by their place in the set, from 0 on, and why.
    pub left_out: Vec<(usize, KeyError)>,
}

/// What a discovery document says of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Names of the issuer: `issuer`, and `access_token_issuer` where AD FS has another one for access tokens.
    pub issuers: Vec<String>,
    /// Where the keys are.
    pub jwks_uri: String,
}

/// Why a document is not read. Keys that are known stay in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is longer than any honest one.
    #[error("the document is longer than 256 KiB; check that the address is that of the keys")]
    TooLong,
    /// It is not JSON.
    #[error("the document is not a JSON object; check the address, and what answers there")]
    NotJson,
    /// It can be read in two ways.
    #[error("the document has a member twice; whoever publishes it must say which one holds")]
    Twice,
    /// It nests deeply.
    #[error("the document nests too deeply; check the address, and what answers there")]
    Deep,
    /// It has more values than any honest one.
    #[error("the document has more than 4096 values; check the address, and what answers there")]
    Many,
    /// A member is missing, or is not what it must be.
    #[error(
        "`{0}` is missing, or is not what it must be; check the address, and what answers there"
    )]
    Member(&'static str),
    /// It is of many tenants.
    #[error(
        "`issuer` holds a placeholder, so it is a document of many tenants; use the address of your own tenant"
    )]
    Placeholder,
    /// There are more keys than any honest set has.
    #[error("the set has more than 64 keys; check the address")]
    TooMany,
    /// None of its keys can be used.
    #[error("the set has no key that can be used, so it replaces nothing: {0}")]
    Empty(String),
    /// Two keys with one name.
    #[error(
        "keys {0} and {1} of the set have the same `kid` and are different keys, so a token cannot say which of them signed it; see to it at the sign-in server"
    )]
    SameName(usize, usize),
}

/// Reads a set of keys. What cannot be used is left out, and said.
pub fn read(document: &[u8]) -> Result<Jwks, JwksError> {
    let members = object(document)?;
    let Some(Value::Array(entries)) = members.get("keys") else {
        return Err(JwksError::Member("keys"));
    };
    if entries.len() > MAX_KEYS {
        return Err(JwksError::TooMany);
    }
    let mut keys: Vec<(usize, Jwk)> = Vec::new();
    let mut left_out = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let jwk = entry
            .as_object()
            .ok_or(KeyError::Unreadable)
            .and_then(Jwk::read);
        match jwk {
            Ok(jwk) => {
                let same = |(_, known): &&(usize, Jwk)| known.kid.is_some() && known.kid == jwk.kid;
                match keys.iter().find(same) {
                    Some((_, known)) if *known == jwk => {}
                    Some((first, _)) => return Err(JwksError::SameName(*first, place)),
                    None => keys.push((place, jwk)),
                }
            }
            Err(why) => left_out.push((place, why)),
        }
    }
    if keys.is_empty() {
        let whys = left_out
            .iter()
            .map(|(place, why)| format!("key {place}: {why}"));
        let whys: Vec<String> = whys.take(3).collect();
        return Err(JwksError::Empty(if whys.is_empty() {
            "it is empty".to_owned()
        } else {
            whys.join("; ")
        }));
    }
    let keys = keys.into_iter().map(|(_, jwk)| jwk).collect();
    Ok(Jwks { keys, left_out })
}

/// Reads a discovery document.
pub fn discovery(document: &[u8]) -> Result<Discovery, JwksError> {
    let members = object(document)?;
    let text = |name| match members.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(JwksError::Member(name)),
    };
    let mut issuers = vec![text("issuer")?];
    if members.contains_key("access_token_issuer") {
        issuers.push(text("access_token_issuer")?);
    }
    issuers.dedup();
    if issuers.iter().any(|issuer| issuer.contains(['{', '}'])) {
        return Err(JwksError::Placeholder);
    }
    let jwks_uri = text("jwks_uri")?;
    if !jwks_uri.starts_with("https://") {
        return Err(JwksError::Member("jwks_uri"));
    }
    Ok(Discovery { issuers, jwks_uri })
}

impl Jwk {
    /// Reads one key.
    fn read(members: &Map<String, Value>) -> Result<Self, KeyError> {
        let text = |name| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(KeyError::Unreadable),
        };
        let family = text("kty")?;
        if family == Some("oct") || members.contains_key("k") {
            return Err(KeyError::Symmetric);
        }
        if PRIVATE.iter().any(|name| members.contains_key(*name)) {
            return Err(KeyError::Private);
        }
        if text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Err(KeyError::Purpose);
        }
        match members.get("key_ops") {
            None => {}
            Some(Value::Array(all)) if all.iter().any(|one| one == "verify") => {}
            Some(_) => return Err(KeyError::Purpose),
        }
        let number = |name| {
            let text = text(name)?.ok_or(KeyError::Unreadable)?;
            BASE64_URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| KeyError::Unreadable)
        };
        let key = match family {
            Some("RSA") => PublicKey::rsa(&number("n")?, &number("e")?)?,
            Some("EC") => {
                let curve = match text("crv")? {
                    Some("P-256") => Curve::P256,
                    Some("P-384") => Curve::P384,
                    _ => return Err(KeyError::Kind),
                };
                PublicKey::ec(curve, &number("x")?, &number("y")?)?
            }
            _ => return Err(KeyError::Kind),
        };
        let kid = text("kid")?;
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID) {
            return Err(KeyError::Unreadable);
        }
        let alg = match text("alg")? {
            None => None,
            Some(name) if key.algorithms().iter().any(|fit| fit.name == name) => {
                Some(name.to_owned())
            }
            Some(_) => return Err(KeyError::Algorithm),
        };
        Ok(Self {
            kid: kid.map(str::to_owned),
            alg,
            key,
        })
    }

    /// Its name, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// By what an operator knows it again: its thumbprint (RFC 7638).
    pub fn fingerprint(&self) -> Fingerprint {
        let members = self.key.members();
        // The members of a public key and nothing else, in the order of their names, without white space.
        let canonical = serde_json::to_vec(&members).expect("text members are JSON");
        Fingerprint::of(&canonical)
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The algorithms that it signs with.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let fits = self.key.algorithms().iter();
        fits.filter(|fit| self.alg.as_deref().is_none_or(|alg| alg == fit.name))
            .map(|fit| fit.algorithm)
            .collect()
    }
}

impl TryFrom<Map<String, Value>> for Jwk {
    type Error = KeyError;

    fn try_from(members: Map<String, Value>) -> Result<Self, KeyError> {
        Self::read(&members)
    }
}

impl From<Jwk> for Map<String, Value> {
    fn from(jwk: Jwk) -> Self {
        let mut members = jwk.key.members();
        let named = [("kid", jwk.kid), ("alg", jwk.alg)];
        for (name, value) in named {
            members.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        members
    }
}

/// In an operator's words.
impl fmt::Display for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JWK {}", self.fingerprint())?;
        match &self.kid {
            Some(kid) => write!(
                f,
                " (kid {:?}, {:?})",
                kid.chars().take(100).collect::<String>(),
                self.key
            ),
            None => write!(f, " (no kid, {:?})", self.key),
        }
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn object(document: &[u8]) -> Result<Map<String, Value>, JwksError> {
    if document.len() > MAX_DOCUMENT {
        return Err(JwksError::TooLong);
    }
    json::object(document).map_err(|why| match why {
        Unreadable::Syntax => JwksError::NotJson,
        Unreadable::Twice => JwksError::Twice,
        Unreadable::Deep => JwksError::Deep,
        Unreadable::Many => JwksError::Many,
    })
}
