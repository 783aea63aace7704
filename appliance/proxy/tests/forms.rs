//! Redirects at the token: where the form of the page goes.

mod common;
#[path = "../../claims/tests/support/mod.rs"]
mod issuer;
#[path = "tokens/stage.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod stage;

use common::client::Answer;
use common::{MANAGED, Stage, UNMANAGED};
use issuer::ADDRESS;
use stage::{PAGE, browse, group, rule, wresult};
use weir_policy::{RuleSpec, WhenSpec};

const LOGIN: &str = "https://login.microsoftonline.com";
const PROXIED: &str = "https://login.microsoftonline.com.casb.example:8443";

/// A service whose table of forms is this one.
async fn with_forms(rules: Vec<RuleSpec>, forms: &[(&str, &str)]) -> Stage {
    let mut stage = stage::stage(rules, |_| wresult(|text| text)).await;
    let forms = forms.iter();
    let forms = forms.map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
    let tokens = stage
        .control
        .plan
        .tokens
        .as_mut()
        .expect("they are looked at");
    tokens.forms = forms.collect();
    stage.control.publish(3).await.expect("a good generation");
    stage
}

fn sends_to(answer: &Answer, address: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let action = format!("action=\"{address}\"");
    assert!(answer.text().contains(&action), "{}", answer.text());
    assert!(!answer.text().contains(ADDRESS), "{}", answer.text());
}

#[tokio::test]
async fn a_redirect_without_a_target_of_its_own_goes_by_the_table() {
    let rules = vec![
        rule("finance", group("Finance"), "redirect"),
        rule("nobody", group("Nobody"), "pass"),
    ];
    let mut stage = with_forms(rules, &[(LOGIN, PROXIED)]).await;
    let answer = browse(&stage, MANAGED, PAGE).await;
    sends_to(&answer, &format!("{PROXIED}/login.srf"));
    let policy = answer.header("content-security-policy").expect("as before");
    assert!(policy.ends_with(&format!("{LOGIN} {PROXIED}")), "{policy}");
    let event = stage.event().await;
    assert_eq!(
        (&*event.decision, &*event.rule),
        ("redirect", "rule/finance")
    );
}

#[tokio::test]
async fn so_does_the_redirect_that_comes_with_weir() {
    let rules = vec![rule("nobody", group("Nobody"), "pass")];
    let mut stage = with_forms(rules, &[(LOGIN, PROXIED)]).await;
    let answer = browse(&stage, UNMANAGED, PAGE).await;
    sends_to(&answer, &format!("{PROXIED}/login.srf"));
    let event = stage.event().await;
    assert_eq!(&*event.rule, "office365-strict/browser-unmanaged");
}

#[tokio::test]
async fn a_target_of_the_rules_own_comes_first() {
    let mut own = rule("finance", group("Finance"), "redirect");
    own.then.target = Some("https://app.other.example{query}".to_owned());
    let stage = with_forms(vec![own], &[(LOGIN, PROXIED)]).await;
    let answer = browse(&stage, MANAGED, PAGE).await;
    sends_to(&answer, "https://app.other.example/login.srf");
}

#[tokio::test]
async fn a_form_that_the_table_does_not_name_is_blocked_with_what_to_add() {
    let mut own = rule("own", WhenSpec::default(), "redirect");
    own.then.target = Some("https://app.other.example{query}".to_owned());
    own.when.group = group("Finance").group;
    for (finance, forms) in [
        (rule("usual", group("Finance"), "redirect"), &[][..]),
        (
            rule("usual", group("Finance"), "redirect"),
            &[("https://app.other.example", PROXIED)],
        ),
        (own, &[]),
    ] {
        let mut stage = with_forms(vec![finance], forms).await;
        let answer = browse(&stage, MANAGED, PAGE).await;
        assert_eq!(answer.status, 403);
        let text = answer.text();
        assert!(
            !text.contains("wresult") && text.contains("forms = {"),
            "{text}"
        );
        let event = stage.event().await;
        assert_eq!(&*event.decision, "block");
        let reason = event.reason.expect("words");
        assert!(
            reason.contains("forms = { \"https://login.microsoftonline.com\" = \"https://"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_table_of_what_is_no_origin_is_refused() {
    let mut stage = with_forms(Vec::new(), &[]).await;
    for (from, to) in [(LOGIN, "http://casb.example"), ("login", PROXIED)] {
        let tokens = stage
            .control
            .plan
            .tokens
            .as_mut()
            .expect("they are looked at");
        tokens.forms = [(from.to_owned(), to.to_owned())].into();
        let why = stage.control.publish(4).await.expect_err("not an origin");
        assert!(why.contains("is no origin"), "{why}");
    }
}
