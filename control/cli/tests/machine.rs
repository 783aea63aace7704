//! What a machine says of itself, with and without a daemon that answers.

mod common;

use std::path::Path;

use common::{command, text, told, weir};
use weir_control::testing::{Appliance, CONFIG, LIST, write_certificate};

/// The files of a fresh machine with the package's firewall.
fn fresh() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        std::fs::write(path, text).expect("it is written");
    };
    write("etc/hostname", "weir-7\n");
    write(
        "etc/os-release",
        "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
    );
    write("etc/weir/management.nft", "# nobody yet\n");
    write("usr/lib/weir/nftables.conf", "");
    write("run/cloud-init/cloud-id", "nocloud\n");
    root
}

/// What `weir status` says of it, where nobody listens.
async fn status(root: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let root = root.to_str().expect("a name in UTF-8");
    let socket = Path::new(root).join("control.sock");
    let all = [&["status", "--root", root], arguments].concat();
    let out = command(&socket, &all).output().await.expect("it runs");
    // Words, however they are wrapped.
    let words = text(&out).split_whitespace().collect::<Vec<_>>().join(" ");
    (out.status.code(), words, told(&out))
}

#[tokio::test]
async fn a_fresh_machine_says_what_it_is_and_what_is_to_be_configured() {
    let root = fresh();
    let (code, words, _) = status(root.path(), &["--machine"]).await;
    assert_eq!(code, Some(1), "there is something to do");
    assert!(
        words.contains("weir-7, Debian GNU/Linux 13 (trixie)"),
        "{words}"
    );
    assert!(
        words.contains("1. there is no configuration: `weir init"),
        "{words}"
    );
    assert!(
        words.contains("2. nobody may manage this machine"),
        "{words}"
    );

    let (code, words, told) = status(root.path(), &[]).await;
    assert_eq!(code, Some(2), "it cannot be asked");
    assert!(words.contains("weir-7"), "{words}");
    assert!(
        told.contains("help: there is no configuration: `weir init"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_done_is_not_asked_for_again() {
    let root = fresh();
    let folder = root.path().join("etc/weir");
    write_certificate(&folder);
    std::fs::write(folder.join("hq.list"), LIST).expect("written");
    std::fs::write(folder.join("weir.toml"), "[appliance]\n").expect("written");
    let (_, words, _) = status(root.path(), &["--machine"]).await;
    assert!(
        words.contains("`weir check /etc/weir/weir.toml`"),
        "{words}"
    );

    std::fs::write(folder.join("weir.toml"), CONFIG.replace("PROXY_USER", "0")).expect("written");
    let managers = "add element inet weir management4 { 10.20.0.0/16 }\n";
    std::fs::write(folder.join("management.nft"), managers).expect("written");
    let (_, words, _) = status(root.path(), &["--machine"]).await;
    assert!(
        words.contains("`systemctl start weir-control weir-proxy`"),
        "{words}"
    );
    assert!(!words.contains("manage this machine"), "{words}");

    let (_, json, _) = status(root.path(), &["--machine", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["machine"]["configuration"]["state"], "valid");
    assert_eq!(json["next_steps"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_daemon_that_answers_is_what_counts() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let root = fresh();
    std::fs::remove_file(root.path().join("usr/lib/weir/nftables.conf")).expect("it is there");
    let root = root.path().to_str().expect("a name in UTF-8");

    let out = weir(&appliance, &["status", "--machine", "--root", root]).await;
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let words = text(&out);
    assert!(
        words.contains("generation 1, weir-proxy alive, nothing to look at"),
        "{words}"
    );
    assert!(!words.contains("to do"), "{words}");
    let whole = weir(&appliance, &["status", "--root", root]).await;
    assert!(
        text(&whole).contains("machine    weir-7, Debian"),
        "{}",
        text(&whole)
    );
}

#[tokio::test]
async fn the_example_of_a_first_boot_holds_a_configuration_that_can_be_used() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../images/cloud/user-data");
    let example = std::fs::read_to_string(example).expect("it is in the repository");
    let (_, rest) = example
        .split_once("path: /etc/weir/weir.toml")
        .expect("it is there");
    let (_, rest) = rest.split_once("content: |\n").expect("it has a text");
    let (text, _) = rest.split_once("  - path:").expect("files follow");
    let root = tempfile::tempdir().expect("a temporary directory");
    write_certificate(root.path());
    let file = |name: &str, text: &str| {
        std::fs::write(root.path().join(name), text).expect("it is written");
    };
    file("weir.toml", &text.replace("\n      ", "\n"));
    file("hq-egress.list", "203.0.113.0/24\n");
    let path = root.path().join("weir.toml");
    let path = path.to_str().expect("a name in UTF-8");
    let out = command(root.path(), &["check", path]).output().await;
    let out = out.expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", self::text(&out));
}
