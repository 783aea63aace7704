//! What can be seen of Weir in a lab that stands.

use std::time::Instant;

use crate::common::{Ground, lab, text};
use weir_lab::settings::list_name;
use weir_lab::sources::Class;

const PAGE: &str =
    "https://sts.corp.example/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline";

#[tokio::test]
async fn the_proxy_runs_without_privileges() {
    let Some(ground) = Ground::find("the_proxy_runs_without_privileges") else {
        return;
    };
    let standing = ground.up("bare");
    let status = standing
        .control()
        .status()
        .await
        .expect("weir-control answers");
    let pid = status["proxy"]["pid"]
        .as_u64()
        .expect("the proxy is connected");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the proxy runs");
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default()
    };
    assert_eq!(field("Name:"), "weir-proxy");
    let uids: Vec<&str> = field("Uid:").split_whitespace().collect();
    assert_eq!(uids.len(), 4);
    assert!(!uids.contains(&"0"), "it runs as root: {uids:?}");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(field(set), 16), Ok(0), "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Groups:"), "");
}

#[test]
fn a_command_from_a_clean_shell_needs_no_options() {
    let Some(ground) = Ground::find("a_command_from_a_clean_shell_needs_no_options") else {
        return;
    };
    let _standing = ground.up("shell");
    let output = lab(&["exec", "inet", "--instance", "shell", "--"])
        .args(["curl", "--silent", "--show-error", "--output", "/dev/null"])
        .args(["--write-out", "%{http_code} %{redirect_url}"])
        .arg("https://sts.corp.example/adfs/ls/")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("weir-lab can be run");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "302 https://sts-corp-example.proxy.example/adfs/ls/",
        "{}",
        text(&output)
    );
}

#[tokio::test]
async fn a_changed_list_takes_effect_by_the_socket_and_by_the_file() {
    let Some(ground) = Ground::find("a_changed_list_takes_effect_by_the_socket_and_by_the_file")
    else {
        return;
    };
    let standing = ground.up("lists");
    let control = standing.control();
    let managed = list_name(Class::Managed).expect("there is a list of managed sources");
    let source = Class::Unmanaged.source().v4;
    assert_eq!(standing.status_of("unmanaged", PAGE), "302");

    let begun = Instant::now();
    let entry = serde_json::json!({ "prefix": format!("{source}/32") });
    control
        .ask(
            "POST",
            &format!("/v1/lists/{managed}/entries"),
            Some(&entry),
        )
        .await
        .expect("the entry is added");
    let added = begun.elapsed();
    assert_eq!(
        standing.status_of("unmanaged", PAGE),
        "200",
        "forwarded, to the form"
    );

    let path = ground
        .out("lists")
        .join(format!("etc/lists/{managed}.list"));
    let text = std::fs::read_to_string(&path).expect("the list's file is there");
    let others = text
        .lines()
        .filter(|line| !line.contains(&source.to_string()));
    let without = others.collect::<Vec<_>>().join("\n") + "\n";
    assert_ne!(text, without, "weir-control writes the entry to the file");
    let mut audit = control
        .follow()
        .await
        .expect("the audit log can be followed");
    let begun = Instant::now();
    std::fs::write(&path, without).expect("the list's file is writable");
    while audit.recv().await.expect("weir-control goes on").kind != "change" {}
    let edited = begun.elapsed();
    assert_eq!(
        standing.status_of("unmanaged", PAGE),
        "302",
        "to the reverse proxy again"
    );

    println!(
        "in force in both planes: added by the socket in {added:?}, by the file in {edited:?}"
    );
}
