//! Sign-ins that a proxy tells of: until they are in the books, nobody says so.

use serde_json::json;
use weir_control::testing::{Appliance, FakeProxy, Received, Settings, earn, grants};

const POOL: &str = "10.20.0.7";

#[tokio::test]
async fn what_is_in_the_books_is_said_to_be() {
    let (appliance, mut proxy) = start().await;
    for number in 1..=3 {
        let mut sign_in = earn('a', POOL, 600);
        sign_in.number = number;
        proxy.sign_in(sign_in);
    }
    while taken(&mut proxy).await != 3 {}
    let grants = appliance.get("/v1/grants").await;
    assert_eq!(grants["grants"][0]["address"], json!(POOL));
}

#[tokio::test]
async fn what_cannot_be_written_is_not_said_to_be_in_the_books_until_it_is() {
    let (appliance, mut proxy) = start().await;
    // The new file is written beside the old one.
    let beside = appliance.path("state/grants.json.new");
    std::fs::create_dir(&beside).expect("a temporary directory");
    proxy.sign_in(earn('a', POOL, 600));
    let mut status = appliance.get("/v1/status").await;
    while status["grants"]["trouble"].is_null() {
        tokio::task::yield_now().await;
        status = appliance.get("/v1/status").await;
    }
    assert!(
        futures_util::FutureExt::now_or_never(proxy.next()).is_none(),
        "nothing is said"
    );
    std::fs::remove_dir(&beside).expect("as it was");
    assert_eq!(taken(&mut proxy).await, 1);
}

#[tokio::test]
async fn a_grant_counts_from_the_sign_in_and_not_from_when_it_is_heard_of() {
    let (appliance, mut proxy) = start().await;
    let mut late = earn('a', POOL, 600);
    late.ago = 599_000;
    proxy.sign_in(late);
    let mut over = earn('b', "10.20.0.8", 600);
    (over.number, over.ago) = (2, 600_000);
    proxy.sign_in(over);
    while taken(&mut proxy).await != 2 {}
    let status = appliance.get("/v1/status").await;
    let grants = &status["grants"];
    assert_eq!([&grants["earned"], &grants["refused"]], [1, 1], "{grants}");
}

async fn start() -> (Appliance, FakeProxy) {
    let appliance = Appliance::start_with(Settings {
        edits: grants().into(),
        ..Settings::default()
    })
    .await;
    let proxy = appliance.proxy().await;
    (appliance, proxy)
}

/// Up to which number sign-ins are in the books.
async fn taken(proxy: &mut FakeProxy) -> u64 {
    match proxy.next().await {
        Some(Received::Taken(up_to)) => up_to,
        other => panic!("{other:?}"),
    }
}
