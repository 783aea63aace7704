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
    private: EncodingKey,
    public: DecodingKey,
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
        let [modulus, exponent] =
            components(&der).ok_or_else(|| bad(&"its certificate is not an RSA one"))?;
        let id = URL_SAFE_NO_PAD.encode(&der[der.len() - 20..]);
        Ok(Self {
            private: EncodingKey::from_rsa_pem(signer.key_pem()).map_err(|error| bad(&error))?,
            public: DecodingKey::from_rsa_components(&modulus, &exponent)
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
        self.encode(id, None, claims)
    }

    /// A token with these claims whose header has a nonce, so that nobody but its audience can verify it.
    pub fn sign_sealed(&self, nonce: &str, claims: &Value) -> String {
        self.encode(&self.id, Some(nonce), claims)
    }

    fn encode(&self, id: &str, nonce: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(id.to_owned());
        header.x5t = Some(id.to_owned());
        header.nonce = nonce.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.private)
            .expect("the key was checked when it was loaded")
    }

    /// The claims of a token that this key signed and that has not expired.
    pub fn check(&self, token: &str) -> Option<Value> {
        self.decode(token, true)
    }

    /// The claims of a token that this key signed, whatever its times say.
    pub fn signed(&self, token: &str) -> Option<Value> {
        self.decode(token, false)
    }

    fn decode(&self, token: &str, timely: bool) -> Option<Value> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_aud = false;
        validation.validate_exp = timely;
        jsonwebtoken::decode::<Value>(token, &self.public, &validation)
            .ok()
            .map(|data| data.claims)
    }
}

/// Modulus and exponent of the RSA key in a certificate (DER), as a JSON Web Key has them.
pub fn components(certificate: &[u8]) -> Option<[String; 2]> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let Ok(PublicKey::RSA(rsa)) = certificate.public_key().parsed() else {
        return None;
    };
    Some([rsa.modulus, rsa.exponent].map(|number| {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(0);
        URL_SAFE_NO_PAD.encode(&number[start..])
    }))
}

/// SHA-256 of `text`, as URL-safe base64: a PKCE challenge.
pub fn s256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        text.as_bytes(),
    ))
}
