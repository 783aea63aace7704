//! The lab's cloud as a process of its own.

mod support;

use std::process::Stdio;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

async fn raise(directory: &std::path::Path) -> (Child, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir-lab-entra"))
        .args(["--users", "500", "--groups", "50", "--edges", "4000"])
        .arg("--directory")
        .arg(directory)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = said.next_line().await.expect("readable");
    assert_eq!(line.as_deref(), Some("ready"));
    let told = std::fs::read(directory.join("entra.json")).expect("it was written");
    (child, serde_json::from_slice(&told).expect("JSON"))
}

#[tokio::test]
async fn it_stands_on_its_own_and_keeps_its_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut child, told) = raise(directory.path()).await;
    let ca = std::fs::read(told["ca_file"].as_str().expect("a path")).expect("readable");
    let http = support::http_trusting(&ca);
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(support::secret())
        .finish();
    let text = |name: &str| told[name].as_str().expect("text").to_owned();
    let token = http
        .post(format!(
            "{}/{}/oauth2/v2.0/token",
            text("login"),
            text("tenant_id")
        ))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .expect("an answer");
    let token = support::read(token).await.json();
    let users = http
        .get(format!("{}/v1.0/users/$count", text("graph")))
        .header("consistencylevel", "eventual")
        .header(
            "authorization",
            format!(
                "Bearer {}",
                token["access_token"].as_str().expect("a token")
            ),
        )
        .send()
        .await
        .expect("an answer");
    let users = support::read(users).await;
    assert_eq!(users.status, StatusCode::OK, "{}", users.text);
    assert!(users.text.parse::<usize>().expect("a number") > 500);
    let pid = i32::try_from(child.id().expect("it runs")).expect("a process id");
    let stopped = Command::new("kill").arg(pid.to_string()).status().await;
    assert!(stopped.expect("kill runs").success());
    assert!(
        child.wait().await.expect("it ends").success(),
        "it ends when asked to"
    );

    let (_again, told) = raise(directory.path()).await;
    let kept = std::fs::read(told["ca_file"].as_str().expect("a path")).expect("readable");
    assert_eq!(kept, ca);
}
