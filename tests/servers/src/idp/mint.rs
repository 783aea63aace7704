//! Tokens of a federation service, as they leave it: signed with the key of the day, or spoilt as somebody asked.
//!
//! In: what a token is to say, and the [`Twist`]s. Out: XML and JSON tokens. Encrypted ones are random bytes of the
//! right shape: nobody in the lab could read more of a real one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::Duration;

use crate::control::{Keys, Twist};
use crate::http::escape;
use crate::idp::Idp;
use crate::idp::session::opaque;
use crate::idp::users::Asker;
use crate::jwt::Jwt;
use crate::people::User;
use crate::plan::{FOREIGN, Files, SIGNING_KEYS};
use crate::saml::assertion::Statement;
use crate::saml::sign::{Signer, signature_template};
use crate::server::Error;

/// A key in its two uses.
pub(super) struct Key {
    pub(super) xml: Signer,
    pub(super) json: Jwt,
}

/// All token-signing keys of a service, and one of somebody else.
pub(super) struct Ring {
    own: Vec<Key>,
    foreign: Key,
}

impl Ring {
    /// Reads the keys of a service.
    pub(super) fn load(files: Files<'_>, service: &str) -> Result<Self, Error> {
        let key = |name: &str, position| {
            let xml = Signer::load(
                &files.signing_key_at(name, position),
                &files.signing_certificate_at(name, position),
            )?;
            let json = Jwt::new(&xml)?;
            Ok(Key { xml, json })
        };
        Ok(Self {
            own: (0..SIGNING_KEYS)
                .map(|position| key(service, position))
                .collect::<Result<_, Error>>()?,
            foreign: key(FOREIGN, 0)?,
        })
    }

    /// The published keys; the first one signs.
    pub(super) fn published(&self, keys: Keys) -> [&Key; 2] {
        keys.positions().map(|position| &self.own[position])
    }

    /// The claims of a token that any of the service's keys signed.
    pub(super) fn check(&self, token: &str) -> Option<Value> {
        self.own.iter().find_map(|key| key.json.check(token))
    }
}

/// A SAML assertion, ready to be sent.
pub(super) struct Assertion {
    /// The XML; not always one element.
    pub(super) xml: String,
    /// Its id.
    pub(super) id: String,
}

impl Idp {
    /// A SAML 1.1 assertion.
    pub(super) fn saml11(
        &self,
        statement: Statement,
        user: &User,
        asker: &Asker,
    ) -> Result<Assertion, Error> {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let template = spoilt(statement, user, asker).saml11(&id);
        let blob = encrypted;
        self.finished(&template, id, user, asker, &blob)
    }

    /// A SAML 2.0 assertion for `recipient`, in answer to `request`.
    pub(super) fn saml2(
        &self,
        statement: Statement,
        recipient: &str,
        request: Option<&str>,
        user: &User,
        asker: &Asker,
    ) -> Result<Assertion, Error> {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let template = spoilt(statement, user, asker).saml2(&id, recipient, request);
        let template = if asker.has(Twist::ResponseSigned, user) {
            template.replace(&signature_template(&id), "")
        } else {
            template
        };
        let blob = || {
            format!(
                "<EncryptedAssertion xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">{}</EncryptedAssertion>",
                encrypted()
            )
        };
        self.finished(&template, id, user, asker, &blob)
    }

    /// A SAML response with a signature of its own, where the product gives it one or somebody asked. Not around an
    /// assertion that was spoilt: it would be a good signature.
    pub(super) fn signed_response(
        &self,
        xml: String,
        id: &str,
        user: &User,
        asker: &Asker,
    ) -> Result<String, Error> {
        let signs = self.shape.signs_response || asker.has(Twist::ResponseSigned, user);
        let spoilt = [Twist::Unsigned, Twist::Wrapped, Twist::Doubled];
        if !signs || spoilt.into_iter().any(|twist| asker.has(twist, user)) {
            return Ok(xml);
        }
        let end = "</Issuer>";
        let template = format!("{end}{}", signature_template(id));
        self.signer(user, asker)
            .xml
            .sign(&xml.replacen(end, &template, 1))
    }

    /// A JSON token about a user.
    pub(super) fn json(&self, mut claims: Value, user: &User, asker: &Asker) -> String {
        if asker.has(Twist::Audience, user) {
            claims["aud"] = SOMEBODY_ELSE.into();
        }
        if asker.has(Twist::Expired, user) {
            for name in ["iat", "nbf", "exp", "auth_time", "mfa_auth_time"] {
                if let Some(at) = claims[name].as_i64() {
                    claims[name] = (at - 2 * 3600).into();
                }
            }
        }
        let published = self.ring.published(asker.keys())[0].json.id();
        let token = self.signer(user, asker).json.sign_as(published, &claims);
        let parts: Vec<&str> = token.split('.').collect();
        if asker.has(Twist::Encrypted, user) {
            let header = json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT" }).to_string();
            let part = |bytes| URL_SAFE_NO_PAD.encode(opaque(bytes));
            let header = URL_SAFE_NO_PAD.encode(header);
            return [header, part(192), part(9), part(900), part(12)].join(".");
        }
        if asker.has(Twist::Unsigned, user) {
            let header = json!({ "alg": "none", "typ": "JWT" }).to_string();
            return format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), parts[1]);
        }
        if asker.has(Twist::Wrapped, user) || asker.has(Twist::Doubled, user) {
            claims["upn"] = INTRUDER.into();
            let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
            return [parts[0], &payload, parts[2]].join(".");
        }
        token
    }

    fn finished(
        &self,
        template: &str,
        id: String,
        user: &User,
        asker: &Asker,
        blob: &dyn Fn() -> String,
    ) -> Result<Assertion, Error> {
        if asker.has(Twist::Encrypted, user) {
            return Ok(Assertion { xml: blob(), id });
        }
        let unsigned = template.replace(&signature_template(&id), "");
        if asker.has(Twist::Unsigned, user) || template == unsigned {
            return Ok(Assertion { xml: unsigned, id });
        }
        let signed = self.signer(user, asker).xml.sign(template)?;
        let other = |text: &str| {
            text.replacen(&id, &format!("_{}", uuid::Uuid::new_v4()), 1)
                .replace(&escape(&user.upn), INTRUDER)
        };
        let xml = if asker.has(Twist::Wrapped, user) {
            let inside = format!("<ds:Object>{signed}</ds:Object><ds:KeyInfo>");
            other(&signed).replacen("<ds:KeyInfo>", &inside, 1)
        } else if asker.has(Twist::Doubled, user) {
            format!("{signed}{}", other(&unsigned))
        } else {
            signed
        };
        Ok(Assertion { xml, id })
    }

    fn signer(&self, user: &User, asker: &Asker) -> &Key {
        if asker.has(Twist::Foreign, user) {
            &self.ring.foreign
        } else {
            self.ring.published(asker.keys())[0]
        }
    }
}

/// The statement with another audience or time, if that was asked for.
fn spoilt(mut statement: Statement, user: &User, asker: &Asker) -> Statement {
    if asker.has(Twist::Audience, user) {
        SOMEBODY_ELSE.clone_into(&mut statement.audience);
    }
    if asker.has(Twist::Expired, user) {
        statement.issued -= Duration::hours(2);
        statement.authenticated -= Duration::hours(2);
    }
    statement
}

/// Encrypted data with an encrypted key, as far as anybody without the other key can see.
fn encrypted() -> String {
    format!(
        "<xenc:EncryptedData Type=\"http://www.w3.org/2001/04/xmlenc#Element\" \
         xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"><xenc:EncryptionMethod \
         Algorithm=\"http://www.w3.org/2001/04/xmlenc#aes256-cbc\"/><KeyInfo \
         xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><e:EncryptedKey xmlns:e=\"http://www.w3.org/2001/04/xmlenc#\">\
         <e:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p\"/><e:CipherData>\
         <e:CipherValue>{}</e:CipherValue></e:CipherData></e:EncryptedKey></KeyInfo><xenc:CipherData>\
         <xenc:CipherValue>{}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>",
        opaque(256),
        opaque(4096),
    )
}

/// Whom a token for the wrong audience is for.
pub const SOMEBODY_ELSE: &str = "urn:example:somebody-else";
/// Whom a changed token names.
pub const INTRUDER: &str = "intruder@mex.corp.example";
