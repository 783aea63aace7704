//! What recorded decisions are good for: claims that were received, decisions that are explained afterwards,
//! and rules that are rehearsed.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::UtcDateTime;
use weir_api::RecordBody;
use weir_control::audit::Limits;
use weir_control::testing::{Appliance, Settings, decides_at_token, event, signed_in};
use weir_policy::{PolicySpec, TokenFacts, Told};

fn settings(audit: Limits) -> Settings {
    Settings {
        edits: vec![decides_at_token()],
        audit,
        ..Settings::default()
    }
}

fn alice() -> TokenFacts {
    let values = [
        ("upn", "Alice@corp.example"),
        ("email", "alice@mail.example"),
        ("name_id", "a-1"),
        ("tenant_id", "8d3a1c52-0b1e-4c55-9d57-2f6f2b1f6c11"),
        ("object_id", "5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20"),
        ("department", "Finance"),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    TokenFacts {
        values: values.into(),
        missing: ["groups".to_owned()].into(),
        methods: vec![weir_policy::Method::Mfa],
        authenticated: Some(UtcDateTime::UNIX_EPOCH),
    }
}

async fn claims(appliance: &Appliance, query: &str) -> (StatusCode, Value) {
    let path = format!("/v1/claims?{query}");
    appliance.ask(Method::GET, &path, None).await
}

#[tokio::test]
async fn what_a_token_told_is_shown_with_what_the_rules_make_of_it() {
    let appliance = Appliance::start_with(settings(Limits::default())).await;
    let before = TokenFacts::default();
    signed_in(
        &appliance,
        "00000000000000a1",
        "198.51.100.7",
        Told::Verified(before),
    );
    let rule = signed_in(
        &appliance,
        "00000000000000a2",
        "198.51.100.7",
        Told::Verified(alice()),
    );
    // The rule that asks for groups restricts whom nobody knows.
    assert_eq!(rule, "rule/leavers");
    signed_in(&appliance, "00000000000000a3", "198.51.100.7", Told::Ahead);

    for user in [
        "alice@corp.example",
        "ALICE@MAIL.EXAMPLE",
        "a-1",
        "8D3A1C52-0b1e-4c55-9d57-2f6f2b1f6c11/5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20",
    ] {
        let (status, shown) = claims(&appliance, &format!("user={user}")).await;
        assert_eq!(status, StatusCode::OK, "{user}: {shown}");
        assert_eq!(shown["id"], "00000000000000a2", "{user}");
    }
    let (_, shown) = claims(&appliance, "user=a-1&service=sts").await;
    let claim = |name: &str| {
        let all = shown["claims"].as_array().expect("claims").iter();
        let mut found = all.filter(|claim| claim["name"] == name);
        found
            .next()
            .unwrap_or_else(|| panic!("no {name}: {shown:#}"))
            .clone()
    };
    assert_eq!(claim("department")["values"], json!(["Finance"]));
    assert_eq!(claim("department")["types"], json!(["urn:department"]));
    let saw = &claim("department")["rules"][0];
    assert_eq!(
        (&saw["rule"], &saw["tried"]),
        (&json!("rule/finance"), &json!(false))
    );
    assert_eq!(claim("groups")["missing"], true);
    let saw = &claim("groups")["rules"][0];
    assert_eq!(
        (&saw["rule"], &saw["matched"]),
        (&json!("rule/leavers"), &json!(true))
    );
    assert_eq!(claim("method")["values"], json!(["mfa"]));
    assert_eq!(
        claim("authenticated")["values"],
        json!(["1970-01-01T00:00:00.000Z"])
    );
    assert_eq!(shown["source"], "198.51.100.7");

    let (status, answer) = claims(&appliance, "user=bob@corp.example").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let error = answer["error"].as_str().expect("words");
    assert!(error.contains("the audit log begins at 20"), "{error}");
    let (status, answer) = claims(&appliance, "user=a-1&service=stss").await;
    assert_eq!(
        (status, &answer["help"]),
        (
            StatusCode::NOT_FOUND,
            &json!("did you mean `sts`? services: sts")
        )
    );
    let (status, _) = claims(&appliance, "service=sts").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn claims_and_decisions_are_found_in_files_that_memory_holds_no_more() {
    let few = Limits {
        lines: 10,
        file_bytes: 64 << 10,
        ..Limits::default()
    };
    let appliance = Appliance::start_with(settings(few)).await;
    signed_in(
        &appliance,
        "00000000000000a1",
        "198.51.100.7",
        Told::Verified(alice()),
    );
    for number in 0..200 {
        signed_in(
            &appliance,
            &format!("{number:016}"),
            "198.51.100.8",
            Told::Ahead,
        );
    }
    assert!(appliance.path("state/audit.jsonl.2").exists());

    let (status, shown) = claims(&appliance, "user=a-1").await;
    assert_eq!(
        (status, &shown["id"]),
        (StatusCode::OK, &json!("00000000000000a1")),
        "{shown}"
    );
    assert_eq!(shown["looked"]["cut"], false);
    let (status, _) = claims(&appliance, "user=nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let question = json!({ "id": "00000000000000a1" });
    let (_, answer) = appliance
        .ask(Method::POST, "/v1/explain", Some(question))
        .await;
    assert_eq!(answer["recorded"]["rule"], "rule/leavers", "{answer}");

    let diff = rehearse(&appliance, &without_leavers(&appliance), json!({})).await;
    assert_eq!(
        (&diff["judged"], &diff["changed"]),
        (&json!(201), &json!(201)),
        "{diff:#}"
    );
    assert_eq!(diff["looked"]["cut"], false);
}

#[tokio::test]
async fn a_recorded_decision_says_when_the_rules_in_force_differ() {
    let appliance = Appliance::start_with(settings(Limits::default())).await;
    signed_in(
        &appliance,
        "00000000000000a1",
        "198.51.100.7",
        Told::Verified(alice()),
    );
    appliance
        .brain
        .audit()
        .append(RecordBody::Event(Box::new(event("00000000000000b1"))));
    let ask = |id: &str| {
        let question = json!({ "id": id });
        appliance.ask(Method::POST, "/v1/explain", Some(question))
    };
    let (_, same) = ask("00000000000000a1").await;
    assert_eq!(same["recorded"].get("differs"), None, "{same:#}");
    assert_eq!(same["kernel"]["verdict"], "proxy");
    let from = |fact: &str| {
        let all = same["proxy"]["origins"].as_array().expect("facts").iter();
        let found = all.clone().find(|one| one["fact"] == fact);
        found.unwrap_or_else(|| panic!("no {fact}: {same:#}"))["from"].to_string()
    };
    assert!(from("claim department").contains("urn:department"));
    assert!(from("relying party").contains("query"));
    assert!(from("class").contains("no list"));

    let config = appliance
        .read("weir.toml")
        .replace("\"leavers\" }", "\"others\" }");
    let config = config.replace("group = \"others\"", "claim = { department = \"HR\" }");
    appliance.write("weir.toml", &config);
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, other) = ask("00000000000000a1").await;
    let differs = other["recorded"]["differs"].as_str().expect("words");
    assert!(
        differs.contains("now it would be pass by rule/finance"),
        "{differs}"
    );
    assert!(differs.contains("generation 2 is in force"), "{differs}");
    assert_eq!(other["recorded"]["decision"], "block");

    let (_, bare) = ask("00000000000000b1").await;
    assert_eq!(bare["proxy"], json!(null));
    assert!(
        bare["note"]
            .as_str()
            .expect("words")
            .contains("were not recorded")
    );
    let (status, answer) = ask("00000000000000c1").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    for wrong in [
        json!({ "id": "00000000000000a1", "url": "/" }),
        json!({ "id": "00000000000000a1", "source": "192.0.2.1" }),
        json!({}),
    ] {
        let (status, _) = appliance
            .ask(Method::POST, "/v1/explain", Some(wrong))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_token_is_supposed() {
    let appliance = Appliance::start_with(settings(Limits::default())).await;
    let ask = |more: Value| {
        let mut question = json!({ "source": "198.51.100.7", "url": "/adfs/ls/?wa=wsignin1.0" });
        for (key, value) in more.as_object().expect("an object") {
            question[key] = value.clone();
        }
        let answer = appliance.ask(Method::POST, "/v1/explain", Some(question));
        async { answer.await.1["proxy"].clone() }
    };
    let ahead = ask(json!({})).await;
    assert_eq!(ahead["decision"], "pass", "{ahead:#}");
    assert_eq!(ahead["at_token"]["pending"], "rule/leavers");
    assert_eq!(ahead["at_token"]["otherwise"], "block");
    let told = ask(json!({ "claims": { "department": ["Finance"], "groups": ["staff"] } })).await;
    assert_eq!(
        (&told["decision"], &told["rule"]),
        (&json!("pass"), &json!("rule/finance"))
    );
    assert_eq!(told.get("at_token"), None);
    let told = ask(json!({ "claims": { "groups": ["leavers"] }, "methods": ["mfa"] })).await;
    assert_eq!(
        (&told["decision"], &told["rule"]),
        (&json!("block"), &json!("rule/leavers"))
    );
    let then = ask(json!({ "time": "2026-01-05T08:00:00Z" })).await;
    assert_eq!(then["facts"]["moment"], "2026-01-05T08:00:00Z");
    let wrong = json!({ "source": "192.0.2.1", "time": "noon" });
    let (status, _) = appliance
        .ask(Method::POST, "/v1/explain", Some(wrong))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn rules_are_rehearsed_on_what_was_recorded() {
    let appliance = Appliance::start_with(settings(Limits::default())).await;
    let verified = || Told::Verified(alice());
    signed_in(&appliance, "00000000000000a1", "198.51.100.7", verified());
    signed_in(&appliance, "00000000000000a2", "198.51.100.8", verified());
    let staff = Told::Verified(TokenFacts {
        values: [("groups".to_owned(), vec!["staff".to_owned()])].into(),
        ..TokenFacts::default()
    });
    signed_in(&appliance, "00000000000000a3", "198.51.100.9", staff);
    let audit = appliance.brain.audit();
    audit.append(RecordBody::Event(Box::new(event("00000000000000b1"))));
    let mut foreign = event("00000000000000b2");
    foreign.service = Some("elsewhere".to_owned());
    audit.append(RecordBody::Event(Box::new(foreign)));

    let same = specs(&appliance);
    let diff = rehearse(&appliance, &same, json!({})).await;
    assert_eq!(
        (&diff["judged"], &diff["changed"]),
        (&json!(3), &json!(0)),
        "{diff:#}"
    );
    assert_eq!(diff["without_facts"], 2);
    assert_eq!(diff["outdated"], 0);

    let new = without_leavers(&appliance);
    let diff = rehearse(&appliance, &new, json!({ "service": "sts" })).await;
    assert_eq!(diff["changed"], 2, "{diff:#}");
    let group = &diff["groups"][0];
    assert_eq!(
        group["before"],
        json!({ "decision": "block", "rule": "rule/leavers" })
    );
    assert_eq!(
        group["after"],
        json!({ "decision": "pass", "rule": "rule/finance" })
    );
    assert_eq!(
        (&group["decisions"], &group["users"], &group["sources"]),
        (&json!(2), &json!(1), &json!(2))
    );
    assert_eq!(group["some_users"], json!(["alice@corp.example"]));
    assert_eq!(group["clients"], json!(["browser"]));
    assert_eq!(group["example"], "00000000000000a2");

    // What is granted changes, and nothing else.
    let mut granting = new.clone();
    let grant = json!({ "class": "managed", "for": "30m", "kernel": false });
    let rule = granting[0]
        .rules
        .iter_mut()
        .find(|rule| rule.name == "finance");
    rule.expect("the rule").then.grant = serde_json::from_value(grant).expect("a grant");
    let diff = rehearse(&appliance, &granting, json!({})).await;
    assert_eq!(
        diff["groups"][0]["after"]["grant"], "managed for 30m",
        "{diff:#}"
    );

    let diff = rehearse(&appliance, &new, json!({ "since": "2090-01-01T00:00:00Z" })).await;
    assert_eq!(diff["judged"], 0);
    for (body, status) in [
        (
            json!({ "policies": same, "service": "stss" }),
            StatusCode::NOT_FOUND,
        ),
        (
            json!({ "policies": same, "since": "noon" }),
            StatusCode::BAD_REQUEST,
        ),
        (json!({ "policies": [{}] }), StatusCode::BAD_REQUEST),
    ] {
        let (got, answer) = appliance
            .ask(Method::POST, "/v1/rules/diff", Some(body))
            .await;
        assert_eq!(got, status, "{answer}");
    }
    let mut broken = same;
    broken[0].switched_off.push("rule/nothing".to_owned());
    let body = json!({ "policies": broken });
    let (status, answer) = appliance
        .ask(Method::POST, "/v1/rules/diff", Some(body))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
}

async fn rehearse(appliance: &Appliance, policies: &[PolicySpec], more: Value) -> Value {
    let mut body = more;
    body["policies"] = json!(policies);
    let (status, answer) = appliance
        .ask(Method::POST, "/v1/rules/diff", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn specs(appliance: &Appliance) -> Vec<PolicySpec> {
    let running = appliance.brain.running();
    let config = running.candidate.config();
    config
        .services
        .iter()
        .map(|service| config.policy(service))
        .collect()
}

fn without_leavers(appliance: &Appliance) -> Vec<PolicySpec> {
    let mut specs = specs(appliance);
    specs[0].rules.retain(|rule| rule.name != "leavers");
    specs
}
