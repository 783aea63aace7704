//! Client assertions: a JSON token that the application signed with the key of a registered certificate.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;
use weir_lab_servers::jwt::components;

use super::errors::Aadsts;
use crate::world::apps::{App, Certificate};

/// What the form must call it.
pub const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion that holds.
#[derive(Debug)]
pub struct Assertion {
    /// Its id, which may not come again.
    pub id: String,
    /// Until when it is good, in seconds since 1970.
    pub until: f64,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    // Microsoft's own library writes fractions of a second.
    #[serde(default)]
    nbf: f64,
    exp: f64,
}

/// How far clocks may differ, in seconds.
const SKEW: f64 = 300.0;

/// Checks an assertion of `app` that was sent to one of the addresses `audiences`.
pub fn check(
    text: &str,
    app: &App,
    audiences: &[String],
    now: OffsetDateTime,
) -> Result<Assertion, Aadsts> {
    let malformed = || {
        Aadsts::new(
            50013,
            "Assertion failed signature validation. The assertion is malformed.",
        )
    };
    let header = jsonwebtoken::decode_header(text).map_err(|_| malformed())?;
    if !matches!(header.alg, Algorithm::PS256 | Algorithm::RS256) {
        return Err(Aadsts::new(
            700_027,
            "Client assertion failed signature validation. The algorithm is not supported.",
        ));
    }
    let certificate = find(&header, app)?;
    let key = key(certificate).ok_or_else(|| Aadsts::usual(700_027))?;
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let bad = "The certificate with identifier used to sign the client assertion does not fit its signature. [Reason - The key was found, but use of the key to verify the signature failed.]";
    let claims: Claims = jsonwebtoken::decode(text, &key, &validation)
        .map_err(|_| Aadsts::new(700_027, bad))?
        .claims;
    let client = |name: &str| Uuid::try_parse(name) == Ok(app.app_id);
    if !client(&claims.iss) || !client(&claims.sub) {
        return Err(Aadsts::usual(700_021));
    }
    if !audiences.contains(&claims.aud) {
        return Err(Aadsts::usual(700_023));
    }
    #[expect(clippy::cast_precision_loss, reason = "no clock goes so far")]
    let present = now.unix_timestamp() as f64;
    let life = certificate.life();
    let expired = life.is_none_or(|[start, end]| now < start || now > end);
    if expired || claims.exp + SKEW <= present || claims.nbf - SKEW > present {
        let text = format!(
            "Client assertion is not within its valid time range. Current time: {present}, expiry time of assertion {}.",
            claims.exp
        );
        return Err(Aadsts::new(700_024, text));
    }
    if claims.jti.is_empty() {
        return Err(malformed());
    }
    Ok(Assertion {
        id: claims.jti,
        until: claims.exp + SKEW,
    })
}

fn find<'a>(header: &jsonwebtoken::Header, app: &'a App) -> Result<&'a Certificate, Aadsts> {
    // Some clients pad, or write SHA-1 thumbprints with the alphabet of plain base64.
    let same = |sent: &str, ours: String| {
        sent.trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_")
            == ours
    };
    let found = app.certificates.iter().find(|certificate| {
        match (header.x5t_s256.as_deref(), header.x5t.as_deref()) {
            (Some(sent), _) => same(sent, certificate.sha256()),
            (None, Some(sent)) => same(sent, certificate.sha1()),
            (None, None) => false,
        }
    });
    found.ok_or_else(|| {
        let shown = header.x5t_s256.as_deref().or(header.x5t.as_deref());
        let shown = shown.and_then(|sent| URL_SAFE_NO_PAD.decode(sent).ok());
        let shown = hex(&shown.unwrap_or_default());
        Aadsts::new(
            700_027,
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '{shown}']"
            ),
        )
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02X}").expect("writing to memory succeeds");
        text
    })
}

fn key(certificate: &Certificate) -> Option<DecodingKey> {
    let [modulus, exponent] = components(&certificate.der)?;
    DecodingKey::from_rsa_components(&modulus, &exponent).ok()
}
