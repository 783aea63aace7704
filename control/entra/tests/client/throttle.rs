//! How fast Graph is asked.

use std::time::Duration;

use serde_json::json;
use weir_entra::decode::{conditional_access, organisation, sign_ins, users};
use weir_entra::graph::{Ask, Call, Kind};

use crate::support::{NOW, Reply, Scripted, TENANT};

fn page() -> Reply {
    Reply::json(&json!({ "value": [] }))
}

fn throttled() -> Reply {
    Reply::error(429, "TooManyRequests", "Please try again later.")
}

/// How long is waited after a refusal with this `Retry-After`, in milliseconds.
async fn wait(after: Option<&'static str>) -> u128 {
    let it = Scripted::start(move |_, nth| match (nth, after) {
        (1, None) => throttled(),
        (1, Some(after)) => throttled()
            .with("retry-after", after)
            .with("date", "Sat, 22 Aug 2026 08:00:00 GMT"),
        _ => page(),
    })
    .await;
    it.graph
        .get(&Call::start(&Ask::Users), users::list)
        .await
        .expect("a page");
    let asked = it.server.asked_for("/v1.0/");
    asked[1].at.saturating_sub(asked[0].at).as_millis()
}

#[tokio::test]
async fn retry_after_is_understood_in_every_form() {
    let cases = [
        ("9", 9000),
        ("1.5", 1500),
        ("0", 500),
        ("-3", 500),
        ("100000", 300_000),
        ("1e300", 300_000),
        ("inf", 300_000),
        // A date, against that of the answer.
        ("Sat, 22 Aug 2026 08:00:20 GMT", 20_000),
        ("Sat, 22 Aug 2026 07:00:00 GMT", 500),
        ("Sun, 23 Aug 2026 08:00:00 GMT", 300_000),
        // What is not understood is not there: half of a second, by this clock's chance.
        ("soon", 500),
        ("NaN", 500),
    ];
    for (after, expected) in cases {
        assert_eq!(wait(Some(after)).await, expected, "{after}");
    }
    assert_eq!(wait(None).await, 500);
}

#[tokio::test]
async fn without_retry_after_the_wait_doubles_up_to_a_minute() {
    let it = Scripted::start(|_, _| throttled()).await;
    let call = Call::start(&Ask::Users);
    let failure = it
        .graph
        .get(&call, users::list)
        .await
        .expect_err("it stays");
    assert_eq!((failure.kind, failure.tries), (Kind::Throttled, 6));
    let at: Vec<_> = it
        .server
        .asked_for("/v1.0/")
        .iter()
        .map(|asked| asked.at)
        .collect();
    let waits: Vec<_> = at
        .windows(2)
        .map(|two| two[1].saturating_sub(two[0]).as_millis())
        .collect();
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000]);
}

#[tokio::test]
async fn all_of_a_lane_waits_and_no_other() {
    let it = Scripted::start(|asked, nth| {
        if asked.target.starts_with("/v1.0/organization") {
            return Reply::json(&json!({ "value": [{ "id": TENANT }] }));
        }
        match nth {
            1 if asked.target.starts_with("/v1.0/users?") => throttled().with("retry-after", "40"),
            _ => page(),
        }
    })
    .await;
    // Not within its time: it gives up at once, and the lane stays closed.
    let call = Call::start(&Ask::Users).within(Duration::from_secs(10));
    let failure = it.graph.get(&call, users::list).await.expect_err("no time");
    assert_eq!((failure.kind, failure.tries), (Kind::Throttled, 1));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(40)));

    let call = Call::start(&Ask::Organisation);
    it.graph
        .get(&call, organisation::decode)
        .await
        .expect("another lane");
    let call = Call::start(&Ask::DeletedUsers).within(Duration::from_secs(10));
    let failure = it
        .graph
        .get(&call, users::list)
        .await
        .expect_err("the same lane");
    assert_eq!((failure.kind, failure.tries), (Kind::Throttled, 0));
    let call = Call::start(&Ask::DeletedUsers);
    it.graph
        .get(&call, users::list)
        .await
        .expect("after the pause");
    let at = |path| it.server.asked_for(path)[0].at;
    assert_eq!(at("/v1.0/organization"), at("/v1.0/users?"));
    assert_eq!(
        at("/v1.0/directory/"),
        at("/v1.0/users?") + Duration::from_secs(40)
    );
}

#[tokio::test]
async fn conditional_access_is_asked_once_a_second_and_logs_five_times_in_ten() {
    let it = Scripted::start(|_, _| page()).await;
    for _ in 0..3 {
        let call = Call::start(&Ask::ConditionalAccess);
        it.graph
            .get(&call, conditional_access::decode)
            .await
            .expect("a page");
    }
    let seconds = |path| {
        let asked = it.server.asked_for(path);
        asked
            .iter()
            .map(|asked| asked.at.as_secs())
            .collect::<Vec<_>>()
    };
    assert_eq!(seconds("/v1.0/identity/"), [0, 1, 2]);
    let ask = Ask::SignIns(NOW);
    for _ in 0..8 {
        it.graph
            .get(&Call::start(&ask), sign_ins::decode)
            .await
            .expect("a page");
    }
    assert_eq!(seconds("/v1.0/auditLogs/"), [2, 2, 2, 2, 2, 4, 6, 8]);
}

#[tokio::test]
async fn little_that_is_left_slows_down_beforehand() {
    let gaps = |used: &'static str, units: &'static str| async move {
        let it = Scripted::start(move |_, _| {
            page()
                .with("x-ms-throttle-limit-percentage", used)
                .with("x-ms-resource-unit", units)
        })
        .await;
        let call = Call::start(&Ask::Users);
        for _ in 0..12 {
            it.graph.get(&call, users::list).await.expect("a page");
        }
        it.clock.slept()
    };
    assert!(gaps("0.5", "5").await.is_empty());
    let close = gaps("0.8", "5").await;
    assert!(close.iter().all(|gap| *gap == Duration::from_millis(500)));
    assert_eq!(close.len(), 11);
    let over = gaps("1.8", "5").await;
    assert!(over.iter().all(|gap| *gap == Duration::from_secs(10)));
    // Twelve times a thousand units are more than three windows' worth.
    let dear: Duration = gaps("0.1", "1000").await.iter().sum();
    assert!(dear > Duration::from_secs(20), "{dear:?}");
    for nonsense in ["NaN", "inf", "-1", "much"] {
        assert!(gaps(nonsense, nonsense).await.is_empty(), "{nonsense}");
    }
}
