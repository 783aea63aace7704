//! Tokens that are refused, each signed for it, by the key of the issuer unless it says otherwise.

mod signing;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as URL};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};
use signing::{
    AUDIENCE, FOREIGN, NOW, P256, P384, RSA, Signer, look, look_with, payload, sign, trust, why,
    why_with, with,
};
use weir_claims::{Refused, Token};

#[test]
fn a_token_that_is_not_signed() {
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = with(RSA.header(), &json!({ "alg": alg }));
        let header = URL.encode(header.to_string());
        let text = URL.encode(payload().to_string());
        assert_eq!(why(&format!("{header}.{text}.")), Refused::Unsigned);
        let signed = RSA.sign_parts(&header, &text, Algorithm::RS256);
        assert_eq!(why(&signed), Refused::Unsigned);
    }
    let token = RSA.token(&payload());
    let (parts, _) = token.rsplit_once('.').expect("three parts");
    assert_eq!(why(&format!("{parts}.")), Refused::Unsigned);
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let jwk = RSA.jwk();
    let n = jwk["n"].as_str().expect("a modulus");
    let secrets = [
        RSA.pair.public_key_pem().into_bytes(),
        RSA.pair.public_key_pem().trim().as_bytes().to_vec(),
        RSA.pair.subject_public_key_info(),
        RSA.pair.public_key_raw().to_vec(),
        RSA.certificate(2020, 2040).der().to_vec(),
        URL.decode(n).expect("base64url"),
        n.as_bytes().to_vec(),
        jwk.to_string().into_bytes(),
        Vec::new(),
    ];
    for secret in secrets {
        for (name, algorithm) in [
            ("HS256", Algorithm::HS256),
            ("HS384", Algorithm::HS384),
            ("HS512", Algorithm::HS512),
        ] {
            let header = with(RSA.header(), &json!({ "alg": name })).to_string();
            let parts = [header, payload().to_string()].map(|part| URL.encode(part));
            let key = EncodingKey::from_secret(&secret);
            assert_eq!(
                why(&sign(&parts[0], &parts[1], &key, algorithm)),
                Refused::Algorithm
            );
        }
    }
}

#[test]
fn an_algorithm_that_does_not_fit_the_key() {
    let signed = |signer: &Signer, algorithm: Algorithm, kid: &str| {
        let header = json!({"alg": format!("{algorithm:?}"), "kid": kid}).to_string();
        let parts = [header, payload().to_string()].map(|part| URL.encode(part));
        signer.sign_parts(&parts[0], &parts[1], algorithm)
    };
    for (signer, algorithm, kid) in [
        (&*RSA, Algorithm::RS256, "p256"),
        (&*RSA, Algorithm::PS256, "p384"),
        (&*P256, Algorithm::ES256, "rsa"),
        (&*P256, Algorithm::ES256, "p384"),
        (&*P384, Algorithm::ES384, "p256"),
        (&*RSA, Algorithm::RS384, "rsa"),
        (&*RSA, Algorithm::RS512, "rsa"),
        (&*RSA, Algorithm::PS512, "rsa"),
    ] {
        let token = signed(signer, algorithm, kid);
        assert_eq!(why(&token), Refused::Algorithm, "{algorithm:?} for {kid}");
    }
    // The signature is good, and the issuer says that it signs with the other one.
    for (says, signs) in [("RS256", Algorithm::PS256), ("PS256", Algorithm::RS256)] {
        let keys = trust(&[with(RSA.jwk(), &json!({ "alg": says }))]);
        assert_eq!(
            why_with(&signed(&RSA, signs, "rsa"), &keys),
            Refused::Algorithm
        );
        let nameless = RSA.sign(
            &json!({"alg": format!("{signs:?}")}).to_string(),
            &payload().to_string(),
        );
        assert_eq!(why_with(&nameless, &keys), Refused::UnknownKey);
    }
    // One signs and the header tells the other, with the same key.
    let parts = [
        r#"{"alg":"PS256","kid":"rsa"}"#.to_owned(),
        payload().to_string(),
    ];
    let parts = parts.map(|part| URL.encode(part));
    let mixed = RSA.sign_parts(&parts[0], &parts[1], Algorithm::RS256);
    assert_eq!(why(&mixed), Refused::BadSignature);
    for alg in ["rs256", "RS256 ", "ES512", "EdDSA", "ES256K", "", "RSA"] {
        assert_eq!(
            why(&RSA.with_header(&json!({ "alg": alg }))),
            Refused::Algorithm,
            "{alg}"
        );
    }
    for alg in [
        json!(null),
        json!(256),
        json!(["RS256"]),
        json!({"RS256": 1}),
        json!(true),
    ] {
        assert_eq!(
            why(&RSA.with_header(&json!({ "alg": alg }))),
            Refused::WrongType,
            "{alg}"
        );
    }
}

#[test]
fn a_name_that_is_no_key_s() {
    for kid in [
        "",
        "RSA",
        "rsa ",
        " rsa",
        "rsa\0",
        "rsa\n",
        "rsa/../rsa",
        "../../../../dev/null",
        "/dev/null",
        "https://attacker.example/jwks#rsa",
        "rsa' OR '1'='1",
        "rsa%00",
        "*",
        "0",
        "undefined",
    ] {
        assert_eq!(
            why(&RSA.with_header(&json!({ "kid": kid }))),
            Refused::UnknownKey,
            "{kid:?}"
        );
    }
    for kid in [json!(0), json!(["rsa"]), json!({"kid": "rsa"}), json!(true)] {
        assert_eq!(
            why(&RSA.with_header(&json!({ "kid": kid }))),
            Refused::WrongType,
            "{kid}"
        );
    }
    let null = format!(r#"{{"alg":"RS256","kid":{}}}"#, Value::Null);
    assert_eq!(
        why(&RSA.sign(&null, &payload().to_string())),
        Refused::WrongType
    );
    // Another key of the issuer, and somebody's that has the right name.
    assert_eq!(why(&FOREIGN.token(&payload())), Refused::BadSignature);
    let two = trust(&[RSA.jwk(), with(FOREIGN.jwk(), &json!({"kid": "other"}))]);
    assert_eq!(
        why_with(&RSA.with_header(&json!({"kid": "other"})), &two),
        Refused::BadSignature
    );
    assert_eq!(
        why_with(&RSA.with_header(&json!({"kid": null})), &two),
        Refused::UnnamedKey
    );
}

#[test]
fn keys_that_a_token_brings_are_not_looked_at() {
    let certificate = BASE64_STANDARD.encode(FOREIGN.certificate(2020, 2040).der());
    for brought in [
        json!({"jwk": FOREIGN.jwk()}),
        json!({"x5c": [certificate]}),
        json!({"jku": "https://attacker.example/jwks"}),
        json!({"x5u": "https://attacker.example/certificate"}),
        json!({"x5t": "AAAA", "x5t#S256": "AAAA"}),
    ] {
        let foreign = FOREIGN.with_header(&brought);
        assert_eq!(why(&foreign), Refused::BadSignature, "{brought}");
        let renamed = FOREIGN.with_header(&with(brought.clone(), &json!({"kid": "attacker"})));
        assert_eq!(why(&renamed), Refused::UnknownKey, "{brought}");
        assert!(
            matches!(look(&RSA.with_header(&brought)), Token::Verified(_)),
            "{brought}"
        );
    }
}

#[test]
fn members_that_are_missing_or_of_another_type() {
    let now = NOW.unix_timestamp();
    for (member, why_not, refused) in [
        ("aud", json!(null), Refused::Incomplete),
        ("iss", json!(null), Refused::Incomplete),
        ("exp", json!(null), Refused::NoExpiry),
        ("aud", json!(7), Refused::WrongType),
        ("aud", json!({"0": AUDIENCE}), Refused::WrongType),
        ("aud", json!([]), Refused::WrongType),
        ("aud", json!([AUDIENCE, 7]), Refused::WrongType),
        ("aud", json!([[AUDIENCE]]), Refused::WrongType),
        ("aud", json!(true), Refused::WrongType),
        ("iss", json!([signing::ISSUER]), Refused::WrongType),
        ("iss", json!({}), Refused::WrongType),
        ("iss", json!(""), Refused::WrongType),
        ("exp", json!((now + 60).to_string()), Refused::WrongType),
        ("exp", json!([now + 60]), Refused::WrongType),
        ("exp", json!(true), Refused::WrongType),
        ("exp", json!(1e300), Refused::Moment),
        ("exp", json!(u64::MAX), Refused::Moment),
        ("exp", json!(i64::MIN), Refused::Moment),
        ("nbf", json!("0"), Refused::WrongType),
        ("iat", json!({}), Refused::WrongType),
        ("sub", json!(7), Refused::WrongType),
        ("_claim_names", json!("groups"), Refused::WrongType),
    ] {
        let token = RSA.with_payload(&json!({ member: why_not.clone() }));
        assert_eq!(why(&token), refused, "{member}: {why_not}");
    }
    for issuer in [
        "https://sts.corp.example/adfs/",
        "https://STS.corp.example/adfs",
        "https://x",
    ] {
        let token = RSA.with_payload(&json!({ "iss": issuer }));
        assert_eq!(why(&token), Refused::WrongIssuer);
    }
    // Null is a value, and not the one that belongs there.
    let text = payload().to_string().replace(r#""anna""#, "null");
    assert_eq!(
        why(&RSA.sign(&RSA.header().to_string(), &text)),
        Refused::WrongType
    );
}

#[test]
fn another_time() {
    let now = NOW.unix_timestamp();
    for (members, refused) in [
        (json!({"exp": now - 61}), Refused::Expired),
        (json!({"exp": 0}), Refused::Expired),
        (json!({"exp": -1}), Refused::Expired),
        (json!({"nbf": now + 61}), Refused::NotYetValid),
        (json!({"iat": now + 61}), Refused::NotYetValid),
    ] {
        assert_eq!(why(&RSA.with_payload(&members)), refused, "{members}");
    }
}

#[test]
fn extensions_and_other_kinds_of_tokens() {
    for (header, refused) in [
        (json!({"crit": ["exp"]}), Refused::Extension),
        (json!({"crit": []}), Refused::Extension),
        (json!({"crit": ["b64"], "b64": false}), Refused::Extension),
        (json!({"b64": false}), Refused::Extension),
        (json!({"b64": true}), Refused::Extension),
        (json!({"zip": "DEF"}), Refused::Extension),
        (json!({"typ": "logout+jwt"}), Refused::OtherKind),
        (json!({"typ": "application/logout+jwt"}), Refused::OtherKind),
        (json!({"typ": "dpop+jwt"}), Refused::OtherKind),
        (json!({"typ": "JOSE+JSON"}), Refused::OtherKind),
        (json!({"typ": 1}), Refused::WrongType),
        (json!({"nonce": "AQABAAAAAAD"}), Refused::ForGraph),
    ] {
        assert_eq!(why(&RSA.with_header(&header)), refused, "{header}");
    }
    let sign_out = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    assert_eq!(why(&RSA.with_payload(&sign_out)), Refused::OtherKind);
}

#[test]
fn members_that_stand_there_twice() {
    let header = RSA.header().to_string();
    let text = payload().to_string();
    for again in [
        r#""alg":"RS256""#,
        r#""kid":"rsa""#,
        r#""\u006bid":"rsa""#,
        r#""x":{"y":1,"y":1}"#,
    ] {
        let twice = header.replacen('{', &format!("{{{again},"), 1);
        assert_eq!(why(&RSA.sign(&twice, &text)), Refused::Repeated, "{again}");
    }
    for again in [
        r#""aud":"urn:corp:app""#,
        r#""upn":"admin@corp.example""#,
        r#""\u0075pn":"admin@corp.example""#,
        r#""address":{"city":"Bern","city":"Bern"}"#,
        r#""list":[{"a":1,"a":2}]"#,
    ] {
        let twice = text.replacen('{', &format!("{{{again},"), 1);
        assert_eq!(
            why(&RSA.sign(&header, &twice)),
            Refused::Repeated,
            "{again}"
        );
    }
}

#[test]
fn base64_in_any_other_than_the_one_way() {
    // A length that leaves bits over in the last letter.
    let leaves_bits = |text: String| {
        if text.len().is_multiple_of(3) {
            text + " "
        } else {
            text
        }
    };
    let header = URL.encode(leaves_bits(RSA.header().to_string()));
    let text = URL.encode(leaves_bits(payload().to_string()));
    let good = RSA.sign_parts(&header, &text, Algorithm::RS256);
    assert!(matches!(look(&good), Token::Verified(_)));
    let odd = |part: &str| {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (most, last) = part.split_at(part.len() - 1);
        let at = letters.find(last).expect("a letter of base64url");
        vec![
            format!("{part}="),
            format!("{part}=="),
            format!("{part} "),
            format!(" {part}"),
            format!("{part}\n"),
            format!("{}\r\n{}", &part[..4], &part[4..]),
            format!("{most}{}", &letters[at + 1..at + 2]),
            format!("{part}%3D"),
            format!("{}+{}", &part[..4], &part[5..]),
            format!("{}/{}", &part[..4], &part[5..]),
        ]
    };
    let signature = good.rsplit('.').next().expect("three parts");
    let signed = |header: &str, text: &str| RSA.sign_parts(header, text, Algorithm::RS256);
    for odd_header in odd(&header) {
        assert_eq!(
            why(&signed(&odd_header, &text)),
            Refused::Malformed,
            "{odd_header:?}"
        );
    }
    for odd_text in odd(&text) {
        assert_eq!(
            why(&signed(&header, &odd_text)),
            Refused::Malformed,
            "{odd_text:?}"
        );
    }
    for odd_signature in odd(signature) {
        let token = format!("{header}.{text}.{odd_signature}");
        assert_eq!(why(&token), Refused::Malformed, "{odd_signature:?}");
    }
}

#[test]
fn what_is_no_token() {
    let token = RSA.token(&payload());
    let parts: Vec<&str> = token.split('.').collect();
    let encrypted = URL.encode(r#"{"alg":"dir"}"#);
    for odd in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
        ".".repeat(60_000),
        parts[..2].join("."),
        format!("{token}."),
        format!("{token}.{}", parts[2]),
        format!(
            "{}.{}.{}.{}.{}",
            parts[0], parts[1], parts[2], parts[1], parts[2]
        ),
        format!("{encrypted}.a.b.c.d"),
        json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]}).to_string(),
        format!("Bearer {token}"),
    ] {
        let shown: String = odd.chars().take(40).collect();
        assert_eq!(why(&odd), Refused::Malformed, "{shown}");
    }
    let header = RSA.header().to_string();
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{}x",
        "{'a':1}",
        "\u{feff}{}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":1e999}",
        "{\"a\":NaN}",
    ] {
        assert_eq!(why(&RSA.sign(&header, text)), Refused::Malformed, "{text}");
        assert_eq!(why(&RSA.sign(text, "{}")), Refused::Malformed, "{text}");
    }
    let latin = RSA.sign_parts(
        &URL.encode(&header),
        &URL.encode(b"{\"a\":\"\xe9\"}"),
        Algorithm::RS256,
    );
    assert_eq!(why(&latin), Refused::Malformed);
}

#[test]
fn more_than_any_service_issues() {
    let long = RSA.with_payload(&json!({"groups": vec!["x".repeat(100); 600]}));
    assert!(long.len() > 64 * 1024);
    assert_eq!(why(&long), Refused::TooLarge);
    assert_eq!(why(&"a".repeat(64 * 1024 + 1)), Refused::TooLarge);
    let most = RSA.with_payload(&json!({"groups": vec!["x".repeat(100); 460]}));
    assert!(most.len() > 60 * 1024 && matches!(look(&most), Token::Verified(_)));
    let many = RSA.with_payload(&json!({"groups": vec![0; 4096]}));
    assert_eq!(why(&many), Refused::TooManyElements);
    let most = RSA.with_payload(&json!({"groups": vec![0; 4000]}));
    assert!(matches!(look(&most), Token::Verified(_)));
    for depth in [17, 100, 20_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let deep = format!("{{\"a\":{open}{close},{}", &payload().to_string()[1..]);
        let header = RSA.header().to_string();
        assert_eq!(why(&RSA.sign(&header, &deep)), Refused::TooDeep);
        let deep = format!("{{\"a\":{open}{close},{}", &header[1..]);
        assert_eq!(
            why(&RSA.sign(&deep, &payload().to_string())),
            Refused::TooDeep
        );
    }
}

#[test]
fn keys_that_must_not_sign_do_not() {
    // Made once, by a key of 1024 bits that is thrown away.
    let weak: Value = serde_json::from_str(include_str!("documents/weak.json")).expect("JSON");
    let keys = trust(&[RSA.jwk(), weak["jwk"].clone()]);
    let token = weak["token"].as_str().expect("a token");
    assert_eq!(why_with(token, &keys), Refused::UnknownKey);
    let secret = json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": URL.encode("secret")});
    let keys = trust(&[RSA.jwk(), secret]);
    let parts = [json!({"alg": "HS256", "kid": "shared"}), payload()];
    let parts = parts.map(|part| URL.encode(part.to_string()));
    let token = sign(
        &parts[0],
        &parts[1],
        &EncodingKey::from_secret(b"secret"),
        Algorithm::HS256,
    );
    assert_eq!(why_with(&token, &keys), Refused::Algorithm);
    for other in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"d": "AQAB"}),
    ] {
        let keys = trust(&[P256.jwk(), with(RSA.jwk(), &other)]);
        assert_eq!(why_with(&RSA.token(&payload()), &keys), Refused::UnknownKey);
        assert!(matches!(
            look_with(&P256.token(&payload()), &keys),
            Token::Verified(_)
        ));
    }
}
