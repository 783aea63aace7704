//! Lists that are fetched: from where they come to both planes, over everything that can go wrong on the way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use weir_abi::Class;
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{Appliance, FakeProxy, LIST, Publisher, Received, Settings, prefixes};

/// An appliance whose bypass list `casb` is fetched.
async fn appliance(publisher: &Publisher) -> Appliance {
    let source = publisher.list("/casb?key=secret");
    Appliance::start_with(Settings {
        edits: vec![("prefixes = [\"198.51.100.128/25\"]", source)],
        ..Settings::default()
    })
    .await
}

#[tokio::test]
async fn the_first_fetch_puts_a_list_in_force_in_both_planes() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer(
        "/casb?key=secret",
        200,
        "# egress\n198.51.100.0/26\n2001:db8:5::/48\n",
    );
    let appliance = appliance(&publisher).await;
    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    loop {
        let received = proxy.next().await.expect("the link lives");
        let Received::Generation { lists, .. } = received else {
            panic!("a generation was expected, not {received:?}");
        };
        let found = lists.find("198.51.100.7".parse().expect("an address"));
        if found.list == Some("casb") {
            assert_eq!(found.class, Class::Bypass);
            break;
        }
    }
    appliance.proxy_works().await;
    assert_eq!(in_kernel(&appliance, "198.51.100.7"), Class::Bypass);
    assert_eq!(in_kernel(&appliance, "2001:db8:5::1"), Class::Bypass);
    let kept = appliance.read("state/lists/casb.list");
    assert_eq!(kept, "198.51.100.0/26\n2001:db8:5::/48\n");

    let shown = shown(&appliance).await;
    assert_eq!(
        (&shown["entries"], &shown["editable"]),
        (&json!(2), &json!(false))
    );
    let source = shown["source"].as_str().expect("text");
    assert!(
        source.starts_with("https://127.0.0.1:") && source.ends_with("/casb"),
        "{source}"
    );
    assert!(shown["remote"]["checked"].is_string(), "{shown}");
    assert!(shown["remote"]["error"].is_null() && shown["remote"]["held"].is_null());
    let changes = changes(&appliance).await;
    assert!(changes.contains("casb: 2 prefixes come"), "{changes}");
    assert!(!changes.contains("secret") && !shown.to_string().contains("secret"));
    let machine = appliance.read("state/machine");
    assert_eq!(machine.trim().len(), 36, "{machine}");
}

#[tokio::test]
async fn nothing_that_goes_wrong_changes_a_list() {
    let publisher = Publisher::start(&[]).await;
    let appliance = appliance(&publisher).await;
    let (status, _) = refresh(&appliance).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "nothing is there yet");
    let told = warnings(&appliance).await;
    assert!(told.contains("LIST `casb` IS EMPTY"), "{told}");
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    assert_eq!(refresh(&appliance).await.0, StatusCode::OK);
    let generation = appliance.brain.running().number;
    let wide = prefixes(20) + "0.0.0.0/1\n";
    for (status, body, words) in [
        (404, "", "answers with status 404"),
        (503, "", "answers with status 503"),
        (302, "", "answers with a redirect (302)"),
        (200, "", "it holds no prefix"),
        (200, "# nothing\n", "it holds no prefix"),
        (200, "<html>sign in</html>", "line 1 of the document"),
        (200, &wide, "is wider than /8"),
    ] {
        publisher.answer("/casb?key=secret", status, body);
        for _ in 0..2 {
            let (status, answer) = refresh(&appliance).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{words}");
            let error = answer["error"].as_str().expect("text");
            assert!(
                error.contains(words) && !error.contains("secret"),
                "{error}"
            );
        }
        assert_eq!(shown(&appliance).await["entries"], 20, "{words}");
        let told = warnings(&appliance).await;
        assert!(
            told.contains("list `casb` cannot be fetched since") && told.contains(words),
            "{told}"
        );
    }
    let told = changes(&appliance).await;
    assert_eq!(
        told.matches("it holds no prefix").count(),
        1,
        "once a change: {told}"
    );
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    assert_eq!(refresh(&appliance).await.0, StatusCode::OK);
    assert!(changes(&appliance).await.contains("can be fetched again"));
    assert!(!warnings(&appliance).await.contains("casb"));
    assert_eq!(
        appliance.brain.running().number,
        generation,
        "nothing changed"
    );
}

#[tokio::test]
async fn a_large_change_waits_for_a_person_who_approves_just_that() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    let appliance = appliance(&publisher).await;
    refresh(&appliance).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(5));
    let (status, summary) = refresh(&appliance).await;
    assert_eq!((status, &summary["entries"]), (StatusCode::OK, &json!(20)));
    let first = summary["remote"]["held"].clone();
    assert_eq!(
        (&first["added"], &first["removed"]),
        (&json!(0), &json!(15))
    );
    let digest = first["digest"].as_str().expect("text").to_owned();
    let told = warnings(&appliance).await;
    assert!(
        told.contains("A NEW STATE OF LIST `casb` IS HELD"),
        "{told}"
    );
    assert!(
        told.contains(&format!("weir lists approve casb {}", &digest[..16])),
        "{told}"
    );
    refresh(&appliance).await;
    assert_eq!(
        changes(&appliance)
            .await
            .matches("what came is held")
            .count(),
        1
    );

    // What was looked at is approved, and nothing that came after it.
    publisher.answer("/casb?key=secret", 200, &prefixes(6));
    refresh(&appliance).await;
    for wrong in [&digest, &digest[..7], ""] {
        let (status, answer) = approve(&appliance, wrong).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    }
    assert_eq!(shown(&appliance).await["entries"], 20);
    let held = shown(&appliance).await["remote"]["held"]["digest"].clone();
    let held = held.as_str().expect("text");
    let (status, summary) = approve(&appliance, &held[..8].to_uppercase()).await;
    assert_eq!((status, &summary["entries"]), (StatusCode::OK, &json!(6)));
    assert!(summary["remote"]["held"].is_null(), "{summary}");
    assert_eq!(in_kernel(&appliance, "203.0.113.47"), Class::Bypass);
    assert_eq!(appliance.read("state/lists/casb.list"), prefixes(6));
    let told = changes(&appliance).await;
    assert!(
        told.contains("list approve") && told.contains(held),
        "{told}"
    );
    assert_eq!(approve(&appliance, held).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_restart_without_the_server_begins_with_what_was_kept() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    let appliance = appliance(&publisher).await;
    refresh(&appliance).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(2));
    refresh(&appliance).await;
    let stopped = appliance.kill().await;
    publisher.stop();
    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("no server is waited for");
    assert_eq!(shown(&appliance).await["entries"], 20);
    assert_eq!(refresh(&appliance).await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(shown(&appliance).await["entries"], 20);
    let held = shown(&appliance).await["remote"]["held"]["digest"].clone();
    let (status, summary) =
        approve(&appliance, held.as_str().expect("it outlives a restart")).await;
    assert_eq!((status, &summary["entries"]), (StatusCode::OK, &json!(2)));
}

#[tokio::test]
async fn a_list_that_is_fetched_opens_nothing_that_a_local_list_blocks() {
    let publisher = Publisher::start(&[]).await;
    // `bad-people` blocks 198.51.100.66; here it is even the longer prefix that is fetched.
    publisher.answer(
        "/casb?key=secret",
        200,
        "198.51.100.64/26\n198.51.100.66/32\n",
    );
    let appliance = appliance(&publisher).await;
    refresh(&appliance).await;
    assert_eq!(in_kernel(&appliance, "198.51.100.65"), Class::Bypass);
    assert_eq!(in_kernel(&appliance, "198.51.100.66"), Class::Blocked);
    let test = appliance.get("/v1/lists/test?source=198.51.100.66").await;
    assert_eq!(
        (&test["class"], &test["list"]),
        (&json!("blocked"), &json!("bad-people"))
    );
}

#[tokio::test]
async fn it_is_not_edited_and_a_local_one_is_not_fetched() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    let appliance = appliance(&publisher).await;
    refresh(&appliance).await;
    let entry = json!({ "prefix": "192.0.2.1" });
    let (status, answer) = appliance
        .ask(Method::POST, "/v1/lists/casb/entries", Some(entry))
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    let error = answer["error"].as_str().expect("text");
    assert!(error.contains("come from https://127.0.0.1:"), "{error}");
    let (status, answer) = appliance
        .ask(Method::POST, "/v1/lists/hq-egress/refresh", None)
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert_eq!(appliance.read("hq.list"), LIST);
}

#[tokio::test]
async fn another_source_is_asked_after_a_reload_and_compared_with_what_is_in_force() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    publisher.answer("/other", 200, &prefixes(19));
    publisher.answer("/hq", 200, "192.0.2.0/24\n");
    let appliance = appliance(&publisher).await;
    refresh(&appliance).await;
    // A list that stood in a file may be fetched from now on, and holds nothing until that is done.
    let config = appliance.read("weir.toml");
    let config = config
        .replace("/casb?key=secret", "/other")
        .replace("file = \"hq.list\"", &publisher.list("/hq"));
    appliance.write("weir.toml", &config);
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    while shown(&appliance).await["entries"] != 19 {
        tokio::task::yield_now().await;
    }
    while in_kernel(&appliance, "192.0.2.1") != Class::Managed {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_somebody_takes_away_stays_in_force_and_is_put_back() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    let appliance = appliance(&publisher).await;
    refresh(&appliance).await;
    while !warnings(&appliance).await.contains("casb.list") {
        // The fetch at the start may come after the one that was asked for, and puts it back already.
        let _ = std::fs::remove_file(appliance.path("state/lists/casb.list"));
        tokio::task::yield_now().await;
    }
    assert_eq!(shown(&appliance).await["entries"], 20);
    assert_eq!(refresh(&appliance).await.0, StatusCode::OK);
    assert_eq!(appliance.read("state/lists/casb.list"), prefixes(20));
    assert!(!warnings(&appliance).await.contains("casb.list"));
}

#[tokio::test]
async fn a_restart_without_what_was_kept_begins_with_the_last_good_copy() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb?key=secret", 200, &prefixes(20));
    let appliance = appliance(&publisher).await;
    refresh(&appliance).await;
    let number = appliance.brain.running().number;
    while appliance.get("/v1/status").await["config"]["copied"] != number {
        tokio::task::yield_now().await;
    }
    let directory = appliance.path("state/lists");
    let stopped = appliance.kill().await;
    std::fs::remove_dir_all(directory).expect("removed");
    publisher.answer("/casb?key=secret", 200, &prefixes(2));
    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("there is a copy");
    assert_eq!(shown(&appliance).await["entries"], 20);
    let (_, summary) = refresh(&appliance).await;
    let held = &summary["remote"]["held"];
    assert_eq!(
        (&summary["entries"], &held["removed"]),
        (&json!(20), &json!(18))
    );
    assert_eq!(appliance.read("state/lists/casb.list"), prefixes(20));
}

#[tokio::test]
async fn it_is_fetched_through_the_proxy_and_by_the_authorities_of_outbound() {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb", 200, &prefixes(3));
    let (proxy, asked) = connect_proxy().await;
    let ca = publisher.ca();
    let outbound = format!(
        "[outbound]\nproxy = \"http://{proxy}\"\nca = \"{}\"\n[kernel]",
        ca.display()
    );
    let source = format!("url = \"{}\"", publisher.url("/casb"));
    let appliance = Appliance::start_with(Settings {
        edits: vec![
            ("prefixes = [\"198.51.100.128/25\"]", source),
            ("[kernel]", outbound),
        ],
        ..Settings::default()
    })
    .await;
    let (status, summary) = refresh(&appliance).await;
    assert_eq!((status, &summary["entries"]), (StatusCode::OK, &json!(3)));
    // It may be asking again just now: the proxy first.
    let came = publisher.asked().len();
    let asked = asked.lock().expect("nobody panics with it").clone();
    let expected = format!("CONNECT {} HTTP/1.1", publisher.address);
    assert!(
        !asked.is_empty() && asked.iter().all(|line| *line == expected),
        "{asked:?}"
    );
    assert!(
        came <= asked.len(),
        "somebody went past it: {came}, {asked:?}"
    );
}

/// An HTTP proxy that connects to whatever it is asked for, and what it was asked.
async fn connect_proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = socket.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.expect("a head"));
                }
                let head = String::from_utf8(head).expect("text");
                let line = head.lines().next().expect("a line").to_owned();
                let place = line.split(' ').nth(1).expect("a place").to_owned();
                told.lock().expect("nobody panics with it").push(line);
                let mut server = TcpStream::connect(place).await.expect("it listens");
                let answer = b"HTTP/1.1 200 connected\r\n\r\n";
                client.write_all(answer).await.expect("it reads");
                // How it ends is the business of both ends.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, asked)
}

async fn refresh(appliance: &Appliance) -> (StatusCode, Value) {
    appliance
        .ask(Method::POST, "/v1/lists/casb/refresh", None)
        .await
}

async fn approve(appliance: &Appliance, digest: &str) -> (StatusCode, Value) {
    let body = json!({ "digest": digest });
    appliance
        .ask(Method::POST, "/v1/lists/casb/approve", Some(body))
        .await
}

async fn shown(appliance: &Appliance) -> Value {
    appliance.get("/v1/lists/casb?limit=0").await
}

async fn warnings(appliance: &Appliance) -> String {
    appliance.get("/v1/status").await["warnings"].to_string()
}

async fn changes(appliance: &Appliance) -> String {
    let socket = appliance.control_socket();
    let asked = appliance.reply(&socket, Method::GET, "/v1/events?kind=change", b"");
    asked.await.body
}

fn in_kernel(appliance: &Appliance, source: &str) -> Class {
    appliance.kernel.class(source.parse().expect("an address"))
}
