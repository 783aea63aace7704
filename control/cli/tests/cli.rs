//! The command line as a script sees it: what it prints, and the status it exits with. The daemon is
//! a real one, without privileges.

mod common;

use std::path::Path;
use std::process::{Output, Stdio};

use common::{command, text, told, weir};
use tokio::io::{AsyncBufReadExt, BufReader};
use weir_control::testing::{Appliance, CONFIG, LIST, write_certificate};

#[tokio::test]
async fn status_fits_a_screen_and_says_whether_the_planes_work() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;

    let out = weir(&appliance, &["status"]).await;

    let text = text(&out);
    assert_eq!(out.status.code(), Some(0));
    assert!(text.contains("weir-test, generation 1"), "{text}");
    assert!(text.contains("alive"), "{text}");
    assert!(text.contains("sts      forward  proxy"), "{text}");
    assert!(text.contains("hq-egress   managed        2"), "{text}");
    assert!(text.lines().count() <= 24, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "no colours into a pipe");

    let json = weir(&appliance, &["status", "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["proxy"]["state"], "alive");
}

#[tokio::test]
async fn status_says_what_is_in_transition() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let out = weir(&appliance, &["status"]).await;
    assert!(!text(&out).contains("draining"), "{}", text(&out));

    let add = ["lists", "add", "hq-egress", "198.51.100.0/30"];
    assert_eq!(weir(&appliance, &add).await.status.code(), Some(0));

    let out = weir(&appliance, &["status"]).await;
    assert_eq!(out.status.code(), Some(0), "nothing is wrong");
    let line = text(&out);
    let line = line.lines().find(|line| line.contains("draining until "));
    let line = line.expect("a line for it");
    assert!(line.ends_with("Z: ranges 1, IPv4 addresses 4"), "{line}");
}

#[tokio::test]
async fn status_says_which_events_are_not_in_the_log() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let out = weir(&appliance, &["status"]).await;
    assert!(!text(&out).contains("events"), "{}", text(&out));

    let mut peers = appliance.brain.peers();
    let mut said = async |lost, skipped| {
        proxy.count(|counts| (counts.events_lost, counts.events_skipped) = (lost, skipped));
        let counted = peers.wait_for(|peers| {
            let current = peers.current().map(|peer| &peer.counts);
            current.is_some_and(|counts| counts.events_skipped == skipped)
        });
        drop(counted.await.expect("the link lives"));
        let out = weir(&appliance, &["status"]).await;
        let words: Vec<_> = text(&out).split_whitespace().map(str::to_owned).collect();
        (out.status.code(), words.join(" "))
    };
    let (code, words) = said(0, 12_345).await;
    assert_eq!(
        code,
        Some(0),
        "a flood of refusals is not the appliance's fault"
    );
    assert!(
        words.contains("12.3k events of refusals left out"),
        "{words}"
    );
    let (code, words) = said(5, 12_346).await;
    assert_eq!(code, Some(1), "it needs attention");
    assert!(words.contains("! the proxy lost 5 audit events"), "{words}");
    assert!(words.contains("5 events lost"), "{words}");
}

#[tokio::test]
async fn a_missing_proxy_is_the_first_thing_that_status_says() {
    let appliance = Appliance::start().await;
    let out = weir(&appliance, &["status"]).await;
    assert_eq!(out.status.code(), Some(1), "it needs attention");
    assert!(
        text(&out).starts_with("! no proxy is alive"),
        "{}",
        text(&out)
    );
}

#[tokio::test]
async fn lists_are_changed_shown_and_tested() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;

    let before = weir(&appliance, &["lists", "test", "198.51.100.7"]).await;
    assert_eq!(text(&before), "198.51.100.7 is unmanaged: on no list\n");
    let added = weir(
        &appliance,
        &[
            "lists",
            "add",
            "hq-egress",
            "198.51.100.7",
            "--comment",
            "Basel",
        ],
    )
    .await;
    assert_eq!(text(&added), "generation 2 is in force\n");
    let after = weir(&appliance, &["lists", "test", "198.51.100.7"]).await;
    assert_eq!(
        text(&after),
        "198.51.100.7 is managed: list hq-egress, entry 198.51.100.7/32\n"
    );
    let again = weir(&appliance, &["lists", "add", "hq-egress", "198.51.100.7"]).await;
    assert_eq!(
        text(&again),
        "nothing to change; generation 2 stays in force\n"
    );
    let shown = weir(&appliance, &["lists", "show", "hq-egress"]).await;
    assert!(
        text(&shown).contains("  198.51.100.7/32\n"),
        "{}",
        text(&shown)
    );
    let removed = weir(
        &appliance,
        &["lists", "remove", "hq-egress", "198.51.100.7"],
    )
    .await;
    assert_eq!(text(&removed), "generation 3 is in force\n");
    assert_eq!(appliance.read("hq.list"), LIST);
}

#[tokio::test]
async fn what_is_refused_exits_with_1_and_says_what_to_do() {
    let appliance = Appliance::start().await;

    let inline = weir(&appliance, &["lists", "add", "bad-people", "198.51.100.7"]).await;
    assert_eq!(inline.status.code(), Some(1));
    let words = told(&inline);
    assert!(words.contains("weir.toml, line "), "{words}");
    assert!(words.contains("help: edit `prefixes`"), "{words}");
    assert!(words.contains("generation 1 stays in force"), "{words}");

    let unknown = weir(&appliance, &["--json", "lists", "show", "nobody"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&unknown.stdout).expect("JSON");
    assert_eq!(json["help"], "lists: hq-egress, bad-people, casb");
}

#[tokio::test]
async fn a_reload_shows_the_diagnostics_of_a_bad_file() {
    let appliance = Appliance::start().await;
    let config = appliance.read("weir.toml");
    appliance.write(
        "weir.toml",
        &config.replace("managed = \"forward\"", "managed = \"forwards\""),
    );

    for verb in [&["reload", "--dry-run"][..], &["reload"]] {
        let out = weir(&appliance, verb).await;
        assert_eq!(out.status.code(), Some(1));
        let words = told(&out);
        assert!(words.contains("weir.toml:"), "{words}");
        assert!(words.contains("generation 1 stays in force"), "{words}");
    }
    appliance.write("weir.toml", &config);
    let dry = weir(&appliance, &["reload", "--dry-run"]).await;
    assert_eq!(String::from_utf8_lossy(&dry.stderr), "");
    assert!(text(&dry).ends_with("the configuration is valid; generation 1 stays in force\n"));
    let out = weir(&appliance, &["reload"]).await;
    assert!(
        text(&out).ends_with("generation 2 is in force\n"),
        "{}",
        text(&out)
    );
}

#[tokio::test]
async fn explain_shows_both_planes_and_every_rule() {
    let appliance = Appliance::start().await;

    let url =
        "https://sts.corp.example/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline";
    let out = weir(&appliance, &["explain", "198.51.100.7", "--url", url]).await;
    let text_of = text(&out);
    assert!(
        text_of.contains("198.51.100.7 -> 192.0.2.10:443 (service sts)"),
        "{text_of}"
    );
    assert!(text_of.contains("verdict  proxy"), "{text_of}");
    assert!(
        text_of.contains("urn:federation:MicrosoftOnline"),
        "{text_of}"
    );
    let matched: Vec<_> = text_of
        .lines()
        .filter(|line| line.starts_with("  match "))
        .collect();
    assert_eq!(matched.len(), 1, "{text_of}");
    assert!(
        text_of.contains("decision  redirect by office365-strict/"),
        "{text_of}"
    );

    let managed = weir(
        &appliance,
        &["explain", "203.0.113.9", "--url", "/adfs/ls/"],
    )
    .await;
    assert!(text(&managed).contains("managed, by list hq-egress, entry 203.0.113.0/24"));
    assert!(text(&managed).contains("verdict  forward by route"));
    assert!(text(&managed).contains("the proxy never sees the request"));

    let wrong = weir(
        &appliance,
        &["explain", "198.51.100.7", "--header", "nonsense"],
    )
    .await;
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn events_are_listed_and_followed() {
    let appliance = Appliance::start().await;
    let listed = weir(&appliance, &["events"]).await;
    assert!(text(&listed).contains("change   start by weir-control: generation 1"));

    let mut following = command(
        &appliance.control_socket(),
        &["events", "--follow", "-n", "1", "--json"],
    )
    .stdout(Stdio::piped())
    .kill_on_drop(true)
    .spawn()
    .expect("it starts");
    let stdout = following.stdout.take().expect("piped");
    let mut lines = BufReader::new(stdout).lines();
    let first = lines.next_line().await.expect("read").expect("a line");
    assert!(first.contains("\"seq\":1,"), "{first}");
    weir(&appliance, &["lists", "add", "hq-egress", "198.51.100.7"]).await;
    let second = lines.next_line().await.expect("read").expect("a line");
    assert!(second.contains("\"action\":\"list add\""), "{second}");
}

#[tokio::test]
async fn an_unreachable_daemon_is_status_3_and_names_the_socket() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("control.sock");
    let status = command(&socket, &["status"]).output().await;
    let status = status.expect("it runs").status;
    assert_eq!(status.code(), Some(2), "1 is for what needs attention");
    let out = command(&socket, &["lists"])
        .output()
        .await
        .expect("it runs");
    assert_eq!(out.status.code(), Some(3));
    let words = told(&out);
    assert!(words.contains(&*socket.to_string_lossy()), "{words}");
    assert!(words.contains("systemctl start weir-control"), "{words}");

    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bound"));
    let out = command(&socket, &["lists"])
        .output()
        .await
        .expect("it runs");
    assert_eq!(out.status.code(), Some(3));
    let words = told(&out);
    assert!(words.contains("nobody listens"), "{words}");
}

#[tokio::test]
async fn check_works_without_the_daemon() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("weir.toml");
    write_certificate(directory.path());
    std::fs::write(directory.path().join("hq.list"), LIST).expect("written");
    std::fs::write(&path, CONFIG.replace("PROXY_USER", "0")).expect("written");
    let good = check(&path).await;
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    assert!(
        text(&good).contains("is valid: 1 service, 3 lists with 4 entries"),
        "{}",
        text(&good)
    );

    let secret = directory.path().join("entra.secret");
    std::fs::write(&secret, "abc~DEFghi.jkl-mno_pqr\n").expect("written");
    let tenant = "[entra]\ntenant = \"11111111-2222-4333-8444-555555555555\"\n\
        application = \"66666666-7777-4888-9999-aaaaaaaaaaaa\"\n\
        [entra.credential]\nsecret = \"entra.secret\"\nexpires = 2090-12-31\n";
    let with_tenant = CONFIG.replace("PROXY_USER", "0") + tenant;
    std::fs::write(&path, with_tenant).expect("written");
    let good = check(&path).await;
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    let said = text(&good);
    assert!(
        said.contains("a tenant with a secret until 2090-12-31"),
        "{said}"
    );
    assert!(!said.contains("abc~"), "{said}");

    std::fs::write(
        directory.path().join("hq.list"),
        "203.0.113.0/24\n203.0.113.1/33\n",
    )
    .expect("written");
    let bad = check(&path).await;
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("hq.list:2:13"), "{}", text(&bad));

    let missing = check(&directory.path().join("nothing.toml")).await;
    assert_eq!(missing.status.code(), Some(1));
}

#[tokio::test]
async fn what_init_writes_passes_check_and_is_never_overwritten() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("weir.toml");
    write_certificate(directory.path());
    let file = path.to_string_lossy().into_owned();
    let arguments = [
        "init",
        &file,
        "--host",
        "sts.corp.example",
        "--address",
        "192.0.2.10",
        "--address",
        "2001:db8:10::10",
        "--upstream",
        "wap",
        "--managed",
        "forward",
        "--managed-prefix",
        "203.0.113.0/24",
        "--outside",
        "eth0",
        "--inside",
        "eth1",
        "--certificate",
        "chain.pem",
        "--key",
        "key.pem",
        "--reverse-proxy",
        "https://sts-corp-example.proxy.example{query}",
    ];
    let nowhere = directory.path().join("control.sock");
    let out = command(&nowhere, &arguments)
        .output()
        .await
        .expect("it runs");
    assert_eq!(
        out.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let checked = check(&path).await;
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));

    let before = std::fs::read_to_string(&path).expect("read");
    let again = command(&nowhere, &arguments)
        .output()
        .await
        .expect("it runs");
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&path).expect("read"), before);

    let other = directory
        .path()
        .join("other.toml")
        .to_string_lossy()
        .into_owned();
    let few = command(&nowhere, &["init", &other])
        .output()
        .await
        .expect("it runs");
    assert_eq!(few.status.code(), Some(2));
    let words = told(&few);
    assert!(
        words.contains("--outside, --inside, --host, --address"),
        "{words}"
    );
}

#[tokio::test]
async fn every_verb_has_help_that_ends_with_an_example() {
    for verb in VERBS {
        let arguments = [verb, &["--help"]].concat();
        let out = command(Path::new("/nowhere"), &arguments)
            .output()
            .await
            .expect("it runs");
        assert_eq!(out.status.code(), Some(0));
        let text = text(&out);
        let (_, example) = text.rsplit_once("Example").expect("an example");
        assert!(example.contains("\n  weir "), "{verb:?}: {text}");
    }
}

const VERBS: [&[&str]; 28] = [
    &[],
    &["init"],
    &["check"],
    &["status"],
    &["explain"],
    &["explain", "user"],
    &["lists"],
    &["lists", "show"],
    &["lists", "add"],
    &["lists", "remove"],
    &["lists", "test"],
    &["reload"],
    &["confirm"],
    &["undo"],
    &["events"],
    &["claims", "show"],
    &["rules", "diff"],
    &["rules", "test"],
    &["entra", "sign-ins"],
    &["review"],
    &["review", "access"],
    &["review", "joiners"],
    &["review", "leavers"],
    &["review", "posture"],
    &["review", "key"],
    &["review", "verify"],
    &["completions"],
    &["man"],
];

#[tokio::test]
async fn every_verb_has_a_manual_page_that_names_each_option() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let pages = directory.path().join("man1");
    let nowhere = Path::new("/nowhere");
    let out = command(nowhere, &["man", "--out", &pages.to_string_lossy()])
        .output()
        .await
        .expect("it runs");
    assert_eq!(out.status.code(), Some(0));
    for verb in VERBS {
        let name = [&["weir"], verb].concat().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1")));
        // Roff writes `-` as `\\-`.
        let page = page.expect("a page").replace("\\-", "-");
        for part in [
            ".SH NAME",
            ".SH SYNOPSIS",
            ".SH EXAMPLES",
            ".SH \"EXIT STATUS\"",
            ".SH ENVIRONMENT",
            ".SH FILES",
        ] {
            assert!(page.contains(part), "{name} has no {part}:\n{page}");
        }
        let arguments = [verb, &["--help"]].concat();
        let help = text(
            &command(nowhere, &arguments)
                .output()
                .await
                .expect("it runs"),
        );
        let (_, options) = help.split_once("Options:").expect("options");
        let named = options.split_whitespace().filter(|word| {
            word.starts_with("--") && word.len() > 2 && word[2..].starts_with(char::is_alphabetic)
        });
        let named: Vec<_> = named
            .map(|word| word.trim_end_matches(|c: char| !c.is_alphabetic()))
            .collect();
        assert!(named.contains(&"--json"), "{help}");
        for option in named {
            assert!(page.contains(option), "{name} does not name {option}");
        }
        let printed = command(nowhere, &[&["man"], verb].concat());
        let printed = { printed }.output().await.expect("it runs");
        assert!(text(&printed).replace("\\-", "-") == page);
    }
    let out = command(nowhere, &["man", "lits"])
        .output()
        .await
        .expect("it runs");
    assert_eq!(out.status.code(), Some(2));
    let words = told(&out);
    assert!(words.contains("weir-lists-add"), "{words}");
}

#[tokio::test]
async fn completions_name_every_verb_in_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let nowhere = Path::new("/nowhere");
        let out = command(nowhere, &["completions", shell]).output().await;
        let script = text(&out.expect("it runs"));
        for verb in VERBS.iter().filter_map(|verb| verb.last()) {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
    }
}

async fn check(path: &Path) -> Output {
    let file = path.to_string_lossy();
    command(Path::new("/nowhere"), &["check", &file])
        .output()
        .await
        .expect("it runs")
}
