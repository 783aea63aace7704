//! Evidence about the tenant on the command line: files that are signed, and what is found when they are changed.

mod common;
#[path = "../../daemon/tests/tenant/mod.rs"]
mod tenant;

use std::path::Path;

use common::{command, text, told, weir};
use serde_json::Value;
use tenant::Tenant;
use weir_control::testing::Appliance;

#[tokio::test]
async fn exports_are_written_with_their_signature_and_verified_offline() {
    let Tenant { appliance, .. } = &Tenant::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (csv, sig, pem) = (path("access.csv"), path("access.csv.sig"), path("key.pem"));
    let out = weir(appliance, &["review", "access", "--output", &csv]).await;
    assert_eq!(out.status.code(), Some(0), "{}", told(&out));
    let words = text(&out);
    assert!(
        words.contains(&format!("written to {csv}, signed in {sig}")),
        "{words}"
    );
    assert!(
        words.contains("unknown: groups: groups that hide their members: 1"),
        "{words}"
    );
    let key = weir(appliance, &["review", "key"]).await;
    std::fs::write(&pem, text(&key)).expect("there is room");

    let nowhere = Path::new("/nowhere");
    let verify = ["review", "verify", &csv, &sig, "--key", &pem];
    let out = command(nowhere, &verify).output().await.expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", told(&out));
    let words = text(&out);
    assert!(
        words.starts_with("verified") && words.contains("export 1"),
        "{words}"
    );
    let json = command(nowhere, &[&verify[..], &["--json"]].concat())
        .output()
        .await;
    let json: Value = serde_json::from_str(&text(&json.expect("it runs"))).expect("JSON");
    assert_eq!(json["manifest"]["head"]["what"], "access");
    // Without a key weir-control is asked for its own.
    let out = weir(appliance, &["review", "verify", &csv, &sig]).await;
    assert_eq!(out.status.code(), Some(0), "{}", told(&out));

    // One word is changed, and another export has the signature.
    let content = std::fs::read_to_string(&csv).expect("it is there");
    assert!(content.contains("enabled"));
    std::fs::write(&csv, content.replacen("enabled", "Enabled", 1)).expect("there is room");
    let out = command(nowhere, &verify).output().await.expect("it runs");
    assert_eq!(out.status.code(), Some(1));
    assert!(
        told(&out).contains("not the one that was signed"),
        "{}",
        told(&out)
    );
    let other = path("posture.json");
    let arguments = [
        "review", "posture", "--format", "json", "--output", &other, "--json",
    ];
    let out = weir(appliance, &arguments).await;
    let json: Value = serde_json::from_str(&text(&out)).expect("JSON");
    assert_eq!(json["manifest"]["number"], 2);
    let swapped = ["review", "verify", &other, &sig, "--key", &pem];
    let out = command(nowhere, &swapped).output().await.expect("it runs");
    assert_eq!(out.status.code(), Some(1));
}

#[tokio::test]
async fn an_export_goes_to_standard_output_and_its_signature_to_standard_error() {
    let Tenant { appliance, .. } = &Tenant::start().await;
    let from = ["review", "joiners", "--from", "2026-01-01"];
    let out = weir(appliance, &from).await;
    assert_eq!(out.status.code(), Some(0), "{}", told(&out));
    assert!(text(&out).starts_with("tenant,as_of,event,"));
    let line: Value = serde_json::from_str(told(&out).trim()).expect("one line of JSON");
    assert_eq!(line["manifest"]["head"]["what"], "joiners");
    let out = weir(appliance, &["review", "posture", "--json"]).await;
    let export: Value = serde_json::from_str(&text(&out)).expect("JSON");
    assert_eq!(export["head"]["what"], "posture");
}

#[tokio::test]
async fn what_cannot_be_told_leaves_no_file() {
    let Tenant { appliance, .. } = &Tenant::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("old.csv");
    let file = file.to_string_lossy();
    let at = [
        "review",
        "access",
        "--as-of",
        "2000-01-01",
        "--output",
        &file,
    ];
    let out = weir(appliance, &at).await;
    assert_eq!(out.status.code(), Some(1));
    assert!(told(&out).contains("or later"), "{}", told(&out));
    let left = std::fs::read_dir(folder.path())
        .expect("it is there")
        .count();
    assert_eq!(left, 0);
    let out = weir(appliance, &["review", "leavers"]).await;
    assert_eq!(out.status.code(), Some(2), "{}", told(&out));
    let unread = Tenant::unread().await;
    let out = weir(&unread.appliance, &["review", "access"]).await;
    assert_eq!(out.status.code(), Some(1));
    assert!(told(&out).contains("never read"), "{}", told(&out));
    let plain = Appliance::start().await;
    let out = weir(&plain, &["review", "access"]).await;
    assert_eq!(out.status.code(), Some(1));
    assert!(told(&out).contains("[entra]"), "{}", told(&out));
}

#[tokio::test]
async fn users_and_sign_ins_are_told_in_words() {
    let Tenant { lab, appliance } = &Tenant::start().await;
    let out = weir(appliance, &["explain", "user", "alice@mex.corp.example"]).await;
    assert_eq!(out.status.code(), Some(0), "{}", told(&out));
    let words = text(&out);
    for part in [
        &format!("Alice Arden, {}/", lab.tenant()),
        "enabled, member",
        "Global Administrator",
        "bound",
        "grants reach unmanaged at most, by group engineers",
        "by the tenant's rule (user.department",
        "rule/grant",
        "group staff",
        "where this is from",
    ] {
        assert!(words.contains(part), "{part}:\n{words}");
    }
    let carol = weir(
        appliance,
        &["explain", "user", "carol@mex-adfs.corp.example"],
    )
    .await;
    // Long lines are broken.
    let words: Vec<_> = text(&carol).split_whitespace().map(str::to_owned).collect();
    let words = words.join(" ");
    let way = "in sg-lab-shift, which is in sg-lab-night, which is in sg-lab-all";
    assert!(words.contains(way), "{words}");
    let json = weir(
        appliance,
        &["explain", "user", "alice@mex.corp.example", "--json"],
    )
    .await;
    let json: Value = serde_json::from_str(&text(&json)).expect("JSON");
    assert_eq!(json["kind"], "Member");
    // The other way to ask is as it was.
    let source = weir(appliance, &["explain", "203.0.113.18"]).await;
    assert_eq!(source.status.code(), Some(0), "{}", told(&source));
    assert!(
        text(&source).contains("managed, by list hq-egress"),
        "{}",
        text(&source)
    );
    let nothing = weir(appliance, &["explain"]).await;
    assert_eq!(nothing.status.code(), Some(2));

    let out = weir(appliance, &["entra", "sign-ins", "--from", "2h"]).await;
    assert_eq!(out.status.code(), Some(0), "{}", told(&out));
    let words = text(&out);
    for part in [
        "alice@mex.corp.example",
        "203.0.113.18",
        "managed (hq-egress)",
        "forwarded",
        "service sts",
    ] {
        assert!(words.contains(part), "{part}:\n{words}");
    }
    let none = weir(appliance, &["entra", "sign-ins", "--user", "nobody"]).await;
    assert!(
        text(&none).contains("tells of no such sign-in"),
        "{}",
        text(&none)
    );
}
