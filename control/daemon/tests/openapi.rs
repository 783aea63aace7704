//! Holds `openapi.json` against the running server: each operation, each status, each answer.

#[path = "openapi/entra.rs"]
mod entra;
#[path = "openapi/evidence.rs"]
mod evidence;
#[path = "openapi/lists.rs"]
mod lists;
#[path = "openapi/reload.rs"]
mod reload;
mod schema;
mod tenant;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_api::{Actor, RecordBody};
use weir_control::api::{DESCRIPTION, Limits, OPERATIONS};
use weir_control::testing::{
    Appliance, FakeProxy, LIST, Publisher, Reply, Settings, SigningKey, decided, earn, event,
    packet, principal,
};
use weir_policy::{Facts, Uncounted};

const CAPTURE: &str = "/v1/capture";
const DIFF: &str = "/v1/rules/diff";
const CLAIMS: &str = "/v1/claims";
const ENTRIES: &str = "/v1/lists/{name}/entries";
const GRANTS: &str = "/v1/grants";
const REVOKE: &str = "/v1/principals/revoke";
const RESTORE: &str = "/v1/principals/restore";
const KEYS: &str = "/v1/keys";
const REFRESH: &str = "/v1/keys/refresh";
const APPROVE: &str = "/v1/keys/approve";

#[test]
fn the_document_describes_every_operation_and_no_other() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, methods) in object(&document["paths"]) {
        for (method, operation) in object(methods) {
            described.insert((method.to_uppercase(), path.clone()));
            let here = format!("{method} {path}");
            let mine = OPERATIONS
                .iter()
                .find(|one| one.path == path && one.method.as_str() == method.to_uppercase())
                .unwrap_or_else(|| panic!("{here} is answered by nobody"));
            let role = if mine.changes { "change" } else { "read" };
            assert_eq!(operation["x-role"], role, "{here}");
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let of = |place: &str| -> BTreeSet<String> {
                parameters
                    .iter()
                    .filter(|one| one["in"] == place)
                    .map(|one| one["name"].as_str().expect("a name").to_owned())
                    .collect()
            };
            let keys: BTreeSet<String> = mine.keys.iter().map(ToString::to_string).collect();
            assert_eq!(of("query"), keys, "{here}");
            assert_eq!(
                of("path").contains("name"),
                path.contains("{name}"),
                "{here}"
            );
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(mine.body.is_some(), body.is_object(), "{here}");
            if let Some(keys) = mine.body {
                let body = schema::resolve(&document, &body["$ref"]);
                let said: BTreeSet<&str> = object(&body["properties"])
                    .map(|(key, _)| key.as_str())
                    .collect();
                assert_eq!(said, keys.iter().copied().collect(), "{here}");
            }
        }
    }
    let answered: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|one| (one.method.to_string(), one.path.to_owned()))
        .collect();
    assert_eq!(described, answered);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn what_the_document_does_not_name_is_not_answered() {
    let appliance = Appliance::start().await;
    let document = document();
    for (path, methods) in object(&document["paths"]) {
        let named: BTreeSet<_> = object(methods)
            .map(|(name, _)| name.to_uppercase())
            .collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
            if named.contains(method) {
                continue;
            }
            let method: Method = method.parse().expect("a method");
            let reply = appliance
                .reply(&appliance.control_socket(), method, &filled(path), b"")
                .await;
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            let allow = reply.headers["allow"].to_str().expect("text").split(", ");
            assert_eq!(allow.map(str::to_owned).collect::<BTreeSet<_>>(), named);
        }
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/status",
        "/v1/status/",
        "/v1/lists//entries",
        "*",
    ] {
        let (status, answer) = appliance.ask(Method::OPTIONS, path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {answer}");
        fits(
            &document,
            &json!({ "$ref": "#/components/schemas/Failure" }),
            &answer,
        );
    }
}

/// What was answered, by method, path and status.
struct Seen {
    document: Value,
    statuses: BTreeMap<(String, String), BTreeSet<u16>>,
}

impl Seen {
    async fn ask(
        &mut self,
        appliance: &Appliance,
        method: Method,
        path: &str,
        target: &str,
        body: &str,
    ) -> u16 {
        let socket = appliance.control_socket();
        let reply = appliance
            .reply(&socket, method.clone(), target, body.as_bytes())
            .await;
        self.note(&method, path, &reply)
    }

    /// Checks an answer against the document.
    fn note(&mut self, method: &Method, path: &str, reply: &Reply) -> u16 {
        let operation = &self.document["paths"][path][method.as_str().to_lowercase()];
        let status = reply.status.as_u16();
        let here = format!("{method} {path} {status}");
        let mut answer = &operation["responses"][status.to_string()];
        assert!(answer.is_object(), "{here} is not described: {reply:?}");
        if answer["$ref"].is_string() {
            answer = schema::resolve(&self.document, &answer["$ref"]);
        }
        let kind = reply.headers["content-type"].to_str().expect("text");
        let content = &answer["content"][kind];
        assert!(content.is_object(), "{here}: {kind}");
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let value = reply.headers[name.to_lowercase()].to_str().expect("text");
            let value = serde_json::from_str(value).expect("a number");
            fits(&self.document, &header["schema"], &value);
        }
        if kind == "application/x-ndjson" {
            for line in reply.body.lines() {
                let line = serde_json::from_str(line).expect("JSON on each line");
                fits(&self.document, &content["schema"], &line);
            }
        } else if kind == "application/json" {
            let value = serde_json::from_str(&reply.body).expect("JSON");
            fits(&self.document, &content["schema"], &value);
        }
        self.statuses
            .entry((method.to_string(), path.to_owned()))
            .or_default()
            .insert(status);
        status
    }
}

#[tokio::test]
async fn every_status_is_produced_and_every_answer_fits() {
    let mut seen = Seen {
        document: document(),
        statuses: BTreeMap::new(),
    };
    answers(&mut seen).await;
    refusals(&mut seen).await;
    planes_that_refuse(&mut seen).await;
    keys(&mut seen).await;
    lists::fetched(&mut seen).await;
    reload::reload(&mut seen).await;
    entra::tenant(&mut seen).await;
    evidence::evidence(&mut seen).await;
    bounds(&mut seen).await;

    for (path, methods) in object(&seen.document["paths"]) {
        for (method, operation) in object(methods) {
            let described: BTreeSet<u16> = object(&operation["responses"])
                .map(|(status, _)| status.parse().expect("a status"))
                .collect();
            let produced = &seen.statuses[&(method.to_uppercase(), path.clone())];
            assert_eq!(&described, produced, "{method} {path}");
        }
    }
}

/// All that succeeds, with as much as there can be in it.
async fn answers(seen: &mut Seen) {
    // The pool is elsewhere.
    let edits = weir_control::testing::grants();
    let appliance = Appliance::start_with(Settings {
        edits: edits
            .map(|(from, to)| (from, to.replace("10.20.0.0", "10.99.0.0")))
            .into(),
        ..Settings::default()
    })
    .await;
    let proxy = appliance.proxy().await;
    kernel_tells(&appliance).await;
    let mut log = appliance.lines("/v1/events?follow=true&limit=0").await;
    proxy.event(event("00000000000000a1"));
    log.next().await.expect("the event");
    grants(seen, &appliance, &proxy).await;
    let entry = r#"{"prefix":"198.51.100.7","comment":"Basel"}"#;
    let get = Method::GET;
    for (method, path, target, body) in [
        (Method::POST, ENTRIES, filled(ENTRIES), entry),
        (get.clone(), "/v1/status", "/v1/status".into(), ""),
        (get.clone(), "/v1/counters", "/v1/counters".into(), ""),
        (get.clone(), "/v1/metrics", "/v1/metrics".into(), ""),
        (get.clone(), "/v1/flows", "/v1/flows".into(), ""),
        (
            Method::POST,
            "/v1/capture",
            "/v1/capture".into(),
            r#"{"seconds":1}"#,
        ),
        (get.clone(), "/v1/lists", "/v1/lists".into(), ""),
        (
            get.clone(),
            "/v1/lists/test",
            "/v1/lists/test?source=203.0.113.9".into(),
            "",
        ),
        (
            get.clone(),
            "/v1/lists/test",
            "/v1/lists/test?source=192.0.2.1".into(),
            "",
        ),
        (
            get.clone(),
            "/v1/lists/{name}",
            "/v1/lists/hq-egress?limit=1".into(),
            "",
        ),
        (
            get.clone(),
            "/v1/lists/{name}",
            "/v1/lists/hq-egress?prefix=192.0.2.0/24".into(),
            "",
        ),
        (
            Method::DELETE,
            ENTRIES,
            format!("{}?prefix=198.51.100.7", filled(ENTRIES)),
            "",
        ),
        (Method::POST, "/v1/reload", "/v1/reload".into(), ""),
        (
            Method::POST,
            "/v1/reload",
            "/v1/reload".into(),
            r#"{"dry_run":true}"#,
        ),
        (
            Method::POST,
            "/v1/explain",
            "/v1/explain".into(),
            r#"{"source":"198.51.100.7","url":"/adfs/ls/?wa=wsignin1.0","headers":[["A","b"]]}"#,
        ),
        (
            get.clone(),
            "/v1/openapi.json",
            "/v1/openapi.json".into(),
            "",
        ),
    ] {
        assert_eq!(
            seen.ask(&appliance, method, path, &target, body).await,
            200,
            "{target}"
        );
    }
    let signal = Actor::Signal("SIGHUP".to_owned());
    appliance.brain.reload(signal, false).await.expect("valid");
    let reply = appliance
        .reply(&appliance.control_socket(), get.clone(), "/v1/events", b"")
        .await;
    assert!(reply.body.lines().count() >= 5, "{}", reply.body);
    seen.note(&get, "/v1/events", &reply);
    let served = appliance.get("/v1/openapi.json").await;
    assert_eq!(served, seen.document);
}

/// A decision with its facts: explained, its claims shown, and judged by other rules.
async fn recorded(seen: &mut Seen, appliance: &Appliance) {
    let running = appliance.brain.running();
    let policy = &running.candidate.policies[0];
    let facts = json!({
        "method": "GET", "host": "sts.corp.example", "path": "/adfs/ls/", "flow": "passive", "client": "native",
        "source": {
            "peer": "198.51.100.7", "relayed": false, "effective": "198.51.100.7", "class": "unmanaged", "web_only": false
        },
        "class": "unmanaged", "relying_party": { "known": "bound", "value": "urn:a" },
        "user": { "known": "stated", "value": ["ann@corp.example"] }, "redirects": 0,
        "token": { "told": "verified", "value": { "values": { "upn": ["ann@corp.example"] }, "missing": ["groups"] } },
    });
    let facts: Facts = serde_json::from_value(facts).expect("facts");
    let ruling = policy.decide(&facts, &Uncounted(None));
    let event = decided("00000000000000a2", "sts", &facts, &ruling);
    let audit = appliance.brain.audit();
    audit.append(RecordBody::Event(Box::new(event)));
    let mut new = running
        .candidate
        .config()
        .policy(&running.candidate.config().services[0]);
    new.switched_off.push(ruling.told().1.to_string());
    let diff = json!({ "policies": [new], "since": "2026-01-01T00:00:00Z" }).to_string();
    new.switched_off.push("rule/none".to_owned());
    let broken = json!({ "policies": [new] }).to_string();
    let (get, post) = (Method::GET, Method::POST);
    for (method, path, query, body, status) in [
        (
            &post,
            "/v1/explain",
            "",
            r#"{"id":"00000000000000a2"}"#,
            200,
        ),
        (
            &post,
            "/v1/explain",
            "",
            r#"{"id":"00000000000000a1"}"#,
            200,
        ),
        (&post, "/v1/explain", "", r#"{"source":"203.0.113.9"}"#, 200),
        (&get, CLAIMS, "?user=ann@corp.example", "", 200),
        (&get, CLAIMS, "?user=nobody", "", 404),
        (&post, DIFF, "", &*diff, 200),
        (&post, DIFF, "", r#"{"policies":[],"service":"stss"}"#, 404),
        (&post, DIFF, "", r#"{"policies":[],"since":"noon"}"#, 400),
        (&post, DIFF, "", &*broken, 422),
    ] {
        let target = format!("{path}{query}");
        let got = seen.ask(appliance, method.clone(), path, &target, body);
        assert_eq!(got.await, status, "{method} {target} {body}");
    }
}

/// A grant that the kernel does not go by: shown, taken away, and what else can be done and not done.
async fn grants(seen: &mut Seen, appliance: &Appliance, proxy: &FakeProxy) {
    let mut log = appliance
        .lines("/v1/events?follow=true&limit=0&kind=change")
        .await;
    proxy.sign_in(earn('a', "10.20.0.7", 60));
    while log.next().await.expect("the grant")["action"] != "grant" {}
    let revoke = json!({ "principal": principal('a'), "reason": "left" }).to_string();
    let restore = json!({ "principal": principal('a') }).to_string();
    let nobody = r#"{"principal":"a","reason":"b"}"#;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let explain = r#"{"source":"10.20.0.7"}"#;
    for (method, path, query, body, status) in [
        (&get, GRANTS, "", "", 200),
        (&post, "/v1/explain", "", explain, 200),
        (&delete, GRANTS, "?address=10.20.0.7", "", 200),
        (&delete, GRANTS, "?address=10.20.0.7", "", 404),
        (&delete, GRANTS, "?address=nowhere", "", 422),
        (&delete, GRANTS, "", "", 400),
        (&post, REVOKE, "", &revoke, 200),
        (&post, REVOKE, "", nobody, 422),
        (&get, GRANTS, "", "", 200),
        (&post, RESTORE, "", &restore, 200),
        (&post, RESTORE, "", &restore, 404),
        (&post, RESTORE, "", r#"{"principal":"a"}"#, 422),
    ] {
        let target = format!("{path}{query}");
        let got = seen.ask(appliance, method.clone(), path, &target, body);
        assert_eq!(got.await, status, "{method} {target}");
    }
    recorded(seen, appliance).await;
}

/// Counters, and a flow that weir-control has heard of.
async fn kernel_tells(appliance: &Appliance) {
    let mut flows = appliance.lines("/v1/flows?follow=true").await;
    appliance.kernel.change(|kernel| {
        kernel.counters = vec![weir_dataplane::Counter {
            service: 0,
            class: Class::Managed,
            verdict: Verdict::Forward,
            reason: Reason::Class,
            hook: Hook::Xdp,
            observed: false,
            packets: 3,
            bytes: 180,
        }];
        kernel.flows = vec![packet("203.0.113.9", Verdict::Forward)];
    });
    flows.next().await.expect("the flow");
}

/// What the client does wrong.
async fn refusals(seen: &mut Seen) {
    let appliance = Appliance::start().await;
    let document = seen.document.clone();
    for (path, methods) in object(&document["paths"]) {
        for (method, operation) in object(methods) {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let target = format!("{}?colour=blue", filled(path));
            assert_eq!(
                seen.ask(&appliance, method.clone(), path, &target, "")
                    .await,
                400
            );
            if operation["x-role"] == "change" {
                let socket = appliance.read_socket();
                let reply = appliance
                    .reply(&socket, method.clone(), &filled(path), b"")
                    .await;
                assert_eq!(seen.note(&method, path, &reply), 403);
            }
        }
    }
    let unknown = "/v1/lists/hq-egres/entries";
    let inline = "/v1/lists/bad-people/entries";
    let wrong = r#"{"prefix":"203.0.113.0/33"}"#;
    let right = r#"{"prefix":"203.0.113.0/24"}"#;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    for (method, path, target, body, status) in [
        (&get, "/v1/events", "/v1/events?source=nowhere", "", 422),
        (
            &get,
            "/v1/lists/test",
            "/v1/lists/test?source=nowhere",
            "",
            422,
        ),
        (&get, "/v1/flows", "/v1/flows?source=nowhere", "", 422),
        (&post, CAPTURE, CAPTURE, r#"{"source":"nowhere"}"#, 422),
        (&post, CAPTURE, CAPTURE, r#"{"service":"stss"}"#, 404),
        (&get, "/v1/lists/{name}", "/v1/lists/hq-egres", "", 404),
        (
            &get,
            "/v1/lists/{name}",
            "/v1/lists/hq-egress?prefix=x",
            "",
            422,
        ),
        (&post, ENTRIES, unknown, right, 404),
        (&post, ENTRIES, inline, right, 409),
        (&post, ENTRIES, "/v1/lists/hq-egress/entries", wrong, 422),
        (
            &delete,
            ENTRIES,
            "/v1/lists/hq-egress/entries?prefix=192.0.2.1",
            "",
            404,
        ),
        (
            &delete,
            ENTRIES,
            "/v1/lists/bad-people/entries?prefix=198.51.100.66",
            "",
            409,
        ),
        (
            &delete,
            ENTRIES,
            "/v1/lists/hq-egress/entries?prefix=x",
            "",
            422,
        ),
        (
            &post,
            "/v1/explain",
            "/v1/explain",
            r#"{"source":"192.0.2.1","service":"stss"}"#,
            404,
        ),
    ] {
        let got = seen
            .ask(&appliance, method.clone(), path, target, body)
            .await;
        assert_eq!(got, status, "{method} {target}");
    }
    let running = appliance.stream(Method::POST, CAPTURE, "{}").await;
    let again = seen.ask(&appliance, post.clone(), CAPTURE, CAPTURE, "{}");
    assert_eq!(again.await, 409);
    drop(running);
    appliance.write("weir.toml", "[appliance]\n");
    assert_eq!(
        seen.ask(&appliance, post, "/v1/reload", "/v1/reload", "")
            .await,
        422
    );
    assert_eq!(appliance.read("hq.list"), LIST);
}

/// A proxy that refuses, and a kernel plane that has ended.
async fn planes_that_refuse(seen: &mut Seen) {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let config = appliance.read("weir.toml");
    let changed = config.replace("managed = \"forward\"", "managed = \"proxy\"");
    appliance.write("weir.toml", &changed);
    let entry = r#"{"prefix":"198.51.100.7"}"#;
    let remove = format!("{}?prefix=203.0.113.0/24", filled(ENTRIES));
    let all = [
        (Method::POST, ENTRIES, filled(ENTRIES), entry),
        (Method::DELETE, ENTRIES, remove, ""),
        (Method::POST, "/v1/reload", "/v1/reload".to_owned(), ""),
    ];
    for (method, path, target, body) in &all {
        proxy.refuse_next("the certificate has expired");
        let status = seen
            .ask(&appliance, method.clone(), path, target, body)
            .await;
        assert_eq!(status, 502, "{method} {target}");
    }
    appliance.brain.detach().await.expect("it ends");
    for (method, path, target, body) in &all {
        let status = seen
            .ask(&appliance, method.clone(), path, target, body)
            .await;
        assert_eq!(status, 500, "{method} {target}");
    }
    for path in ["/v1/status", "/v1/counters", "/v1/metrics"] {
        assert_eq!(seen.ask(&appliance, Method::GET, path, path, "").await, 500);
    }
    let capture = seen.ask(&appliance, Method::POST, CAPTURE, CAPTURE, "{}");
    assert_eq!(capture.await, 500);
    let revoke = json!({ "principal": principal('a'), "reason": "left" }).to_string();
    let restore = json!({ "principal": principal('a') }).to_string();
    let address = "/v1/grants?address=10.20.0.7";
    for (method, path, target, body) in [
        (Method::POST, REVOKE, REVOKE, revoke.as_str()),
        (Method::POST, RESTORE, RESTORE, &restore),
        (Method::DELETE, GRANTS, address, ""),
    ] {
        let status = seen.ask(&appliance, method, path, target, body).await;
        assert_eq!(status, 500, "{target}");
    }
    let source = r#"{"source":"192.0.2.1"}"#;
    let explain = "/v1/explain";
    assert_eq!(
        seen.ask(&appliance, Method::POST, explain, explain, source)
            .await,
        500
    );
}

/// Keys that are held and approved, that cannot be read, and that a plane does not take.
async fn keys(seen: &mut Seen) {
    let [one, two, three] = [SigningKey::new(), SigningKey::new(), SigningKey::new()];
    let publisher = Publisher::start(&[&one]).await;
    let appliance = Appliance::start_with(Settings {
        edits: vec![publisher.edit("")],
        ..Settings::default()
    })
    .await;
    let proxy = appliance.proxy().await;
    let approvals = [&one, &two, &three]
        .map(|key| json!({ "service": "sts", "fingerprints": [key.fingerprint()] }).to_string());
    let nobody = r#"{"service":"stss","fingerprints":[]}"#;
    for (path, body, status) in [
        (REFRESH, "", 200),
        (REFRESH, r#"{"service":"stss"}"#, 404),
        (APPROVE, nobody, 404),
        (APPROVE, &approvals[1], 404),
        (APPROVE, r#"{"service":"sts","fingerprints":["x"]}"#, 422),
    ] {
        let got = seen.ask(&appliance, Method::POST, path, path, body);
        assert_eq!(got.await, status, "{path} {body}");
    }
    let post = Method::POST;
    publisher.publish(&[&two]);
    seen.ask(&appliance, post.clone(), REFRESH, REFRESH, "")
        .await;
    let held = seen.ask(&appliance, Method::GET, KEYS, KEYS, "");
    assert_eq!(held.await, 200);
    let wrong = seen.ask(&appliance, post.clone(), APPROVE, APPROVE, &approvals[0]);
    assert_eq!(wrong.await, 422);
    proxy.refuse_next("no memory");
    let refused = seen.ask(&appliance, post.clone(), APPROVE, APPROVE, &approvals[1]);
    assert_eq!(refused.await, 502);
    publisher.publish(&[&three]);
    seen.ask(&appliance, post.clone(), REFRESH, REFRESH, "")
        .await;
    let approved = seen.ask(&appliance, post.clone(), APPROVE, APPROVE, &approvals[2]);
    assert_eq!(approved.await, 200);
    publisher.publish(&[&one]);
    seen.ask(&appliance, post.clone(), REFRESH, REFRESH, "")
        .await;
    publisher.stop();
    let refresh = seen.ask(&appliance, post.clone(), REFRESH, REFRESH, "");
    assert_eq!(refresh.await, 502);
    let unread = seen.ask(&appliance, Method::GET, KEYS, KEYS, "");
    assert_eq!(unread.await, 200);
    appliance.brain.detach().await.expect("it ends");
    let failed = seen.ask(&appliance, post, APPROVE, APPROVE, &approvals[0]);
    assert_eq!(failed.await, 500);
}

/// Clients that take too much.
async fn bounds(seen: &mut Seen) {
    let with = |clients| Settings {
        clients,
        ..Settings::default()
    };
    let small = Appliance::start_with(with(Limits {
        body: 10,
        ..Limits::default()
    }))
    .await;
    let slow = Appliance::start_with(with(Limits {
        body_within: Duration::from_millis(20),
        ..Limits::default()
    }))
    .await;
    let full = Appliance::start_with(with(Limits {
        connections: 1,
        for_root: 0,
        ..Limits::default()
    }))
    .await;
    // Its answer shows that it was accepted; it stays open.
    let _held = full.lines("/v1/events?follow=true&limit=1").await;
    for operation in &OPERATIONS {
        let (method, path) = (&operation.method, operation.path);
        let socket = full.control_socket();
        let reply = full.raw(&socket, &head(method, path, 0)).await;
        assert_eq!(seen.note(method, path, &reply), 503);
        assert_eq!(reply.headers["retry-after"], "1");
        if operation.body.is_some() {
            let long = "x".repeat(11);
            assert_eq!(
                seen.ask(&small, method.clone(), path, &filled(path), &long)
                    .await,
                413
            );
            let socket = slow.control_socket();
            let reply = slow.raw(&socket, &head(method, path, 5)).await;
            assert_eq!(seen.note(method, path, &reply), 408);
        }
    }
}

fn head(method: &Method, path: &str, length: usize) -> String {
    let target = filled(path);
    format!(
        "{method} {target} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn document() -> Value {
    serde_json::from_str(DESCRIPTION).expect("the document is JSON")
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().expect("an object").iter()
}

fn filled(path: &str) -> String {
    path.replace("{name}", "hq-egress")
}

fn fits(document: &Value, schema: &Value, value: &Value) {
    if let Some(misfit) = schema::misfit(document, schema, value) {
        panic!("{misfit}");
    }
}
