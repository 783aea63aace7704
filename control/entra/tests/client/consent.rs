//! The way of an administrator's consent, and who cannot walk it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use url::Url;
use weir_entra::clock::Clock;
use weir_entra::cloud::Cloud;
use weir_entra::consent::{Asked, ConsentError, Consented, Consents};
use weir_entra::graph::ProofError;
use weir_entra::model::{Id, Part};

use crate::support::{CLIENT, Reply, Scripted, TENANT, Turned, token_path};

struct Desk {
    clock: Arc<Turned>,
    consents: Consents,
    callback: Url,
}

impl Desk {
    fn new() -> Self {
        let clock = Arc::<Turned>::default();
        Self {
            consents: Consents::new(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
            callback: Url::parse("https://weir.example/consent?x=1&y=2").expect("an address"),
        }
    }

    fn link(&self, session: &str) -> Result<Url, ConsentError> {
        let asked = Asked {
            cloud: &Cloud::global(),
            tenant: TENANT,
            client: CLIENT,
            callback: &self.callback,
        };
        self.consents.link(session, &asked)
    }

    /// The state of a new link.
    fn state(&self, session: &str) -> String {
        let link = self.link(session).expect("a link");
        let mut query = link.query_pairs().into_owned();
        query.find(|(name, _)| name == "state").expect("a state").1
    }
}

fn yes(state: &str, tenant: Id) -> String {
    format!("admin_consent=True&tenant={tenant}&state={state}&scope=x")
}

const FINE: Consented = Consented {
    names_another_tenant: false,
};

#[test]
fn the_link_leads_to_the_tenant_with_all_that_is_asked() {
    let desk = Desk::new();
    let link = desk.link("session").expect("a link");
    let place = format!("https://login.microsoftonline.com/{TENANT}/v2.0/adminconsent?");
    assert!(link.as_str().starts_with(&place), "{link}");
    let query: BTreeMap<_, _> = link.query_pairs().into_owned().collect();
    assert_eq!(query["client_id"], CLIENT.to_string());
    assert_eq!(query["scope"], "https://graph.microsoft.com/.default");
    assert_eq!(query["redirect_uri"], desk.callback.as_str());
    assert!(query["state"].len() >= 43);
}

#[test]
fn an_answer_is_good_once_for_the_session_that_asked() {
    let desk = Desk::new();
    let state = desk.state("one");
    let other = desk.state("two");
    let answer = yes(&state, TENANT);
    assert_eq!(
        desk.consents.callback("two", &answer),
        Err(ConsentError::Unknown)
    );
    assert_eq!(
        desk.consents.callback("nobody", &answer),
        Err(ConsentError::Unknown)
    );
    assert_eq!(
        desk.consents.callback("", &answer),
        Err(ConsentError::Unknown)
    );
    for wrong in ["", "x", &other, &state[1..], &state.to_lowercase()] {
        let refused = desk.consents.callback("one", &yes(wrong, TENANT));
        assert_eq!(refused, Err(ConsentError::Unknown), "{wrong}");
    }
    // None of that took it away.
    assert_eq!(desk.consents.callback("one", &answer), Ok(FINE));
    assert_eq!(
        desk.consents.callback("one", &answer),
        Err(ConsentError::Unknown)
    );
    assert_eq!(
        desk.consents.callback("two", &yes(&other, TENANT)),
        Ok(FINE)
    );
}

#[test]
fn a_link_ends_after_ten_minutes_or_with_the_next() {
    let desk = Desk::new();
    let first = desk.state("one");
    let second = desk.state("one");
    let refused = desk.consents.callback("one", &yes(&first, TENANT));
    assert_eq!(refused, Err(ConsentError::Unknown));
    desk.clock.turn(Duration::from_secs(599));
    assert_eq!(
        desk.consents.callback("one", &yes(&second, TENANT)),
        Ok(FINE)
    );
    let third = desk.state("one");
    desk.clock.turn(Duration::from_mins(10));
    let late = desk.consents.callback("one", &yes(&third, TENANT));
    assert_eq!(late, Err(ConsentError::Late));
}

#[test]
fn not_more_are_waited_for_than_there_are_operators() {
    let desk = Desk::new();
    for session in 0..64 {
        desk.link(&session.to_string()).expect("a link");
    }
    assert_eq!(desk.link("one more").map(drop), Err(ConsentError::TooMany));
    desk.link("0").expect("in place of its own");
    desk.clock.turn(Duration::from_mins(10));
    desk.link("one more").expect("the others have ended");
}

#[test]
fn the_tenant_in_the_answer_is_a_hint_at_most() {
    let desk = Desk::new();
    let state = desk.state("one");
    let forged = yes(&state, Id::from_u128(666));
    let named = desk.consents.callback("one", &forged).expect("an answer");
    assert!(named.names_another_tenant);
    assert!(
        !format!("{named:?}").contains("29a"),
        "the tenant goes no further"
    );
}

#[test]
fn what_is_not_a_yes_is_none() {
    let desk = Desk::new();
    let refusal = |query: &dyn Fn(&str) -> String| {
        let state = desk.state("one");
        desk.consents
            .callback("one", &query(&state))
            .expect_err("no yes")
    };
    let declined = refusal(&|state| {
        format!("error=access_denied&error_description=AADSTS65004%3a+Declined&state={state}")
    });
    let expected = ConsentError::Refused {
        error: "access_denied".to_owned(),
        code: Some(65004),
        words: "AADSTS65004: Declined".to_owned(),
    };
    assert_eq!(declined, expected);
    let malformed = |query: &dyn Fn(&str) -> String| {
        let error = refusal(query);
        assert!(matches!(error, ConsentError::Malformed(_)), "{error}");
    };
    malformed(&|state| format!("state={state}"));
    malformed(&|state| format!("admin_consent=False&state={state}"));
    malformed(&|state| format!("admin_consent=True&admin_consent=True&state={state}"));
    malformed(&|state| format!("admin_consent=True&state={state}&state={state}"));
    malformed(&|state| format!("admin_consent=True&state={state}&x={}", "x".repeat(9000)));
}

fn organisation(id: Id) -> Reply {
    Reply::json(&json!({ "value": [{ "id": id, "displayName": "Fabrik am See" }] }))
}

#[tokio::test]
async fn consent_is_proved_by_the_tenant_itself() {
    let it = Scripted::start(|_, _| organisation(TENANT)).await;
    let proof = it.graph.prove(&[Part::Users], true).await.expect("a proof");
    assert_eq!(
        proof.organisation.display_name.as_deref(),
        Some("Fabrik am See")
    );
    assert!(proof.missing.is_empty() && proof.too_much.is_empty());

    let it = Scripted::start(|_, _| organisation(Id::from_u128(666))).await;
    let refused = it.graph.prove(&[Part::Users], false).await;
    let expected = ProofError::OtherTenant {
        got: Id::from_u128(666),
    };
    assert_eq!(refused, Err(expected));
}

#[tokio::test]
async fn a_new_consent_is_given_time_to_spread() {
    // The token's permissions never come; so it is asked for two minutes, each time with a new token.
    let it = Scripted::start(|_, _| organisation(TENANT)).await;
    let proof = it
        .graph
        .prove(&[Part::ConditionalAccess], true)
        .await
        .expect("a proof");
    assert_eq!(proof.missing, [&["Policy.Read.All"][..]]);
    assert_eq!(it.server.asked_for(&token_path()).len(), 12);
    assert_eq!(it.clock.elapsed(), Duration::from_secs(110));

    let it = Scripted::start(|_, _| organisation(TENANT)).await;
    let proof = it
        .graph
        .prove(&[Part::ConditionalAccess], false)
        .await
        .expect("a proof");
    assert_eq!(proof.missing.len(), 1);
    assert!(it.clock.slept().is_empty());

    // Graph knows the application only after a while.
    let it = Scripted::start(|_, nth| match nth {
        1 | 2 => Reply::error(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges.",
        ),
        _ => organisation(TENANT),
    })
    .await;
    it.graph
        .prove(&[Part::Users], true)
        .await
        .expect("a proof, in the end");
    assert_eq!(it.clock.elapsed(), Duration::from_secs(20));
}
