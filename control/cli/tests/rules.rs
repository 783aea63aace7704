//! Decisions afterwards, and rules before they are in force: claims, explanations by id, rehearsals and cases.

mod common;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use common::{text, told, weir};
use weir_control::testing::{Appliance, Settings, TOKEN_RULES, decides_at_token, signed_in};
use weir_policy::{TokenFacts, Told};

async fn appliance() -> Appliance {
    let appliance = Appliance::start_with(Settings {
        edits: vec![decides_at_token()],
        ..Settings::default()
    })
    .await;
    for (id, source, user, department) in [
        (
            "00000000000000a1",
            "198.51.100.7",
            "alice@corp.example",
            "Finance",
        ),
        (
            "00000000000000a2",
            "198.51.100.8",
            "alice@corp.example",
            "Finance",
        ),
        ("00000000000000a3", "2001:db8::9", "bob@corp.example", "IT"),
    ] {
        sign_in(&appliance, id, source, user, department);
    }
    appliance
}

fn sign_in(appliance: &Appliance, id: &str, source: &str, user: &str, department: &str) {
    let values = [
        ("upn", user),
        ("department", department),
        ("groups", "staff"),
    ];
    let told = TokenFacts {
        values: values
            .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
            .into(),
        missing: ["roles".to_owned()].into(),
        methods: vec![weir_policy::Method::Mfa, weir_policy::Method::Password],
        authenticated: None,
    };
    signed_in(appliance, id, source, Told::Verified(told));
}

fn lines_fit(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}\nin\n{text}");
    }
}

#[tokio::test]
async fn claims_are_shown_with_the_rules_that_ask_for_them() {
    let appliance = appliance().await;
    let shown = weir(
        &appliance,
        &["claims", "show", "alice@corp.example", "--service", "sts"],
    )
    .await;
    let words = text(&shown);
    assert_eq!(shown.status.code(), Some(0), "{}", told(&shown));
    for part in [
        "from 198.51.100.8, client browser",
        "weir explain --id 00000000000000a2",
        "pass by rule/finance",
        "  department  Finance",
        "  method      mfa, password",
        "  roles       missing",
        "no     rule/leavers  groups",
    ] {
        assert!(words.contains(part), "{part}\n{words}");
    }
    lines_fit(&words);
    let nobody = weir(&appliance, &["claims", "show", "nobody"]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        told(&nobody).contains("the audit log begins at"),
        "{}",
        told(&nobody)
    );
}

#[tokio::test]
async fn a_decision_is_explained_by_its_id_and_a_request_by_its_file() {
    let appliance = appliance().await;
    let by_id = weir(&appliance, &["explain", "--id", "00000000000000a3"]).await;
    let words = text(&by_id);
    assert_eq!(by_id.status.code(), Some(0), "{}", told(&by_id));
    for part in [
        "line 4 of the audit log, by generation 1",
        "claim department",
        "token claim urn:department",
        "no     rule/leavers",
        "same  the rules in force decide as it was recorded",
    ] {
        assert!(words.contains(part), "{part}\n{words}");
    }
    lines_fit(&words);
    let unknown = weir(&appliance, &["explain", "--id", "0000000000000000"]).await;
    assert_eq!(unknown.status.code(), Some(1));

    let captured = "POST /adfs/ls/?wa=wsignin1.0 HTTP/1.1\r\nHost: sts.corp.example\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 41\r\n\r\n\
                    UserName=alice%40corp.example&Password=se\n";
    appliance.write("captured.http", captured);
    let file = appliance.path("captured.http");
    let file = file.to_str().expect("a path");
    let words = text(&weir(&appliance, &["explain", "198.51.100.7", "--request", file]).await);
    assert!(words.contains("alice@corp.example"), "{words}");
    assert!(
        words.contains("if the token cannot be believed: block by rule/leavers"),
        "{words}"
    );
    assert!(!words.contains("Password"), "{words}");
    lines_fit(&words);
    let supposed = [
        "explain",
        "--source",
        "198.51.100.7",
        "--request",
        file,
        "--claim",
        "department=Finance",
        "--claim",
        "groups=staff",
        "--auth-method",
        "mfa",
        "--authenticated",
        "5m",
    ];
    let words = text(&weir(&appliance, &supposed).await);
    assert!(words.contains("pass by rule/finance"), "{words}");
    assert!(
        words.contains("supposed; token claim urn:department"),
        "{words}"
    );
    appliance.write("captured.http", "hello");
    let wrong = weir(&appliance, &["explain", "198.51.100.7", "--request", file]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(told(&wrong).contains("no request line"), "{}", told(&wrong));
}

#[tokio::test]
async fn rules_are_rehearsed_before_they_are_in_force() {
    let appliance = appliance().await;
    let config = appliance.path("weir.toml");
    let config = config.to_str().expect("a path");
    let same = weir(&appliance, &["rules", "diff", config]).await;
    assert_eq!(
        same.status.code(),
        Some(0),
        "{}{}",
        text(&same),
        told(&same)
    );
    assert!(
        text(&same).starts_with("0 of 3 decisions would change"),
        "{}",
        text(&same)
    );

    let new = TOKEN_RULES.replace("Finance", "IT");
    appliance.write("rules.toml", &new);
    let rules = appliance.path("rules.toml");
    let rules = rules.to_str().expect("a path");
    let diff = [
        "rules",
        "diff",
        rules,
        "--config",
        config,
        "--since",
        "7d",
        "--service",
        "sts",
    ];
    let changes = weir(&appliance, &diff).await;
    let words = text(&changes);
    assert_eq!(changes.status.code(), Some(1), "{}", told(&changes));
    for part in [
        "2 decisions of 1 user, from 2 addresses, service sts",
        "  before   pass by rule/finance",
        "  users    alice@corp.example",
        "weir explain --id 00000000000000a2",
        "1 decision of 1 user, from 1 address, service sts",
        "  after    pass by rule/finance",
        "3 of 3 decisions would change",
    ] {
        assert!(words.contains(part), "{part}\n{words}");
    }
    lines_fit(&words);
    // What is to be said of the other file is not said of this one.
    assert_eq!(told(&changes), "");
    let json = weir(&appliance, &[&diff[..], &["--json"]].concat()).await;
    let json: weir_api::Diff = serde_json::from_str(&text(&json)).expect("the answer");
    assert_eq!((json.changed, json.groups.len()), (3, 2));

    appliance.write(
        "rules.toml",
        &new.replace("decision = \"pass\"", "decision = \"past\""),
    );
    let wrong = weir(&appliance, &diff).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", told(&wrong));
    let words = told(&wrong);
    assert!(
        words.contains("rules.toml:8") && words.contains("`pass`"),
        "{words}"
    );
    let base = appliance.read("weir.toml").replace(
        "managed = \"forward\"",
        "managed = \"forward\"\nswitched_off = [\"rule/leavers\"]",
    );
    appliance.write("base.toml", &base);
    appliance.write("rules.toml", "");
    let base = appliance.path("base.toml");
    let base = base.to_str().expect("a path");
    let wrong = weir(&appliance, &["rules", "diff", rules, "--config", base]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", told(&wrong));
    let words = told(&wrong);
    assert!(words.contains("base.toml, with these rules"), "{words}");
    assert!(words.contains("rule/leavers"), "{words}");
    let wrong = weir(&appliance, &["rules", "diff", config, "--service", "stss"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        told(&wrong).contains("did you mean `sts`?"),
        "{}",
        told(&wrong)
    );
}

fn offline(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

#[tokio::test]
async fn cases_are_judged_without_the_daemon() {
    let appliance = appliance().await;
    let config = appliance.path("weir.toml");
    let config = config.to_str().expect("a path");
    let path = appliance.path("cases.toml");
    let cases = path.to_str().expect("a path");
    let run = |text: &str| {
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(text.as_bytes()).expect("there is room");
        offline(&["rules", "test", cases, "--config", config])
    };
    let good = r#"
[[case]]
name = "finance passes"
source = "198.51.100.7"
url = "https://sts.corp.example/adfs/ls/?wa=wsignin1.0"
claims = { department = "Finance", groups = ["staff"] }
expect = { decision = "pass", rule = "rule/finance" }
[[case]]
name = "an application outside"
service = "sts"
source = "198.51.100.7"
flow = "active"
client = "native"
user = "alice@corp.example"
unbelieved = true
expect = { decision = "block" }
"#;
    let passed = run(good);
    assert_eq!(
        passed.status.code(),
        Some(0),
        "{}{}",
        text(&passed),
        told(&passed)
    );
    assert!(
        text(&passed).ends_with("2 passed, 0 failed\n"),
        "{}",
        text(&passed)
    );
    let failed = run(&good.replace("\"Finance\"", "\"HR\""));
    assert_eq!(failed.status.code(), Some(1));
    let words = text(&failed);
    for part in [
        "FAIL  finance passes",
        "  expected  pass by rule/finance",
        "no     rule/finance",
        "1 passed, 1 failed",
    ] {
        assert!(words.contains(part), "{part}\n{words}");
    }
    lines_fit(&words);
    for (from, to, why) in [
        ("\"sts\"", "\"stss\"", "did you mean `sts`?"),
        (
            "rule/finance",
            "rule/finanz",
            "did you mean `rule/finance`?",
        ),
        ("\"native\"", "\"nativ\"", "did you mean `native`?"),
        ("unbelieved", "unbelived", "unknown field `unbelived`"),
        ("\"pass\"", "\"passed\"", "did you mean `pass`?"),
        (
            "https://sts.corp.example/adfs/ls/",
            "https://sts/adfs/ls/",
            "no service has this host name",
        ),
    ] {
        let wrong = run(&good.replace(from, to));
        assert_eq!(wrong.status.code(), Some(2), "{to}");
        assert!(told(&wrong).contains(why), "{}", told(&wrong));
    }

    let example = offline(&["rules", "test", "--example"]);
    let tried = run(&text(&example));
    assert!(
        matches!(tried.status.code(), Some(0 | 1)),
        "{}",
        told(&tried)
    );
    assert!(
        text(&tried).contains("an application outside is blocked"),
        "{}",
        text(&tried)
    );
}
