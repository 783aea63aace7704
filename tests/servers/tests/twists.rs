//! What a service does otherwise when it is told to: keys roll over, tokens are spoilt, answers travel another way.

mod support;

use serde_json::Value;
use support::sign_in::{
    ALICE, SignIn, alice, authorize, certificate, checked, document, part, saml, skipped, verify,
    ws_federation, xmlsec1,
};
use support::{Lab, field};
use weir_lab_servers::control::{Control, Keys, Twist};
use weir_lab_servers::idp::mint::{INTRUDER, SOMEBODY_ELSE};
use weir_lab_servers::plan::{Product, SIGNING_KEYS};
use weir_lab_servers::saml::verify::Refusal;

async fn id_token(lab: &Lab, more: &str) -> String {
    let more = format!("&response_type=id_token&response_mode=form_post{more}");
    let page = alice(lab, authorize(lab, &more)).await;
    let (_, fields) = page.form();
    field(&fields, "id_token").to_owned()
}

#[tokio::test]
async fn keys_roll_over_and_are_replaced_while_the_service_runs() {
    if skipped("keys_roll_over_and_are_replaced_while_the_service_runs") {
        return;
    }
    let lab = Lab::of(Product::Adfs).await;
    for (keys, signs, published) in [
        (Keys::First, 0, [0, 1]),
        (Keys::Rolled, 1, [0, 1]),
        (Keys::Replaced, 2, [2, 3]),
    ] {
        let control = Control {
            keys,
            ..Control::default()
        };
        lab.tell("adfs", &control);
        let page = alice(&lab, ws_federation(&lab, "")).await;
        for position in 0..SIGNING_KEYS {
            let verified = verify(&lab.plan, &document(&page), &[position]).await;
            assert_eq!(verified.is_ok(), position == signs, "{keys:?} {position}");
        }
        let metadata = lab
            .browser()
            .get("https://adfs.corp.example/FederationMetadata/2007-06/FederationMetadata.xml")
            .await;
        let jwks = lab
            .browser()
            .get("https://adfs.corp.example/adfs/discovery/keys")
            .await;
        let jwks: Value = serde_json::from_str(&jwks.body).expect("JSON");
        for position in 0..SIGNING_KEYS {
            let base64 = certificate(&lab.plan, position);
            let wanted = published.contains(&position);
            assert_eq!(
                metadata.body.contains(&base64),
                wanted,
                "{keys:?} {position}"
            );
            assert_eq!(
                jwks.to_string().contains(&base64),
                wanted,
                "{keys:?} {position}"
            );
        }
        let token = id_token(&lab, "").await;
        let kid = part(&token, 0)["kid"].clone();
        assert_eq!(kid, jwks["keys"][0]["kid"], "{keys:?}");
        assert!(checked(&mut lab.browser(), &lab, &token).await.is_some());
    }
}

#[tokio::test]
async fn assertions_are_spoilt_in_every_way_on_request() {
    if skipped("assertions_are_spoilt_in_every_way_on_request") {
        return;
    }
    for product in Product::ALL {
        let lab = Lab::of(product).await;
        let mut urls = vec![saml(&lab, "", "", "")];
        if lab.plan.services[1].ws_federation().is_some() {
            urls.push(ws_federation(&lab, ""));
        }
        for url in &urls {
            let good = alice(&lab, url.clone()).await;
            assert!(verify(&lab.plan, &document(&good), &[0]).await.is_ok());
            for twist in [
                "unsigned",
                "foreign",
                "expired",
                "audience",
                "wrapped",
                "doubled",
                "encrypted",
            ] {
                let page = alice(&lab, format!("{url}&lab_twist={twist}")).await;
                let document = document(&page);
                let refusal = verify(&lab.plan, &document, &[0])
                    .await
                    .expect_err("it is spoilt");
                let expected = match twist {
                    "unsigned" => matches!(refusal, Refusal::Form(_)),
                    "foreign" => matches!(refusal, Refusal::Signature(_)),
                    "expired" => matches!(refusal, Refusal::Time(_)),
                    "audience" => refusal == Refusal::Audience(SOMEBODY_ELSE.to_owned()),
                    "encrypted" => !document.contains(ALICE),
                    _ => refusal == Refusal::NotOne(2) && document.contains(INTRUDER),
                };
                assert!(expected, "{product:?} {twist}: {refusal}");
                if twist == "foreign" {
                    let foreign = verify(&lab.plan, &document, &[SIGNING_KEYS]).await;
                    assert!(foreign.is_ok(), "{foreign:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn json_tokens_are_spoilt_too() {
    let lab = Lab::of(Product::Adfs).await;
    let mut browser = lab.browser();
    assert!(
        checked(&mut browser, &lab, &id_token(&lab, "").await)
            .await
            .is_some()
    );
    for twist in [
        "unsigned",
        "foreign",
        "expired",
        "audience",
        "wrapped",
        "encrypted",
    ] {
        let token = id_token(&lab, &format!("&lab_twist={twist}")).await;
        match twist {
            "unsigned" => assert!(token.ends_with('.') && part(&token, 0)["alg"] == "none"),
            "encrypted" => assert_eq!(token.split('.').count(), 5),
            "audience" => {
                let claims = checked(&mut browser, &lab, &token).await.expect("signed");
                assert_eq!(claims["aud"], SOMEBODY_ELSE);
            }
            _ => {
                assert_eq!(checked(&mut browser, &lab, &token).await, None, "{twist}");
                let intruder = part(&token, 1)["upn"] == INTRUDER;
                assert_eq!(intruder, twist == "wrapped");
            }
        }
    }
}

#[tokio::test]
async fn a_response_can_be_signed_instead_of_its_assertion() {
    if skipped("a_response_can_be_signed_instead_of_its_assertion") {
        return;
    }
    let lab = Lab::of(Product::Adfs).await;
    let page = alice(&lab, saml(&lab, "", "", "&lab_twist=response-signed")).await;
    let signs = lab.plan.files().signing_certificate("adfs");
    let element = "urn:oasis:names:tc:SAML:2.0:protocol:Response";
    let document = document(&page);
    assert!(xmlsec1(&document, &signs, "ID", element), "{document}");
    assert_eq!(document.matches("<ds:Signature ").count(), 1);
}

#[tokio::test]
async fn answers_travel_another_way() {
    let lab = Lab::of(Product::Adfs).await;
    let artifact = alice(&lab, saml(&lab, "", "", "&lab_twist=artifact")).await;
    let place = artifact.header("location");
    assert!(
        place.starts_with("https://app.cloud.example/saml/acs?SAMLart="),
        "{place}"
    );
    assert!(place.ends_with("&RelayState=r%26s"), "{place}");

    let code = |twist: &str| authorize(&lab, &format!("&response_type=code&lab_twist={twist}"));
    let query = alice(&lab, code("query")).await;
    assert!(
        query
            .header("location")
            .starts_with("http://localhost/?code=")
    );
    let fragment = alice(&lab, code("fragment")).await;
    assert!(
        fragment
            .header("location")
            .starts_with("http://localhost/#code=")
    );
    let (action, fields) = alice(&lab, code("form-post")).await.form();
    assert_eq!(action, "http://localhost");
    assert!(!field(&fields, "code").is_empty());

    // Tokens never travel in a query by themselves.
    let tokens = alice(&lab, authorize(&lab, "&response_type=code%20id_token")).await;
    assert!(
        tokens.header("location").contains("/#code="),
        "{}",
        tokens.header("location")
    );
}

#[tokio::test]
async fn one_user_is_treated_otherwise_and_nobody_else() {
    let lab = Lab::of(Product::Adfs).await;
    let control = Control {
        users: [(ALICE.to_uppercase(), vec![Twist::Unsigned, Twist::NoDevice])].into(),
        ..Control::default()
    };
    lab.tell("adfs", &control);
    let spoilt = document(&alice(&lab, ws_federation(&lab, "")).await);
    assert!(!spoilt.contains("<ds:Signature") && !spoilt.contains("devicecontext"));
    let bob = SignIn {
        url: ws_federation(&lab, ""),
        user: "bob@nomex.corp.example",
        second: false,
    };
    let good = document(&bob.run(&mut lab.browser()).await);
    assert!(good.contains("<ds:Signature") && good.contains("devicecontext"));
}

#[tokio::test]
async fn what_is_not_understood_is_not_taken_for_as_usual() {
    let lab = Lab::of(Product::Adfs).await;
    let url = ws_federation(&lab, "&lab_twist=unsinged");
    let answer = lab.browser().get(&url).await;
    assert_eq!(answer.status, http::StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.body.contains("unsinged"), "{}", answer.body);
    let path = lab.plan.files().control("adfs");
    lab.tell("adfs", &Control::default());
    std::fs::write(path, "{\"keys\": \"lost\"}").expect("written");
    let answer = lab.browser().get(&ws_federation(&lab, "")).await;
    assert_eq!(answer.status, http::StatusCode::INTERNAL_SERVER_ERROR);
}
