//! What becomes of grants, and of the connections that go on by them, when the tenant says something else of
//! people.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use weir_abi::Class;
use weir_control::testing::{Appliance, FakeProxy, Lines, Settings, earn, grants};
use weir_directory::GroupFound;
use weir_lab_entra::Entra;
use weir_lab_entra::world::Quirks;
use weir_lab_entra::world::populate::TENANT;
use weir_link::{PrincipalId, SignIn};

/// Addresses of one person each.
const POOL: &str = "10.20.0.7";
const OTHER: &str = "10.20.0.8";
const LOOK: Duration = Duration::from_millis(20);
const NOWHERE: &str = "https://localhost:1";
const BOUND: &str = "[[entra.group]]\ngroup = \"interns\"\nclass = \"unmanaged\"\n";

/// A tenant with somebody in group `gate staff`, for which a rule grants, and groups that nobody is in yet.
struct Story {
    lab: Entra,
    appliance: Appliance,
    proxy: FakeProxy,
    log: Lines,
    alice: Uuid,
    staff: Uuid,
    engineers: Uuid,
}

impl Story {
    async fn begin() -> Self {
        let lab = plain().await;
        let [alice, staff, engineers] = lab.edit(|edit| {
            let alice = edit.user("alice.grants@fabrik.example", "Alice");
            let [staff, engineers] = ["gate staff", "interns"].map(|name| edit.group(name));
            edit.join(staff, alice).expect("both are there");
            [alice, staff, engineers]
        });
        let appliance = appliance(&lab.configuration(BOUND)).await;
        until("the picture has her and the groups", async || {
            sync(&appliance).await;
            let directory = appliance.brain.directory();
            directory.is_some_and(|one| {
                let mut users = one.snapshot.users();
                let alice = users.find(|user| user.id() == alice);
                let group = |group: Uuid| match one.snapshot.group(&group.to_string()) {
                    GroupFound::One(group) => alice.and_then(|alice| alice.is_member(group)),
                    _ => None,
                };
                group(staff) == Some(true) && group(engineers) == Some(false)
            })
        })
        .await;
        let proxy = appliance.proxy().await;
        let log = changes(&appliance).await;
        Self {
            lab,
            appliance,
            proxy,
            log,
            alice,
            staff,
            engineers,
        }
    }

    /// Alice signs in there, and is connected to the proxy; what came of it.
    async fn earn(&mut self, source: &str) -> String {
        let sign_in = sign_in(self.alice, source);
        connect(&self.appliance, source);
        self.proxy.sign_in(sign_in);
        self.next("grant").await
    }

    /// The next record of such a kind.
    async fn next(&mut self, action: &str) -> String {
        next(&mut self.log, action).await
    }

    async fn sync(&self) {
        sync(&self.appliance).await;
    }

    fn is_cut(&self, source: &str) -> bool {
        is_cut(&self.appliance, source)
    }

    fn connections(&self) -> usize {
        connections(&self.appliance)
    }
}

#[tokio::test]
async fn who_joins_a_group_that_limits_loses_everything_and_who_leaves_it_may_earn_anew() {
    let mut story = Story::begin().await;
    for source in [POOL, OTHER] {
        let told = story.earn(source).await;
        let shown = story.appliance.get("/v1/grants").await;
        assert!(told.contains("the kernel goes by it"), "{told}: {shown}");
    }
    let shown = story.appliance.get("/v1/grants").await;
    assert_eq!(shown["grants"][0]["limit"]["class"], "managed", "{shown}");
    let (alice, engineers) = (story.alice, story.engineers);
    story
        .lab
        .edit(|edit| edit.join(engineers, alice))
        .expect("both are there");
    story.sync().await;
    let told = story.next("entra revoke").await;
    for words in [
        &*alice.to_string(),
        "group `interns`",
        "up to unmanaged",
        "2 grants ended",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(story.is_cut(POOL) && story.is_cut(OTHER));
    assert_eq!(story.connections(), 0);
    let told = story.earn(POOL).await;
    assert!(
        told.contains("may have nothing") && told.contains("`interns`"),
        "{told}"
    );

    story
        .lab
        .edit(|edit| edit.leave(engineers, alice))
        .expect("she is in it");
    story.sync().await;
    until("she may", async || {
        story.earn(POOL).await.contains("the kernel goes by it")
    })
    .await;
    let status = story.appliance.get("/v1/status").await["grants"].clone();
    assert_eq!(
        (&status["withdrawn"], &status["kernel"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn who_leaves_the_group_that_a_rule_asks_for_loses_what_it_granted() {
    let mut story = Story::begin().await;
    story.earn(POOL).await;
    let (alice, staff) = (story.alice, story.staff);
    story
        .lab
        .edit(|edit| edit.leave(staff, alice))
        .expect("she is in it");
    story.sync().await;
    let told = story.next("entra revoke").await;
    assert!(
        told.contains("group = \"gate staff\"") && told.contains("1 grants ended"),
        "{told}"
    );
    assert!(story.is_cut(POOL));
    assert_eq!(story.connections(), 0);
    // Whether a rule still grants anything is for the proxy to say.
    let told = story.earn(POOL).await;
    assert!(told.contains("the kernel goes by it"), "{told}");
}

#[tokio::test]
async fn whom_the_tenant_shuts_out_stays_out_until_it_says_so() {
    let mut story = Story::begin().await;
    story.earn(POOL).await;
    let alice = story.alice;
    enable(&story, false);
    story.sync().await;
    let told = story.next("entra revoke").await;
    assert!(
        told.contains("the account is disabled") && told.contains(&alice.to_string()),
        "{told}"
    );
    assert!(story.is_cut(POOL));
    assert_eq!(story.connections(), 0);
    let told = story.earn(POOL).await;
    assert!(told.contains("the account is disabled"), "{told}");
    let revoked = story.appliance.get("/v1/grants").await["revoked"].clone();
    assert_eq!(
        (&revoked[0]["by"], revoked.as_array().map(Vec::len)),
        (&json!("entra"), Some(1))
    );

    enable(&story, true);
    story.sync().await;
    let told = story.next("entra restore").await;
    assert!(told.contains(&alice.to_string()), "{told}");
    let told = story.earn(POOL).await;
    assert!(told.contains("the kernel goes by it"), "{told}");

    // Whom a person shut out, the tenant does not let in.
    let body = json!({ "principal": principal(alice).to_string(), "reason": "laptop stolen" });
    let path = "/v1/principals/revoke";
    let (status, _) = story.appliance.ask(Method::POST, path, Some(body)).await;
    assert_eq!(status, StatusCode::OK);
    for enabled in [false, true] {
        enable(&story, enabled);
        story.sync().await;
    }
    let told = story.earn(POOL).await;
    assert!(told.contains("may have nothing"), "{told}");
}

#[tokio::test]
async fn who_is_gone_while_nobody_listened_is_gone_all_the_same() {
    let mut story = Story::begin().await;
    story.earn(POOL).await;
    let alice = story.alice;
    let Story {
        lab, mut appliance, ..
    } = story;
    appliance
        .restart(async || lab.edit(|edit| edit.delete(alice)).expect("she is there"))
        .await;
    sync(&appliance).await;
    let mut log = appliance
        .lines("/v1/events?follow=true&limit=1000&kind=change")
        .await;
    let told = next(&mut log, "entra revoke").await;
    assert!(told.contains("the account is gone"), "{told}");
    assert!(is_cut(&appliance, POOL));
    assert_eq!(connections(&appliance), 0);
}

#[tokio::test]
async fn sessions_that_are_revoked_end_what_was_earned_before() {
    let mut story = Story::begin().await;
    story.earn(POOL).await;
    let alice = story.alice;
    let since = OffsetDateTime::now_utc();
    let written = json!(since.format(&Rfc3339).expect("a moment"));
    story
        .lab
        .edit(|edit| edit.set(alice, "signInSessionsValidFromDateTime", &written))
        .expect("a moment");
    story.sync().await;
    let told = story.next("entra revoke").await;
    assert!(told.contains("its sessions were revoked"), "{told}");
    assert!(story.is_cut(POOL));
    assert_eq!(story.connections(), 0);
    // One from before, that is told late.
    let late = SignIn {
        ago: 600_000,
        ..sign_in(alice, POOL)
    };
    story.proxy.sign_in(SignIn {
        grant: late.grant.map(|grant| weir_link::GrantAsked {
            seconds: 3600,
            ..grant
        }),
        ..late
    });
    let told = story.next("grant").await;
    assert!(told.contains("its sessions were revoked after"), "{told}");
    let told = story.earn(POOL).await;
    assert!(told.contains("the kernel goes by it"), "{told}");
}

#[tokio::test]
async fn while_the_tenant_says_nothing_nobody_opens_the_kernel() {
    let lab = Entra::start().await;
    let entra = lab.configuration(BOUND);
    let silent = entra
        .replace(lab.login(), NOWHERE)
        .replace(lab.graph(), NOWHERE);
    let appliance = appliance(&silent).await;
    let proxy = appliance.proxy().await;
    let mut log = changes(&appliance).await;
    proxy.sign_in(sign_in(Uuid::from_u128(7), POOL));
    let told = next(&mut log, "grant").await;
    assert!(
        told.contains("not in the kernel: the directory could not say"),
        "{told}"
    );
    assert_eq!(appliance.kernel.granted_to(ip(POOL)), None);
    let shown = appliance.get("/v1/grants").await["grants"][0].clone();
    assert_eq!(
        (&shown["kernel"], &shown["limit"]["class"]),
        (&json!(false), &Value::Null)
    );
    let why = shown["limit"]["why"].to_string();
    assert!(why.contains("whether it is in group `interns`"), "{why}");
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["grants"]["unsure"], 1);
    let asked = json!({ "source": POOL });
    let (_, explained) = appliance
        .ask(Method::POST, "/v1/explain", Some(asked))
        .await;
    assert_eq!(explained["kernel"]["grant"]["limit"], shown["limit"]);
}

/// A tenant that does as it is told.
async fn plain() -> Entra {
    let lab = Entra::start().await;
    {
        let mut world = lab.world();
        world.quirks = Quirks::none();
        world.throttle.on = false;
    }
    lab
}

/// An appliance with a rule that grants, and this tenant.
async fn appliance(entra: &str) -> Appliance {
    let lists = "[[list]]\nname = \"hq-egress\"";
    let rules = grants().map(|(from, to)| (from, to.replace("\"staff\"", "\"gate staff\"")));
    let edits = rules
        .into_iter()
        .chain([(lists, format!("{entra}{lists}"))]);
    Appliance::start_with(Settings {
        edits: edits.collect(),
        ..Settings::default()
    })
    .await
}

/// Reads all of the tenant.
async fn sync(appliance: &Appliance) {
    let tenant = loop {
        match appliance.brain.tenant() {
            Some(tenant) => break tenant,
            None => tokio::time::sleep(LOOK).await,
        }
    };
    tenant.handle.sync(None, false).await.expect("it runs");
}

fn enable(story: &Story, enabled: bool) {
    let alice = story.alice;
    let edit = story
        .lab
        .edit(|edit| edit.set(alice, "accountEnabled", &json!(enabled)));
    edit.expect("she is there");
}

fn principal(user: Uuid) -> PrincipalId {
    PrincipalId::new(TENANT.as_u128(), user.as_u128())
}

fn sign_in(user: Uuid, source: &str) -> SignIn {
    SignIn {
        principal: principal(user),
        ..earn('a', source, 600)
    }
}

async fn changes(appliance: &Appliance) -> Lines {
    appliance
        .lines("/v1/events?follow=true&limit=0&kind=change")
        .await
}

async fn next(log: &mut Lines, action: &str) -> String {
    loop {
        let record = log.next().await.expect("a change");
        if record["action"] == action {
            return record["detail"].as_str().expect("words").to_owned();
        }
    }
}

fn connect(appliance: &Appliance, source: &str) {
    let service: SocketAddr = "192.0.2.10:443".parse().expect("an address");
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

fn is_cut(appliance: &Appliance, source: &str) -> bool {
    let granted = appliance.kernel.granted_to(ip(source));
    granted.is_some_and(|(grant, _)| grant.cut && grant.class == Class::Unmanaged)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("it never came: {what}");
}
