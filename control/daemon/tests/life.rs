//! What goes on when a process dies or hangs: listening sockets in the service manager's store, the fail
//! mode of each service, broken connections, and a start with broken files.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{Method, StatusCode};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_abi::{Class, Verdict};
use weir_control::descriptor_store::{self, Inherited};
use weir_control::proxy_link::Peers;
use weir_control::testing::{Appliance, FakeProxy, Manager, ProxyProcess, Received, Settings};

const MANAGED: &str = "203.0.113.9";
const NEW: &str = "198.51.100.7";

#[tokio::test]
async fn who_waits_in_a_listener_is_served_although_both_daemons_died() {
    let mut manager = Manager::new();
    let address = own_address(1);
    let settings = Settings {
        edits: at(&[address]),
        notify: manager.notify(None),
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;
    manager.until("READY=1").await;
    assert_eq!(manager.names(), [descriptor_store::name(address)]);
    let proxy = appliance.proxy().await;
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["listeners"]["store"], true);
    assert_eq!(status["listeners"]["kept"], 1);
    assert_eq!(status["listeners"]["taken_over"], 0);

    drop(proxy);
    let stopped = appliance.kill().await;
    let mut client = TcpStream::connect(address)
        .await
        .expect("the store holds it");
    client
        .write_all(b"hello")
        .await
        .expect("the kernel takes it");
    let appliance = stopped
        .start(manager.hand_over())
        .await
        .expect("what was right before");

    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    let Some(Received::Generation { listeners, .. }) = proxy.next().await else {
        panic!("no generation");
    };
    let listener = listeners.into_iter().next().expect("one").1;
    let listener = TcpListener::from_std(listener.into()).expect("it does not block");
    let (mut served, _) = listener.accept().await.expect("the client waits");
    let mut said = [0; 5];
    served.read_exact(&mut said).await.expect("what it said");
    assert_eq!(&said, b"hello");
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["listeners"]["taken_over"], 1);
    assert_eq!(status["generation"], 2, "numbers never go back");
}

#[test]
fn descriptors_come_in_as_the_service_manager_hands_them_over() {
    const CHILD: &str = "WEIR_TEST_INHERITS";
    if let Some(address) = std::env::var_os(CHILD) {
        // SAFETY: the program runs this test alone, and descriptor 3 is nobody's yet.
        let inherited = unsafe { Inherited::from_env() };
        let [(name, descriptor)] = inherited.0.as_slice() else {
            panic!("one descriptor: {inherited:?}");
        };
        assert_eq!(name, "listener-1");
        let socket = socket2::SockRef::from(descriptor);
        let bound = socket.local_addr().expect("a socket").as_socket();
        assert_eq!(
            bound.expect("an address").to_string(),
            *address.to_string_lossy()
        );
        assert!(
            std::env::var_os("LISTEN_FDS").is_none(),
            "no child believes it"
        );
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("bound");
    let takes = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=listener-1 exec \"$0\" --exact \"$1\" 3<&0 </dev/null";
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", takes])
        .arg(std::env::current_exe().expect("a running program has a path"))
        .arg("descriptors_come_in_as_the_service_manager_hands_them_over")
        .env(CHILD, address.to_string())
        .stdin(std::os::fd::OwnedFd::from(listener))
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test]
async fn the_store_holds_what_a_generation_has_and_nothing_else() {
    let mut manager = Manager::new();
    let (first, second) = (own_address(2), own_address(3));
    let settings = Settings {
        edits: at(&[first, second]),
        notify: manager.notify(None),
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;
    manager.until("READY=1").await;
    let [one, two] = [first, second].map(descriptor_store::name);
    assert_eq!(manager.names(), [one.as_str(), two.as_str()]);

    let config = appliance.read("weir.toml");
    let alone = format!("addresses = [\"{}\"]", first.ip());
    let both = format!("addresses = [\"{}\", \"{}\"]", first.ip(), second.ip());
    appliance.write("weir.toml", &config.replace(&both, &alone));
    let (status, done) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    manager.until("FDSTOREREMOVE=1").await;
    assert_eq!(manager.names(), [one.as_str()]);
    // Nobody listens there any more, as soon as who looks at the generation before lets go of it.
    while TcpStream::connect(second).await.is_ok() {
        tokio::task::yield_now().await;
    }

    // One that the kernel refuses leaves nothing behind.
    appliance.write("weir.toml", &config);
    appliance
        .kernel
        .change(|kernel| kernel.refuse = Some("no memory".to_owned()));
    let (status, _) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    manager.until("FDSTORE=1").await;
    manager.until("FDSTOREREMOVE=1").await;
    assert_eq!(manager.names(), [one.as_str()]);

    // What nobody knows is closed, here and there.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let elsewhere = other.local_addr().expect("bound");
    manager.put("listener-7f000001-1", other.into());
    let stopped = appliance.kill().await;
    stopped.write("weir.toml", &config.replace(&both, &alone));
    let appliance = stopped
        .start(manager.hand_over())
        .await
        .expect("a right configuration");
    manager.until("FDSTOREREMOVE=1").await;
    assert_eq!(manager.names(), [one.as_str()]);
    TcpStream::connect(elsewhere)
        .await
        .expect_err("it is closed here too");
    assert_eq!(
        appliance.get("/v1/status").await["listeners"]["taken_over"],
        1
    );
}

#[tokio::test]
async fn the_service_manager_hears_signs_of_life() {
    let mut manager = Manager::new();
    let settings = Settings {
        notify: manager.notify(Some(Duration::from_millis(30))),
        ..Settings::default()
    };
    let _appliance = Appliance::start_with(settings).await;
    for _ in 0..3 {
        assert_eq!(manager.until("WATCHDOG").await, "WATCHDOG=1");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_holds_up_neither_a_change_nor_the_fail_mode() {
    let settings = Settings {
        edits: vec![("60s", "1s".to_owned())],
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;
    let mut proxy = appliance.proxy().await;
    proxy.hang(true);

    // The change waits for the proxy's answer as long as the proxy does not count as silent.
    let entry = json!({ "prefix": NEW });
    let change = appliance.ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry));
    let question = appliance.get("/v1/status");
    let ((status, changed), _) = tokio::join!(change, question);

    assert_eq!(status, StatusCode::OK, "{changed}");
    let warning = changed["warnings"][0].as_str().expect("words");
    assert!(warning.contains("silent"), "{warning}");
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Managed);
    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Reject)
        .await;
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["proxy"]["state"], "silent");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("hangs"), "{warnings}");

    proxy.hang(false);
    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Proxy)
        .await;
    assert_eq!(proxy.next_generation().await.0, 2);
}

#[tokio::test]
async fn the_fail_mode_comes_while_a_change_waits_for_the_proxy() {
    let settings = Settings {
        edits: vec![("60s", "1s".to_owned())],
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;
    // Alive, but it never works with a generation: a change waits for it until it is late.
    let proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    proxy.keep_silent_about_generations();
    let entry = json!({ "prefix": NEW });
    let mut change =
        std::pin::pin!(appliance.ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry)));
    let fail_mode = appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Reject);
    tokio::select! {
        (status, answer) = &mut change => panic!("it waits longer: {status} {answer}"),
        () = fail_mode => {}
    }

    let (status, refused) = change.await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{refused}");
    assert_eq!(
        appliance.kernel.verdict(Class::Unmanaged),
        Verdict::Reject,
        "also after the planes went back"
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_leave_half_a_change() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;
    proxy.hang(true);
    let entry = json!({ "prefix": NEW });
    let change = appliance.ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry));
    tokio::select! {
        (status, answer) = change => panic!("it waits for the proxy: {status} {answer}"),
        () = appliance.kernel.until_class(ip(NEW), Class::Managed) => {}
    }

    proxy.hang(false);

    let line = log.next().await.expect("a line");
    assert_eq!(
        (&line["action"], &line["done"]),
        (&json!("list add"), &json!(true))
    );
    assert_eq!(appliance.get("/v1/status").await["generation"], 2);
}

#[tokio::test]
async fn without_a_proxy_its_classes_are_rejected_until_one_serves() {
    let settings = Settings {
        edits: vec![("60s", "1s".to_owned())],
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;

    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Reject)
        .await;
    assert_eq!(
        appliance.kernel.verdict(Class::Managed),
        Verdict::Forward,
        "not the proxy's"
    );
    assert_eq!(appliance.kernel.verdict(Class::Blocked), Verdict::Drop);
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;
    assert_eq!(log.next().await.expect("a line")["action"], "fail mode");
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["proxy"]["fail_mode"], true);
    assert!(
        status["warnings"][0]
            .as_str()
            .expect("words")
            .contains("NO PROXY IS ALIVE")
    );

    let proxy = appliance.proxy().await;
    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Proxy)
        .await;
    assert_eq!(log.next().await.expect("a line")["action"], "fail mode");
    drop(proxy);
    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Reject)
        .await;
    assert_eq!(log.next().await.expect("a line")["action"], "fail mode");
    assert_eq!(
        appliance.get("/v1/status").await["proxy"]["fail_mode_entered"],
        2
    );
}

#[tokio::test]
async fn a_proxy_that_drains_does_not_count_as_one_that_serves() {
    let settings = Settings {
        edits: vec![("60s", "1s".to_owned())],
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;
    let mut old = appliance.proxy().await;
    let mut new = FakeProxy::connect(&appliance.proxy_socket()).await;
    new.next_generation().await;
    assert!(matches!(old.next().await, Some(Received::Drain)));

    // The old one gives signs of life for as long as it finishes what it has open, and takes nothing new.
    drop(new);

    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Reject)
        .await;
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["proxy"]["state"], "gone");
    let entry = json!({ "prefix": NEW });
    let (status, changed) = appliance
        .ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
        .await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let warning = changed["warnings"][0].as_str().expect("words");
    assert!(warning.contains("no proxy is alive"), "{warning}");

    let third = appliance.proxy().await;
    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Proxy)
        .await;

    // Whoever told it to.
    third.drain();
    appliance
        .kernel
        .until_verdict(Class::Unmanaged, Verdict::Reject)
        .await;
    assert_eq!(appliance.get("/v1/status").await["proxy"]["state"], "gone");
}

#[tokio::test]
async fn each_service_has_its_own_fail_mode() {
    for (mode, managed, unmanaged) in [
        ("reject", Verdict::Reject, Verdict::Reject),
        ("drop", Verdict::Drop, Verdict::Drop),
        ("forward-managed", Verdict::Forward, Verdict::Reject),
    ] {
        let modes = format!("managed = \"proxy\"\nproxy_down = \"{mode}\"");
        let settings = Settings {
            edits: vec![("60s", "1s".to_owned()), ("managed = \"forward\"", modes)],
            ..Settings::default()
        };
        let appliance = Appliance::start_with(settings).await;
        assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Proxy);

        appliance
            .kernel
            .until_verdict(Class::Unmanaged, unmanaged)
            .await;

        assert_eq!(appliance.kernel.verdict(Class::Managed), managed, "{mode}");
        assert_eq!(appliance.kernel.verdict(Class::Bypass), unmanaged, "{mode}");
        assert_eq!(appliance.kernel.verdict(Class::Blocked), Verdict::Drop);
        let status = appliance.get("/v1/status").await;
        assert_eq!(status["services"][0]["proxy_down"], mode);
        assert_eq!(status["proxy"]["restart_grace_ms"], 1000);
    }
}

#[tokio::test]
async fn connections_of_a_killed_proxy_are_counted_and_of_a_lost_one_are_not() {
    ProxyProcess::play_if_told().await;
    let appliance = Appliance::start().await;
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;
    let mut peers = appliance.brain.peers();
    let open = |pid: u32| {
        move |peers: &Peers| {
            peers
                .current()
                .is_some_and(|peer| peer.pid == pid && peer.counts.open == 3)
        }
    };
    // The test's own process goes on when its connection is lost, and comes back.
    for _ in 0..2 {
        let proxy = appliance.proxy().await;
        let here = peers.wait_for(open(std::process::id())).await;
        drop(here.expect("the link lives"));
        drop(proxy);
    }

    let proxy = ProxyProcess::start(
        "connections_of_a_killed_proxy_are_counted_and_of_a_lost_one_are_not",
        &appliance.proxy_socket(),
    );
    let there = peers.wait_for(open(proxy.pid())).await;
    drop(there.expect("the link lives"));
    proxy.signal(Signal::SIGSTOP);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["proxy"]["connections_broken"], 0, "it may go on");
    proxy.signal(Signal::SIGKILL);

    let line = log.next().await.expect("a line");
    assert_eq!(line["action"], "proxy gone", "{line}");
    assert_eq!(line["done"], false);
    let detail = line["detail"].as_str().expect("words");
    assert!(detail.contains("3 connections"), "{detail}");
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["proxy"]["connections_broken"], 3);
    assert_eq!(status["proxy"]["state"], "gone");
    assert_eq!(status["proxy"]["connects"], 3);
}

#[tokio::test]
async fn connections_that_break_while_nobody_counts_are_counted_afterwards() {
    ProxyProcess::play_if_told().await;
    let start = |appliance: &Appliance| {
        ProxyProcess::start(
            "connections_that_break_while_nobody_counts_are_counted_afterwards",
            &appliance.proxy_socket(),
        )
    };
    let broken = async |appliance: &Appliance| {
        appliance.get("/v1/status").await["proxy"]["connections_broken"].clone()
    };
    let appliance = Appliance::start().await;

    // It goes on while weir-control is away.
    let proxy = start(&appliance);
    remembered(&appliance, &format!("\"pid\":{},", proxy.pid())).await;
    proxy.stop();
    let appliance = again(appliance.kill().await).await;
    assert_eq!(broken(&appliance).await, 0, "it may go on");
    let after = last_line(&appliance)["seq"].to_string();
    let mut log = appliance
        .lines(&format!("/v1/events?follow=true&after={after}"))
        .await;
    proxy.signal(Signal::SIGKILL);
    assert_eq!(log.next().await.expect("a line")["action"], "proxy gone");
    assert_eq!(broken(&appliance).await, 3);

    // It ends while weir-control is away.
    let proxy = start(&appliance);
    remembered(&appliance, &format!("\"pid\":{},", proxy.pid())).await;
    let stopped = appliance.kill().await;
    drop(proxy);
    let appliance = again(stopped).await;
    remembered(&appliance, "\"connections_broken\":6,\"open\":[]").await;
    assert_eq!(broken(&appliance).await, 6);
    let told = appliance.read("state/audit.jsonl");
    assert_eq!(told.matches("with 3 connections open").count(), 2, "{told}");

    let stopped = appliance.kill().await;
    let appliance = again(stopped).await;
    assert_eq!(broken(&appliance).await, 6, "nothing is counted twice");

    // What cannot be read is nothing.
    let stopped = appliance.kill().await;
    stopped.write("run/proxies.json", "{\"connections_broken\":");
    assert_eq!(broken(&again(stopped).await).await, 0);
}

#[tokio::test]
async fn an_entry_that_was_acknowledged_is_there_after_a_kill() {
    let appliance = Appliance::start().await;
    let entry = json!({ "prefix": NEW });
    let (_, changed) = appliance
        .ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
        .await;
    assert_eq!(changed["generation"], 2);

    let appliance = again(appliance.kill().await).await;

    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Managed);
    assert_eq!(appliance.get("/v1/status").await["generation"], 3);
}

#[tokio::test]
async fn a_list_that_was_emptied_while_nobody_looked_stays_as_it_was() {
    let appliance = Appliance::start().await;
    copied(&appliance, 1).await;
    let stopped = appliance.kill().await;
    stopped.write("hq.list", "");

    let appliance = again(stopped).await;

    assert_eq!(appliance.kernel.class(ip(MANAGED)), Class::Managed);
    let status = appliance.get("/v1/status").await;
    let refused = status["lists"][0]["refused"].as_str().expect("words");
    assert!(refused.contains("was empty"), "{refused}");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("not in force"), "{warnings}");
    let last = last_line(&appliance);
    assert_eq!(
        (&last["action"], &last["done"]),
        (&json!("start"), &json!(false))
    );

    // What is added to the empty file would be all that is left.
    let entry = json!({ "prefix": NEW });
    let (status, refused) = appliance
        .ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry))
        .await;
    assert!(status.is_client_error(), "{status} {refused}");
    assert_eq!(appliance.read("hq.list"), "");

    appliance.write("hq.list", "203.0.113.0/25\n");
    appliance
        .kernel
        .until_class(ip("203.0.113.200"), Class::Unmanaged)
        .await;
    let stopped = {
        copied(&appliance, 3).await;
        appliance.kill().await
    };
    stopped.write("hq.list", "# empty on purpose\n");
    let appliance = again(stopped).await;
    assert_eq!(appliance.kernel.class(ip(MANAGED)), Class::Unmanaged);
}

#[tokio::test]
async fn sign_in_goes_on_when_weir_control_is_restarted_with_a_broken_file() {
    let appliance = Appliance::start().await;
    let entry = json!({ "prefix": NEW });
    let post = appliance.ask(Method::POST, "/v1/lists/hq-egress/entries", Some(entry));
    assert_eq!(post.await.0, StatusCode::OK);
    copied(&appliance, 2).await;
    let good = appliance.read("weir.toml");
    let stopped = appliance.kill().await;
    for name in ["weir.toml", "hq.list"] {
        let text = std::fs::read_to_string(stopped.path(name)).expect("it is there");
        stopped.write(name, &format!("{text}\n= \"half a line"));
    }

    let appliance = again(stopped).await;

    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    let (number, lists) = proxy.next_generation().await;
    assert_eq!(number, 3);
    assert_eq!(lists.find(ip(NEW)).class, Class::Managed);
    assert_eq!(appliance.kernel.class(ip(MANAGED)), Class::Managed);
    let status = appliance.get("/v1/status").await;
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("THE CONFIGURATION FILE IS NOT IN FORCE"),
        "{warnings}"
    );
    let why = status["config"]["fallback"].as_str().expect("words");
    assert!(why.contains("weir.toml:"), "{why}");
    assert_eq!(status["config"]["changed_on_disk"], true);
    let (code, refused) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");

    appliance.write("weir.toml", &good);
    appliance.write("hq.list", "203.0.113.0/24\n");
    let (code, done) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(code, StatusCode::OK, "{done}");
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["config"]["fallback"], Value::Null);
    assert_eq!(status["config"]["changed_on_disk"], false);
    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Unmanaged);
}

#[tokio::test]
async fn without_a_copy_a_broken_file_is_an_error_and_the_copy_holds_no_key() {
    let appliance = Appliance::start().await;
    copied(&appliance, 1).await;
    let copy = appliance.path("state/last-good");
    for entry in std::fs::read_dir(&copy).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
    }
    let stopped = appliance.kill().await;
    std::fs::remove_dir_all(copy).expect("removed");
    stopped.write("weir.toml", "[kernle]\n");

    let error = stopped
        .start(Inherited::default())
        .await
        .expect_err("nothing to start with");

    assert!(error.to_string().contains("weir.toml"), "{error}");
}

/// An address of this machine that no other test of any process uses.
fn own_address(number: u8) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 + number, high, low.max(1)], 18443))
}

fn at(addresses: &[SocketAddr]) -> Vec<(&'static str, String)> {
    let quoted: Vec<_> = addresses
        .iter()
        .map(|address| format!("\"{}\"", address.ip()))
        .collect();
    vec![
        (
            "addresses = [\"192.0.2.10\", \"2001:db8:10::10\"]",
            format!("addresses = [{}]", quoted.join(", ")),
        ),
        ("ports = [443]", "ports = [18443]".to_owned()),
    ]
}

async fn again(stopped: weir_control::testing::Stopped) -> Appliance {
    stopped
        .start(Inherited::default())
        .await
        .expect("it starts with what there is")
}

/// Waits until there is a copy of this generation.
async fn copied(appliance: &Appliance, generation: u64) {
    while appliance.get("/v1/status").await["config"]["copied"] != generation {
        tokio::task::yield_now().await;
    }
}

/// Waits until the run directory says this about proxies.
async fn remembered(appliance: &Appliance, words: &str) {
    let file = appliance.path("run/proxies.json");
    while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(words)) {
        tokio::task::yield_now().await;
    }
}

fn last_line(appliance: &Appliance) -> Value {
    let log = appliance.read("state/audit.jsonl");
    serde_json::from_str(log.lines().last().expect("a line")).expect("JSON")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
