//! Decisions by what the tenant says of people: handed to the proxies, explained, recorded, and tried again.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod tenant;

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tenant::Tenant;
use uuid::Uuid;
use weir_control::testing::signed_in;
use weir_policy::{PolicySpec, TokenFacts, Told};

const ALICE: &str = "alice.rules@fabrik.example";
const PAGE: &str = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline";
const SOURCE: &str = "198.51.100.7";
const LOOK: Duration = Duration::from_millis(20);

/// A group that a rule passes.
const GROUP: &str = "rule testers";

/// Alice, and the group that she is in.
struct Story {
    tenant: Tenant,
    alice: Uuid,
    group: Uuid,
}

impl Story {
    async fn begin() -> Self {
        let tenant = Tenant::start().await;
        let [alice, group] = tenant.lab.edit(|edit| {
            let alice = edit.user(ALICE, "Alice");
            let group = edit.group(GROUP);
            edit.join(group, alice).expect("both are there");
            [alice, group]
        });
        let story = Self {
            tenant,
            alice,
            group,
        };
        story.synced().await;
        story.name("staff", GROUP);
        let (status, answer) = story.reload(false).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        story
    }

    /// The rule names another group.
    fn name(&self, before: &str, after: &str) {
        let appliance = &self.tenant.appliance;
        let [before, after] = [before, after].map(|name| format!("when = {{ group = \"{name}\""));
        let config = appliance.read("weir.toml").replace(&before, &after);
        appliance.write("weir.toml", &config);
    }

    async fn reload(&self, dry_run: bool) -> (StatusCode, Value) {
        self.ask("/v1/reload", json!({ "dry_run": dry_run })).await
    }

    /// Reads the tenant, and waits until what was read is in force.
    async fn synced(&self) {
        let before = self.epoch();
        let tenant = self.tenant.appliance.brain.tenant();
        let handle = tenant.expect("it is synchronised").handle.clone();
        handle.sync(None, false).await.expect("it runs");
        while self.epoch() == before {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn epoch(&self) -> Option<u64> {
        let directory = self.tenant.appliance.brain.directory();
        directory.map(|one| one.epoch)
    }

    async fn ask(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let appliance = &self.tenant.appliance;
        appliance.ask(Method::POST, path, Some(body)).await
    }

    async fn explain(&self, question: Value) -> Value {
        let (status, answer) = self.ask("/v1/explain", question).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// What would be decided of Alice now.
    async fn of_alice(&self) -> Value {
        let claims = json!({ "upn": [ALICE] });
        self.explain(json!({ "source": SOURCE, "url": PAGE, "claims": claims }))
            .await
    }

    async fn rehearse(&self) -> Value {
        let running = self.tenant.appliance.brain.running();
        let config = running.candidate.config();
        let specs = config.services.iter().map(|service| config.policy(service));
        let specs: Vec<PolicySpec> = specs.collect();
        let (status, diff) = self
            .ask("/v1/rules/diff", json!({ "policies": specs }))
            .await;
        assert_eq!(status, StatusCode::OK, "{diff}");
        diff
    }

    fn signs_in(&self, id: u32) -> String {
        let told = TokenFacts {
            values: [("upn".to_owned(), vec![ALICE.to_owned()])].into(),
            missing: ["groups".to_owned()].into(),
            ..TokenFacts::default()
        };
        let id = format!("{id:016x}");
        signed_in(&self.tenant.appliance, &id, SOURCE, Told::Verified(told))
    }
}

fn origin(answer: &Value, fact: &str) -> (String, String) {
    let all = answer["proxy"]["origins"].as_array().expect("facts");
    let found = all.iter().find(|one| one["fact"] == fact);
    let found = found.unwrap_or_else(|| panic!("no {fact}: {answer:#}"));
    let text = |key: &str| found[key].as_str().expect("words").to_owned();
    (text("value"), text("from"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_is_explained_by_what_the_tenant_said_then() {
    let story = Story::begin().await;
    let now = story.of_alice().await;
    assert_eq!(now["proxy"]["rule"], "rule/grant", "{now:#}");
    let then = story.epoch().expect("it is in force");
    let (value, from) = origin(&now, "group rule testers");
    assert_eq!(value, "member");
    assert!(
        from.starts_with(&format!("the directory, epoch {then}, seen ")),
        "{from}"
    );
    assert_eq!(origin(&now, "directory user").0, story.alice.to_string());

    for id in 0..300 {
        assert_eq!(story.signs_in(id), "rule/grant");
    }
    let (alice, group) = (story.alice, story.group);
    let left = |edit: &mut weir_lab_entra::world::Edit<'_>| edit.leave(group, alice);
    story.tenant.lab.edit(left).expect("she is in it");
    story.synced().await;

    let now = story.of_alice().await;
    assert_eq!(now["proxy"]["rule"], "office365-strict/browser-unmanaged");
    let before = story.explain(json!({ "id": format!("{:016x}", 7) })).await;
    assert_eq!(before["recorded"].get("differs"), None, "{before:#}");
    assert_eq!(before["proxy"]["rule"], "rule/grant");
    let (value, from) = origin(&before, "group rule testers");
    assert_eq!(value, "member");
    assert!(from.contains(&format!("epoch {then},")), "{from}");

    for id in 300..400 {
        assert_eq!(story.signs_in(id), "office365-strict/browser-unmanaged");
    }
    let diff = story.rehearse().await;
    let counts = ["judged", "changed", "outdated"].map(|key| diff[key].clone());
    assert_eq!(counts, [json!(400), json!(0), json!(0)], "{diff:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_proxy_gets_the_picture_that_is_in_force() {
    let story = Story::begin().await;
    let mut first = story.tenant.appliance.proxy().await;
    let directory = story
        .tenant
        .appliance
        .brain
        .directory()
        .expect("it is in force");
    let sent = first.next_directory().await.expect("there is one");
    assert_eq!(
        (sent.epoch, sent.max_age),
        (directory.epoch, directory.max_age)
    );
    assert_eq!(sent.bytes, directory.snapshot.bytes());

    story
        .tenant
        .lab
        .edit(|edit| edit.user("bob.rules@fabrik.example", "Bob"));
    story.synced().await;
    let epoch = story.epoch();
    assert!(epoch > Some(sent.epoch));
    let mut second = story.tenant.appliance.proxy().await;
    for proxy in [&mut first, &mut second] {
        let sent = proxy.next_directory().await.expect("there is one");
        assert_eq!(Some(sent.epoch), epoch);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_holds_the_names_in_rules_against_the_tenant() {
    let story = Story::begin().await;
    let twins = story
        .tenant
        .lab
        .edit(|edit| ["Twin", "twin"].map(|name| edit.group(name)));
    story.synced().await;
    for dry_run in [true, false] {
        story.name(GROUP, "Twin");
        let (status, answer) = story.reload(dry_run).await;
        assert!(status.is_client_error(), "{status} {answer}");
        let error = answer["error"].as_str().expect("words");
        assert!(error.contains("rule `grant`, when.group"), "{error}");
        for twin in twins {
            assert!(error.contains(&twin.to_string()), "{error}");
        }
        story.name("Twin", "rule testerz");
        let (status, answer) = story.reload(dry_run).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let warnings = answer["warnings"].to_string();
        let expected = "no group `rule testerz`; did you mean `rule testers`?";
        assert!(warnings.contains(expected), "{warnings}");
        story.name("rule testerz", GROUP);
    }
}
