//! The daemon through its two sockets: the control socket, and the proxy's, on which a proxy is
//! played over the real link. The kernel plane is one in memory; nothing here needs privileges.

use std::net::IpAddr;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_abi::{Class, Verdict};
use weir_control::generation::Candidate;
use weir_control::sockets;
use weir_control::testing::{self, Appliance, FakeProxy, LIST, Received, Settings};
use weir_link::{Event, VERSION};

const MANAGED: &str = "203.0.113.9";
const NEW: &str = "198.51.100.7";

#[tokio::test]
async fn a_proxy_that_connects_gets_the_generation_with_listeners_and_lists() {
    let appliance = Appliance::start().await;
    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;

    let Some(Received::Generation {
        generation,
        listeners,
        lists,
        ..
    }) = proxy.next().await
    else {
        panic!("no generation");
    };

    assert_eq!(generation.number, 1);
    assert_eq!(generation.appliance, "weir-test");
    assert_eq!(generation.services[0].hosts, ["sts.corp.example"]);
    assert!(
        generation.services[0].certificates[0]
            .key
            .contains("PRIVATE KEY")
    );
    let addresses: Vec<_> = listeners
        .iter()
        .map(|(address, _)| address.to_string())
        .collect();
    assert_eq!(addresses, ["192.0.2.10:443", "[2001:db8:10::10]:443"]);
    for (_, socket) in listeners {
        let socket = socket2::Socket::from(socket);
        assert!(socket.is_listener().expect("a socket has this option"));
    }
    assert_eq!(lists.find(ip(MANAGED)).class, Class::Managed);
    appliance.proxy_works().await;
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["proxy"]["state"], "alive");
    assert_eq!(status["proxy"]["generation"], 1);
    assert_eq!(status["proxy"]["pid"], std::process::id());
    assert_eq!(status["warnings"], json!([]));
}

#[tokio::test]
async fn an_added_entry_is_in_force_in_both_planes_when_the_answer_comes() {
    let appliance = Appliance::start().await;
    let mut proxy = appliance.proxy().await;
    let test = format!("/v1/lists/test?source={NEW}");
    assert_eq!(appliance.get(&test).await["class"], "unmanaged");

    let entry = json!({ "prefix": "198.51.100.7", "comment": "new line, Basel" });
    let (status, changed) = appliance
        .ask(
            Method::POST,
            "/v1/lists/hq-egress/entries",
            Some(entry.clone()),
        )
        .await;

    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(changed["generation"], 2);
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Managed);
    let (number, lists) = proxy.next_generation().await;
    assert_eq!(number, 2);
    assert_eq!(lists.find(ip(NEW)).list, Some("hq-egress"));
    let tested = appliance.get(&test).await;
    assert_eq!(tested["class"], "managed");
    assert_eq!(tested["list"], "hq-egress");
    assert_eq!(tested["prefix"], "198.51.100.7/32");
    let file = appliance.read("hq.list");
    assert!(
        file.starts_with("# egress of the head office\n"),
        "comments stay: {file}"
    );
    assert!(file.contains("# new line, Basel"), "{file}");

    let (_, again) = appliance
        .ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
        .await;
    assert_eq!(again["unchanged"], true);
    assert_eq!(again["generation"], 2);

    let path = "/v1/lists/hq-egress/entries?prefix=198.51.100.7";
    let (status, removed) = appliance.ask(Method::DELETE, path, None).await;
    assert_eq!(status, StatusCode::OK, "{removed}");
    assert_eq!(removed["generation"], 3);
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Unmanaged);
}

#[tokio::test]
async fn who_changed_what_is_in_the_audit_log() {
    let appliance = Appliance::start().await;
    let entry = json!({ "prefix": "198.51.100.0/28" });
    appliance
        .ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
        .await;

    let log = appliance.read("state/audit.jsonl");
    let last: Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["kind"], "change");
    assert_eq!(last["action"], "list add");
    assert_eq!(last["done"], true);
    assert_eq!(
        last["who"]["user"]["uid"],
        nix::unistd::Uid::effective().as_raw()
    );
    assert!(
        last["detail"]
            .as_str()
            .expect("words")
            .contains("hq-egress: 198.51.100.0/28")
    );
}

#[tokio::test]
async fn what_cannot_be_edited_says_why_and_where_to_go() {
    let appliance = Appliance::start().await;
    let post = |list: &'static str, prefix: &'static str| {
        let path = format!("/v1/lists/{list}/entries");
        let appliance = &appliance;
        async move {
            appliance
                .ask(Method::POST, &path, Some(json!({ "prefix": prefix })))
                .await
        }
    };

    let (status, inline) = post("bad-people", NEW).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        inline["error"]
            .as_str()
            .expect("words")
            .contains("weir.toml, line "),
        "{inline}"
    );

    let (status, unknown) = post("nobody", NEW).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(unknown["help"], "lists: hq-egress, bad-people, casb");

    let (status, wrong) = post("hq-egress", "198.51.100.0/33").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    assert_eq!(wrong["generation"], 1);

    let path = "/v1/lists/hq-egress/entries?prefix=203.0.113.9";
    let (status, covered) = appliance.ask(Method::DELETE, path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        covered["help"]
            .as_str()
            .expect("words")
            .contains("203.0.113.0/24"),
        "{covered}"
    );
}

#[tokio::test]
async fn a_list_file_changed_by_an_editor_takes_effect() {
    let appliance = Appliance::start().await;
    let mut proxy = appliance.proxy().await;

    appliance.write("hq.list", "203.0.113.0/24\n198.51.100.7\n");

    let (number, lists) = proxy.next_generation().await;
    assert_eq!(number, 2);
    assert_eq!(lists.find(ip(NEW)).class, Class::Managed);
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Managed);
}

#[tokio::test]
async fn a_bad_line_keeps_the_old_generation_and_names_its_place() {
    let appliance = Appliance::start().await;
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;

    appliance.write("hq.list", "198.51.100.7\n  203.0.113.0/244 # typo\n");

    let refused = log.next().await.expect("a line");
    assert_eq!(refused["action"], "list file");
    assert_eq!(refused["done"], false);
    let detail = refused["detail"].as_str().expect("words");
    assert!(detail.contains("hq.list:2:15"), "{detail}");
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Unmanaged);
    assert_eq!(appliance.kernel.class(ip(MANAGED)), Class::Managed);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["generation"], 1);
    assert_eq!(status["last_reload"]["outcome"], "refused");
    assert!(
        status["lists"][0]["refused"]
            .as_str()
            .expect("words")
            .contains("hq.list:2:15")
    );

    let entry = json!({ "prefix": NEW });
    let (code, answer) = appliance
        .ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
        .await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer["error"]
            .as_str()
            .expect("words")
            .contains("hq.list:2:15"),
        "{answer}"
    );
    assert!(
        !appliance.read("hq.list").ends_with("198.51.100.7\n"),
        "the file is as it was"
    );
}

#[tokio::test]
async fn a_list_file_that_lost_its_text_or_is_gone_empties_nothing() {
    let appliance = Appliance::start().await;
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;

    appliance.write("hq.list", "");
    let refused = log.next().await.expect("a line");
    assert_eq!(refused["done"], false, "{refused}");
    std::fs::remove_file(appliance.path("hq.list")).expect("removed");
    let refused = log.next().await.expect("a line");
    assert_eq!(refused["done"], false, "{refused}");
    assert_eq!(appliance.kernel.class(ip(MANAGED)), Class::Managed);

    appliance.write("hq.list", "# empty\n");
    appliance
        .kernel
        .until_class(ip(MANAGED), Class::Unmanaged)
        .await;
}

#[tokio::test]
async fn a_list_file_that_was_read_while_it_was_written_empties_nothing() {
    let appliance = Appliance::start().await;
    let running = appliance.brain.running();

    appliance.write("hq.list", "");
    let half = Candidate::read(&appliance.path("weir.toml")).expect("an empty list is valid");
    appliance.write("hq.list", LIST);

    let refused = half
        .keeps_entries_of(&running.candidate)
        .expect_err("the list lost all its entries");
    assert!(refused.to_string().contains("hq.list"), "{refused}");
}

#[tokio::test]
async fn a_list_that_a_reload_puts_in_force_is_refused_no_more() {
    let appliance = Appliance::start().await;
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;
    appliance
        .kernel
        .change(|kernel| kernel.refuse = Some("no memory".to_owned()));
    appliance.write("hq.list", "203.0.113.0/24\n198.51.100.7\n");
    let refused = log.next().await.expect("a line");
    assert_eq!(refused["done"], false, "{refused}");

    let (status, done) = appliance.ask(Method::POST, "/v1/reload", None).await;

    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Managed);
    let warnings = appliance.get("/v1/status").await["warnings"].to_string();
    assert!(!warnings.contains("not in force"), "{warnings}");
}

#[tokio::test]
async fn an_edit_that_is_refused_leaves_alone_what_an_editor_wrote_meanwhile() {
    let appliance = Appliance::start().await;
    let kernel = appliance.kernel.clone();
    let (release, released) = std::sync::mpsc::channel();
    let (enter, entered) = tokio::sync::oneshot::channel();
    let busy = std::thread::spawn(move || {
        kernel.change(|kernel| {
            enter.send(()).expect("the test waits for it");
            released.recv().expect("the test says when");
            kernel.refuse = Some("no memory".to_owned());
        });
    });
    entered.await.expect("the kernel plane is busy");
    let entry = json!({ "prefix": NEW });
    let post = appliance.ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry));
    let editor = async {
        while !appliance.read("hq.list").contains(NEW) {
            tokio::task::yield_now().await;
        }
        appliance.write("edited", "192.0.2.0/24\n");
        std::fs::rename(appliance.path("edited"), appliance.path("hq.list")).expect("saved");
        release.send(()).expect("the kernel plane waits for it");
    };

    let ((status, refused), ()) = tokio::join!(post, editor);

    busy.join().expect("it ends");
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{refused}");
    assert_eq!(appliance.read("hq.list"), "192.0.2.0/24\n");
}

#[tokio::test]
async fn what_is_put_back_into_the_kernel_is_in_the_audit_log() {
    let appliance = Appliance::start().await;
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;

    appliance
        .kernel
        .change(|kernel| kernel.gone = vec!["the rule was gone and is back".to_owned()]);

    let line = log.next().await.expect("a line");
    assert_eq!(line["action"], "kernel plane");
    assert_eq!(line["done"], true);
    assert_eq!(line["detail"], "the rule was gone and is back");
}

#[test]
fn a_run_directory_has_one_daemon() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = sockets::lock(directory.path()).expect("nobody else");
    let second = sockets::lock(directory.path()).expect_err("the first holds it");
    assert!(
        second.to_string().contains("another weir-control"),
        "{second}"
    );
    assert!(
        second
            .help()
            .is_some_and(|help| help.contains("weir status"))
    );
    drop(first);
    sockets::lock(directory.path()).expect("the first has ended");
}

#[tokio::test]
async fn a_reload_puts_the_file_in_force_and_a_dry_run_does_not() {
    let appliance = Appliance::start().await;
    let mut proxy = appliance.proxy().await;
    let config = appliance.read("weir.toml");
    appliance.write(
        "weir.toml",
        &config.replace("managed = \"forward\"", "managed = \"proxy\""),
    );

    let (_, tried) = appliance
        .ask(Method::POST, "/v1/reload", Some(json!({ "dry_run": true })))
        .await;
    assert_eq!(tried["dry_run"], true);
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Forward);
    assert_eq!(
        appliance.get("/v1/status").await["config"]["changed_on_disk"],
        true
    );

    let (status, done) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(done["generation"], 2);
    assert_eq!(proxy.next_generation().await.0, 2);
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Proxy);
    assert_eq!(
        appliance.get("/v1/status").await["config"]["changed_on_disk"],
        false
    );

    appliance.write("weir.toml", &config.replace("[kernel]", "[kernle]"));
    let (status, refused) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused["error"]
            .as_str()
            .expect("words")
            .contains("weir.toml:"),
        "{refused}"
    );
    assert_eq!(refused["generation"], 2);
}

#[tokio::test]
async fn when_one_plane_refuses_both_go_back() {
    let appliance = Appliance::start().await;
    let mut proxy = appliance.proxy().await;
    let post = || {
        let entry = json!({ "prefix": NEW });
        appliance.ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
    };

    appliance
        .kernel
        .change(|kernel| kernel.refuse = Some("no memory".to_owned()));
    let (status, refused) = post().await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{refused}");
    let (back, lists) = proxy.next_generation().await;
    assert_eq!(
        back, 1,
        "the proxy never hears of the generation that the kernel refused"
    );
    assert_eq!(lists.find(ip(NEW)).class, Class::Unmanaged);

    proxy.refuse_next("the certificate has expired");
    let (status, refused) = post().await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(
        refused["error"]
            .as_str()
            .expect("words")
            .contains("has expired"),
        "{refused}"
    );
    assert_eq!(refused["generation"], 1);
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Unmanaged);
    assert_eq!(appliance.get("/v1/status").await["generation"], 1);
    assert!(
        !appliance.read("hq.list").contains(NEW),
        "the file is as it was"
    );

    assert_eq!(post().await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_change_without_a_proxy_is_made_and_says_so() {
    let appliance = Appliance::start().await;

    let entry = json!({ "prefix": NEW });
    let (_, changed) = appliance
        .ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
        .await;
    assert_eq!(changed["generation"], 2);
    assert!(
        changed["warnings"][0]
            .as_str()
            .expect("words")
            .contains("no proxy is alive")
    );

    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    let (number, lists) = proxy.next_generation().await;
    assert_eq!(number, 2);
    assert_eq!(lists.find(ip(NEW)).class, Class::Managed);
}

#[tokio::test]
async fn a_newer_proxy_takes_over_and_the_older_one_drains() {
    let appliance = Appliance::start().await;
    let mut old = appliance.proxy().await;
    let mut new = FakeProxy::connect(&appliance.proxy_socket()).await;

    assert_eq!(new.next_generation().await.0, 1);
    assert!(matches!(old.next().await, Some(Received::Drain)));
    drop(old);
    assert_eq!(appliance.get("/v1/status").await["proxy"]["connects"], 2);

    drop(new);
    let mut peers = appliance.brain.peers();
    peers
        .wait_for(|peers| peers.current().is_none())
        .await
        .expect("the link lives");
    let mut again = FakeProxy::connect(&appliance.proxy_socket()).await;
    assert_eq!(
        again.next_generation().await.0,
        1,
        "a proxy that comes back gets it again"
    );
}

#[tokio::test]
async fn another_user_and_another_version_get_nothing() {
    let other = nix::unistd::Uid::effective().as_raw() + 1;
    let settings = Settings {
        proxy_uid: Some(other),
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;
    let mut stranger = FakeProxy::connect(&appliance.proxy_socket()).await;
    assert!(
        stranger.next().await.is_none(),
        "the connection is closed without a generation"
    );
    assert_eq!(appliance.get("/v1/status").await["proxy"]["state"], "gone");

    let appliance = Appliance::start().await;
    let mut newer = FakeProxy::connect_as(&appliance.proxy_socket(), VERSION + 1).await;
    let Some(Received::TurnedAway(why)) = newer.next().await else {
        panic!("it is told why");
    };
    for version in [VERSION, VERSION + 1] {
        assert!(why.contains(&format!("version {version}")), "{why}");
    }
    assert!(newer.next().await.is_none());
    let proxy = &appliance.get("/v1/status").await["proxy"];
    assert_eq!(proxy["turned_away"], 1);
    assert_eq!(proxy["turned_away_why"], why);
}

#[tokio::test]
async fn events_are_kept_filtered_and_followed() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let mut log = appliance.lines("/v1/events?follow=true&limit=0").await;
    proxy.event(event(
        "00000000000000a1",
        NEW,
        "office365-strict/native",
        Some("ann@corp.example"),
    ));
    proxy.event(event(
        "00000000000000a2",
        "198.51.100.8",
        "rule/vip",
        Some("Bob@Corp.example"),
    ));
    proxy.event(event(
        "00000000000000a3",
        "2001:db8::7",
        "office365-strict/native",
        None,
    ));
    for id in ["00000000000000a1", "00000000000000a2", "00000000000000a3"] {
        assert_eq!(log.next().await.expect("a line")["id"], id);
    }

    let ids = |query: &'static str| {
        let appliance = &appliance;
        async move {
            let lines = appliance
                .lines(&format!("/v1/events?{query}"))
                .await
                .all()
                .await;
            lines
                .iter()
                .map(|line| line["id"].as_str().unwrap_or("change").to_owned())
                .collect::<Vec<_>>()
        }
    };
    let (one, two, three) = ("00000000000000a1", "00000000000000a2", "00000000000000a3");
    assert_eq!(ids("").await, ["change", one, two, three]);
    assert_eq!(ids("limit=1").await, [three]);
    assert_eq!(ids("after=1&limit=2").await, [one, two]);
    assert_eq!(ids("source=198.51.100.0/24").await, [one, two]);
    assert_eq!(ids("source=2001:db8::7").await, [three]);
    assert_eq!(ids("user=bob@corp.example").await, [two]);
    assert_eq!(ids("user=@CORP.example").await, [one, two]);
    assert_eq!(ids("rule=rule/vip").await, [two]);
    assert_eq!(ids("rule=office365-strict/").await, [one, three]);
    assert_eq!(ids("id=00000000000000a3").await, [three]);
    let (status, _) = appliance
        .ask(Method::GET, "/v1/events?source=nowhere", None)
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

    let lines = appliance.read("state/audit.jsonl");
    let numbers: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64())
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
}

#[tokio::test]
async fn a_follower_sees_only_what_matches() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let mut log = appliance
        .lines("/v1/events?follow=true&rule=rule/vip&limit=0")
        .await;
    proxy.event(event(
        "00000000000000b1",
        NEW,
        "office365-strict/native",
        None,
    ));
    proxy.event(event("00000000000000b2", NEW, "rule/vip", None));
    assert_eq!(log.next().await.expect("a line")["id"], "00000000000000b2");
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_what_is() {
    let appliance = Appliance::start().await;
    let (status, nothing) = appliance.ask(Method::GET, "/v1/nothing", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        nothing["help"]
            .as_str()
            .expect("words")
            .contains("/v1/status")
    );
    let (status, _) = appliance.ask(Method::GET, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = appliance
        .ask(Method::POST, "/v1/reload", Some(json!({ "dryrun": true })))
        .await;
    assert_eq!(
        status,
        StatusCode::BAD_REQUEST,
        "a key that is mistyped is not ignored"
    );
    for (path, known) in [
        (
            "/v1/events?usr=ann",
            "`after`, `limit`, `follow`, `source`, `user`, `rule`, `id`, `decision`, `service`, `kind`, \
             `since`, `until`",
        ),
        ("/v1/lists/test?source=192.0.2.1&port=443", "`source`"),
        ("/v1/status?service=sts", "none"),
    ] {
        let (status, answer) = appliance.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        let error = answer["error"].as_str().expect("words");
        assert!(error.ends_with(&format!("known: {known}")), "{error}");
    }
    let misspelt = "/v1/lists/hq-egress/entries?prefix=203.0.113.0/24&dryrun=true";
    let (status, _) = appliance.ask(Method::DELETE, misspelt, None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(appliance.read("hq.list"), LIST);
}

fn event(id: &str, source: &str, rule: &str, user: Option<&str>) -> Event {
    Event {
        peer: (ip(source), 50_000).into(),
        effective_source: None,
        rule: rule.to_owned(),
        stated_user: user.map(str::to_owned),
        ..testing::event(id)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
