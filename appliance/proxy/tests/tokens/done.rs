//! What is done about a token: its form is sent elsewhere, more is asked for, a grant is earned.

use weir_abi::Class;
use weir_claims::Form;
use weir_link::FromProxy;
use weir_policy::{RuleSpec, WhenSpec};

use crate::common::{MANAGED, Stage, UNMANAGED};
use crate::issuer::{ADDRESS, SERVICE};
use crate::stage::{PAGE, browse, group, page, rule, stage, token, with_ids, wresult};

#[tokio::test]
async fn a_redirect_at_the_token_sends_the_form_to_the_reverse_proxy() {
    let rules = vec![rule("staff", group("Finance"), "redirect")];
    let mut stage = stage(rules, |_| wresult(|text| text)).await;
    let answer = browse(&stage, MANAGED, PAGE).await;
    let page = answer.text();
    assert_eq!(answer.status, 200);
    let action = "action=\"https://sts-corp-example.proxy.example/login.srf\"";
    assert!(page.contains(action) && !page.contains(ADDRESS), "{page}");
    assert!(page.contains("wctx"), "what else is in the form stays");
    let policy = answer.header("content-security-policy").expect("as before");
    assert!(
        policy.contains("https://sts-corp-example.proxy.example"),
        "{policy}"
    );
    let length = answer
        .header("content-length")
        .expect("one of the page as it is now");
    assert_eq!(length, page.len().to_string());
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("redirect", "rule/staff"));
}

const WAUTH: &str = "&wauth=http%3A%2F%2Fschemas%2Emicrosoft%2Ecom%2Fclaims%2Fmultipleauthn";

/// A sign-in server that asks for a second factor when it is told to, unless it forgets.
async fn that_asks(rules: Vec<RuleSpec>) -> Stage {
    stage(rules, |seen| {
        let asked = seen.target.ends_with(WAUTH) && !seen.target.contains("forgets");
        wresult(move |text| {
            if asked {
                let mfa = "http://schemas.microsoft.com/claims/multipleauthn";
                text.replace("urn:oasis:names:tc:SAML:1.0:am:password", mfa)
            } else {
                text
            }
        })
    })
    .await
}

#[tokio::test]
async fn a_step_up_asks_for_a_second_factor_and_believes_the_token_alone() {
    let everybody = rule("all", WhenSpec::default(), "step-up");
    let mut stage = that_asks(vec![everybody]).await;
    assert_eq!(browse(&stage, MANAGED, PAGE).await.status, 200);
    let seen = stage.upstream.only();
    assert_eq!(seen.target, format!("{PAGE}{WAUTH}"));
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("pass", "rule/all"));

    let forgets = format!("{PAGE}&wctx=forgets&wauth=urn:weaker");
    let answer = browse(&stage, MANAGED, &forgets).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("multi-factor"), "{}", answer.text());
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("block", "rule/all"));
    let seen = stage.upstream.seen();
    assert!(seen.iter().all(|seen| !seen.target.contains("weaker")));
}

#[tokio::test]
async fn who_is_found_to_need_a_second_factor_by_the_token_is_asked_for_it() {
    let mut stage = that_asks(vec![rule("finance", group("Finance"), "step-up")]).await;
    let first = browse(&stage, MANAGED, PAGE).await;
    assert_eq!(first.status, 303);
    assert!(!first.text().contains("wresult"));
    let event = stage.event().await;
    assert_eq!(
        (&*event.decision, &*event.rule),
        ("step-up", "rule/finance")
    );
    let again = first.header("location").expect("where to").to_owned();
    assert_eq!(again, format!("{PAGE}{WAUTH}"));
    assert_eq!(browse(&stage, MANAGED, &again).await.status, 200);
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("pass", "rule/finance"));

    // Once, and not again and again.
    let forgets = format!("{PAGE}&wctx=forgets");
    let first = browse(&stage, MANAGED, &forgets).await;
    stage.event().await;
    let again = first.header("location").expect("where to").to_owned();
    assert_eq!(browse(&stage, MANAGED, &again).await.status, 403);
    let event = stage.event().await;
    assert_eq!((&*event.decision, &*event.rule), ("block", "rule/finance"));
}

#[tokio::test]
async fn a_verified_sign_in_is_told_to_the_books_and_earns_its_grant_once() {
    let mut granting = rule("grant", group("Finance"), "pass");
    granting.then.grant = Some(weir_policy::GrantSpec {
        class: "managed".to_owned(),
        lasts: "30m".to_owned(),
        kernel: true,
    });
    // The same token each time.
    let token = token(Form::Saml11, &SERVICE, with_ids);
    let mut stage = stage(vec![granting], move |_| page("wresult", &token)).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        assert_eq!(browse(&stage, UNMANAGED, PAGE).await.status, 200);
        let event = stage.event().await;
        let FromProxy::SignIn(sign_in) = stage.control.told().await else {
            panic!("a sign-in")
        };
        assert_eq!(sign_in.id, event.id);
        told.push(*sign_in);
    }
    let [first, second] = &told[..] else { panic!() };
    assert_eq!([first.number, second.number], [1, 2]);
    assert_eq!(
        first.principal.to_string(),
        "00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-00000000000a"
    );
    let grant = first.grant.as_ref().expect("what the rule grants");
    assert_eq!(
        (&*grant.rule, grant.class, grant.seconds),
        ("rule/grant", Class::Managed, 1800)
    );
    assert_eq!(second.grant, None, "the token was seen before");
}
