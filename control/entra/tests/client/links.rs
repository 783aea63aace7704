//! Which links a token is sent along with.

use serde_json::{Value, json};
use weir_entra::decode::{domains, groups, users};
use weir_entra::graph::{Ask, At, Call, Kind};
use weir_entra::model::Id;

use crate::support::{Authority, Reply, Scripted, Turned, token_path};

fn page() -> Value {
    json!({ "value": [], "@odata.deltaLink": "https://graph.example/v1.0/users/delta?$deltatoken=d" })
}

#[tokio::test]
async fn a_link_that_leads_away_is_refused_before_anything_is_sent() {
    let it = Scripted::start(|_, _| Reply::json(&page())).await;
    // Trusted by TLS, and still not the Graph of the configuration.
    let authority = Authority::new();
    let clock = std::sync::Arc::<Turned>::default();
    let other = authority.serve(&clock, |_, _| Reply::json(&page())).await;
    let own = &it.server.origin;
    let host = own.trim_start_matches("https://");
    let port = host.trim_start_matches("localhost:");
    let links = [
        format!("{}/v1.0/users/delta?$skiptoken=s", other.origin),
        format!("http://{host}/v1.0/users/delta?$skiptoken=s"),
        format!("https://127.0.0.1:{port}/v1.0/users/delta?$skiptoken=s"),
        "https://localhost/v1.0/users/delta?$skiptoken=s".to_owned(),
        format!("https://localhost.evil.example:{port}/v1.0/users/delta"),
        format!("https://{host}@evil.example/v1.0/users/delta"),
        format!("https://me@{host}/v1.0/users/delta"),
        format!("https://me:pass@{host}/v1.0/users/delta"),
        format!("{own}/beta/users/delta?$skiptoken=s"),
        format!("{own}/v1.0/groups/delta?$skiptoken=s"),
        format!("{own}/v1.0/users?$skiptoken=s"),
        format!("{own}/v1.0/users/delta/x"),
        format!("{own}/v1.0/users/delta/../../users?$skiptoken=s"),
        format!("{own}/v1.0/users%2fdelta?$skiptoken=s"),
        format!("{own}/v1.0/users/delta?$skiptoken=s#x"),
        format!("{own}\\v1.0\\groups"),
        "//evil.example/v1.0/users/delta".to_owned(),
        "/v1.0/users/delta".to_owned(),
        "users/delta".to_owned(),
        String::new(),
        format!("{own}/v1.0/users/delta?$skiptoken={}", "s".repeat(20_000)),
    ];
    for link in &links {
        for at in [At::Next(link), At::Delta(link)] {
            let call = Call::at(&Ask::UserChanges, at);
            let failure = it.graph.get(&call, users::changes).await.expect_err(link);
            assert!(
                matches!(failure.kind, Kind::Foreign(_)),
                "{link}: {failure}"
            );
            assert!(!failure.is_transient());
            assert!(!failure.to_string().contains("skiptoken"), "{failure}");
            assert!(!failure.to_string().contains("pass@"), "{failure}");
        }
    }
    assert!(
        it.server.asked().is_empty(),
        "not even a token was asked for"
    );
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_link_is_followed_as_it_is_written() {
    let it = Scripted::start(|_, _| Reply::json(&page())).await;
    let own = &it.server.origin;
    for path in [
        "/v1.0/users/delta?$skiptoken=Ab%2Bc-_~==",
        "/v1.0/users/delta()?$deltatoken=x",
        "/v1.0/users/microsoft.graph.delta()?$deltatoken=x",
        "/v1.0/Users/delta?$deltatoken=x",
    ] {
        let link = format!("{own}{path}");
        let call = Call::at(&Ask::UserChanges, At::Next(&link));
        it.graph.get(&call, users::changes).await.expect(path);
        assert_eq!(it.server.asked().last().expect("it was asked").target, path);
    }
    assert_eq!(it.server.asked_for(&token_path()).len(), 1);
}

#[tokio::test]
async fn objects_may_stand_in_parentheses() {
    let it = Scripted::start(|_, _| Reply::json(&json!({ "value": [] }))).await;
    let own = &it.server.origin;
    let group = Id::from_u128(7);
    let link = format!("{own}/v1.0/groups('{group}')/members?$skiptoken=x");
    let ask = Ask::Members(group);
    let call = Call::at(&ask, At::Next(&link));
    it.graph
        .get(&call, groups::members)
        .await
        .expect("the same group");
    let other = Ask::Members(Id::from_u128(8));
    let call = Call::at(&other, At::Next(&link));
    it.graph
        .get(&call, groups::members)
        .await
        .expect_err("another group");

    // What stands in a path is one segment of it.
    let ask = Ask::Federation("a/../../x?y#z.example".to_owned());
    it.graph
        .get(&Call::start(&ask), domains::federation)
        .await
        .expect("no settings");
    let asked = it.server.asked();
    assert_eq!(
        asked.last().expect("it was asked").target,
        "/v1.0/domains/a%2F..%2F..%2Fx%3Fy%23z.example/federationConfiguration"
    );
}
