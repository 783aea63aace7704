//! What holds for every JWT. The input is what should be one.

use std::sync::LazyLock;
use std::time::Duration;

use time::macros::utc_datetime;
use weir_claims::{Expected, Keys, Token, Trust, jwks, jwt};

/// Keys whose private halves nobody has.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let set = jwks::read(include_bytes!("../corpus/jwks/two-keys")).expect("a good set");
    let keys = Keys {
        issuers: vec!["https://sts.corp.example/adfs".to_owned()],
        ..Keys::published(None, None, Some(&set))
    };
    Trust::new(&keys).expect("good keys")
});

/// Nobody can sign for these keys, so nothing is believed but what they signed; what is opaque has five
/// parts; and looking twice tells the same.
pub fn check(input: &[u8]) {
    let Ok(token) = std::str::from_utf8(input) else {
        return;
    };
    let look = |token: &str| {
        let expected = Expected {
            audiences: None,
            recipient: None,
            now: utc_datetime!(2026-11-21 12:00:00),
            skew: Duration::from_mins(1),
        };
        jwt::look(token, &TRUST, &expected)
    };
    let found = look(token);
    match &found {
        Token::Verified(claims) => {
            assert_eq!(
                token,
                include_str!("../corpus/jwt/good"),
                "a token was forged"
            );
            assert_eq!(claims.values["upn"], ["anna@corp.example"]);
        }
        Token::Opaque => assert_eq!(token.split('.').count(), 5),
        Token::Refused { why, said } => {
            assert!(!why.to_string().is_empty());
            if said.is_some() {
                assert_eq!(token.split('.').count(), 3);
            }
        }
    }
    assert_eq!(look(token), found);
}
