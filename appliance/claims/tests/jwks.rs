//! Published keys of JWTs, and the document that says where they are.

mod signing;

use serde_json::{Value, json};
use signing::{FOREIGN, P256, P384, RSA, published, with};
use weir_claims::jwks::{Discovery, JwksError, discovery, read};
use weir_claims::{Fingerprint, KeyError, Keys, Trust};

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn left_out(key: Value) -> KeyError {
    let found = read(set(&[P256.jwk(), key]).as_bytes()).expect("one is good");
    assert_eq!(found.keys, published(&[P256.jwk()]).jwks);
    match &found.left_out[..] {
        [(1, why)] => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_set_of_ad_fs_is_read() {
    let extra = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "Ab-1", "x5t": "Ab-1", "x5c": ["MIIC"]});
    let found = read(set(&[with(RSA.jwk(), &extra), P384.jwk()]).as_bytes()).expect("a good set");
    assert_eq!(found.left_out, []);
    let names: Vec<_> = found.keys.iter().map(|key| key.kid()).collect();
    assert_eq!(names, [Some("Ab-1"), Some("p384")]);
    let published = serde_json::to_value(&found.keys[0]).expect("JSON");
    let n = RSA.jwk()["n"].clone();
    assert_eq!(
        published,
        json!({"kty": "RSA", "kid": "Ab-1", "alg": "RS256", "n": n, "e": "AQAB"})
    );
}

#[test]
fn a_thumbprint_is_that_of_rfc_7638() {
    let key = json!({"kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
    let found = read(set(&[key]).as_bytes()).expect("a good set");
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    assert_eq!(
        thumbprint.parse::<Fingerprint>(),
        Ok(found.keys[0].fingerprint())
    );
    let hex = found.keys[0].fingerprint().to_string();
    assert_eq!(hex.parse::<Fingerprint>(), Ok(found.keys[0].fingerprint()));
    let pairs: Vec<&str> = hex
        .as_bytes()
        .chunks(2)
        .filter_map(|two| std::str::from_utf8(two).ok())
        .collect();
    assert_eq!(
        pairs.join(":").to_uppercase().parse::<Fingerprint>(),
        Ok(found.keys[0].fingerprint())
    );
    for odd in [
        "",
        "ab",
        &hex[1..],
        &hex.replace(&hex[..1], "g"),
        &format!("{hex}00"),
    ] {
        assert_eq!(
            odd.parse::<Fingerprint>(),
            Err(KeyError::Unreadable),
            "{odd}"
        );
    }
}

#[test]
fn keys_that_cannot_be_used_are_left_out_and_said() {
    let weak: Value = serde_json::from_str(include_str!("documents/weak.json")).expect("JSON");
    assert_eq!(left_out(weak["jwk"].clone()), KeyError::Weak(1024));
    for (members, refused) in [
        (json!({"kty": "oct", "k": "c2VjcmV0"}), KeyError::Symmetric),
        (json!({"k": "c2VjcmV0"}), KeyError::Symmetric),
        (json!({"d": "AQAB"}), KeyError::Private),
        (json!({"p": "AQAB"}), KeyError::Private),
        (json!({"use": "enc"}), KeyError::Purpose),
        (json!({"key_ops": ["encrypt"]}), KeyError::Purpose),
        (json!({"key_ops": "verify"}), KeyError::Purpose),
        (json!({"alg": "HS256"}), KeyError::Algorithm),
        (json!({"alg": "RS512"}), KeyError::Algorithm),
        (json!({"alg": "ES256"}), KeyError::Algorithm),
        (json!({"alg": "none"}), KeyError::Algorithm),
        (json!({"kty": "OKP", "crv": "Ed25519"}), KeyError::Kind),
        (json!({"kty": null}), KeyError::Kind),
        (json!({"kty": "rsa"}), KeyError::Kind),
        (json!({"kid": 7}), KeyError::Unreadable),
        (json!({"kid": ""}), KeyError::Unreadable),
        (json!({"kid": "x".repeat(513)}), KeyError::Unreadable),
        (json!({"n": null}), KeyError::Unreadable),
        (json!({"n": "A+/="}), KeyError::Unreadable),
        (json!({"e": "AQ"}), KeyError::Odd),
        (json!({"e": "AA"}), KeyError::Odd),
        (json!({"e": "AQAA"}), KeyError::Odd),
        (json!({"e": "AQAAAAAB"}), KeyError::Odd),
        (
            json!({"n": format!("{}A", "_".repeat(10_923))}),
            KeyError::TooStrong(65_544),
        ),
    ] {
        assert_eq!(left_out(with(RSA.jwk(), &members)), refused, "{members}");
    }
    let x = P384.jwk()["x"].clone();
    for (members, refused) in [
        // Not on the curve, of another curve, at infinity.
        (json!({"y": P384.jwk()["x"]}), KeyError::Unreadable),
        (json!({"crv": "P-256", "x": x}), KeyError::Unreadable),
        (json!({"x": "", "y": ""}), KeyError::Unreadable),
        (json!({"crv": "P-521"}), KeyError::Kind),
        (json!({"crv": "secp256k1"}), KeyError::Kind),
    ] {
        assert_eq!(left_out(with(P384.jwk(), &members)), refused, "{members}");
    }
    assert_eq!(left_out(json!("key")), KeyError::Unreadable);
}

#[test]
fn leading_zeros_make_no_other_key() {
    use base64::Engine as _;
    let url = base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let n = url
        .decode(RSA.jwk()["n"].as_str().expect("text"))
        .expect("base64url");
    let padded = url.encode([&[0, 0], &n[..]].concat());
    assert_eq!(
        published(&[with(RSA.jwk(), &json!({"n": padded}))]),
        published(&[RSA.jwk()])
    );
}

#[test]
fn one_name_is_one_key() {
    let same = set(&[RSA.jwk(), P256.jwk(), FOREIGN.jwk()]);
    assert_eq!(read(same.as_bytes()), Err(JwksError::SameName(0, 2)));
    let twice = read(set(&[RSA.jwk(), RSA.jwk()]).as_bytes()).expect("one key, published twice");
    assert_eq!(twice.keys.len(), 1);
    let encrypts = with(FOREIGN.jwk(), &json!({"use": "enc"}));
    assert!(read(set(&[RSA.jwk(), encrypts]).as_bytes()).is_ok());
    let both = Keys {
        jwks: [
            published(&[RSA.jwk()]).jwks,
            published(&[FOREIGN.jwk()]).jwks,
        ]
        .concat(),
        ..published(&[RSA.jwk()])
    };
    assert_eq!(Trust::new(&both).err(), Some(KeyError::SameName));
}

#[test]
fn what_is_no_set_of_keys_is_refused() {
    for (document, refused) in [
        ("", JwksError::NotJson),
        ("<html/>", JwksError::NotJson),
        ("[]", JwksError::NotJson),
        ("{}", JwksError::Member("keys")),
        ("{\"keys\":{}}", JwksError::Member("keys")),
        ("{\"keys\":[]}", JwksError::Empty("it is empty".to_owned())),
        ("{\"keys\":[],\"keys\":[]}", JwksError::Twice),
        (
            "{\"keys\":[{\"kid\":\"a\",\"kid\":\"b\"}]}",
            JwksError::Twice,
        ),
    ] {
        assert_eq!(read(document.as_bytes()), Err(refused), "{document}");
    }
    let many = format!("{{\"keys\":[{}0]}}", "0,".repeat(5000));
    assert_eq!(read(many.as_bytes()), Err(JwksError::Many));
    let deep = format!("{{\"keys\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(read(deep.as_bytes()), Err(JwksError::Deep));
    assert_eq!(
        read(set(&vec![json!({}); 65]).as_bytes()),
        Err(JwksError::TooMany)
    );
    assert_eq!(
        read(" ".repeat(300_000).as_bytes()),
        Err(JwksError::TooLong)
    );
    let secret = set(&[json!({"kty": "oct", "k": "c2VjcmV0"})]);
    let words = read(secret.as_bytes())
        .expect_err("no key is left")
        .to_string();
    assert!(
        words.contains("symmetric") && !words.contains("c2VjcmV0"),
        "{words}"
    );
}

#[test]
fn discovery_names_the_issuer_and_where_its_keys_are() {
    let document = |members: Value| {
        let all = json!({
            "issuer": "https://sts.corp.example/adfs",
            "jwks_uri": "https://sts.corp.example/adfs/discovery/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        discovery(with(all, &members).to_string().as_bytes())
    };
    let jwks_uri = "https://sts.corp.example/adfs/discovery/keys".to_owned();
    let issuer = "https://sts.corp.example/adfs".to_owned();
    let access = "http://sts.corp.example/adfs/services/trust".to_owned();
    let found = Discovery {
        issuers: vec![issuer.clone(), access.clone()],
        jwks_uri,
    };
    assert_eq!(document(json!({"access_token_issuer": access})), Ok(found));
    assert_eq!(
        document(json!({})).map(|found| found.issuers),
        Ok(vec![issuer])
    );
    for (members, refused) in [
        (json!({"issuer": null}), JwksError::Member("issuer")),
        (json!({"issuer": ["x"]}), JwksError::Member("issuer")),
        (json!({"issuer": ""}), JwksError::Member("issuer")),
        (
            json!({"access_token_issuer": 1}),
            JwksError::Member("access_token_issuer"),
        ),
        (json!({"jwks_uri": null}), JwksError::Member("jwks_uri")),
        (
            json!({"jwks_uri": "file:///etc/passwd"}),
            JwksError::Member("jwks_uri"),
        ),
        (
            json!({"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"}),
            JwksError::Placeholder,
        ),
    ] {
        assert_eq!(document(members.clone()), Err(refused), "{members}");
    }
}
