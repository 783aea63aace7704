//! Tokens that are believed, and what they say.

mod signing;

use jsonwebtoken::Algorithm;
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};
use serde_json::{Value, json};
use signing::{AUDIENCE, ISSUER, NOW, P256, P384, RSA, SKEW, TRUST, look, payload, with};
use time::macros::utc_datetime;
use weir_claims::{Claims, Expected, Form, Refused, Token, jwt};

fn believed(token: &str) -> Claims {
    match look(token) {
        Token::Verified(claims) => claims,
        other => panic!("not believed: {other:?}"),
    }
}

#[test]
fn says_what_an_id_token_of_ad_fs_says() {
    let claims = believed(&RSA.with_payload(&json!({
        "auth_time": NOW.unix_timestamp() - 2,
        "acr": "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/windows",
        "amr": ["pwd", "mfa"],
        "groups": ["Finance", "Staff"],
        "roles": "Approver",
        "mfa_auth_time": 1_795_262_398_u64,
        "inside": true,
        "sid": "S-1-5-21-1-2-3-1104",
        "nothing": null,
        "address": {"city": "Bern"},
        "mixed": ["a", 1, {"b": 2}, ["c"], false],
        "none": [],
    })));
    assert_eq!(claims.form, Form::Jwt);
    assert_eq!(claims.issuer, ISSUER);
    assert_eq!(claims.id, "id-1");
    assert_eq!(claims.audiences, [AUDIENCE]);
    assert_eq!(claims.subject.as_deref(), Some("anna"));
    assert_eq!(claims.issued, Some(NOW));
    assert_eq!(claims.not_before, Some(NOW));
    assert_eq!(claims.not_after, utc_datetime!(2026-11-21 13:00:00));
    assert_eq!(
        claims.authenticated,
        Some(utc_datetime!(2026-11-21 11:59:58))
    );
    let windows = "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/windows";
    assert_eq!(claims.methods, [windows, "pwd", "mfa"]);
    let values: Vec<(&str, Vec<&str>)> = claims
        .values
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        values,
        [
            ("groups", vec!["Finance", "Staff"]),
            ("inside", vec!["true"]),
            ("mfa_auth_time", vec!["1795262398"]),
            ("mixed", vec!["a", "1", "false"]),
            ("none", vec![]),
            ("roles", vec!["Approver"]),
            ("sid", vec!["S-1-5-21-1-2-3-1104"]),
            ("upn", vec!["anna@corp.example"]),
        ]
    );
    // Of a list that holds more than texts, nobody can say what else is in it.
    assert_eq!(claims.missing, ["mixed".to_owned()].into());
}

#[test]
fn says_what_an_access_token_of_ad_fs_says() {
    let mfa = "http://schemas.microsoft.com/claims/multipleauthn";
    let claims = believed(&RSA.with_payload(&json!({
        "auth_time": "2026-11-21T11:59:30.654Z",
        "authmethod": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        "http://schemas.microsoft.com/claims/authnmethodsreferences": [mfa],
    })));
    assert_eq!(
        claims.authenticated,
        Some(utc_datetime!(2026-11-21 11:59:30.654))
    );
    let password = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
    assert_eq!(claims.methods, [password, mfa]);
}

#[test]
fn every_kind_of_key_signs() {
    for signer in [&*RSA, &*P256, &*P384] {
        believed(&signer.token(&payload()));
    }
    let (header, payload) = (r#"{"alg":"PS256","kid":"rsa"}"#, payload().to_string());
    let parts = [header, &payload].map(base64_url);
    believed(&RSA.sign_parts(&parts[0], &parts[1], Algorithm::PS256));
}

fn base64_url(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn types_of_sign_in_tokens_are_read_whatever_their_case() {
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "application/at+JWT",
        "application/jwt",
    ] {
        believed(&RSA.with_header(&json!({ "typ": typ })));
    }
    believed(&RSA.with_header(&json!({ "typ": null })));
}

#[test]
fn a_token_is_known_again_by_its_id() {
    let same = P256.with_payload(&json!({"jti": null, "uti": "u-1"}));
    assert_eq!(believed(&same).id, "u-1");
    let nameless = json!({"jti": null});
    let (one, other) = (P256.with_payload(&nameless), P256.with_payload(&nameless));
    let ids = [&one, &other, &one].map(|token| believed(token).id);
    assert_eq!(ids[0], ids[2]);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0].len(), 43);
}

#[test]
fn claims_that_were_left_out_are_missing_and_not_none() {
    let claims = believed(&RSA.with_payload(&json!({
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/x/getMemberObjects"}},
        "groups": ["only-a-part"],
    })));
    assert!(claims.missing.iter().eq(["groups"]));
    assert!(claims.values.keys().eq(["upn"]));
    for has in [json!(true), json!("true")] {
        let claims = believed(&RSA.with_payload(&json!({ "hasgroups": has })));
        assert!(claims.missing.iter().eq(["groups"]));
    }
    let claims = believed(&RSA.with_payload(&json!({"hasgroups": false, "groups": ["a"]})));
    assert!(claims.missing.is_empty());
    assert_eq!(claims.values["groups"], ["a"]);
}

#[test]
fn audiences_are_one_text_or_several() {
    let several = RSA.with_payload(&json!({"aud": ["urn:other", AUDIENCE]}));
    assert_eq!(believed(&several).audiences, ["urn:other", AUDIENCE]);
    let other = RSA.with_payload(&json!({"aud": "urn:other"}));
    let Token::Refused {
        why: Refused::WrongAudience,
        said: Some(said),
    } = look(&other)
    else {
        panic!("another audience is refused, and what it says is shown");
    };
    assert_eq!(said.audiences, ["urn:other"]);
    let unknown = Expected {
        audiences: None,
        recipient: Some("https://app.corp.example/"),
        now: NOW,
        skew: std::time::Duration::ZERO,
    };
    assert!(matches!(
        jwt::look(&other, &TRUST, &unknown),
        Token::Verified(_)
    ));
}

#[test]
fn a_key_needs_no_name_when_no_other_fits() {
    let nameless = json!({"kid": null});
    believed(&RSA.with_header(&nameless));
    believed(&P256.with_header(&nameless));
    let alone = signing::trust(&[with(RSA.jwk(), &nameless)]);
    let token = RSA.with_header(&nameless);
    assert!(matches!(
        signing::look_with(&token, &alone),
        Token::Verified(_)
    ));
}

#[test]
fn encrypted_tokens_are_opaque() {
    let header = base64_url(r#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":"app"}"#);
    for rest in ["a2V5.aXY.dGV4dA.dGFn", ".aXY.dGV4dA.dGFn"] {
        assert_eq!(look(&format!("{header}.{rest}")), Token::Opaque);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_token_holds_from_its_begin_to_its_end(
        issued in -200_i64..200, begin in -200_i64..200, end in -200_i64..200, fraction in 0_u8..10,
    ) {
        let now = NOW.unix_timestamp();
        let token = P256.with_payload(&json!({
            "iat": now + issued,
            "nbf": now + begin,
            "exp": f64::from(i32::try_from(now + end).expect("before 2038")) + f64::from(fraction) / 10.0,
        }));
        let why = match look(&token) {
            Token::Verified(_) => None,
            Token::Refused { why, .. } => Some(why),
            Token::Opaque => panic!("it is not encrypted"),
        };
        let model = if issued > SKEW || begin > SKEW {
            Some(Refused::NotYetValid)
        } else if end <= -SKEW {
            Some(Refused::Expired)
        } else {
            None
        };
        prop_assert_eq!(why, model);
    }

    #[test]
    fn whatever_is_changed_in_a_token_it_is_not_believed(at in 0_usize..1000, to in 0_u8..128) {
        let mut token = P256.token(&payload()).into_bytes();
        let at = at % token.len();
        if token[at] != to {
            token[at] = to;
            let token = String::from_utf8(token).expect("ASCII");
            let believed = matches!(look(&token), Token::Verified(_));
            prop_assert_eq!(believed, false, "{}", token);
        }
    }

    #[test]
    fn values_are_read_as_they_stand_there(text in "\\PC{0,40}", number in proptest::num::i64::ANY) {
        let claims = believed(&P256.with_payload(&json!({"text": text.clone(), "number": number})));
        prop_assert_eq!(&claims.values["text"], &[text]);
        prop_assert_eq!(&claims.values["number"], &[number.to_string()]);
    }
}

#[test]
fn a_bad_signature_says_what_the_token_says_all_the_same() {
    let Token::Refused { why, said } = look(&signing::FOREIGN.token(&payload())) else {
        panic!("a foreign key is refused");
    };
    assert_eq!(why, Refused::BadSignature);
    let said = said.expect("it can be read");
    assert_eq!(said.values["upn"], ["anna@corp.example"]);
    assert!(matches!(
        look(&P256.token(&Value::Array(vec![]))),
        Token::Refused { said: None, .. }
    ));
}
