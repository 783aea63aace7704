//! Signed JSON tokens, RS256, with an RSA key and its certificate.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use x509_parser::public_key::PublicKey;

use crate::saml::sign::Signer;
use crate::server::Error;

/// Signs and checks the tokens of one issuer.
pub struct Jwt {
    encode: EncodingKey,
    decode: DecodingKey,
    key: Value,
    id: String,
}

impl Jwt {
    /// With the key and certificate of an XML signer.
    pub fn new(signer: &Signer) -> Result<Self, Error> {
        let bad = |error: &dyn std::fmt::Display| {
            Error::Plan(format!("the signing key cannot sign JSON tokens: {error}"))
        };
        let der = STANDARD
            .decode(signer.certificate())
            .map_err(|error| bad(&error))?;
        let (_, certificate) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| bad(&error))?;
        let Ok(PublicKey::RSA(rsa)) = certificate.public_key().parsed() else {
            return Err(bad(&"its certificate is not an RSA one"));
        };
        let id = URL_SAFE_NO_PAD.encode(&der[der.len() - 20..]);
        let number = |bytes: &[u8]| {
            let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
            URL_SAFE_NO_PAD.encode(&bytes[start..])
        };
        let (modulus, exponent) = (number(rsa.modulus), number(rsa.exponent));
        Ok(Self {
            encode: EncodingKey::from_rsa_pem(signer.key_pem()).map_err(|error| bad(&error))?,
            decode: DecodingKey::from_rsa_components(&modulus, &exponent)
                .map_err(|error| bad(&error))?,
            key: json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "x5t": id, "n": modulus, "e": exponent,
                "x5c": [signer.certificate()],
            }),
            id,
        })
    }

    /// The public key, as a JSON Web Key.
    pub fn key(&self) -> &Value {
        &self.key
    }

    /// The key's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.id, claims)
    }

    /// A token with these claims that says that the key of that id signed it.
    pub fn sign_as(&self, id: &str, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(id.to_owned());
        header.x5t = Some(id.to_owned());
        jsonwebtoken::encode(&header, claims, &self.encode)
            .expect("the key was checked when it was loaded")
    }

    /// The claims of a token that this key signed and that has not expired.
    pub fn check(&self, token: &str) -> Option<Value> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &self.decode, &validation)
            .ok()
            .map(|data| data.claims)
    }
}

/// SHA-256 of `text`, as URL-safe base64: a PKCE challenge.
pub fn s256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        text.as_bytes(),
    ))
}
