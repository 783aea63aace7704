//! What tokens say about users, and how a second factor is asked for and given.

mod support;

use serde_json::json;
use support::Lab;
use support::sign_in::{
    ALICE, SignIn, alice, authorize, checked, document, part, saml, skipped, verify, ws_federation,
};
use weir_lab_servers::idp::claims;
use weir_lab_servers::people::id_of;
use weir_lab_servers::plan::Product;
use weir_lab_servers::saml::verify::Accepted;

const MULTIPLE: &str = "http://schemas.microsoft.com/claims/multipleauthn";

async fn assertion(lab: &Lab, url: String, user: &str, second: bool) -> Accepted {
    let page = SignIn { url, user, second }.run(&mut lab.browser()).await;
    verify(&lab.plan, &document(&page), &[0])
        .await
        .unwrap_or_else(|refusal| panic!("{refusal}: {}", page.body))
}

fn values<'a>(accepted: &'a Accepted, kind: &str) -> Vec<&'a str> {
    accepted
        .claims
        .iter()
        .filter(|(found, _)| found == kind)
        .flat_map(|(_, values)| values)
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn an_assertion_says_who_with_what_and_from_where() {
    if skipped("an_assertion_says_who_with_what_and_from_where") {
        return;
    }
    let lab = Lab::of(Product::Adfs).await;
    let user = lab.plan.user(ALICE).expect("a user").clone();
    for url in [ws_federation(&lab, ""), saml(&lab, "", "", "")] {
        let accepted = assertion(&lab, url, ALICE, false).await;
        for (kind, wanted) in [
            (claims::DEPARTMENT, vec!["Engineering"]),
            (claims::ACCESS_LEVEL, vec!["high"]),
            (claims::GROUP, vec!["staff", "engineers"]),
            (
                claims::GROUP_IDS,
                vec![
                    &*id_of("staff").to_string(),
                    &*id_of("engineers").to_string(),
                ],
            ),
            (claims::ROLE, vec!["Steering.Admin"]),
            (claims::REGISTERED, vec!["true"]),
            (claims::MANAGED, vec!["true"]),
            (claims::COMPLIANT, vec!["true"]),
            (claims::TRUST, vec!["ServerAd"]),
            (claims::OBJECT, vec![&*user.object_id]),
            (claims::TENANT, vec![&*lab.plan.cloud.tenant]),
            (claims::INSIDE, vec!["true"]),
            (claims::GROUPS_LINK, vec![]),
            (
                claims::METHODS,
                vec!["urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"],
            ),
        ] {
            assert_eq!(values(&accepted, kind), wanted, "{kind}");
        }
    }
    let bytes = user.object_guid().expect("a GUID").to_bytes_le();
    assert_eq!(&bytes, b"00000000000alice");
}

#[tokio::test]
async fn a_json_token_says_the_same() {
    let lab = Lab::of(Product::Adfs).await;
    let user = lab.plan.user(ALICE).expect("a user");
    let url = authorize(&lab, "&response_type=id_token&response_mode=form_post");
    let (_, fields) = alice(&lab, url).await.form();
    let token = support::field(&fields, "id_token");
    let said = checked(&mut lab.browser(), &lab, token)
        .await
        .expect("signed");
    for (name, wanted) in [
        ("department", json!("Engineering")),
        ("access_level", json!("high")),
        ("group", json!(["staff", "engineers"])),
        ("groups", json!(user.group_ids())),
        ("roles", json!(["Steering.Admin"])),
        ("tid", json!(lab.plan.cloud.tenant)),
        ("oid", json!(user.object_id)),
        ("aud", json!("7d1f6f0a-public-client")),
        ("nonce", json!("n")),
        (claims::COMPLIANT, json!("true")),
        (claims::INSIDE, json!(true)),
    ] {
        assert_eq!(said[name], wanted, "{name}");
    }
}

#[tokio::test]
async fn too_many_groups_are_left_out_and_said_to_be() {
    if skipped("too_many_groups_are_left_out_and_said_to_be") {
        return;
    }
    let lab = Lab::of(Product::Adfs).await;
    let grace = "grace@nomex.corp.example";
    let accepted = assertion(&lab, ws_federation(&lab, ""), grace, false).await;
    assert!(values(&accepted, claims::GROUP).is_empty());
    assert!(values(&accepted, claims::GROUP_IDS).is_empty());
    let link = values(&accepted, claims::GROUPS_LINK);
    assert!(link[0].ends_with("/getMemberObjects"), "{link:?}");

    for (kind, mode) in [
        ("id_token", "form_post"),
        ("code+id_token+token", "form_post"),
    ] {
        let url = authorize(&lab, &format!("&response_type={kind}&response_mode={mode}"));
        let sign_in = SignIn {
            url,
            user: grace,
            second: false,
        };
        let page = sign_in.run(&mut lab.browser()).await;
        let (_, fields) = page.form();
        let id = part(support::field(&fields, "id_token"), 1);
        assert_eq!(
            (&id["hasgroups"], &id["groups"]),
            (&json!(true), &json!(null))
        );
        if kind != "id_token" {
            let access = part(support::field(&fields, "access_token"), 1);
            assert_eq!(access["_claim_names"], json!({ "groups": "src1" }));
            assert_eq!(access["groups"], json!(null));
            assert!(id["at_hash"].is_string() && id["c_hash"].is_string());
        }
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_by_every_protocol_and_said_in_the_token() {
    if skipped("a_second_factor_is_asked_for_by_every_protocol_and_said_in_the_token") {
        return;
    }
    for product in [
        Product::Adfs,
        Product::Okta,
        Product::PingFederate,
        Product::Shibboleth,
        Product::SimpleSamlPhp,
    ] {
        let lab = Lab::of(product).await;
        let class = format!(
            "<samlp:RequestedAuthnContext><AuthnContextClassRef \
             xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">{}</AuthnContextClassRef></samlp:RequestedAuthnContext>",
            product.shape().second_factor
        );
        let mut urls = vec![saml(&lab, "", &class, "")];
        if lab.plan.services[1].ws_federation().is_some() {
            urls.push(ws_federation(&lab, &format!("&wauth={MULTIPLE}")));
        }
        for url in urls {
            let accepted = assertion(&lab, url, ALICE, true).await;
            let methods = values(&accepted, claims::METHODS);
            assert_eq!(methods[1], MULTIPLE, "{product:?}");
            assert_eq!(values(&accepted, claims::SECOND_FACTOR_AT).len(), 1);
        }
    }
    let lab = Lab::of(Product::Adfs).await;
    for demand in [
        format!("&acr_values={MULTIPLE}"),
        "&claims=%7B%22id_token%22%3A%7B%22amr%22%3A%7B%22values%22%3A%5B%22mfa%22%5D%7D%7D%7D"
            .to_owned(),
    ] {
        let url = authorize(
            &lab,
            &format!("&response_type=id_token&response_mode=form_post{demand}"),
        );
        let sign_in = SignIn {
            url,
            user: ALICE,
            second: true,
        };
        let mut browser = lab.browser();
        let page = sign_in.run(&mut browser).await;
        let (_, fields) = page.form();
        let token = support::field(&fields, "id_token");
        let claims = checked(&mut browser, &lab, token).await.expect("signed");
        assert_eq!(claims["amr"], json!(["pwd", "mfa"]));
        assert_eq!(claims["acr"], MULTIPLE);
    }
}

#[tokio::test]
async fn a_session_with_a_password_is_asked_for_the_second_factor_only() {
    let lab = Lab::of(Product::Adfs).await;
    let mut browser = lab.browser();
    let plain = SignIn {
        url: ws_federation(&lab, ""),
        user: ALICE,
        second: false,
    };
    let page = plain.run(&mut browser).await;
    assert!(!document(&page).contains(MULTIPLE));
    let url = ws_federation(&lab, &format!("&wauth={MULTIPLE}"));
    let asked = browser.get(&url).await;
    assert!(asked.body.contains("VerificationCode") && !asked.body.contains("Password"));
    let wrong = [("VerificationCode".to_owned(), "000000x".to_owned())];
    let again = browser.post(&url, &wrong).await;
    assert!(again.body.contains("not right"), "{}", again.body);
    let second = SignIn {
        url,
        user: ALICE,
        second: true,
    };
    let page = second.run(&mut browser).await;
    assert!(document(&page).contains(&format!("AuthenticationMethod=\"{MULTIPLE}\"")));
}

#[tokio::test]
async fn who_has_no_second_factor_gets_no_token() {
    let lab = Lab::of(Product::Adfs).await;
    let sign_in = SignIn {
        url: ws_federation(&lab, &format!("&wauth={MULTIPLE}")),
        user: "dave@nomex-adfs.corp.example",
        second: false,
    };
    let mut browser = lab.browser();
    let url = sign_in.url.clone();
    let page = browser.get(&url).await;
    let (_, end) = browser
        .sign_in(&url, &page, sign_in.user, "Spaces in here 4")
        .await;
    assert!(
        end.body.contains("no additional authentication"),
        "{}",
        end.body
    );
}

#[tokio::test]
async fn demands_for_a_fresh_sign_in_are_kept_by_every_protocol() {
    let lab = Lab::of(Product::Okta).await;
    let mut browser = lab.browser();
    let plain = SignIn {
        url: ws_federation(&lab, ""),
        user: ALICE,
        second: false,
    };
    plain.run(&mut browser).await;
    let silent = browser.get(&plain.url).await;
    assert!(silent.body.contains("wresult"), "{}", silent.body);
    for url in [
        ws_federation(&lab, "&wfresh=0"),
        saml(&lab, "ForceAuthn=\"true\"", "", ""),
        authorize(&lab, "&response_type=code&prompt=login"),
    ] {
        let answer = browser.get(&url).await;
        let page = answer.header("location");
        assert!(page.contains("/login/login.htm?fromURI="), "{url}: {page}");
        let fresh = SignIn {
            url,
            user: ALICE,
            second: false,
        };
        fresh.run(&mut browser).await;
    }
}

#[tokio::test]
async fn windows_and_certificates_are_said_to_be_the_method() {
    use base64::Engine;
    let lab = Lab::of(Product::Adfs).await;
    let ticket =
        base64::engine::general_purpose::STANDARD.encode(format!("{ALICE}:Correct-Horse-1"));
    let mut browser = lab
        .browser()
        .with(
            "user-agent",
            "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Trident/7.0)",
        )
        .with("authorization", &format!("Negotiate {ticket}"));
    let windows = SignIn {
        url: ws_federation(&lab, ""),
        user: ALICE,
        second: false,
    };
    let page = windows.run(&mut browser).await;
    assert!(
        document(&page).contains("AuthenticationMethod=\"urn:federation:authentication:windows\"")
    );
    let page = lab
        .browser()
        .shows("client-alice")
        .get("https://certauth.sts.corp.example/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline")
        .await;
    assert!(document(&page).contains("AuthenticationMethod=\"urn:ietf:rfc:2246\""));
}
