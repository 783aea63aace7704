//! Who is a member of what, however deep, and what a batch makes of such questions.

mod support;

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Client, quiet};
use uuid::Uuid;
use weir_lab_entra::Entra;
use weir_lab_entra::faults::{Act, Fault};
use weir_lab_entra::world::shapes::GLOBAL_ADMINISTRATOR;

struct Nested {
    top: Uuid,
    inner: Uuid,
    user: Uuid,
    deep: Uuid,
}

/// `top` contains `user` and `inner`; `inner` contains `top` and `deep`.
fn nested(lab: &Entra) -> Nested {
    lab.edit(|edit| {
        let nested = Nested {
            top: edit.group("sg-top"),
            inner: edit.group("sg-inner"),
            user: edit.user("user@fabrik.example", "One User"),
            deep: edit.user("deep@fabrik.example", "Deep User"),
        };
        for (group, member) in [
            (nested.top, nested.user),
            (nested.top, nested.inner),
            (nested.inner, nested.top),
            (nested.inner, nested.deep),
        ] {
            edit.join(group, member).expect("both were made");
        }
        nested
    })
}

fn ids(items: &[Value]) -> BTreeSet<String> {
    let ids = items
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned());
    ids.collect()
}

fn set(ids: &[Uuid]) -> BTreeSet<String> {
    ids.iter().map(Uuid::to_string).collect()
}

#[tokio::test]
async fn members_are_direct_or_however_deep() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let Nested {
        top,
        inner,
        user,
        deep,
    } = nested(&lab);
    let direct = client.all(&format!("/groups/{top}/members")).await;
    assert_eq!(ids(&direct), set(&[user, inner]));
    assert!(
        direct
            .iter()
            .any(|item| item["@odata.type"] == "#microsoft.graph.group")
    );
    let all = client
        .all(&format!("/groups/{top}/transitiveMembers?$top=1"))
        .await;
    assert_eq!(ids(&all), set(&[user, inner, deep]), "a cycle ends");
    let users = format!("/groups/{top}/transitiveMembers/microsoft.graph.user");
    assert_eq!(ids(&client.all(&users).await), set(&[user, deep]));
    let count = client
        .get_with(
            &format!("{users}/$count"),
            &[("ConsistencyLevel", "eventual")],
        )
        .await;
    assert_eq!(count.text, "2");
    lab.edit(|edit| edit.delete(deep)).expect("a user");
    assert_eq!(
        ids(&client.all(&users).await),
        set(&[user]),
        "deleted members do not count"
    );
}

#[tokio::test]
async fn groups_of_a_user_are_asked_in_three_ways() {
    let lab = quiet().await;
    let client = Client::with_roles(&lab, &["Directory.Read.All"]).await;
    let Nested {
        top, inner, deep, ..
    } = nested(&lab);
    let list = lab.edit(|edit| {
        let list = edit.group("dl-mail");
        edit.set(list, "securityEnabled", &json!(false))?;
        edit.join(list, deep).map(|()| list)
    });
    let list = list.expect("a group");
    let of = |path: &str| format!("/users/{deep}/{path}");
    assert_eq!(ids(&client.all(&of("memberOf")).await), set(&[inner, list]));
    assert_eq!(
        ids(&client.all(&of("transitiveMemberOf")).await),
        set(&[inner, top, list])
    );
    let ask = async |question: &str, body: Value| {
        let answer = client.post(&of(question), &body).await;
        let values = answer.items();
        values
            .iter()
            .map(|id| id.as_str().expect("an id").to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        ask("getMemberGroups", json!({ "securityEnabledOnly": true })).await,
        set(&[inner, top])
    );
    assert_eq!(
        ask("getMemberGroups", json!({ "securityEnabledOnly": false })).await,
        set(&[inner, top, list])
    );
    assert_eq!(
        ask(
            "checkMemberGroups",
            json!({ "groupIds": [top, Uuid::nil()] })
        )
        .await,
        set(&[top])
    );
    let many: Vec<Uuid> = vec![top; 21];
    let many = client
        .post(&of("checkMemberGroups"), &json!({ "groupIds": many }))
        .await;
    assert_eq!(many.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn more_than_eleven_thousand_groups_are_not_told() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let user = lab.edit(|edit| {
        let user = edit.user("all@fabrik.example", "All Groups");
        for at in 0..11_001 {
            let group = edit.group(&format!("g{at}"));
            edit.join(group, user).expect("a group");
        }
        user
    });
    let path = format!("/users/{user}/getMemberGroups");
    let answer = client
        .post(&path, &json!({ "securityEnabledOnly": true }))
        .await;
    assert_eq!(answer.code(), "Directory_ResultSizeLimitExceeded");
}

#[tokio::test]
async fn objects_come_by_their_ids_to_those_who_may_read_all() {
    let lab = quiet().await;
    let Nested { top, user, .. } = nested(&lab);
    let body = json!({ "ids": [top, user, Uuid::nil()], "types": ["group"] });
    let few = Client::new(&lab).await;
    assert_eq!(
        few.post("/directoryObjects/getByIds", &body).await.code(),
        "Authorization_RequestDenied"
    );
    let client = Client::with_roles(&lab, &["Directory.Read.All"]).await;
    let found = client
        .post("/directoryObjects/getByIds", &body)
        .await
        .items();
    assert_eq!(ids(&found), set(&[top]));
}

#[tokio::test]
async fn roles_have_holders_and_only_those_that_have_some_are_listed() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let roles = client.get("/directoryRoles").await.items();
    let admin = roles
        .iter()
        .find(|role| role["roleTemplateId"] == GLOBAL_ADMINISTRATOR)
        .expect("assigned");
    assert!(
        roles.len()
            < client
                .get("/roleManagement/directory/roleDefinitions")
                .await
                .items()
                .len()
    );
    let by_id = client
        .get(&format!(
            "/directoryRoles/{}/members",
            admin["id"].as_str().expect("an id")
        ))
        .await;
    let by_template = client
        .get(&format!(
            "/directoryRoles(roleTemplateId='{GLOBAL_ADMINISTRATOR}')/members"
        ))
        .await;
    assert_eq!(by_id.items(), by_template.items());
    assert_eq!(by_id.items().len(), 1);
    let holder = by_id.items()[0]["id"].as_str().expect("an id").to_owned();
    let all = Client::with_roles(&lab, &["Directory.Read.All"]).await;
    let of = all.all(&format!("/users/{holder}/memberOf?$top=2")).await;
    let of: Vec<&Value> = of
        .iter()
        .filter(|item| item["@odata.type"] == "#microsoft.graph.directoryRole")
        .collect();
    assert_eq!(of.len(), 1);
    assert_eq!(of[0]["id"], admin["id"]);
    let filter =
        format!("$filter=roleDefinitionId%20eq%20%27{GLOBAL_ADMINISTRATOR}%27&$expand=principal");
    let assigned = client
        .get(&format!(
            "/roleManagement/directory/roleAssignments?{filter}"
        ))
        .await
        .items();
    assert_eq!(assigned.len(), 1);
    assert_eq!(assigned[0]["principal"]["id"], by_id.items()[0]["id"]);
}

#[tokio::test]
async fn a_batch_answers_each_request_by_itself() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let Nested { top, user, .. } = nested(&lab);
    lab.fault(Fault::graph(
        "/v1.0/organization*",
        Act::Graph {
            status: 429,
            code: "TooManyRequests".to_owned(),
            message: String::new(),
            headers: vec![("Retry-After".to_owned(), "7".to_owned())],
        },
    ));
    let body = json!({ "requests": [
        { "id": "1", "method": "GET", "url": format!("/groups/{top}/members?$select=id&$top=1") },
        { "id": "2", "method": "GET", "url": "/organization" },
        { "id": "3", "method": "GET", "url": "/users?$top=1", "dependsOn": ["2"] },
        { "id": "4", "method": "POST", "url": format!("/users/{user}/checkMemberGroups"),
            "headers": { "Content-Type": "application/json" }, "body": { "groupIds": [top] } },
        { "id": "5", "method": "GET", "url": "/nothing" }] });
    let answer = client.post("/$batch", &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json();
    let of = |id: &str| {
        let responses = answer["responses"].as_array().expect("responses");
        responses
            .iter()
            .find(|response| response["id"] == id)
            .expect("an answer to each")
            .clone()
    };
    let status = |id: &str| of(id)["status"].as_u64().expect("a status");
    assert_eq!(
        [
            status("1"),
            status("2"),
            status("3"),
            status("4"),
            status("5")
        ],
        [200, 429, 424, 200, 400]
    );
    assert!(
        of("1")["body"]["@odata.nextLink"]
            .as_str()
            .expect("more")
            .starts_with("https://")
    );
    assert_eq!(of("2")["headers"]["Retry-After"], "7.5");
    assert_eq!(of("4")["body"]["value"], json!([top]));
    let many: Vec<Value> = (0..21)
        .map(|id| json!({ "id": id.to_string(), "method": "GET", "url": "/users" }))
        .collect();
    assert_eq!(
        client
            .post("/$batch", &json!({ "requests": many }))
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
    let twice = json!({ "requests": [{ "id": "1", "method": "GET", "url": "/users" },
        { "id": "1", "method": "GET", "url": "/users" }] });
    assert_eq!(
        client.post("/$batch", &twice).await.status,
        StatusCode::BAD_REQUEST
    );
}
