//! JSON Web Tokens: id tokens and access tokens, signed (JWS compact serialisation, RFC 7515 and RFC 7519).
//!
//! The library checks a signature with a key; everything in front of that is here: one reading of the header
//! and of the claims, the key by its name alone, the algorithm by the key. Keys and addresses of keys in a
//! header are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcDateTime};

use crate::json::{self, Unreadable};
use crate::keys::JwtKey;
use crate::public_key::algorithm;
use crate::{Claims, Expected, Form, Refused, Token, Trust};

/// Longest token that is looked at.
const MAX_TOKEN: usize = 64 * 1024;
/// Types of tokens that say who signed in (RFC 7519 §5.1, RFC 9068 §2.1); others are for something else.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];
/// Members that have a field of their own in [`Claims`], or say how the rest is to be read.
const REGISTERED: [&str; 12] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "auth_time",
    "acr",
    "amr",
    "_claim_names",
    "_claim_sources",
];
/// Members that say how somebody signed in. AD FS uses the last three.
const METHODS: [&str; 5] = [
    "acr",
    "amr",
    "authmethod",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/authenticationmethod",
    "http://schemas.microsoft.com/claims/authnmethodsreferences",
];

/// Looks at a token in compact serialisation. One that is encrypted (five parts) is opaque. A token does not
/// say where it was sent, so `recipient` is not looked at.
pub fn look(compact: &str, trust: &Trust, expected: &Expected<'_>) -> Token {
    let refused = |why| Token::Refused { why, said: None };
    let parts = match Parts::split(compact) {
        Ok(Some(parts)) => parts,
        Ok(None) => return Token::Opaque,
        Err(why) => return refused(why),
    };
    let believed = parts.header_holds().and_then(|()| parts.verify(trust));
    let claims = match (parts.read(), believed) {
        (Ok(claims), Ok(())) => claims,
        (Ok(claims), Err(why)) => {
            let said = Some(Box::new(claims));
            return Token::Refused { why, said };
        }
        (Err(_), Err(why)) | (Err(why), Ok(())) => return refused(why),
    };
    match expected.holds(&claims, trust) {
        Ok(()) => Token::Verified(claims),
        Err(why) => Token::Refused {
            why,
            said: Some(Box::new(claims)),
        },
    }
}

/// A signed token, taken apart.
struct Parts<'a> {
    /// What the signature is over: the header and the payload as they stand there.
    signed: &'a str,
    signature: &'a str,
    header: Map<String, Value>,
    payload: Result<Map<String, Value>, Refused>,
}

impl<'a> Parts<'a> {
    /// Takes a token apart, or finds that it is encrypted.
    fn split(compact: &'a str) -> Result<Option<Self>, Refused> {
        if compact.len() > MAX_TOKEN {
            return Err(Refused::TooLarge);
        }
        // One more than a token can have is enough to see that there are too many.
        let parts: Vec<&str> = compact.splitn(6, '.').collect();
        let (first, rest) = parts.split_first().ok_or(Refused::Malformed)?;
        let header = object(first)?;
        let [payload, signature] = rest else {
            let encrypted = rest.len() == 4 && header.get("enc").is_some_and(Value::is_string);
            return if encrypted {
                Ok(None)
            } else {
                Err(Refused::Malformed)
            };
        };
        Ok(Some(Self {
            signed: &compact[..first.len() + 1 + payload.len()],
            signature,
            header,
            payload: object(payload),
        }))
    }

    /// Whether the header asks for nothing but what is done here.
    fn header_holds(&self) -> Result<(), Refused> {
        let has = |name| self.header.contains_key(name);
        if has("crit") || has("b64") || has("zip") {
            return Err(Refused::Extension);
        }
        match self.header.get("typ") {
            None => {}
            Some(Value::String(name)) => {
                let name = name.to_ascii_lowercase();
                let short = name.strip_prefix("application/").unwrap_or(&name);
                if !TYPES.contains(&short) {
                    return Err(Refused::OtherKind);
                }
            }
            Some(_) => return Err(Refused::WrongType),
        }
        // What is signed holds the hash of the nonce, so the signature verifies for Microsoft Graph alone.
        if has("nonce") {
            return Err(Refused::ForGraph);
        }
        Ok(())
    }

    /// Whether the key that the header names made the signature.
    fn verify(&self, trust: &Trust) -> Result<(), Refused> {
        let Some(Value::String(alg)) = self.header.get("alg") else {
            return Err(Refused::WrongType);
        };
        if alg.eq_ignore_ascii_case("none") || self.signature.is_empty() {
            return Err(Refused::Unsigned);
        }
        let algorithm = algorithm(alg).ok_or(Refused::Algorithm)?;
        let key = match self.header.get("kid") {
            Some(Value::String(kid)) => {
                let named = |key: &&JwtKey| key.kid.as_deref() == Some(kid);
                let key = trust.jwt().iter().find(named).ok_or(Refused::UnknownKey)?;
                if !key.algorithms.contains(&algorithm) {
                    return Err(Refused::Algorithm);
                }
                key
            }
            None => {
                let mut fit = trust
                    .jwt()
                    .iter()
                    .filter(|key| key.algorithms.contains(&algorithm));
                match (fit.next(), fit.next()) {
                    (Some(key), None) => key,
                    (None, _) => return Err(Refused::UnknownKey),
                    (Some(_), Some(_)) => return Err(Refused::UnnamedKey),
                }
            }
            Some(_) => return Err(Refused::WrongType),
        };
        let signed = self.signed.as_bytes();
        match jsonwebtoken::crypto::verify(self.signature, signed, &key.key, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::BadSignature),
            Err(_) => Err(Refused::Malformed),
        }
    }

    /// What the payload says.
    fn read(&self) -> Result<Claims, Refused> {
        let payload = self.payload.as_ref().map_err(|why| *why)?;
        let said = Said(payload);
        // A sign-out token may come without a type of its own (OpenID Connect Back-Channel Logout 1.0 §2.4).
        if payload.contains_key("events") {
            return Err(Refused::OtherKind);
        }
        let id = ["jti", "uti"].into_iter().find_map(|name| {
            let text = payload.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        });
        let mut values: BTreeMap<_, _> = payload
            .iter()
            .filter(|(name, _)| !REGISTERED.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.clone(), texts(value)?)))
            .collect();
        let mut missing = said.missing()?;
        // Part of a list reads like all of it.
        values.retain(|name, _| name != "hasgroups" && !missing.contains(name));
        let partly = payload.iter().filter(|(_, value)| is_read_in_part(value));
        missing.extend(partly.map(|(name, _)| name.clone()));
        Ok(Claims {
            form: Form::Jwt,
            issuer: said.text("iss")?.ok_or(Refused::Incomplete)?,
            id: id.unwrap_or_else(|| self.hash()),
            audiences: said.audiences()?,
            subject: said.text("sub")?,
            issued: said.moment("iat")?,
            not_before: said.moment("nbf")?,
            not_after: said.moment("exp")?.ok_or(Refused::NoExpiry)?,
            authenticated: payload.get("auth_time").and_then(instant),
            methods: METHODS
                .into_iter()
                .filter_map(|name| payload.get(name).and_then(texts))
                .flatten()
                .collect(),
            values,
            missing,
        })
    }

    /// By what a token is known that has no id.
    fn hash(&self) -> String {
        let hash = digest(&SHA256, self.signature.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(hash)
    }
}

/// The members of a payload.
struct Said<'a>(&'a Map<String, Value>);

impl Said<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// Seconds since 1970 (RFC 7519 §2, `NumericDate`), those of a fraction cut off.
    fn moment(&self, name: &str) -> Result<Option<UtcDateTime>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(number @ Value::Number(_)) => instant(number).map(Some).ok_or(Refused::Moment),
            Some(_) => Err(Refused::WrongType),
        }
    }

    fn audiences(&self) -> Result<Vec<String>, Refused> {
        match self.0.get("aud") {
            None => Err(Refused::Incomplete),
            Some(Value::String(one)) => Ok(vec![one.clone()]),
            Some(Value::Array(all)) if !all.is_empty() => {
                let texts = all.iter().map(|one| one.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or(Refused::WrongType)
            }
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// The members that were left out because they are too long (OpenID Connect Core 1.0 §5.6.2), and groups
    /// where Microsoft's short form says so.
    fn missing(&self) -> Result<BTreeSet<String>, Refused> {
        let mut missing = match self.0.get("_claim_names") {
            None => BTreeSet::new(),
            Some(Value::Object(names)) => names.keys().cloned().collect(),
            Some(_) => return Err(Refused::WrongType),
        };
        if self
            .0
            .get("hasgroups")
            .is_some_and(|has| *has == true || *has == "true")
        {
            missing.insert("groups".to_owned());
        }
        Ok(missing)
    }
}

/// One part: base64url without padding, and nothing but that, of a JSON object.
fn object(part: &str) -> Result<Map<String, Value>, Refused> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Refused::Malformed)?;
    json::object(&bytes).map_err(|why| match why {
        Unreadable::Syntax => Refused::Malformed,
        Unreadable::Twice => Refused::Repeated,
        Unreadable::Deep => Refused::TooDeep,
        Unreadable::Many => Refused::TooManyElements,
    })
}

/// A moment: a `NumericDate`, or the text that AD FS writes in access tokens.
fn instant(value: &Value) -> Option<UtcDateTime> {
    match value {
        Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast saturates, and the range is checked"
            )]
            let seconds = number
                .as_i64()
                .or_else(|| Some(number.as_f64()?.floor() as i64))?;
            UtcDateTime::from_unix_timestamp(seconds).ok()
        }
        Value::String(text) => Some(OffsetDateTime::parse(text, &Rfc3339).ok()?.to_utc()),
        _ => None,
    }
}

/// Whether a list holds more than its texts.
fn is_read_in_part(value: &Value) -> bool {
    let more = |one: &Value| one.is_array() || one.is_object();
    value.as_array().is_some_and(|all| all.iter().any(more))
}

/// A member's values as text; nothing for what has none. Objects inside of arrays are left out.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(all) => Some(all.iter().filter_map(text).collect()),
        one => text(one).map(|text| vec![text]),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
