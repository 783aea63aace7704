//! Keys that sign JWTs, and the documents that publish them.
#![allow(dead_code, reason = "each test uses its part")]

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Value, json};
use time::UtcDateTime;
use time::macros::utc_datetime;
use weir_claims::{Certificate, Expected, Keys, Refused, Token, Trust, jwks, jwt};

pub const ISSUER: &str = "https://sts.corp.example/adfs";
pub const AUDIENCE: &str = "urn:corp:app";
pub const NOW: UtcDateTime = utc_datetime!(2026-11-21 12:00:00);
pub const SKEW: i64 = 60;

/// A key, with the name that its issuer gives it.
pub struct Signer {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub pair: KeyPair,
    key: EncodingKey,
}

pub static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::new("rsa", Algorithm::RS256));
/// Named as the other one is, and published by nobody.
pub static FOREIGN: LazyLock<Signer> = LazyLock::new(|| Signer::new("rsa", Algorithm::RS256));
pub static P256: LazyLock<Signer> = LazyLock::new(|| Signer::new("p256", Algorithm::ES256));
pub static P384: LazyLock<Signer> = LazyLock::new(|| Signer::new("p384", Algorithm::ES384));

impl Signer {
    pub fn new(kid: &'static str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            _ => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let pair = pair.expect("a key");
        let pem = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        Self {
            kid,
            algorithm,
            pair,
            key: key.expect("a key"),
        }
    }

    /// The key as it is published.
    pub fn jwk(&self) -> Value {
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, self.algorithm);
        let mut jwk = serde_json::to_value(jwk.expect("a public key")).expect("JSON");
        jwk["kid"] = self.kid.into();
        jwk["use"] = "sig".into();
        jwk.as_object_mut().expect("an object").remove("alg");
        jwk
    }

    /// A self-signed certificate of the key, as AD FS makes them.
    pub fn certificate(&self, from: i32, until: i32) -> Certificate {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "ADFS Signing - sts.corp.example");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let made = params.self_signed(&self.pair).expect("a certificate");
        Certificate::from_der(made.der()).expect("a good certificate")
    }

    pub fn header(&self) -> Value {
        let name = format!("{:?}", self.algorithm);
        json!({"alg": name, "typ": "JWT", "kid": self.kid})
    }

    /// A token of this header and payload, as they are written.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        self.sign_parts(&URL.encode(header), &URL.encode(payload), self.algorithm)
    }

    /// A token of two parts as they travel.
    pub fn sign_parts(&self, header: &str, payload: &str, algorithm: Algorithm) -> String {
        sign(header, payload, &self.key, algorithm)
    }

    /// A token with this payload.
    pub fn token(&self, payload: &Value) -> String {
        self.sign(&self.header().to_string(), &payload.to_string())
    }

    /// A good token whose header has these members too.
    pub fn with_header(&self, members: &Value) -> String {
        self.sign(
            &with(self.header(), members).to_string(),
            &payload().to_string(),
        )
    }

    /// A good token whose payload has these members too; those that are null are taken out.
    pub fn with_payload(&self, members: &Value) -> String {
        self.token(&with(payload(), members))
    }
}

pub fn sign(header: &str, payload: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signed = format!("{header}.{payload}");
    let signature = crypto::sign(signed.as_bytes(), key, algorithm).expect("a signature");
    format!("{signed}.{signature}")
}

/// What a good token says.
pub fn payload() -> Value {
    let now = NOW.unix_timestamp();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "jti": "id-1",
        "iat": now, "nbf": now, "exp": now + 3600, "upn": "anna@corp.example",
    })
}

pub fn with(mut object: Value, members: &Value) -> Value {
    let all = object.as_object_mut().expect("an object");
    for (name, value) in members.as_object().expect("an object") {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    object
}

pub fn published(jwks: &[Value]) -> Keys {
    let set = json!({ "keys": jwks }).to_string();
    let set = jwks::read(set.as_bytes()).expect("a good set");
    let mut keys = Keys::published(None, None, Some(&set));
    keys.issuers.push(ISSUER.to_owned());
    keys
}

pub fn trust(jwks: &[Value]) -> Trust {
    Trust::new(&published(jwks)).expect("good keys")
}

/// All the keys of the issuer.
pub static TRUST: LazyLock<Trust> = LazyLock::new(|| trust(&[RSA.jwk(), P256.jwk(), P384.jwk()]));

pub fn look_with(token: &str, trust: &Trust) -> Token {
    let audiences = [AUDIENCE.to_owned()];
    let expected = Expected {
        audiences: Some(&audiences),
        recipient: None,
        now: NOW,
        skew: Duration::from_secs(SKEW.unsigned_abs()),
    };
    jwt::look(token, trust, &expected)
}

pub fn look(token: &str) -> Token {
    look_with(token, &TRUST)
}

/// Why a token is refused.
pub fn why_with(token: &str, trust: &Trust) -> Refused {
    match look_with(token, trust) {
        Token::Refused { why, .. } => why,
        other => panic!("not refused: {other:?} of {token}"),
    }
}

pub fn why(token: &str) -> Refused {
    why_with(token, &TRUST)
}
