//! Whatever goes wrong, the directory is right afterwards, or as it was.

use std::time::Duration;

use weir_entra::guard::Guard;
use weir_entra::health::{Reason, State};
use weir_entra::model::{Id, Part};
use weir_entra::sync::Came;
use weir_lab_entra::faults::{Act, Fault};
use weir_lab_entra::world::{Expired, Quirks};

use crate::world::World;

const OTHER: Id = Id::from_u128(0x7d3c_1a52_9f0e_4f5b_8c3d_2b6a_1e0f_ffff);

#[tokio::test]
async fn a_fault_that_lasts_changes_nothing_and_is_over_when_it_is_over() {
    let world = World::start().await;
    world.sync_all().await;
    let graph = |status: u16, code: &str| Act::Graph {
        status,
        code: code.to_owned(),
        message: "No.".to_owned(),
        headers: Vec::new(),
    };
    let faults = [
        (Act::Truncate { bytes: 40 }, Reason::Malformed),
        (Act::Cut { bytes: 40 }, Reason::Unreachable),
        (Act::Html { status: 200 }, Reason::NotMicrosoft),
        (Act::Html { status: 502 }, Reason::NotMicrosoft),
        (
            Act::Links {
                origin: world.lab.elsewhere().to_owned(),
            },
            Reason::ForeignLink,
        ),
        (
            graph(403, "Authorization_RequestDenied"),
            Reason::ConsentMissing,
        ),
        (graph(500, "serviceException"), Reason::Unavailable),
        (graph(429, "TooManyRequests"), Reason::Throttled),
        (graph(400, "Request_BadRequest"), Reason::Fault),
    ];
    for (n, (act, reason)) in faults.into_iter().enumerate() {
        let before = world.known();
        for path in ["/v1.0/users/delta*", "/v1.0/groups/delta*"] {
            world.lab.fault(Fault::graph(path, act.clone()));
        }
        world.lab.edit(|tenant| {
            let user = tenant.user(&format!("u{n}@fabrik.example"), &format!("U {n}"));
            let team = tenant.group(&format!("sg-{n}"));
            tenant.join(team, user).expect("joined");
        });
        for part in [Part::Users, Part::Groups] {
            let finding = world.sync(part).await.expect_err("it lasts");
            assert_eq!(finding.reason, reason, "{act:?}: {finding}");
        }
        assert_eq!(world.known(), before, "{act:?}");
        let status = world.status().await;
        assert!(status.state > State::Healthy, "{act:?}");
        world.lab.world().faults.clear();
        world.sync_people().await;
        world.assert_right();
    }
    let host = world
        .lab
        .elsewhere()
        .trim_start_matches("https://")
        .to_owned();
    assert!(
        world.lab.seen().iter().all(|seen| seen.host != host),
        "no token went there"
    );
    let status = world.status().await;
    assert_eq!(
        status.state,
        State::Healthy,
        "{:?}",
        status.parts[&Part::Users].findings
    );
}

#[tokio::test]
async fn a_failure_is_tried_again_by_itself() {
    let world = World::start().await;
    world.sync_all().await;
    world
        .lab
        .fault(Fault::graph("/v1.0/users/delta*", Act::Html { status: 200 }).times(3));
    world
        .sync(Part::Users)
        .await
        .expect_err("a page of somebody else's");
    let user = world
        .lab
        .edit(|tenant| tenant.user("after@fabrik.example", "Anna After"));
    world.pass(Duration::from_mins(10)).await;
    assert!(world.known().contains_key(&user));
    assert_eq!(world.status().await.parts[&Part::Users].failures, 0);
}

#[tokio::test]
async fn after_a_link_has_expired_all_is_read_again() {
    for expired in [
        Expired::BadRequest,
        Expired::BadRequestCapital,
        Expired::NotFound,
        Expired::Gone,
    ] {
        let quirks = Quirks {
            expired,
            ..Quirks::default()
        };
        let world = World::with(quirks, Guard::default()).await;
        let [first, second] = world.lab.edit(|tenant| {
            let users = ["first", "second"]
                .map(|name| tenant.user(&format!("{name}@fabrik.example"), name));
            let team = tenant.group("sg-both");
            for user in users {
                tenant.join(team, user).expect("joined");
            }
            users
        });
        world.sync_all().await;
        world.lab.edit(|tenant| {
            tenant.purge_as(first, true).expect("purged");
            tenant
                .set(second, "accountEnabled", &false.into())
                .expect("set");
            tenant.expire_links();
        });
        for part in [Part::Users, Part::Groups] {
            assert_eq!(world.sync(part).await, Ok(Came::Committed), "{expired:?}");
        }
        world.assert_right();
        assert!(!world.known().contains_key(&first));
    }
}

#[tokio::test]
async fn a_purge_that_nobody_tells_of_is_found_within_the_week() {
    let world = World::with(Quirks::none(), Guard::default()).await;
    let user = world
        .lab
        .edit(|tenant| tenant.user("ghost@fabrik.example", "Gerd Ghost"));
    world.sync_all().await;
    world
        .lab
        .edit(|tenant| tenant.purge_as(user, true))
        .expect("purged");
    world.sync(Part::Users).await.expect("read");
    assert!(world.known().contains_key(&user), "delta does not tell");
    assert_eq!(world.sync_full(Part::Users).await, Ok(Came::Committed));
    world.assert_right();
}

#[tokio::test]
async fn nothing_is_read_of_another_tenant() {
    let world = World::of(Quirks::default(), Guard::default(), |lab| {
        lab.fault(Fault::graph(
            "/v1.0/organization*",
            Act::Tenant { id: OTHER },
        ));
    })
    .await;
    let synced = world
        .during(world.handle.sync(None, false))
        .await
        .expect("it runs");
    for one in synced {
        let finding = one.outcome.expect_err("nothing is read");
        assert_eq!(finding.reason, Reason::OtherTenant);
    }
    assert!(world.known().is_empty());
    assert_eq!(world.status().await.state, State::NeedsAttention);
    assert!(
        world
            .lab
            .seen()
            .iter()
            .all(|seen| !seen.target.starts_with("/v1.0/users"))
    );
    world.lab.world().faults.clear();
    world.sync_all().await;
    world.assert_right();
    // Later, too: all stops, and nothing is lost.
    let before = world.known();
    world.lab.fault(Fault::graph(
        "/v1.0/organization*",
        Act::Tenant { id: OTHER },
    ));
    let finding = world
        .sync(Part::Organisation)
        .await
        .expect_err("another one");
    assert_eq!(finding.reason, Reason::OtherTenant);
    let asked = world.lab.seen().len();
    world.pass(Duration::from_mins(5)).await;
    let seen = world.lab.seen();
    assert!(
        seen[asked..]
            .iter()
            .all(|seen| !seen.target.starts_with("/v1.0/users"))
    );
    assert_eq!(world.known(), before);
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_said_and_harms_nothing() {
    let world = World::start().await;
    world.sync_all().await;
    *world.clock.wrong.lock().expect("clock") = time::Duration::minutes(12);
    world
        .lab
        .edit(|tenant| tenant.user("tick@fabrik.example", "Tina Tick"));
    world.sync_people().await;
    world.assert_right();
    let status = world.status().await;
    let finding = status
        .findings
        .iter()
        .find(|one| one.reason == Reason::ClockWrong);
    let finding = finding.expect("it is said");
    assert!(finding.words.contains("ahead"), "{finding}");
}
