//! Grants, from what a proxy tells to what the kernel holds, what administrators do about them, and what a
//! restart finds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_abi::Class;
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{Appliance, CONFIG, FakeProxy, Lines, Settings, earn, principal as id};
use weir_link::{GrantAsked, SignIn};

/// Inside the declared prefixes, and outside of them.
const POOL: &str = "10.20.0.7";
const NAT: &str = "198.51.100.7";
const SERVICE: &str = "192.0.2.10:443";

#[tokio::test]
async fn a_sign_in_opens_the_kernel_where_an_address_is_one_person() {
    let (appliance, proxy, mut log) = start("1h").await;

    proxy.sign_in(earn('a', POOL, 600));
    let told = next(&mut log).await;
    assert!(told.contains("the kernel goes by it"), "{told}");
    assert!(told.contains(&id('a')) && told.contains("managed for 10.20.0.7"));
    let (grant, up_to) = appliance.kernel.granted_to(ip(POOL)).expect("an entry");
    assert_eq!((grant.class, up_to), (Class::Managed, Class::Managed));
    assert_eq!(grant.rests, grant.expires + Duration::from_hours(1));

    proxy.sign_in(earn('b', NAT, 600));
    let told = next(&mut log).await;
    assert!(told.contains("no `single_user` prefix"), "{told}");
    assert_eq!(appliance.kernel.granted_to(ip(NAT)), None);

    // Through a relay, the kernel does not see who it is.
    let mut relayed = earn('c', "10.20.0.8", 600);
    relayed.peer = "10.20.0.9:40000".parse().expect("an address");
    proxy.sign_in(relayed);
    let told = next(&mut log).await;
    assert!(
        told.contains("a relay or balancer stands between"),
        "{told}"
    );
    assert_eq!(appliance.kernel.granted_to(ip("10.20.0.8")), None);

    let answer = appliance.get("/v1/grants").await;
    let kernel = |number: usize| answer["grants"][number]["kernel"].clone();
    assert_eq!([kernel(0), kernel(1), kernel(2)], [true, false, false]);
    assert_eq!(answer["grants"][0]["principal"], id('a'));
    let status = appliance.get("/v1/status").await["grants"].clone();
    assert_eq!(
        [&status["live"], &status["kernel"], &status["earned"]],
        [3, 1, 3]
    );
    let asked = json!({ "source": POOL });
    let (_, explained) = appliance
        .ask(Method::POST, "/v1/explain", Some(asked))
        .await;
    assert_eq!(explained["kernel"]["class"], "managed");
    assert_eq!(explained["kernel"]["verdict"], "forward");
    assert_eq!(explained["kernel"]["list"], Value::Null);
    assert_eq!(explained["kernel"]["grant"]["principal"], id('a'));
}

#[tokio::test]
async fn the_kernel_is_not_opened_on_the_word_of_a_proxy_alone() {
    let (appliance, proxy, mut log) = start("1h").await;
    let sign_in = earn('a', POOL, 600);
    let far = sign_in.peer;
    appliance.kernel.change(|kernel| kernel.absent.push(far));
    proxy.sign_in(sign_in);
    let told = next(&mut log).await;
    assert!(told.contains("no open connection of the service"), "{told}");
    assert_eq!(appliance.kernel.granted_to(ip(POOL)), None);
    let shown = appliance.get("/v1/grants").await["grants"][0].clone();
    assert_eq!(shown["kernel"], false);
    let why = shown["why_not"].to_string();
    assert!(why.contains("no open connection"), "{why}");
    let status = appliance.get("/v1/status").await["grants"].clone();
    assert_eq!(
        [&status["earned"], &status["unconnected"], &status["kernel"]],
        [1, 1, 0]
    );
}

#[tokio::test]
async fn what_is_declared_anew_opens_nothing_until_it_was_watched() {
    let stopped = start("1h").await.0.kill().await;
    // As on a new machine.
    std::fs::remove_file(stopped.path("state/grants.json")).expect("it was written");
    let again = stopped.start(Inherited::default()).await;
    let appliance = again.expect("nobody was granted anything");
    let proxy = appliance.proxy().await;
    let mut log = changes(&appliance).await;
    proxy.sign_in(earn('a', POOL, 600));
    let told = next(&mut log).await;
    assert!(told.contains("watched for less than `look_back`"), "{told}");
    assert_eq!(appliance.kernel.granted_to(ip(POOL)), None);
    let status = appliance.get("/v1/status").await["grants"].clone();
    assert_eq!(status["unwatched"][0]["prefix"], "10.20.0.0/16");
    // What is declared is written down, also when nothing else is to be.
    declare_another(&appliance).await;
    assert!(!next(&mut log).await.contains(&id('b')));
    proxy.sign_in(earn('b', NAT, 600));
    assert!(next(&mut log).await.contains(&id('b')));
    let written = appliance.read("state/grants.json");
    assert!(written.contains("10.30.0.0/16") && !written.contains("10.20.0.0/16"));
}

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
async fn what_cannot_be_granted_is_refused_counted_and_told() {
    let (appliance, proxy, mut log) = start("1h").await;
    let with = |change: &dyn Fn(&mut SignIn)| {
        let mut sign_in = earn('a', POOL, 600);
        change(&mut sign_in);
        sign_in
    };
    let asking = |change: &dyn Fn(&mut GrantAsked)| {
        with(&|sign_in| change(sign_in.grant.as_mut().expect("it asks")))
    };
    let cases: [(SignIn, &str); 7] = [
        (
            asking(&|one| one.class = Class::Blocked),
            "grants something else",
        ),
        (
            asking(&|one| one.class = Class::Bypass),
            "grants something else",
        ),
        (asking(&|one| one.seconds = 3601), "or less"),
        (
            asking(&|one| one.rule = "rule/grants".into()),
            "no rule in force by that name",
        ),
        (
            asking(&|one| one.rule = "own/\n".into()),
            "name of its rule",
        ),
        (with(&|one| one.service = "stss".into()), "no service"),
        (
            with(&|one| one.source = ip("198.51.100.66")),
            "a list blocks",
        ),
    ];
    let count = cases.len();
    for (sign_in, expected) in cases {
        proxy.sign_in(sign_in);
        let told = next(&mut log).await;
        assert!(told.contains(expected), "{told}");
    }
    let status = appliance.get("/v1/status").await["grants"].clone();
    assert_eq!(status["refused"], count);
    assert_eq!((&status["live"], &status["held"]), (&json!(0), &json!(0)));
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
async fn a_second_principal_ends_a_grant_and_gets_none_for_the_kernel() {
    let (appliance, proxy, mut log) = start("1h").await;
    proxy.sign_in(earn('a', POOL, 600));
    next(&mut log).await;
    connect(&appliance, POOL);

    proxy.sign_in(earn('b', POOL, 600));
    let (ended, earned) = (next(&mut log).await, next(&mut log).await);
    assert!(
        ended.contains("ended") && ended.contains(&id('b')),
        "{ended}"
    );
    assert!(earned.contains("somebody else was seen"), "{earned}");
    let (grant, _) = appliance.kernel.granted_to(ip(POOL)).expect("it is cut");
    assert!(grant.cut && grant.held.is_empty() && grant.expires.is_zero());
    // Those of the proxy are judged by the proxy, each request anew.
    assert_eq!(connections(&appliance), 1);
    // The first one is no longer alone either.
    proxy.sign_in(earn('a', POOL, 600));
    assert!(next(&mut log).await.contains("ended"));
    assert!(next(&mut log).await.contains("somebody else was seen"));
    let status = appliance.get("/v1/status").await["grants"].clone();
    assert_eq!(
        (&status["strangers"], &status["kernel"]),
        (&json!(2), &json!(0))
    );
    // Without a rule that grants, to be seen is enough.
    proxy.sign_in(earn('c', "10.20.0.8", 600));
    next(&mut log).await;
    proxy.sign_in(SignIn {
        grant: None,
        ..earn('d', "10.20.0.8", 1)
    });
    assert!(next(&mut log).await.contains(&id('d')));
}

#[tokio::test]
async fn after_sign_ins_were_missed_nobody_new_is_believed_to_be_alone() {
    let (appliance, proxy, mut log) = start("1h").await;
    proxy.lose_sign_ins(3);
    proxy.sign_in(earn('a', POOL, 600));
    let told = next(&mut log).await;
    assert!(told.contains("may have been missed"), "{told}");
    assert_eq!(appliance.kernel.granted_to(ip(POOL)), None);
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["grants"]["missed"], 3);
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("sign-ins were missed"), "{warnings}");
}

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
    let again = appliance.kill().await.start(Inherited::default()).await;
    let appliance = again.expect("as before");
    let proxy = appliance.proxy().await;
    let mut log = changes(&appliance).await;
    proxy.sign_in(earn('a', POOL, 600));
    let told = next(&mut log).await;
    assert!(told.contains("may have been missed"), "{told}");
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
    let (mut appliance, proxy, mut log) = start("1h").await;
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
    appliance = appliance
        .kill()
        .await
        .start(Inherited::default())
        .await
        .expect("as before");
    let proxy = appliance.proxy().await;
    let mut log = changes(&appliance).await;
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
async fn a_restart_finds_grants_rests_and_who_was_seen() {
    let (mut appliance, proxy, mut log) = start("1h").await;
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
    appliance = stopped
        .start(Inherited::default())
        .await
        .expect("as before");
    assert_eq!(grants(&appliance), before);
    assert_eq!(appliance.kernel.granted_to(ip("10.20.9.9")), None);
    let shown = appliance.get("/v1/grants").await;
    assert_eq!(shown["grants"].as_array().map(Vec::len), Some(2), "{shown}");
    // Somebody else was seen before, so this one is not alone.
    let proxy = appliance.proxy().await;
    let mut log = changes(&appliance).await;
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
    appliance = stopped
        .start(Inherited::default())
        .await
        .expect("as before");
    assert_eq!(grants(&appliance), [None, None, None]);
    let proxy = appliance.proxy().await;
    let mut log = changes(&appliance).await;
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
async fn sign_ins_that_are_too_long_to_keep_count_as_missed() {
    let (appliance, proxy, mut log) = start("1h").await;
    let words = "x".repeat(300);
    let asked = earn('a', POOL, 600).grant.map(|grant| GrantAsked {
        rule: words.clone(),
        ..grant
    });
    let told: [SignIn; 4] = [
        SignIn {
            grant: asked,
            ..earn('a', POOL, 600)
        },
        SignIn {
            id: words.clone(),
            ..earn('a', POOL, 600)
        },
        SignIn {
            id: "two\nlines".to_owned(),
            ..earn('a', POOL, 600)
        },
        SignIn {
            service: words,
            ..earn('a', POOL, 600)
        },
    ];
    let count = told.len();
    for sign_in in told {
        proxy.sign_in(sign_in);
    }
    proxy.sign_in(earn('a', POOL, 600));
    let told = next(&mut log).await;
    assert!(told.contains("may have been missed"), "{told}");
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["grants"]["missed"], count);
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

#[tokio::test]
async fn a_directory_says_how_far_grants_open() {
    let (appliance, proxy, mut log) = start("1h").await;
    proxy.sign_in(earn('a', POOL, 600));
    next(&mut log).await;
    connect(&appliance, POOL);
    let who = id('a').parse().expect("two ids");
    let up_to = |class| appliance.brain.set_principal_class(who, class);
    for class in [Class::Bypass, Class::Unmanaged] {
        up_to(class).await.expect("there is room");
        let (grant, now) = appliance.kernel.granted_to(ip(POOL)).expect("it lives on");
        assert_eq!((now, grant.cut), (class, true));
        assert_eq!(connections(&appliance), 0);
    }
    up_to(Class::Managed).await.expect("there is room");
    let (grant, now) = appliance.kernel.granted_to(ip(POOL)).expect("it lives on");
    assert_eq!((grant.class, now), (Class::Managed, Class::Managed));
}

/// An appliance with a proxy and a pool of addresses, and its changes as they come.
async fn start(window: &str) -> (Appliance, FakeProxy, Lines) {
    let kernel = "table = 5745";
    assert!(CONFIG.contains(kernel));
    let appliance = Appliance::start_with(Settings {
        edits: [(kernel, format!("{kernel}\ndrain_window = \"{window}\""))]
            .into_iter()
            .chain(weir_control::testing::grants())
            .collect(),
        ..Settings::default()
    })
    .await;
    let proxy = appliance.proxy().await;
    let log = changes(&appliance).await;
    (appliance, proxy, log)
}

/// Declares another pool in the place of the one of now.
async fn declare_another(appliance: &Appliance) {
    let config = appliance
        .read("weir.toml")
        .replace("10.20.0.0/16", "10.30.0.0/16");
    appliance.write("weir.toml", &config);
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

async fn changes(appliance: &Appliance) -> Lines {
    appliance
        .lines("/v1/events?follow=true&limit=0&kind=change")
        .await
}

/// The next change that is not about keys: nobody publishes any here.
async fn next(log: &mut Lines) -> String {
    loop {
        let record = log.next().await.expect("a change");
        if record["action"] != "keys" {
            return record["detail"].as_str().expect("words").to_owned();
        }
    }
}

/// A connection to the proxy.
fn connect(appliance: &Appliance, source: &str) {
    let service: SocketAddr = SERVICE.parse().expect("an address");
    let source = ip(source);
    appliance
        .kernel
        .change(|kernel| kernel.connections.push((service, source)));
}

fn connections(appliance: &Appliance) -> usize {
    let mut count = 0;
    appliance
        .kernel
        .change(|kernel| count = kernel.connections.len());
    count
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
