//! Reloads that are to be confirmed, and the way back: by hand, when nobody confirms, and over restarts.

use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Waker};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_abi::{Class, Verdict};
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{Appliance, write_certificate};

const ENTRIES: &str = "/v1/lists/hq-egress/entries";
/// On the list of the head office; and on none, until somebody adds it.
const LISTED: &str = "203.0.113.9";
const NEW: &str = "198.51.100.7";

#[tokio::test]
async fn what_nobody_confirms_is_taken_back_and_the_file_stays() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let old = appliance.read("weir.toml");
    let new = change_the_file(&appliance);
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;

    let reloaded = done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;

    assert_eq!(reloaded["generation"], 2);
    assert_eq!(reloaded["pending"]["back_to"], 1);
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Proxy);
    let status = appliance.get("/v1/status").await;
    let pending = &status["reloads"]["pending"];
    assert_eq!(pending["generation"], 2);
    assert!(pending["seconds_left"].as_u64().expect("a number") < 3600);
    assert!(warnings(&status).contains("`weir confirm` keeps it"));
    assert_eq!(status["reloads"]["last_successful"], true);

    // The same once more, and now nobody has the time.
    done(&appliance, "/v1/reload", json!({ "confirm_within": 1 })).await;
    appliance
        .kernel
        .until_verdict(Class::Managed, Verdict::Forward)
        .await;
    let status = settled(&appliance).await;
    assert_eq!(status["generation"], 4);
    assert_eq!(
        appliance.read("weir.toml"),
        new,
        "the file is the administrator's"
    );
    assert_eq!(appliance.brain.running().candidate.loaded.text, old);
    let rolled = &status["reloads"]["rolled_back"];
    assert_eq!(
        (&rolled["who"], &rolled["back_to"]),
        (&json!("weir-control"), &json!(1))
    );
    assert_eq!(rolled["file_differs"], true);
    assert_eq!(status["reloads"]["last_successful"], false);
    assert_eq!(status["reloads"]["rollbacks"], 1);
    assert_eq!(status["config"]["changed_on_disk"], true);
    assert!(warnings(&status).contains("`weir reload` would put it in force again"));
    for (action, who) in [("reload", "user"), ("reload", "user"), ("rollback", "")] {
        let line = log.next().await.expect("a line");
        assert_eq!(
            (&line["action"], &line["done"]),
            (&json!(action), &json!(true))
        );
        match who {
            "" => assert_eq!(line["who"], "weir"),
            who => assert!(line["who"][who].is_object(), "{line}"),
        }
    }
    refused(&appliance, "/v1/undo").await;
    refused(&appliance, "/v1/confirm").await;

    done(&appliance, "/v1/reload", Value::Null).await;
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["reloads"]["rolled_back"], Value::Null);
    assert_eq!(status["reloads"]["last_successful"], true);
    assert_eq!(status["reloads"]["undo_to"], 4);
    assert_eq!(status["warnings"], json!([]));
}

#[tokio::test]
async fn status_is_of_one_moment() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    change_the_file(&appliance);
    let mut status = pin!(appliance.brain.status());
    // It asks the kernel plane, which cannot answer before this change is made.
    appliance.kernel.change(|_| {
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(status.as_mut().poll(&mut nobody).is_pending());
    });

    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;

    let status = status.await.expect("the planes are there");
    let pending = status.reloads.pending.expect("it waits");
    assert_eq!((status.generation, pending.generation), (2, 2));
}

#[tokio::test]
async fn what_is_confirmed_stays_and_can_be_taken_back_by_hand() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    change_the_file(&appliance);
    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
    let error = refused(&appliance, "/v1/reload").await;
    assert!(error["help"].to_string().contains("weir undo"), "{error}");

    let kept = done(&appliance, "/v1/confirm", Value::Null).await;

    assert_eq!(kept["generation"], 2);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["reloads"]["pending"], Value::Null);
    assert_eq!(status["reloads"]["undo_to"], 1);
    assert_eq!(status["warnings"], json!([]));
    refused(&appliance, "/v1/confirm").await;

    let back = done(&appliance, "/v1/undo", Value::Null).await;
    assert_eq!(back["generation"], 3);
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Forward);
}

#[tokio::test]
async fn a_second_try_has_the_same_way_back() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let first = change_the_file(&appliance);
    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
    appliance.write("weir.toml", "[appliance]\n");
    let within = Some(json!({ "confirm_within": 1 }));
    let (status, error) = appliance.ask(Method::POST, "/v1/reload", within).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    let pending = &appliance.get("/v1/status").await["reloads"]["pending"];
    assert!(
        pending["seconds_left"].as_u64() > Some(3000),
        "it is the first one's: {pending}"
    );

    appliance.write(
        "weir.toml",
        &first.replace("198.51.100.128/25", "198.51.100.129/32"),
    );
    let second = done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
    assert_eq!(second["pending"]["back_to"], 1);

    done(&appliance, "/v1/undo", Value::Null).await;
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Forward);
    assert_eq!(appliance.kernel.class(ip("198.51.100.200")), Class::Bypass);
}

#[tokio::test]
async fn lists_that_change_while_a_reload_waits_stay_changed() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    change_the_file(&appliance);
    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
    done(&appliance, ENTRIES, json!({ "prefix": NEW })).await;

    done(&appliance, "/v1/undo", Value::Null).await;

    assert_eq!(appliance.kernel.class(ip(NEW)), Class::Managed);
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Forward);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["lists"][0]["refused"], Value::Null, "{status}");
}

#[tokio::test]
async fn a_list_that_the_reload_brought_goes_back_with_it() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    change_the_file(&appliance);
    // In one moment with the reload: else the file comes into force by itself.
    let (emptied, entries) = ("# nobody\n", "198.51.100.7\n");
    appliance.write("hq.list", emptied);
    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
    assert_eq!(appliance.kernel.class(ip(LISTED)), Class::Unmanaged);
    done(&appliance, "/v1/undo", Value::Null).await;

    assert_eq!(appliance.kernel.class(ip(LISTED)), Class::Managed);
    assert_eq!(appliance.read("hq.list"), emptied);
    let status = appliance.get("/v1/status").await;
    let list = &status["lists"][0];
    assert!(
        list["refused"].to_string().contains("rolled back"),
        "{list}"
    );
    let entry = Some(json!({ "prefix": NEW }));
    let (code, error) = appliance.ask(Method::POST, ENTRIES, entry).await;
    assert_eq!(code, StatusCode::CONFLICT, "{error}");

    // Also over a restart; and as soon as somebody writes it, it counts.
    let stopped = appliance.kill().await;
    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("it starts");
    assert_eq!(appliance.kernel.class(ip(LISTED)), Class::Managed);
    appliance.write("hq.list", entries);
    appliance.kernel.until_class(ip(NEW), Class::Managed).await;
    assert_eq!(appliance.kernel.class(ip(LISTED)), Class::Unmanaged);
    let list = &appliance.get("/v1/status").await["lists"][0];
    assert_eq!(list["refused"], Value::Null);
}

#[tokio::test]
async fn certificates_that_were_shown_are_shown_again() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let shown = |appliance: &Appliance| {
        let running = appliance.brain.running();
        let mut chains = running.candidate.chains("sts");
        chains.next().expect("one").to_owned()
    };
    let before = shown(&appliance);
    write_certificate(appliance.path("weir.toml").parent().expect("a directory"));

    let tried = done(&appliance, "/v1/reload", json!({ "dry_run": true })).await;
    let services = &tried["changes"]["services"];
    assert_eq!(tried["changes"]["file"], false);
    assert_eq!(services[0]["keys"], json!([]));
    assert_eq!(
        services[0]["certificates_added"].as_array().map(Vec::len),
        Some(1)
    );
    assert_ne!(
        services[0]["certificates_added"],
        services[0]["certificates_removed"]
    );
    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
    assert_ne!(shown(&appliance), before);
    done(&appliance, "/v1/undo", Value::Null).await;

    assert_eq!(shown(&appliance), before);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["reloads"]["rolled_back"]["file_differs"], false);
}

#[tokio::test]
async fn a_restart_within_the_time_goes_on_waiting() {
    let appliance = Appliance::start().await;
    change_the_file(&appliance);
    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;

    let stopped = appliance.kill().await;
    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("it starts");

    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Proxy);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["reloads"]["pending"]["generation"], 2);
    done(&appliance, "/v1/undo", Value::Null).await;
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Forward);
}

#[tokio::test]
async fn a_start_takes_back_what_it_cannot_wait_for() {
    for (what, why) in [
        ("reboot", "started anew"),
        ("over", "its time ended"),
        ("edited", "was changed since"),
        ("broken", "cannot be used"),
    ] {
        let appliance = Appliance::start().await;
        let new = change_the_file(&appliance);
        done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
        let journal = appliance.read("state/reload.json");
        let mut journal: Value = serde_json::from_str(&journal).expect("JSON");
        match what {
            "reboot" => journal["pending"]["boot_id"] = json!("another"),
            "over" => journal["pending"]["until_ms"] = json!(1),
            "edited" => appliance.write("weir.toml", &format!("{new}\n# edited\n")),
            _ => {
                // The file is right, and a certificate that it names is gone.
                let text = new.replace("\"chain.pem\"", "\"other.pem\"");
                appliance.write("other.pem", &appliance.read("chain.pem"));
                appliance.write("weir.toml", &text);
                done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
                let written = appliance.read("state/reload.json");
                journal = serde_json::from_str(&written).expect("JSON");
                std::fs::remove_file(appliance.path("other.pem")).expect("removed");
            }
        }
        let stopped = appliance.kill().await;
        stopped.write("state/reload.json", &journal.to_string());

        let appliance = stopped
            .start(Inherited::default())
            .await
            .expect("it starts");

        assert_eq!(
            appliance.kernel.verdict(Class::Managed),
            Verdict::Forward,
            "{what}"
        );
        assert_eq!(appliance.kernel.class(ip(LISTED)), Class::Managed, "{what}");
        let status = appliance.get("/v1/status").await;
        let told = status["reloads"]["rolled_back"]["why"]
            .as_str()
            .expect("words");
        assert!(told.contains(why), "{what}: {told}");
        assert_eq!(status["reloads"]["last_successful"], false);
        assert!(warnings(&status).contains("ROLLED BACK"), "{what}");
        let events = appliance.read("state/audit.jsonl");
        assert!(events.contains("\"rollback\""), "{events}");

        // It stays so, until somebody writes another file or reloads this one.
        let stopped = appliance.kill().await;
        let appliance = stopped
            .start(Inherited::default())
            .await
            .expect("it starts");
        let is_edited = what == "edited";
        let expected = if is_edited {
            Verdict::Proxy
        } else {
            Verdict::Forward
        };
        assert_eq!(appliance.kernel.verdict(Class::Managed), expected, "{what}");
        let status = appliance.get("/v1/status").await;
        assert_eq!(
            status["reloads"]["rolled_back"].is_null(),
            is_edited,
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_way_back_that_is_gone_is_told_of_and_sign_in_goes_on() {
    let appliance = Appliance::start().await;
    change_the_file(&appliance);
    done(&appliance, "/v1/reload", json!({ "confirm_within": 3600 })).await;
    let stopped = appliance.kill().await;
    std::fs::remove_dir_all(stopped.path("state/before-0")).expect("it is there");
    let journal = std::fs::read_to_string(stopped.path("state/reload.json")).expect("text");
    let mut journal: Value = serde_json::from_str(&journal).expect("JSON");
    journal["pending"]["until_ms"] = json!(1);
    stopped.write("state/reload.json", &journal.to_string());

    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("it starts");

    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Proxy);
    let status = appliance.get("/v1/status").await;
    assert!(warnings(&status).contains("CANNOT BE PUT BACK"), "{status}");
    done(&appliance, "/v1/confirm", Value::Null).await;
    done(&appliance, "/v1/reload", Value::Null).await;
    let status = appliance.get("/v1/status").await;
    assert!(
        !warnings(&status).contains("CANNOT BE PUT BACK"),
        "{status}"
    );
}

#[tokio::test]
async fn a_broken_file_at_the_start_leaves_the_last_good_one_and_a_way_back() {
    let appliance = Appliance::start().await;
    change_the_file(&appliance);
    done(&appliance, "/v1/reload", Value::Null).await;
    while appliance.get("/v1/status").await["config"]["copied"] != 2 {
        tokio::task::yield_now().await;
    }
    let stopped = appliance.kill().await;
    let text = std::fs::read_to_string(stopped.path("weir.toml")).expect("text");
    stopped.write("weir.toml", &format!("{text}\nbroken"));

    let appliance = stopped
        .start(Inherited::default())
        .await
        .expect("it starts");

    let status = appliance.get("/v1/status").await;
    assert!(warnings(&status).contains("THE CONFIGURATION FILE IS NOT IN FORCE"));
    assert_eq!(status["reloads"]["last_successful"], false);
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Proxy);
    done(&appliance, "/v1/undo", Value::Null).await;
    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Forward);
}

#[tokio::test]
async fn a_reload_that_a_plane_refuses_leaves_the_way_back_as_it_was() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let new = change_the_file(&appliance);
    done(&appliance, "/v1/reload", Value::Null).await;
    appliance.write(
        "weir.toml",
        &new.replace("198.51.100.128/25", "198.51.100.129/32"),
    );
    proxy.refuse_next("it does not like it");
    let (status, _) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["reloads"]["undo_to"], 1);
    assert_eq!(status["reloads"]["failures"], 1);

    done(&appliance, "/v1/undo", Value::Null).await;

    assert_eq!(appliance.kernel.verdict(Class::Managed), Verdict::Forward);
}

#[tokio::test]
async fn a_dry_run_says_what_would_change() {
    let appliance = Appliance::start().await;
    let tried = done(&appliance, "/v1/reload", json!({ "dry_run": true })).await;
    let changes = &tried["changes"];
    assert_eq!(
        (&changes["file"], &changes["services"]),
        (&json!(false), &json!([]))
    );
    let text = change_the_file(&appliance)
        .replace("ports = [443]\n", "ports = [443, 8443]\n")
        .replace(
            "prefixes = [\"198.51.100.66/32\"]",
            "prefixes = [\"198.51.100.64/32\", \"198.51.100.67/32\"]",
        )
        .replace("name = \"casb\"", "name = \"broker\"")
        + "[[rule]]\nname = \"finance\"\nwhen = { class = \"unmanaged\" }\nthen = { decision = \"block\", reason = \"no\" }\n";
    appliance.write("weir.toml", &text);

    let tried = done(&appliance, "/v1/reload", json!({ "dry_run": true })).await;

    let changes = &tried["changes"];
    assert_eq!(changes["file"], true);
    assert_eq!(changes["services"][0]["name"], "sts");
    assert_eq!(changes["services"][0]["what"], "changed");
    assert_eq!(changes["services"][0]["keys"], json!(["ports", "managed"]));
    assert_eq!(
        changes["listeners_added"],
        json!(["192.0.2.10:8443", "[2001:db8:10::10]:8443"])
    );
    assert_eq!(changes["rules_added"], json!(["finance"]));
    let list = |name: &str| {
        let lists = changes["lists"].as_array().expect("lists");
        let found = lists.iter().find(|list| list["name"] == name);
        found.expect("it is named").clone()
    };
    let people = list("bad-people");
    assert_eq!(
        (&people["added"], &people["removed"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(list("casb")["what"], "removed");
    assert_eq!(list("broker")["what"], "added");
    assert_eq!(appliance.get("/v1/status").await["generation"], 1);
}

/// Has managed sources go through the proxy; gives the new text.
fn change_the_file(appliance: &Appliance) -> String {
    let text = appliance.read("weir.toml");
    let new = text.replace("managed = \"forward\"", "managed = \"proxy\"");
    appliance.write("weir.toml", &new);
    new
}

/// Asks for a change, and gives the answer.
async fn done(appliance: &Appliance, path: &str, body: Value) -> Value {
    let body = Some(body).filter(|body| !body.is_null());
    let (status, answer) = appliance.ask(Method::POST, path, body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

/// Asks for what cannot be now.
async fn refused(appliance: &Appliance, path: &str) -> Value {
    let (status, answer) = appliance.ask(Method::POST, path, None).await;
    assert_eq!(status, StatusCode::CONFLICT, "{path}: {answer}");
    answer
}

/// Status, once nothing waits any more.
async fn settled(appliance: &Appliance) -> Value {
    loop {
        let status = appliance.get("/v1/status").await;
        if status["reloads"]["pending"].is_null() {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

fn warnings(status: &Value) -> String {
    status["warnings"].to_string()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
