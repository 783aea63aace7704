//! What ends a grant: its time, an administrator, another declaration.

use http::{Method, StatusCode};
use serde_json::json;
use weir_abi::Class;
use weir_control::testing::{Appliance, earn, principal as id};

use crate::stage::{POOL, connect, connections, declare_another, ip, next, restarted, start};

#[tokio::test]
async fn what_rests_is_taken_too() {
    let (appliance, proxy, mut log) = start("1h").await;
    for (who, source) in [('a', POOL), ('b', "10.20.0.8")] {
        proxy.sign_in(earn(who, source, 1));
        next(&mut log).await;
        let rests = |now: Option<(weir_dataplane::GrantSpec, _)>| {
            now.is_some_and(|(grant, _)| grant.class == Class::Unmanaged)
        };
        appliance.kernel.until_granted(ip(source), rests).await;
        connect(&appliance, source);
    }
    let whose = [
        (format!("address={POOL}"), POOL),
        (format!("principal={}", id('b')), "10.20.0.8"),
    ];
    for (asked, source) in whose {
        let path = format!("/v1/grants?{asked}");
        let (status, taken) = appliance.ask(Method::DELETE, &path, None).await;
        assert_eq!((status, &taken["ended"]), (StatusCode::OK, &json!([])));
        let (grant, _) = appliance.kernel.granted_to(ip(source)).expect("it is cut");
        assert!(grant.cut);
        let (status, _) = appliance.ask(Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    assert_eq!(connections(&appliance), 0);
}

#[tokio::test]
async fn one_way_that_cannot_be_closed_keeps_no_other_open() {
    let (appliance, proxy, mut log) = start("1h").await;
    let sources = [POOL, "10.20.0.8", "10.20.0.9"];
    for source in sources {
        proxy.sign_in(earn('a', source, 600));
        next(&mut log).await;
        connect(&appliance, source);
    }
    let stuck = ip(POOL);
    appliance.kernel.change(|kernel| kernel.stuck.push(stuck));
    let body = json!({ "principal": id('a'), "reason": "left" });
    let revoke = appliance.ask(Method::POST, "/v1/principals/revoke", Some(body));
    assert_eq!(revoke.await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let granted = sources.map(|source| appliance.kernel.granted_to(ip(source)));
    let cut = granted.map(|one| one.is_some_and(|(grant, _)| grant.cut));
    assert_eq!(cut, [false, true, true]);
    assert_eq!(connections(&appliance), 0);
    assert!(next(&mut log).await.contains("is stuck"));

    appliance.kernel.change(|kernel| kernel.stuck.clear());
    let told = next(&mut log).await;
    assert!(told.contains("is done now"), "{told}");
    let (grant, _) = appliance.kernel.granted_to(stuck).expect("it is cut");
    assert!(grant.cut);
}

#[tokio::test]
async fn a_grant_expires_rests_and_is_gone() {
    let (appliance, proxy, mut log) = start("1s").await;
    proxy.sign_in(earn('a', POOL, 1));
    next(&mut log).await;
    let (before, _) = appliance.kernel.granted_to(ip(POOL)).expect("it lives");
    assert_eq!(
        (before.class, before.held.is_empty()),
        (Class::Managed, true)
    );
    let rests = |now: Option<(weir_dataplane::GrantSpec, _)>| {
        now.is_some_and(|(grant, _)| {
            grant.class == Class::Unmanaged
                && grant.held.contains(Class::Managed)
                && grant.rests == before.rests
        })
    };
    appliance.kernel.until_granted(ip(POOL), rests).await;
    assert_eq!(appliance.get("/v1/grants").await["grants"], json!([]));
    appliance
        .kernel
        .until_granted(ip(POOL), |now| now.is_none())
        .await;
}

#[tokio::test]
async fn administrators_take_grants_and_cut_what_goes_on() {
    let (appliance, proxy, mut log) = start("1h").await;
    for (who, source) in [('a', POOL), ('a', "10.20.0.8"), ('b', "10.20.0.9")] {
        proxy.sign_in(earn(who, source, 600));
        next(&mut log).await;
        connect(&appliance, source);
    }
    let path = format!("/v1/grants?address={POOL}");
    let (status, taken) = appliance.ask(Method::DELETE, &path, None).await;
    assert_eq!(
        (status, &taken["ended"][0]["address"]),
        (StatusCode::OK, &json!(POOL))
    );
    assert!(next(&mut log).await.contains(POOL));
    assert_eq!(connections(&appliance), 2);
    let (grant, _) = appliance.kernel.granted_to(ip(POOL)).expect("it is cut");
    assert!(grant.cut);
    let (status, _) = appliance.ask(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    next(&mut log).await;

    let path = format!("/v1/grants?principal={}", id('a'));
    let (status, taken) = appliance.ask(Method::DELETE, &path, None).await;
    assert_eq!(
        (status, taken["ended"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(1))
    );
    assert_eq!(connections(&appliance), 1);
    next(&mut log).await;
    // It may earn anew.
    proxy.sign_in(earn('a', POOL, 600));
    assert!(next(&mut log).await.contains("the kernel goes by it"));
}

#[tokio::test]
async fn a_revoked_principal_loses_everything_until_it_is_restored() {
    let (appliance, proxy, mut log) = start("1h").await;
    for source in [POOL, "10.20.0.8"] {
        proxy.sign_in(earn('a', source, 600));
        next(&mut log).await;
        connect(&appliance, source);
    }
    let index = appliance
        .kernel
        .granted_to(ip(POOL))
        .expect("it lives")
        .0
        .principal;
    let body = json!({ "principal": id('a'), "reason": "laptop stolen" });
    let (status, taken) = appliance
        .ask(Method::POST, "/v1/principals/revoke", Some(body.clone()))
        .await;
    assert_eq!(
        (status, taken["ended"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(2))
    );
    let record = log.next().await.expect("it is audited");
    assert_eq!(
        (&record["action"], &record["done"]),
        (&json!("revoke"), &json!(true))
    );
    assert!(record["who"]["user"]["uid"].is_u64(), "{record}");
    assert_eq!(connections(&appliance), 0);
    let word = |appliance: &Appliance| {
        let mut word = None;
        appliance
            .kernel
            .change(|kernel| word = kernel.principals.get(&index).copied());
        word
    };
    assert_eq!(word(&appliance), Some(Class::Unmanaged));
    for reason in ["", " ", "two\nlines"] {
        let body = json!({ "principal": id('a'), "reason": reason });
        let (status, _) = appliance
            .ask(Method::POST, "/v1/principals/revoke", Some(body))
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    // Whatever dies: whom people shut out stays out.
    drop((proxy, log));
    let stopped = appliance.kill().await;
    let (appliance, proxy, mut log) = restarted(stopped).await;
    proxy.sign_in(earn('a', POOL, 600));
    assert!(next(&mut log).await.contains("may have nothing"));
    let shown = appliance.get("/v1/grants").await;
    assert_eq!(shown["revoked"][0]["reason"], "laptop stolen");
    assert_eq!(word(&appliance), Some(Class::Unmanaged));

    let body = json!({ "principal": id('a') });
    let restore = || appliance.ask(Method::POST, "/v1/principals/restore", Some(body.clone()));
    assert_eq!(restore().await.0, StatusCode::OK);
    next(&mut log).await;
    assert_eq!(restore().await.0, StatusCode::NOT_FOUND);
    next(&mut log).await;
    proxy.sign_in(earn('a', POOL, 600));
    assert!(next(&mut log).await.contains("the kernel goes by it"));
}

#[tokio::test]
async fn prefixes_that_are_declared_no_longer_close_the_kernel() {
    let (appliance, proxy, mut log) = start("1h").await;
    proxy.sign_in(earn('a', POOL, 600));
    next(&mut log).await;
    declare_another(&appliance).await;
    let rests = |now: Option<(weir_dataplane::GrantSpec, _)>| {
        now.is_some_and(|(grant, _)| grant.class == Class::Unmanaged && !grant.held.is_empty())
    };
    appliance.kernel.until_granted(ip(POOL), rests).await;
    let shown = appliance.get("/v1/grants").await;
    assert_eq!(shown["grants"][0]["kernel"], false);
}
