//! Limits, and everything that can go wrong on the way.

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, quiet, read};
use time::Duration;
use time::format_description::well_known::Rfc2822;
use weir_lab_entra::faults::{Act, Fault, Service};

const ORGANIZATION: &str = "/organization";

fn on_organization(act: Act) -> Fault {
    Fault::graph("/v1.0/organization*", act).times(1)
}

#[tokio::test]
async fn resource_units_are_counted_and_come_back() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    {
        let mut world = lab.world();
        world.throttle.on = true;
        world.throttle.units = Some(20.0);
        let now = world.clock.now();
        world.clock.stop_at(now);
    }
    let path = "/users/delta";
    for _ in 0..4 {
        let answer = client.get(path).await;
        assert_eq!(answer.header("x-ms-resource-unit"), "5");
    }
    let refused = client.get(path).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")
    );
    assert_eq!(
        refused.header("x-ms-throttle-information"),
        "ResourceUnitLimitExceeded"
    );
    assert!(
        refused
            .header("x-ms-throttle-scope")
            .starts_with("Tenant_Application/ReadWrite/")
    );
    let after: i64 = refused.header("retry-after").parse().expect("seconds");
    lab.world().clock.advance(Duration::seconds(after));
    let answer = client.get(path).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.header("x-ms-throttle-limit-percentage").is_empty());
    lab.world().clock.advance(Duration::seconds(10));
    let cheap = client.get("/users?$select=id&$top=5").await;
    assert_eq!(cheap.header("x-ms-resource-unit"), "1");
}

#[tokio::test]
async fn conditional_access_takes_one_request_a_second_and_does_not_say_when() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    {
        let mut world = lab.world();
        world.throttle.on = true;
        let now = world.clock.now();
        world.clock.stop_at(now);
    }
    assert_eq!(
        client
            .get("/identity/conditionalAccess/policies")
            .await
            .status,
        StatusCode::OK
    );
    let refused = client
        .get("/identity/conditionalAccess/namedLocations")
        .await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), "");
    lab.world().clock.advance(Duration::milliseconds(1100));
    assert_eq!(
        client
            .get("/identity/conditionalAccess/namedLocations")
            .await
            .status,
        StatusCode::OK
    );
    for _ in 0..5 {
        assert_eq!(
            client.get("/auditLogs/signIns").await.status,
            StatusCode::OK
        );
    }
    assert_eq!(
        client.get("/auditLogs/signIns").await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn faults_meet_the_request_that_they_are_for() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let fault = |code: &str| Act::Graph {
        status: 503,
        code: code.to_owned(),
        message: "later".to_owned(),
        headers: vec![("Retry-After".to_owned(), "1.5".to_owned())],
    };
    lab.fault(
        Fault::graph("/v1.0/organization*", fault("serviceNotAvailable"))
            .after(1)
            .times(1),
    );
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.get(ORGANIZATION).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 503, 200]);
    lab.fault(Fault {
        at: Some(Service::Login),
        ..Fault::graph("*", Act::Html { status: 502 })
    });
    assert_eq!(
        client.get(ORGANIZATION).await.status,
        StatusCode::OK,
        "another service"
    );
    let page = client.ask_token(&support::secret()).await;
    assert!(page.status == StatusCode::BAD_GATEWAY && page.text.starts_with("<html>"));
    lab.world().faults.clear();
    assert_eq!(
        client.ask_token(&support::secret()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn bodies_are_cut_shortened_compressed_or_promised_too_long() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let whole = client.get(ORGANIZATION).await.text;
    lab.fault(on_organization(Act::Truncate { bytes: 50 }));
    assert_eq!(
        client.get(ORGANIZATION).await.text,
        whole[..50],
        "it says that this is all"
    );
    for act in [Act::Cut { bytes: 50 }, Act::WrongLength] {
        lab.fault(on_organization(act.clone()));
        let response = client
            .try_send(Method::GET, ORGANIZATION, &[], None)
            .await
            .expect("a head");
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.text().await.is_err(), "{act:?}");
    }
    lab.fault(on_organization(Act::Drip {
        bytes: 400,
        milliseconds: 1,
    }));
    assert_eq!(
        client.get(ORGANIZATION).await.text,
        whole,
        "slow, but whole"
    );
    lab.fault(on_organization(Act::Gzip));
    let response = client
        .try_send(Method::GET, ORGANIZATION, &[], None)
        .await
        .expect("a head");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.bytes().await.expect("a body");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&packed[..]),
        &mut unpacked,
    )
    .expect("gzip");
    assert_eq!(unpacked, whole);
}

#[tokio::test]
async fn answers_lead_elsewhere_or_are_about_somebody_else() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    lab.fault(on_organization(Act::Redirect {
        location: format!("{}/v1.0/organization", lab.elsewhere()),
    }));
    let moved = client.get(ORGANIZATION).await;
    assert_eq!(moved.status, StatusCode::FOUND);
    let other = uuid::Uuid::from_u128(42);
    lab.fault(on_organization(Act::Tenant { id: other }));
    assert_eq!(
        client.get(ORGANIZATION).await.items()[0]["id"],
        json!(other)
    );
    lab.fault(
        Fault::graph(
            "/v1.0/users?*",
            Act::Links {
                origin: lab.elsewhere().to_owned(),
            },
        )
        .times(1),
    );
    let page = client.get("/users?$top=1").await.json();
    let link = page["@odata.nextLink"].as_str().expect("more");
    assert!(link.starts_with(lab.elsewhere()), "{link}");
    let before = lab.seen().len();
    let gullible = client
        .try_send(Method::GET, link, &[], None)
        .await
        .expect("somebody answers");
    assert_eq!(read(gullible).await.status, StatusCode::OK);
    let seen = &lab.seen()[before];
    assert!(
        seen.token && lab.elsewhere().ends_with(&seen.host),
        "{seen:?}"
    );
}

#[tokio::test]
async fn clocks_differ_and_collections_turn_out_empty() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    lab.fault(on_organization(Act::Skew { seconds: 900 }));
    let answer = client.get(ORGANIZATION).await;
    let date = time::OffsetDateTime::parse(answer.header("date"), &Rfc2822).expect("a date");
    let ahead = date - lab.world().clock.now();
    assert!(
        (Duration::seconds(890)..Duration::seconds(901)).contains(&ahead),
        "{ahead}"
    );
    lab.fault(Fault::graph("/v1.0/users*", Act::Hollow).times(1));
    assert_eq!(client.all("/users?$top=1").await, [] as [Value; 0]);
    lab.fault(Fault::graph("/v1.0/users*", Act::Empty).times(1));
    let page = client.get("/users?$top=1").await;
    assert!(page.items().is_empty() && page.json()["@odata.nextLink"].is_string());
}

#[tokio::test]
async fn a_replica_that_lags_shows_how_it_was() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let [user, group] =
        lab.edit(|edit| [edit.user("old@fabrik.example", "Old"), edit.group("sg-old")]);
    lab.edit(|edit| {
        edit.set(user, "displayName", &json!("New"))?;
        edit.join(group, user)
    })
    .expect("both are there");
    let path = format!("/users/{user}?$select=displayName");
    let members = format!("/groups/{group}/members");
    assert_eq!(client.get(&path).await.json()["displayName"], "New");
    assert_eq!(client.get(&members).await.items().len(), 1);
    lab.world().quirks.lagging = 1.0;
    lab.world().quirks.lag = 2;
    let mut names = std::collections::BTreeSet::new();
    let mut counts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        names.insert(client.get(&path).await.json()["displayName"].to_string());
        counts.insert(client.get(&members).await.items().len());
    }
    assert_eq!(
        names.len(),
        2,
        "some replicas have seen one change, some none: {names:?}"
    );
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [0]);
}

#[tokio::test]
async fn the_administration_takes_changes_by_http() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let order = async |body: Value| {
        let sent = client
            .http
            .post(lab.admin())
            .body(body.to_string())
            .send()
            .await;
        read(sent.expect("an answer")).await
    };
    let made = order(json!({ "do": "create", "kind": "user", "properties": {
        "userPrincipalName": "by.curl@fabrik.example", "displayName": "By Curl" } }))
    .await;
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/users/{id}");
    assert_eq!(client.get(&path).await.json()["displayName"], "By Curl");
    assert_eq!(
        order(json!({ "do": "delete", "id": id })).await.status,
        StatusCode::OK
    );
    assert_eq!(client.get(&path).await.status, StatusCode::NOT_FOUND);
    let deleted = client
        .get("/directory/deletedItems/microsoft.graph.user")
        .await
        .items();
    assert!(
        deleted
            .iter()
            .any(|item| item["id"] == id.as_str() && item["deletedDateTime"].is_string())
    );
    order(
        json!({ "do": "fault", "fault": { "path": "*", "at": "graph", "times": 1,
        "act": { "do": "html", "status": 503 } } }),
    )
    .await;
    assert_eq!(
        client.get(ORGANIZATION).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let wrong = order(json!({ "do": "set", "id": id, "property": "shoeSize", "value": 44 })).await;
    assert_eq!(wrong.status, StatusCode::CONFLICT);
    assert_eq!(
        order(json!({ "do": "dance" })).await.status,
        StatusCode::BAD_REQUEST
    );
    let state = read(
        client
            .http
            .get(lab.admin())
            .send()
            .await
            .expect("an answer"),
    )
    .await
    .json();
    assert_eq!(state["graph"], lab.graph());
    let audits = client
        .get("/auditLogs/directoryAudits?$filter=category%20eq%20%27UserManagement%27")
        .await;
    let newest = &audits.items()[0];
    assert_eq!(newest["activityDisplayName"], "Delete user");
    assert_eq!(newest["targetResources"][0]["id"], id.as_str());
}
