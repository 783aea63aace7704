//! Many questions in one request.

use std::time::Duration;

use serde_json::{Value, json};
use weir_entra::decode::groups;
use weir_entra::graph::{Answer, Ask, Failure, Kind, Priority};
use weir_entra::model::{Edge, Id, Page};

use crate::support::{Asked, Reply, Scripted, token_path};

fn asks(count: u128) -> Vec<Ask> {
    (0..count)
        .map(|index| Ask::Members(Id::from_u128(index)))
        .collect()
}

fn requests(asked: &Asked) -> Vec<Value> {
    let body: Value = serde_json::from_str(&asked.body).expect("JSON");
    body["requests"].as_array().expect("requests").clone()
}

/// Each group has one member: the group's own id.
fn response(request: &Value) -> Value {
    let group = request["url"]
        .as_str()
        .expect("a path")
        .split('/')
        .nth(2)
        .expect("an id");
    json!({
        "id": request["id"], "status": 200, "headers": { "Content-Type": "application/json" },
        "body": { "value": [{ "@odata.type": "#microsoft.graph.user", "id": group }] },
    })
}

fn all(mut responses: Vec<Value>) -> Reply {
    responses.reverse();
    Reply::json(&json!({ "responses": responses }))
}

async fn batch(it: &Scripted, asks: &[Ask]) -> Vec<Result<Answer<Page<Edge>>, Failure>> {
    it.graph
        .batch(asks, Priority::Low, Duration::from_mins(10), |_, body| {
            groups::members(body)
        })
        .await
}

#[tokio::test]
async fn twenty_go_at_once_and_are_told_apart() {
    let it = Scripted::start(|asked, _| all(requests(asked).iter().map(response).collect())).await;
    let outcomes = batch(&it, &asks(45)).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        let member = outcome.as_ref().expect("an answer").said.items[0].member;
        assert_eq!(member.as_u128(), index as u128);
    }
    let asked = it.server.asked_for("/v1.0/$batch");
    let sizes: Vec<_> = asked.iter().map(|asked| requests(asked).len()).collect();
    assert_eq!(sizes, [20, 20, 5]);
    assert_eq!(asked[0].method, "POST");
    assert_eq!(
        requests(&asked[0])[3],
        json!({
            "id": "3", "method": "GET",
            "url": format!("/groups/{}/members?$select=id&$top=999", Id::from_u128(3)),
        })
    );
}

#[tokio::test]
async fn only_what_was_throttled_is_asked_again() {
    let it = Scripted::start(|asked, nth| {
        let each = requests(asked).into_iter().map(|request| {
            match (nth, &*request["id"].to_string()) {
                (1, "\"1\"") => json!({
                    "id": request["id"], "status": 429, "headers": { "Retry-After": "7.5" },
                    "body": { "error": { "code": "TooManyRequests", "message": "No." } },
                }),
                (1, "\"2\"") => json!({ "id": request["id"], "status": 424 }),
                (_, "\"3\"") => json!({
                    "id": request["id"], "status": 404,
                    "body": { "error": { "code": "Request_ResourceNotFound", "message": "No." } },
                }),
                _ => response(&request),
            }
        });
        all(each.collect())
    })
    .await;
    let outcomes = batch(&it, &asks(5)).await;
    let tries: Vec<_> = outcomes
        .iter()
        .flatten()
        .map(|answer| answer.tries)
        .collect();
    assert_eq!(tries, [1, 2, 2, 1]);
    let missing = outcomes[3].as_ref().expect_err("it is gone");
    assert_eq!(missing.kind, Kind::Missing);
    let asked = it.server.asked_for("/v1.0/$batch");
    let again: Vec<_> = requests(&asked[1])
        .iter()
        .map(|request| request["id"].clone())
        .collect();
    assert_eq!(again, ["1", "2"]);
    assert_eq!(
        asked[1].at.saturating_sub(asked[0].at),
        Duration::from_millis(7500)
    );
}

#[tokio::test]
async fn responses_that_do_not_match_are_no_answer() {
    let cases: [fn(&mut Vec<Value>); 4] = [
        |responses| drop(responses.pop()),
        |responses| responses[0]["id"] = json!("1"),
        |responses| responses[0]["id"] = json!("99"),
        |responses| responses.push(json!({ "id": "x", "status": 200, "body": { "value": [] } })),
    ];
    for case in cases {
        let it = Scripted::start(move |asked, nth| {
            let mut responses: Vec<_> = requests(asked).iter().map(response).collect();
            if nth == 1 {
                case(&mut responses);
            }
            all(responses)
        })
        .await;
        let outcomes = batch(&it, &asks(3)).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(it.server.asked_for("/v1.0/$batch").len(), 2);
    }
}

#[tokio::test]
async fn what_stays_is_given_up() {
    let it = Scripted::start(|asked, _| {
        let each = requests(asked)
            .into_iter()
            .map(|request| match &*request["id"].to_string() {
                "\"0\"" => json!({ "id": request["id"], "status": 503 }),
                // Half a page.
                "\"1\"" => json!({ "id": request["id"], "status": 200, "body": { "error": "?" } }),
                "\"2\"" => json!({ "id": request["id"], "status": 200, "body": "PGh0bWw+" }),
                _ => response(&request),
            });
        all(each.collect())
    })
    .await;
    let outcomes = batch(&it, &asks(4)).await;
    let failures: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    assert_eq!(failures.len(), 3);
    assert_eq!(failures[0].kind, Kind::Unavailable);
    assert!(failures.iter().all(|failure| failure.tries == 6));
    assert!(
        failures[1..]
            .iter()
            .all(|failure| matches!(failure.kind, Kind::Malformed(_)))
    );
    assert_eq!(it.server.asked_for("/v1.0/$batch").len(), 6);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_for_all() {
    let it = Scripted::start(|asked, nth| {
        let each = requests(asked).into_iter().map(|request| match nth {
            1 => json!({
                "id": request["id"], "status": 401,
                "body": { "error": { "code": "InvalidAuthenticationToken", "message": "No." } },
            }),
            _ => response(&request),
        });
        all(each.collect())
    })
    .await;
    assert!(batch(&it, &asks(3)).await.iter().all(Result::is_ok));
    assert_eq!(it.server.asked_for(&token_path()).len(), 2);
}

#[tokio::test]
async fn a_check_of_membership_sends_the_groups() {
    let it = Scripted::start(|asked, _| {
        let each = requests(asked).into_iter().map(|request| {
            json!({ "id": request["id"], "status": 200, "body": { "value": request["body"]["groupIds"] } })
        });
        all(each.collect())
    })
    .await;
    let asked_for = vec![Id::from_u128(1), Id::from_u128(2)];
    let ask = Ask::CheckMemberGroups(Id::from_u128(9), asked_for.clone());
    let asks = [ask.clone()];
    let outcomes = it
        .graph
        .batch(
            &asks,
            Priority::Normal,
            Duration::from_mins(1),
            |_, body| groups::checked(body),
        )
        .await;
    assert_eq!(outcomes[0].as_ref().expect("an answer").said, asked_for);
    let request = &requests(&it.server.asked_for("/v1.0/$batch")[0])[0];
    assert_eq!(request["method"], "POST");
    assert_eq!(request["headers"]["Content-Type"], "application/json");
}

#[tokio::test]
async fn questions_of_different_lanes_go_apart() {
    let it = Scripted::start(|asked, _| {
        let each = requests(asked).into_iter();
        let each = each
            .map(|request| json!({ "id": request["id"], "status": 200, "body": { "value": [] } }));
        all(each.collect())
    })
    .await;
    let member = Ask::Members(Id::from_u128(1));
    let asks = [
        Ask::Locations,
        member.clone(),
        Ask::ConditionalAccess,
        member,
    ];
    let outcomes = it
        .graph
        .batch(&asks, Priority::Low, Duration::from_mins(1), |ask, _| {
            Ok(ask.clone())
        })
        .await;
    let answered: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("an answer").said)
        .collect();
    assert_eq!(answered, asks);
    let asked = it.server.asked_for("/v1.0/$batch");
    let ids = |asked: &Asked| {
        requests(asked)
            .iter()
            .map(|request| request["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        asked.iter().map(ids).collect::<Vec<_>>(),
        [["0", "2"], ["1", "3"]]
    );
    assert_eq!(asked[0].header("x-ms-throttle-priority"), Some("low"));
}
