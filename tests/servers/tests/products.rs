//! Every product's sign-ins, by every protocol that it speaks, end in tokens that verify.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use support::sign_in::{
    ALICE, SignIn, alice, authn_request, authorize, certificate, checked, document, saml, skipped,
    verify, ws_federation, xmlsec1,
};
use support::{Lab, field};
use weir_lab_servers::control::Control;
use weir_lab_servers::idp::claims::{IMMUTABLE_ID, UPN};
use weir_lab_servers::idp::product::Endpoint;
use weir_lab_servers::plan::Product;

const ALL: [Product; 5] = Product::ALL;

#[tokio::test]
async fn by_ws_federation() {
    if skipped("by_ws_federation") {
        return;
    }
    for product in ALL {
        let lab = Lab::of(product).await;
        if lab.plan.services[1].ws_federation().is_none() {
            assert_eq!(product, Product::Shibboleth);
            continue;
        }
        let page = alice(&lab, ws_federation(&lab, "")).await;
        let (action, fields) = page.form();
        assert_eq!(action, "https://app.cloud.example/login.srf");
        assert_eq!(field(&fields, "wctx"), "c&d", "{product:?}");
        let accepted = verify(&lab.plan, &document(&page), &[0])
            .await
            .unwrap_or_else(|refusal| panic!("{product:?}: {refusal}"));
        let user = lab.plan.user(ALICE).expect("a user");
        assert_eq!(accepted.claim(UPN), Some(ALICE));
        assert_eq!(accepted.claim(IMMUTABLE_ID), Some(&*user.immutable_id));
    }
}

#[tokio::test]
async fn by_saml_redirected_and_posted() {
    if skipped("by_saml_redirected_and_posted") {
        return;
    }
    for product in ALL {
        let lab = Lab::of(product).await;
        let page = alice(&lab, saml(&lab, "", "", "")).await;
        let (action, fields) = page.form();
        assert_eq!(action, "https://app.cloud.example/saml/acs");
        assert_eq!(field(&fields, "RelayState"), "r&s", "{product:?}");
        let response = document(&page);
        let accepted = verify(&lab.plan, &response, &[0])
            .await
            .unwrap_or_else(|refusal| panic!("{product:?}: {refusal}"));
        assert_eq!(accepted.in_response_to.as_deref(), Some("_q"));
        let upn = [UPN, "upn", "urn:oid:1.3.6.1.4.1.5923.1.1.1.6"]
            .into_iter()
            .find_map(|kind| accepted.claim(kind));
        assert_eq!(upn, Some(ALICE), "{product:?}");
        // A response with a signature of its own has two.
        let signatures = response.matches("<ds:Signature ").count();
        assert_eq!(
            signatures == 2,
            product.shape().signs_response,
            "{product:?}"
        );

        let mut browser = lab.browser();
        let place = lab.plan.services[1].saml(true).expect("SAML");
        let message = STANDARD.encode(authn_request(&place, "", ""));
        let posted = [("SAMLRequest", message.as_str()), ("RelayState", "t")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let first = browser.post(&place, &posted).await;
        let (mut url, mut page) = (place.clone(), first);
        if page.status.is_redirection() {
            url = page.header("location").to_owned();
            page = browser.get(&url).await;
        }
        let (action, mut fields) = page.form();
        for (name, value) in &mut fields {
            if name == product.shape().user {
                ALICE.clone_into(value);
            } else if name == product.shape().password {
                "Correct-Horse-1".clone_into(value);
            }
        }
        let action = url::Url::parse(&url)
            .expect("a URL")
            .join(&action)
            .expect("a URL");
        let mut end = browser.post(action.as_str(), &fields).await;
        if end.status.is_redirection() {
            end = browser.get(end.header("location")).await;
        }
        let accepted = verify(&lab.plan, &document(&end), &[0]).await;
        assert!(accepted.is_ok(), "{product:?}: {accepted:?}");
    }
}

#[tokio::test]
async fn by_json_in_okta() {
    if skipped("by_json_in_okta") {
        return;
    }
    let lab = Lab::of(Product::Okta).await;
    let service = &lab.plan.services[1];
    let user = lab.plan.user(ALICE).expect("a user");
    let begin = ws_federation(&lab, "");
    let mut browser = lab.browser();
    let page = browser.get(&begin).await;
    assert!(
        page.header("location")
            .contains("/login/login.htm?fromURI=")
    );
    let place = service.endpoint(Endpoint::Authn).expect("Okta has it");
    let mut answers = Vec::new();
    for password in ["wrong", &*user.password] {
        let typed = serde_json::json!({ "username": ALICE, "password": password });
        let typed = Bytes::from(typed.to_string());
        let answer = browser
            .send(Method::POST, &place, "application/json", typed)
            .await;
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        answers.push((answer.status, body));
    }
    let [(refused, why), (accepted, given)] = &answers[..] else {
        panic!("two answers")
    };
    assert_eq!(
        (refused.as_u16(), &why["errorCode"]),
        (401, &"E0000004".into())
    );
    assert_eq!(
        (accepted.as_u16(), &given["status"]),
        (200, &"SUCCESS".into())
    );
    let mut change = url::Url::parse(&service.endpoint(Endpoint::SessionCookie).expect("as well"))
        .expect("a URL");
    let token = given["sessionToken"].as_str().expect("a token");
    change
        .query_pairs_mut()
        .append_pair("token", token)
        .append_pair("redirectUrl", &begin);
    let changed = browser.get(change.as_str()).await;
    assert_eq!(changed.header("location"), begin);
    let end = browser.get(&begin).await;
    let read = verify(&lab.plan, &document(&end), &[0]).await;
    assert_eq!(read.expect("a good token").claim(UPN), Some(ALICE));

    // Once, and only to go on here.
    let mut thief = lab.browser();
    assert_eq!(thief.get(change.as_str()).await.header("location"), "");
    let elsewhere = format!("{place}?token={token}&redirectUrl=https://evil.example/");
    assert_eq!(thief.get(&elsewhere).await.header("location"), "");
}

#[tokio::test]
async fn by_openid_connect() {
    for product in ALL {
        let lab = Lab::of(product).await;
        let service = &lab.plan.services[1];
        let Some(discovery) = service.endpoint(Endpoint::Discovery) else {
            assert_eq!(product, Product::SimpleSamlPhp);
            continue;
        };
        let mut browser = lab.browser();
        let known: Value = serde_json::from_str(&browser.get(&discovery).await.body).expect("JSON");
        assert_eq!(known["issuer"], service.connect_issuer());
        let answer = alice(&lab, authorize(&lab, "&response_type=code")).await;
        let target = url::Url::parse(answer.header("location")).expect("a URL");
        let code = target.query_pairs().find(|(name, _)| name == "code");
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "7d1f6f0a-public-client"),
            ("code", &code.expect("a code").1),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let place = known["token_endpoint"].as_str().expect("a URL");
        let tokens = browser.post(place, &fields).await;
        let tokens: Value = serde_json::from_str(&tokens.body).expect("JSON");
        for token in ["access_token", "id_token"] {
            let token = tokens[token].as_str().expect("a token");
            let claims = checked(&mut browser, &lab, token).await;
            let claims = claims.unwrap_or_else(|| panic!("{product:?}"));
            assert_eq!(
                (&claims["upn"], &claims["amr"][0]),
                (&ALICE.into(), &"pwd".into())
            );
        }
    }
}

#[tokio::test]
async fn metadata_verify_and_name_the_keys() {
    if skipped("metadata_verify_and_name_the_keys") {
        return;
    }
    for product in ALL {
        let lab = Lab::of(product).await;
        let service = &lab.plan.services[1];
        let place = service.endpoint(Endpoint::Metadata).expect("metadata");
        let metadata = lab.browser().get(&place).await.body;
        assert!(
            metadata.contains(&format!("entityID=\"{}\"", service.issuer())),
            "{metadata}"
        );
        for position in 0..4 {
            let named = metadata.contains(&certificate(&lab.plan, position));
            assert_eq!(named, position < 2, "{product:?} {position}");
        }
        let signs = lab.plan.files().signing_certificate(&service.name);
        let element = "urn:oasis:names:tc:SAML:2.0:metadata:EntityDescriptor";
        assert!(xmlsec1(&metadata, &signs, "ID", element), "{product:?}");
    }
}

#[tokio::test]
async fn rich_clients_of_shibboleth_use_http_basic() {
    if skipped("rich_clients_of_shibboleth_use_http_basic") {
        return;
    }
    let lab = Lab::of(Product::Shibboleth).await;
    let place = lab.plan.services[1].endpoint(Endpoint::Ecp).expect("ECP");
    let body = format!(
        "<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\"><S:Body>{}</S:Body></S:Envelope>",
        authn_request(&place, "", "")
    );
    for (password, status) in [
        ("Correct-Horse-1", StatusCode::OK),
        ("wrong", StatusCode::UNAUTHORIZED),
    ] {
        let basic = format!("Basic {}", STANDARD.encode(format!("{ALICE}:{password}")));
        let mut browser = lab.browser().with("authorization", &basic);
        let body = Bytes::from(body.clone());
        let answer = browser.send(Method::POST, &place, "text/xml", body).await;
        assert_eq!(answer.status, status);
        if status == StatusCode::OK {
            let accepted = verify(&lab.plan, &answer.body, &[0])
                .await
                .expect("accepted");
            assert_eq!(
                accepted.recipient.as_deref(),
                Some("https://app.cloud.example/saml/acs")
            );
        }
    }
}

#[tokio::test]
async fn rich_clients_of_the_others_use_ws_trust() {
    if skipped("rich_clients_of_the_others_use_ws_trust") {
        return;
    }
    for product in [Product::Okta, Product::PingFederate, Product::SimpleSamlPhp] {
        let lab = Lab::of(product).await;
        let service = &lab.plan.services[1];
        let place = [Endpoint::Active, Endpoint::Active2005]
            .into_iter()
            .find_map(|endpoint| service.endpoint(endpoint))
            .expect("WS-Trust");
        let trust = "http://schemas.xmlsoap.org/ws/2005/02/trust";
        let body = format!(
            "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'><s:Header><Security><UsernameToken>\
             <Username>{ALICE}</Username><Password>Correct-Horse-1</Password></UsernameToken></Security></s:Header>\
             <s:Body><t:RequestSecurityToken xmlns:t='{trust}'><AppliesTo><EndpointReference><Address>\
             urn:federation:MicrosoftOnline</Address></EndpointReference></AppliesTo><t:RequestType>{trust}/Issue\
             </t:RequestType></t:RequestSecurityToken></s:Body></s:Envelope>"
        );
        let kind = "application/soap+xml; charset=utf-8";
        let answer = lab
            .browser()
            .send(Method::POST, &place, kind, Bytes::from(body))
            .await;
        let accepted = verify(&lab.plan, &answer.body, &[0]).await;
        assert_eq!(
            accepted.map(|accepted| accepted.claim(UPN).map(str::to_owned)),
            Ok(Some(ALICE.to_owned())),
            "{product:?}"
        );
        let mex = service.endpoint(Endpoint::ProxyMex).expect("metadata");
        let mex = lab.browser().get(&mex).await;
        assert!(
            mex.body.contains(&place) && !mex.body.contains("/adfs/services"),
            "{product:?}"
        );
    }
}

#[tokio::test]
async fn a_service_becomes_another_product_while_it_runs_and_the_application_believes_it() {
    let test = "a_service_becomes_another_product_while_it_runs_and_the_application_believes_it";
    let Some(mut lab) = Lab::whole(test).await else {
        return;
    };
    for product in ALL {
        let control = Control {
            product: Some(product),
            ..Control::default()
        };
        lab.tell("adfs", &control);
        lab.plan.services[1].product = product;
        for start in ["adfs", "saml/adfs"] {
            let mut browser = lab.browser();
            let start = format!("https://app.cloud.example/{start}");
            let url = browser.get(&start).await.header("location").to_owned();
            let sign_in = SignIn {
                url,
                user: ALICE,
                second: false,
            };
            let (action, fields) = sign_in.run(&mut browser).await.form();
            let end = browser.post(&action, &fields).await;
            assert_eq!(
                end.status,
                StatusCode::SEE_OTHER,
                "{product:?}: {}",
                end.body
            );
            let home = browser.get("https://app.cloud.example/home").await;
            assert!(home.body.contains(ALICE), "{}", home.body);
            assert!(
                home.body.contains(&lab.plan.services[1].issuer()),
                "{}",
                home.body
            );
        }
    }
    let wap = Control {
        product: Some(Product::Okta),
        ..Control::default()
    };
    lab.tell("sts", &wap);
    let answer = lab.browser().get("https://sts.corp.example/").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}
