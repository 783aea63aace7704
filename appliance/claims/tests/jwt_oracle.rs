//! Another library (PyJWT) believes what is signed here, signs what is believed here, and refuses what is
//! refused here, but for the differences that are stated.

mod signing;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use signing::{AUDIENCE, FOREIGN, ISSUER, P256, P384, RSA, SKEW, Signer, sign, trust, with};
use time::UtcDateTime;
use weir_claims::{Claims, Expected, Token, Trust, jwt};

/// Asks the library; nothing where its environment is not set up.
fn ask(tokens: &[String]) -> Option<Value> {
    let python = PathBuf::from(std::env::var_os("WEIR_VENV")?).join("bin/python");
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`cargo xtask setup` makes the environment");
    let asked = json!({
        "jwks": {"keys": [RSA.jwk(), P256.jwk(), P384.jwk()]},
        "issuer": ISSUER, "audience": AUDIENCE, "tokens": tokens,
    });
    let mut input = child.stdin.take().expect("it is piped");
    input
        .write_all(asked.to_string().as_bytes())
        .expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn skipped(test: &str) {
    eprintln!("skipped: {test}: needs the Python environment (WEIR_VENV) of `cargo xtask setup`");
}

fn believed(token: &str, trust: &Trust) -> Option<Claims> {
    let audiences = [AUDIENCE.to_owned()];
    let expected = Expected {
        audiences: Some(&audiences),
        recipient: None,
        now: UtcDateTime::now(),
        skew: Duration::from_secs(SKEW.unsigned_abs()),
    };
    match jwt::look(token, trust, &expected) {
        Token::Verified(claims) => Some(claims),
        _ => None,
    }
}

/// A good payload, by the clock of this machine, as the library has no other.
fn payload() -> Value {
    let now = UtcDateTime::now().unix_timestamp();
    with(
        signing::payload(),
        &json!({"iat": now, "nbf": now, "exp": now + 600}),
    )
}

fn changed(signer: &Signer, header: &Value, members: &Value) -> String {
    let header = with(signer.header(), header).to_string();
    signer.sign(&header, &with(payload(), members).to_string())
}

#[test]
fn what_one_signs_the_other_believes() {
    let pss =
        [json!({"alg": "PS256", "kid": "rsa"}), payload()].map(|part| URL.encode(part.to_string()));
    let ours = [
        RSA.token(&payload()),
        RSA.sign_parts(&pss[0], &pss[1], Algorithm::PS256),
        P256.token(&payload()),
        P384.token(&payload()),
    ];
    let Some(answer) = ask(&ours) else {
        return skipped("what_one_signs_the_other_believes");
    };
    assert_eq!(answer["believed"], json!([true, true, true, true]));
    let keys: Vec<Value> = serde_json::from_value(answer["jwks"]["keys"].clone()).expect("keys");
    let theirs: Vec<String> = serde_json::from_value(answer["tokens"].clone()).expect("tokens");
    let trust = trust(&keys);
    let said = theirs
        .iter()
        .map(|token| believed(token, &trust).expect("it is believed"));
    let said: Vec<Claims> = said.collect();
    let subjects: Vec<_> = said
        .iter()
        .filter_map(|claims| claims.subject.as_deref())
        .collect();
    assert_eq!(subjects, ["RS256", "PS256", "ES256", "ES384"]);
    for claims in said {
        assert_eq!(claims.audiences, [AUDIENCE, "urn:other"]);
        assert_eq!(claims.values["groups"], ["Finance", "Grün \u{1f511}"]);
    }
}

#[test]
fn what_is_refused_here_is_refused_there() {
    let (both, alone) = (refused_by_both(), refused_here_alone());
    let keys = trust(&[RSA.jwk(), P256.jwk(), P384.jwk()]);
    let all: Vec<_> = both.into_iter().chain(alone.clone()).collect();
    for (name, token) in &all {
        assert_eq!(believed(token, &keys), None, "{name}");
    }
    let tokens: Vec<String> = all.iter().map(|(_, token)| token.clone()).collect();
    let Some(answer) = ask(&tokens) else {
        return skipped("what_is_refused_here_is_refused_there");
    };
    let answers = answer["believed"].as_array().expect("a list");
    assert_eq!(answers.len(), all.len());
    for ((name, token), believed) in all.iter().zip(answers) {
        assert_eq!(*believed, alone.contains(&(*name, token.clone())), "{name}");
    }
}

/// Tokens that the library refuses too.
fn refused_by_both() -> Vec<(&'static str, String)> {
    let none = json!({});
    let now = UtcDateTime::now().unix_timestamp();
    let good = RSA.token(&payload());
    let (parts, signature) = good.rsplit_once('.').expect("three parts");
    let encoded = |alg: &str| {
        [json!({"alg": alg, "kid": "rsa"}), payload()].map(|part| URL.encode(part.to_string()))
    };
    let (unsigned, confused) = (encoded("none"), encoded("HS256"));
    let pem = EncodingKey::from_secret(RSA.pair.public_key_pem().as_bytes());
    let header = |signer: &Signer, members: Value| changed(signer, &members, &none);
    let says = |members: Value| changed(&RSA, &none, &members);
    vec![
        ("not signed", format!("{}.{}.", unsigned[0], unsigned[1])),
        (
            "public key as a secret",
            sign(&confused[0], &confused[1], &pem, Algorithm::HS256),
        ),
        ("foreign key", FOREIGN.token(&payload())),
        (
            "foreign key that comes along",
            header(&FOREIGN, json!({"jwk": FOREIGN.jwk()})),
        ),
        (
            "key of another curve",
            header(&P256, json!({"kid": "p384"})),
        ),
        ("RSA for a curve", header(&RSA, json!({"kid": "p256"}))),
        ("unknown name", header(&RSA, json!({"kid": "../rsa"}))),
        ("name of another type", header(&RSA, json!({"kid": 7}))),
        ("crit", header(&RSA, json!({"crit": ["x"], "x": 1}))),
        ("b64", header(&RSA, json!({"b64": false}))),
        ("no audience", says(json!({"aud": null}))),
        ("other audience", says(json!({"aud": "urn:other"}))),
        ("audience is a number", says(json!({"aud": 7}))),
        ("no issuer", says(json!({"iss": null}))),
        ("other issuer", says(json!({"iss": "https://x"}))),
        ("issuer is a list", says(json!({"iss": [ISSUER]}))),
        ("no end", says(json!({"exp": null}))),
        ("over", says(json!({"exp": now - 70}))),
        ("not yet", says(json!({"nbf": now + 300}))),
        ("issued in the future", says(json!({"iat": now + 300}))),
        ("end is a list", says(json!({"exp": [now + 60]}))),
        ("signature cut", format!("{parts}.{}", &signature[..300])),
        ("two parts", parts.to_owned()),
    ]
}

/// Tokens that the library believes, and why they are refused here.
fn refused_here_alone() -> Vec<(&'static str, String)> {
    let none = json!({});
    let end = (UtcDateTime::now().unix_timestamp() + 60).to_string();
    let header = RSA.header().to_string();
    let twice = payload()
        .to_string()
        .replacen('{', r#"{"upn":"admin@corp.example","#, 1);
    let deep = format!("{{\"a\":{}{},", "[".repeat(50), "]".repeat(50));
    let deep = payload().to_string().replacen('{', &deep, 1);
    vec![
        // It takes a number in a text for a number; RFC 7519 2 does not.
        ("end is a text", changed(&RSA, &none, &json!({"exp": end}))),
        // Its decoder takes padding, which RFC 7515 2 leaves out.
        ("padding", format!("{}==", RSA.token(&payload()))),
        // Its reader of JSON takes the last of two; here no reading is the right one.
        ("member twice", RSA.sign(&header, &twice)),
        // It has no bound.
        ("deep", RSA.sign(&header, &deep)),
        // It knows no `zip` and no types of tokens, and leaves both to who calls it.
        ("zip", changed(&RSA, &json!({"zip": "DEF"}), &none)),
        (
            "sign-out token",
            changed(&RSA, &json!({"typ": "logout+jwt"}), &none),
        ),
        (
            "for Microsoft Graph",
            changed(&RSA, &json!({"nonce": "x"}), &none),
        ),
    ]
}
