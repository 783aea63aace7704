//! What `POST /v1/explain` answers.

use http::{Method, StatusCode};
use serde_json::json;
use weir_control::testing::Appliance;

#[tokio::test]
async fn both_planes_are_explained() {
    let appliance = Appliance::start().await;
    let request = json!({
        "source": "198.51.100.7",
        "method": "POST",
        "url": "https://sts.corp.example/adfs/services/trust/2005/usernamemixed",
        "headers": [["Content-Type", "application/soap+xml"]],
        "body": "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'/>",
    });

    let (status, answer) = appliance
        .ask(Method::POST, "/v1/explain", Some(request))
        .await;

    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["kernel"]["class"], "unmanaged");
    assert_eq!(answer["kernel"]["verdict"], "proxy");
    assert_eq!(answer["kernel"]["service"], "sts");
    assert_eq!(answer["kernel"]["topology"], json!(null));
    assert_eq!(answer["kernel"]["hook"], "tcx");
    let proxy = &answer["proxy"];
    assert_eq!(proxy["facts"]["flow"], "active");
    assert_eq!(proxy["decision"], "block");
    assert_eq!(proxy["status"], 403);
    let tried = proxy["tried"].as_array().expect("rules");
    let last = tried.last().expect("at least one rule was tried");
    assert_eq!(last["matched"], true);
    assert_eq!(last["rule"], proxy["rule"]);
    assert!(
        tried[..tried.len() - 1]
            .iter()
            .all(|rule| rule["matched"] == false)
    );
}

#[tokio::test]
async fn a_managed_source_never_reaches_the_proxy() {
    let appliance = Appliance::start().await;
    let request = json!({ "source": "203.0.113.9", "url": "/adfs/ls/" });
    let (_, answer) = appliance
        .ask(Method::POST, "/v1/explain", Some(request))
        .await;
    assert_eq!(answer["kernel"]["verdict"], "forward");
    assert_eq!(answer["kernel"]["topology"], "route");
    assert_eq!(answer["kernel"]["list"], "hq-egress");
    assert_eq!(answer["kernel"]["prefix"], "203.0.113.0/24");
    assert_eq!(answer["proxy"], json!(null));
    assert!(
        answer["note"]
            .as_str()
            .expect("words")
            .contains("never sees")
    );
}

#[tokio::test]
async fn a_port_of_no_service_does_not_change_the_class_of_the_source() {
    let appliance = Appliance::start().await;
    let request = json!({ "source": "203.0.113.9", "port": 22 });
    let (_, answer) = appliance
        .ask(Method::POST, "/v1/explain", Some(request))
        .await;
    assert_eq!(answer["kernel"]["verdict"], "pass", "{answer}");
    assert_eq!(answer["kernel"]["service"], json!(null));
    assert_eq!(answer["kernel"]["class"], "managed");
}

#[tokio::test]
async fn an_internal_path_is_refused_before_any_rule_or_by_the_first_that_says_so() {
    let appliance = Appliance::start().await;
    let request = json!({ "source": "198.51.100.130", "url": "/adfs/proxy/GetConfiguration" });
    let (_, answer) = appliance
        .ask(Method::POST, "/v1/explain", Some(request))
        .await;
    assert_eq!(answer["kernel"]["class"], "bypass");
    assert_eq!(answer["proxy"]["status"], 404, "{answer}");
}

#[tokio::test]
async fn what_cannot_be_explained_says_why() {
    let appliance = Appliance::start().await;
    let ask = |request| appliance.ask(Method::POST, "/v1/explain", Some(request));

    let (status, answer) = ask(json!({ "source": "192.0.2.1", "host": "other.example" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(answer["help"], "services: sts");
    let (_, answer) = ask(json!({ "source": "192.0.2.1", "service": "stss" })).await;
    assert_eq!(answer["help"], "did you mean `sts`? services: sts");

    let (status, _) = ask(json!({ "source": "192.0.2.1", "url": "adfs/ls" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    let (status, _) = ask(json!({ "source": "not an address" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_program_that_is_not_loaded_is_an_error_and_no_empty_answer() {
    let appliance = Appliance::start().await;
    appliance.kernel.change(|kernel| kernel.unloaded = true);
    let request = json!({ "source": "198.51.100.7", "url": "/adfs/ls/" });
    let (status, answer) = appliance
        .ask(Method::POST, "/v1/explain", Some(request))
        .await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    assert!(
        text("error").contains("program cannot be asked"),
        "{answer}"
    );
    assert!(text("help").contains("weir status"), "{answer}");
}
