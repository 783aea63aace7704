//! What holds for every document that might hold an assertion.
//!
//! `service.pem` is the certificate of a key that exists no more: nothing but the documents that it signed,
//! which lie in the corpus, can ever be believed.

use std::sync::LazyLock;
use std::time::Duration;

use time::macros::utc_datetime;
use weir_claims::saml::look;
use weir_claims::{Certificate, Claims, Expected, Keys, Token, Trust};

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let pem = include_str!("service.pem").lines();
    let base64: String = pem.filter(|line| !line.starts_with('-')).collect();
    let keys = Keys {
        issuers: vec!["http://sts.corp.example/adfs/services/trust".to_owned()],
        certificates: vec![Certificate::from_base64(&base64).expect("a certificate")],
        jwks: Vec::new(),
    };
    Trust::new(&keys).expect("a usable key")
});

/// What the service said when it signed.
static SAID: LazyLock<Vec<Claims>> = LazyLock::new(|| {
    [
        include_str!("../corpus/assertion/wresult"),
        include_str!("../corpus/assertion/response"),
        include_str!("../corpus/assertion/response-signed"),
    ]
    .into_iter()
    .map(|document| match judge(document) {
        Token::Verified(claims) => claims,
        other => panic!("{other:?}"),
    })
    .collect()
});

/// A document is believed only if it says what the service said.
pub fn check(input: &[u8]) {
    let Ok(document) = std::str::from_utf8(input) else {
        return;
    };
    if let Token::Verified(claims) = judge(document) {
        assert!(SAID.contains(&claims), "{claims:?}");
    }
}

fn judge(document: &str) -> Token {
    let expected = Expected {
        audiences: Some(&["urn:federation:MicrosoftOnline".to_owned()]),
        recipient: Some("https://login.microsoftonline.com/login.srf"),
        now: utc_datetime!(2026-03-02 09:20:00),
        skew: Duration::from_mins(1),
    };
    look(document, &TRUST, &expected)
}
