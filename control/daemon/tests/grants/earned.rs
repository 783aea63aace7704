//! What earns a grant, and what does not.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use weir_abi::Class;
use weir_control::testing::{earn, principal as id};
use weir_link::{GrantAsked, SignIn};

use crate::stage::{NAT, POOL, connect, connections, declare_another, ip, next, restarted, start};

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
    let (appliance, proxy, mut log) = restarted(stopped).await;
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
