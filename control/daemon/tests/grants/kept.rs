//! What a restart finds, and what happens while the disk refuses.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_abi::Class;
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{Appliance, earn, principal as id};
use weir_link::SignIn;

use crate::stage::{NAT, POOL, declare_another, ip, next, restarted, start};

#[tokio::test]
async fn a_restart_does_not_forget_that_sign_ins_were_missed() {
    let (appliance, proxy, mut log) = start("1h").await;
    proxy.lose_sign_ins(1);
    // Nothing that changes what an address or a principal has.
    proxy.sign_in(SignIn {
        service: "stss".to_owned(),
        ..earn('a', POOL, 600)
    });
    assert!(next(&mut log).await.contains("no service"));
    drop((proxy, log));
    let stopped = appliance.kill().await;
    let (_appliance, proxy, mut log) = restarted(stopped).await;
    proxy.sign_in(earn('a', POOL, 600));
    let told = next(&mut log).await;
    assert!(told.contains("may have been missed"), "{told}");
}

#[tokio::test]
async fn a_restart_finds_grants_rests_and_who_was_seen() {
    let (appliance, proxy, mut log) = start("1h").await;
    for (who, source) in [('a', POOL), ('b', "10.20.0.8"), ('c', NAT)] {
        proxy.sign_in(earn(who, source, 600));
        next(&mut log).await;
    }
    proxy.sign_in(SignIn {
        grant: None,
        ..earn('d', "10.20.0.8", 1)
    });
    next(&mut log).await;
    let grants = |appliance: &Appliance| {
        [POOL, "10.20.0.8", NAT].map(|source| appliance.kernel.granted_to(ip(source)))
    };
    let before = grants(&appliance);
    assert!(before[0].is_some() && before[1].is_some_and(|(grant, _)| grant.cut));
    drop((proxy, log));
    let stopped = appliance.kill().await;
    // What the books do not know is not left open.
    let stray = weir_dataplane::GrantSpec {
        cut: false,
        ..before[0].expect("it lives").0
    };
    stopped.kernel.change(|kernel| {
        kernel.grants.insert(ip("10.20.9.9"), stray);
        kernel.grants.remove(&ip(POOL));
    });
    let (appliance, proxy, mut log) = restarted(stopped).await;
    assert_eq!(grants(&appliance), before);
    assert_eq!(appliance.kernel.granted_to(ip("10.20.9.9")), None);
    let shown = appliance.get("/v1/grants").await;
    assert_eq!(shown["grants"].as_array().map(Vec::len), Some(2), "{shown}");
    // Somebody else was seen before, so this one is not alone.
    proxy.sign_in(earn('e', "10.20.0.8", 600));
    assert!(next(&mut log).await.contains("somebody else was seen"));

    // After a reboot no grant is left; who was seen counts on.
    drop((proxy, log));
    let stopped = appliance.kill().await;
    let file = stopped.path("state/grants.json");
    let mut saved: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON");
    saved["clocks"]["boot_id"] = json!("another");
    stopped.write("state/grants.json", &saved.to_string());
    let (appliance, proxy, mut log) = restarted(stopped).await;
    assert_eq!(grants(&appliance), [None, None, None]);
    proxy.sign_in(earn('f', "10.20.0.8", 600));
    assert!(next(&mut log).await.contains("somebody else was seen"));
}

#[tokio::test]
async fn while_the_disk_refuses_ways_are_closed_and_none_is_opened() {
    let (appliance, proxy, mut log) = start("1h").await;
    proxy.sign_in(earn('a', POOL, 600));
    next(&mut log).await;
    let before = appliance.read("state/grants.json");
    // The new file is written beside the old one.
    let beside = appliance.path("state/grants.json.new");
    std::fs::create_dir(&beside).expect("a temporary directory");

    proxy.sign_in(earn('b', "10.20.0.8", 600));
    let told = next(&mut log).await;
    assert!(told.contains("not carried out yet"), "{told}");
    assert_eq!(appliance.kernel.granted_to(ip("10.20.0.8")), None);
    let body = json!({ "principal": id('a'), "reason": "left" });
    let revoke = appliance.ask(Method::POST, "/v1/principals/revoke", Some(body));
    assert_eq!(revoke.await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let (grant, up_to) = appliance.kernel.granted_to(ip(POOL)).expect("it is cut");
    assert_eq!((grant.cut, up_to), (true, Class::Unmanaged));
    assert_eq!(appliance.kernel.granted_to(ip("10.20.0.8")), None);
    let warnings = appliance.get("/v1/status").await["warnings"].to_string();
    assert!(
        warnings.contains("cannot be carried out or written down"),
        "{warnings}"
    );
    assert_eq!(appliance.read("state/grants.json"), before);

    std::fs::remove_dir(&beside).expect("it is empty");
    let opened = |now: Option<_>| now.is_some();
    appliance
        .kernel
        .until_granted(ip("10.20.0.8"), opened)
        .await;
    assert!(
        appliance
            .read("state/grants.json")
            .contains("\"reason\":\"left\"")
    );
}

#[tokio::test]
async fn while_the_disk_refuses_what_is_declared_no_longer_still_closes() {
    let (appliance, proxy, mut log) = start("1h").await;
    proxy.sign_in(earn('a', POOL, 600));
    next(&mut log).await;
    std::fs::create_dir(appliance.path("state/grants.json.new")).expect("a temporary directory");
    declare_another(&appliance).await;
    let closed = |now: Option<(weir_dataplane::GrantSpec, _)>| {
        now.is_some_and(|(grant, _)| grant.class == Class::Unmanaged)
    };
    appliance.kernel.until_granted(ip(POOL), closed).await;
}

#[tokio::test]
async fn a_revocation_outlives_connections_that_cannot_be_ended() {
    let (mut appliance, proxy, mut log) = start("1h").await;
    proxy.sign_in(earn('a', POOL, 600));
    next(&mut log).await;
    appliance.kernel.change(|kernel| kernel.uncut = true);
    let body = json!({ "principal": id('a'), "reason": "laptop stolen" });
    let revoke = appliance.ask(Method::POST, "/v1/principals/revoke", Some(body));
    let (status, told) = revoke.await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{told}");
    let warnings = appliance.get("/v1/status").await["warnings"].to_string();
    assert!(warnings.contains("CONFIG_INET_DIAG_DESTROY"), "{warnings}");
    drop((proxy, log));
    appliance = appliance
        .kill()
        .await
        .start(Inherited::default())
        .await
        .expect("as before");
    let shown = appliance.get("/v1/grants").await;
    assert_eq!(shown["revoked"][0]["principal"], id('a'), "{shown}");
    assert_eq!(shown["grants"], json!([]));
}

#[tokio::test]
async fn books_that_cannot_be_read_are_not_passed_over() {
    let appliance = Appliance::start().await;
    let stopped = appliance.kill().await;
    stopped.write("state/grants.json", "{\"version\":1");
    let error = stopped
        .start(Inherited::default())
        .await
        .expect_err("it says who was revoked");
    assert!(error.to_string().contains("revoke them anew"), "{error}");
}
