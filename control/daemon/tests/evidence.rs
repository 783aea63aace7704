//! Evidence about the tenant over the control socket: exports, users that are explained, and sign-ins that only the
//! tenant saw.

mod tenant;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use weir_api::RecordBody;
use weir_control::api::EXPORT;
use weir_control::testing::{Appliance, Reply, event};
use weir_entra::review::What;
use weir_entra::review::exports::{Exports, PublicKey, Signed, Verified};
use weir_lab_entra::Entra;
use weir_lab_entra::world::documents::Section;
use weir_lab_entra::world::object::Kind;
use weir_lab_entra::world::populate::TENANT;
use weir_lab_entra::world::shapes;

use tenant::Tenant;

const ALICE: &str = "alice@mex.corp.example";
const EVIDENCE: &str = "state/entra/evidence";

async fn get(appliance: &Appliance, path: &str) -> Reply {
    let socket = appliance.read_socket();
    appliance.reply(&socket, Method::GET, path, b"").await
}

/// What is refused: the status, what is wrong, and what to write instead.
async fn refused(appliance: &Appliance, path: &str) -> (u16, String) {
    let reply = get(appliance, path).await;
    let failure: Value = serde_json::from_str(&reply.body).expect("JSON");
    let help = failure["help"].as_str().unwrap_or_default();
    let error = failure["error"].as_str().expect("words");
    (reply.status.as_u16(), format!("{error}; {help}"))
}

/// An export, after its signature was verified by what the appliance hands out.
async fn export(appliance: &Appliance, path: &str) -> (String, Signed) {
    let reply = get(appliance, path).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
    let number = reply.headers[EXPORT].to_str().expect("text");
    let line = format!("/v1/entra/review/signature?export={number}");
    let line = get(appliance, &line).await.body;
    let key = get(appliance, "/v1/entra/review/key").await.body;
    let key = PublicKey::from_pem(&key).expect("a key");
    let signed = Signed::verify(&line, reply.body.as_bytes(), &key).expect("it is signed");
    assert_eq!(signed.manifest.number.to_string(), number);
    (reply.body, signed)
}

fn id_of(lab: &Entra, kind: Kind, name: &str) -> uuid::Uuid {
    let world = lab.world();
    let directory = &world.tenants[0].directory;
    let mut objects = directory
        .of_kind(kind)
        .iter()
        .map(|slot| directory.object(*slot));
    let property = match kind {
        Kind::User => "userPrincipalName",
        _ => "displayName",
    };
    objects
        .find(|object| object.text(property) == name)
        .unwrap_or_else(|| panic!("no {name}"))
        .id
}

fn text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).expect("a time").replace('+', "%2B")
}

#[tokio::test]
async fn exports_are_signed_chained_and_noted() {
    let Tenant { appliance, .. } = &Tenant::start().await;
    let (access, first) = export(appliance, "/v1/entra/review/access").await;
    assert!(access.starts_with("tenant,as_of,group_id,group,via,direct,user_id,upn,"));
    let rows = access.lines().count() as u64 - 1;
    assert_eq!(first.manifest.content.rows, rows);
    assert!(rows > 200, "grace is in many groups");
    assert_eq!(first.manifest.head.what, What::Access);
    assert_eq!(first.manifest.head.tenant, TENANT);

    let (posture, second) = export(appliance, "/v1/entra/review/posture?format=json").await;
    assert_eq!(second.manifest.previous, first.digest());
    let posture: Value = serde_json::from_str(&posture).expect("JSON");
    assert_eq!(
        posture["rows"].as_array().map(Vec::len),
        Some(usize::try_from(second.manifest.content.rows).expect("few"))
    );

    let directory = appliance.path(EVIDENCE);
    let key = get(appliance, "/v1/entra/review/key").await.body;
    let key = PublicKey::from_pem(&key).expect("a key");
    let chain = Exports::of(&directory).verify(&key, Some(first.digest()));
    let head = second.digest();
    assert_eq!(
        chain.expect("it reads"),
        Verified::Whole { exports: 2, head }
    );
    // The key and the chain, of nobody else, and nothing of the exports themselves.
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("it is there")
        .map(|entry| {
            let entry = entry.expect("it is there");
            let mode = entry.metadata().expect("it is there").permissions().mode();
            (entry.file_name().into_string().expect("text"), mode & 0o777)
        })
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            ("evidence.key".to_owned(), 0o600),
            ("exports.chain".to_owned(), 0o600)
        ]
    );

    let log = get(appliance, "/v1/events?kind=change").await.body;
    let acts = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let acts: Vec<Value> = acts.filter(|act| act["action"] == "review").collect();
    assert_eq!(acts.len(), 2, "{log}");
    for (act, signed) in acts.iter().zip([&first, &second]) {
        let detail = act["detail"].as_str().expect("text");
        let manifest = &signed.manifest;
        for told in [
            manifest.head.what.as_str().to_owned(),
            manifest.head.as_of.clone(),
            format!("export {}", manifest.number),
            manifest.content.sha256.to_string(),
        ] {
            assert!(detail.contains(&told), "{detail}");
        }
        assert_eq!(
            act["who"]["user"]["uid"],
            nix::unistd::Uid::effective().as_raw()
        );
        assert_eq!(act["done"], true);
    }
}

#[tokio::test]
async fn what_was_before_an_edit_can_be_asked_for() {
    let Tenant { lab, appliance } = &Tenant::start().await;
    let before = OffsetDateTime::now_utc();
    let helpdesk = id_of(lab, Kind::Group, "rg-helpdesk");
    let (alice, bob) = (
        id_of(lab, Kind::User, ALICE),
        id_of(lab, Kind::User, "bob@nomex.corp.example"),
    );
    lab.edit(|tenant| {
        tenant.join(helpdesk, alice).expect("joined");
        tenant.leave(helpdesk, bob).expect("left");
    });
    let synced = appliance.brain.tenant().expect("it runs");
    synced.handle.sync(None, false).await.expect("it runs");

    let members = async |query: &str| -> Vec<String> {
        let path = format!("/v1/entra/review/access?format=json{query}");
        let (text, _) = export(appliance, &path).await;
        let export: Value = serde_json::from_str(&text).expect("JSON");
        let rows = export["rows"].as_array().expect("rows").iter();
        let rows = rows.filter(|row| row["group"] == "rg-helpdesk");
        rows.map(|row| row["upn"].as_str().expect("a name").to_owned())
            .collect()
    };
    let then = format!("&as_of={}", text(before));
    assert_eq!(members(&then).await, ["bob@nomex.corp.example"]);
    assert_eq!(members("").await, [ALICE]);
    // A day is all of it, as far as it is over: today is as it is now.
    let today = format!("&as_of={}", OffsetDateTime::now_utc().date());
    assert_eq!(members(&today).await, [ALICE]);

    for (what, event, upn) in [
        ("joiners", "membership-began", ALICE),
        ("leavers", "membership-ended", "bob@nomex.corp.example"),
    ] {
        let path = format!("/v1/entra/review/{what}?from={}", text(before));
        let (csv, signed) = export(appliance, &path).await;
        assert_eq!(signed.manifest.content.rows, 1, "{csv}");
        let row = csv.lines().nth(1).expect("a row");
        for told in [event, upn, "rg-helpdesk", "admin@fabrik.example"] {
            assert!(row.contains(told), "{row}");
        }
        assert!(signed.manifest.head.from.is_some());
    }
}

#[tokio::test]
async fn what_nobody_knows_is_refused_with_what_to_ask_instead() {
    let Tenant { appliance, .. } = &Tenant::start().await;
    let tomorrow = OffsetDateTime::now_utc() + Duration::days(2);
    let ahead = format!("/v1/entra/review/access?as_of={}", tomorrow.date());
    let ago = OffsetDateTime::now_utc() - Duration::days(1);
    let earlier = format!("/v1/entra/review/leavers?from=2000-01-01&to={}", text(ago));
    let backwards = "/v1/entra/review/joiners?from=2026-01-02&to=2026-01-01";
    for (path, status, told) in [
        (ahead.as_str(), 400, "has not come yet"),
        ("/v1/entra/review/posture?as_of=2000-01-01", 409, "or later"),
        (&earlier, 409, "nobody knows who was in the tenant"),
        (backwards, 400, "put the earlier date first"),
        (
            "/v1/entra/review/access?as_of=31.3.2026",
            400,
            "write a day, 2026-03-31",
        ),
        (
            "/v1/entra/review/access?as_of=2026-02-30",
            400,
            "write a day",
        ),
        ("/v1/entra/review/access?format=xlsx", 400, "`csv`, `json`"),
        (
            "/v1/entra/review/access?from=2026-01-01",
            400,
            "no key of this query",
        ),
        ("/v1/entra/review/joiners", 400, "`from` is missing"),
        (
            "/v1/entra/review/signature?export=7",
            404,
            "there is no export 7",
        ),
        ("/v1/entra/review/signature", 400, "`export` is missing"),
        (
            "/v1/explain/user?user=nobody@corp.example",
            404,
            "no user `nobody@corp.example`",
        ),
        ("/v1/explain/user?user=CORP%5Calice", 404, "DOMAIN\\name"),
        (
            "/v1/entra/sign-ins?from=2026-01-02&to=2026-01-01",
            400,
            "put the earlier date first",
        ),
        ("/v1/entra/sign-ins?source=x", 422, "x"),
    ] {
        let (got, words) = refused(appliance, path).await;
        assert_eq!(got, status, "{path}: {words}");
        assert!(words.contains(told), "{path}: {words}");
    }
    // Nothing of that was handed out, so nothing is noted.
    let log = get(appliance, "/v1/events?kind=change").await.body;
    assert!(!log.contains("\"review\""), "{log}");
    // A key that others may read signs nothing.
    get(appliance, "/v1/entra/review/key").await;
    let key = appliance.path(EVIDENCE).join("evidence.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("it is ours");
    let (status, words) = refused(appliance, "/v1/entra/review/access").await;
    assert_eq!(status, 500);
    assert!(words.contains("may be read by others"), "{words}");

    let plain = Appliance::start().await;
    let (status, words) = refused(&plain, "/v1/entra/review/access").await;
    assert_eq!(status, 404);
    assert!(words.contains("[entra]"), "{words}");
}

#[tokio::test]
async fn what_was_never_read_is_no_empty_export() {
    let Tenant { appliance, .. } = &Tenant::unread().await;
    for path in [
        "/v1/entra/review/access",
        "/v1/entra/review/leavers?from=2026-01-01",
        "/v1/entra/sign-ins",
        "/v1/explain/user?user=a@b",
    ] {
        let (status, words) = refused(appliance, path).await;
        assert_eq!(status, 409, "{path}: {words}");
        assert!(words.contains("never read"), "{path}: {words}");
    }
}

#[tokio::test]
async fn a_user_is_explained_with_what_follows_from_it() {
    let Tenant { lab, appliance } = &Tenant::start().await;
    let alice = id_of(lab, Kind::User, ALICE);
    let revoke = json!({ "principal": format!("{TENANT}/{alice}"), "reason": "laptop stolen" });
    let (status, answer) = appliance
        .ask(Method::POST, "/v1/principals/revoke", Some(revoke))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let by_name = appliance
        .get("/v1/explain/user?user=ALICE@mex.corp.example")
        .await;
    assert_eq!(by_name["upn"], ALICE);
    assert_eq!(by_name["principal"], format!("{TENANT}/{alice}"));
    assert_eq!(by_name["enabled"], true);
    assert_eq!(by_name["roles"], json!(["Global Administrator"]));
    assert_eq!(by_name["eligible"], json!([]));
    assert_eq!(by_name["mfa_registered"], true);
    assert!(by_name["last_sign_in"].is_string());
    let groups = by_name["groups"].as_array().expect("groups are known");
    let names: Vec<_> = groups.iter().map(|group| &group["name"]).collect();
    assert_eq!(
        names,
        ["dyn-lab", "engineers", "sg-hidden", "sg-lab-all", "staff"]
    );
    assert_eq!(groups[0]["rule"], "(user.department -eq \"Lab\")");
    let bound = json!([{ "group": "engineers", "class": "unmanaged" }]);
    assert_eq!(by_name["classes"], bound);
    let rules = json!([{
        "service": "sts", "rule": "rule/grant", "decision": "pass", "names": ["group staff"], "negated": false,
    }]);
    assert_eq!(by_name["rules"], rules);
    assert_eq!(by_name["revoked"]["reason"], "laptop stolen");
    let parts = by_name["parts"].as_array().expect("parts");
    assert!(
        parts
            .iter()
            .all(|part| part["current"].is_string() && part["stale"] == false)
    );

    for path in [format!("{alice}"), format!("{TENANT}%2F{alice}")] {
        let same = appliance
            .get(&format!("/v1/explain/user?user={path}"))
            .await;
        assert_eq!(same["principal"], by_name["principal"]);
    }
    // Through a group in a group, and a role that may be taken.
    let carol = appliance
        .get("/v1/explain/user?user=carol@mex-adfs.corp.example")
        .await;
    let groups = carol["groups"].as_array().expect("groups are known");
    let all = groups.iter().find(|group| group["name"] == "sg-lab-all");
    let path = json!(["sg-lab-shift", "sg-lab-night", "sg-lab-all"]);
    assert_eq!(all.expect("she is in it")["path"], path);
    assert_eq!(carol["eligible"], json!(["Security Administrator"]));
    assert_eq!(carol["revoked"], Value::Null);
    // Who is gone is told to be.
    lab.edit(|tenant| tenant.delete(alice)).expect("deleted");
    let synced = appliance.brain.tenant().expect("it runs");
    synced.handle.sync(None, false).await.expect("it runs");
    for name in [ALICE.to_owned(), alice.to_string()] {
        let path = format!("/v1/explain/user?user={name}");
        let (status, words) = refused(appliance, &path).await;
        assert_eq!(status, 404);
        assert!(words.contains("was deleted at"), "{words}");
    }
}

/// Puts a sign-in into the tenant's log.
fn sign_in(lab: &Entra, upn: &str, at: OffsetDateTime, source: &str, error: i32) {
    let user = id_of(lab, Kind::User, upn);
    let id = uuid::Uuid::from_u128(u128::from(at.unix_timestamp().unsigned_abs()) << 8);
    let entry = shapes::sign_in(id, at, (user, upn, "Somebody"), source, error);
    lab.edit(|tenant| tenant.put(Section::SignIns, entry));
}

#[tokio::test]
async fn sign_ins_are_told_with_what_weir_had_to_do_with_them() {
    let Tenant { lab, appliance } = &Tenant::start().await;
    let now = OffsetDateTime::now_utc();
    let bob = "bob@nomex.corp.example";
    let ago = |minutes| now - Duration::minutes(minutes);
    sign_in(lab, bob, ago(20), "198.51.100.7", 0);
    sign_in(lab, ALICE, ago(30), "198.51.100.7", 50126);
    sign_in(lab, bob, ago(40), "198.51.100.9", 0);
    // Somebody else there, and bob long before: neither is this sign-in.
    let decided = |id: &str, at: OffsetDateTime, user: Option<&str>| {
        let mut event = event(id);
        event.time = audit_time(at);
        event.effective_source = None;
        event.stated_user = user.map(str::to_owned);
        let audit = appliance.brain.audit();
        audit.append(RecordBody::Event(Box::new(event)));
    };
    decided("00000000000000b1", ago(50), Some(bob));
    decided(
        "00000000000000b2",
        ago(31),
        Some("carol@mex-adfs.corp.example"),
    );
    decided("00000000000000b3", ago(22), Some(bob));
    decided("00000000000000b4", ago(33), None);
    let synced = appliance.brain.tenant().expect("it runs");
    synced.handle.sync(None, false).await.expect("it runs");

    let all = appliance.get("/v1/entra/sign-ins").await;
    let told: Vec<_> = all["sign_ins"]
        .as_array()
        .expect("sign-ins")
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let id = one["decision"]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            (
                text("user"),
                text("source"),
                text("class"),
                text("weir"),
                id,
            )
        })
        .collect();
    let row = |user: &str, source: &str, class: &str, weir: &str, id: &str| {
        let text = str::to_owned;
        (text(user), text(source), text(class), text(weir), text(id))
    };
    let managed = "203.0.113.18";
    assert_eq!(
        told,
        [
            row(ALICE, managed, "managed", "forwarded", ""),
            row(bob, managed, "managed", "forwarded", ""),
            row(ALICE, managed, "managed", "forwarded", ""),
            row(
                bob,
                "198.51.100.7",
                "unmanaged",
                "decided",
                "00000000000000b3"
            ),
            row(
                ALICE,
                "198.51.100.7",
                "unmanaged",
                "decided",
                "00000000000000b4"
            ),
            row(bob, "198.51.100.9", "unmanaged", "unseen", ""),
        ]
    );
    let first = &all["sign_ins"][0];
    assert_eq!(
        (&first["list"], &first["service"], &first["federated"]),
        (&json!("hq-egress"), &json!("sts"), &json!(true))
    );
    let decided = &all["sign_ins"][3]["decision"];
    assert_eq!(decided["names_user"], true);
    assert_eq!(decided["rule"], "office365-strict/native-unmanaged");
    assert_eq!(all["sign_ins"][4]["decision"]["names_user"], false);
    assert_eq!(all["sign_ins"][4]["error"], 50126);
    assert_eq!(all["more"], false);

    sign_ins_are_filtered(appliance, ago(25)).await;
}

/// By user, source and time, and no more than so many.
async fn sign_ins_are_filtered(appliance: &Appliance, between: OffsetDateTime) {
    for (query, count, more) in [
        ("user=BOB@nomex.corp.example", 3, false),
        ("user=@mex.corp.example", 3, false),
        ("source=198.51.100.0/24", 3, false),
        ("source=198.51.100.0/24&limit=2", 2, true),
        ("limit=0", 0, true),
    ] {
        let found = appliance.get(&format!("/v1/entra/sign-ins?{query}")).await;
        assert_eq!(
            found["sign_ins"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
        assert_eq!(found["more"], more, "{query}");
    }
    let until = text(between);
    let found = appliance
        .get(&format!("/v1/entra/sign-ins?to={until}"))
        .await;
    assert_eq!(found["sign_ins"].as_array().map(Vec::len), Some(2));
    let found = appliance
        .get(&format!("/v1/entra/sign-ins?from={until}"))
        .await;
    assert_eq!(found["sign_ins"].as_array().map(Vec::len), Some(4));
}

/// A time as it stands in the audit log.
fn audit_time(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).expect("nought");
    at.format(&Rfc3339).expect("a time").replace('Z', ".000Z")
}
