//! What happens on ordinary days.

use std::time::Duration;

use weir_directory::Who;
use weir_entra::closure::Moves;
use weir_entra::decode::sign_ins::SignIn;
use weir_entra::guard::Guard;
use weir_entra::health::{Reason, State};
use weir_entra::model::Part;
use weir_entra::store::Store;
use weir_entra::sync::Came;
use weir_lab_entra::faults::{Act, Fault};
use weir_lab_entra::world::documents::Section;
use weir_lab_entra::world::populate::APP;
use weir_lab_entra::world::shapes;
use weir_lab_entra::world::{Licence, Quirks};

use crate::world::World;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_first_sync_brings_everything() {
    let world = World::start().await;
    assert!(world.known().is_empty());
    world.sync_all().await;
    world.assert_right();
    assert!(world.known().len() > 3);
    let status = world.status().await;
    assert_eq!(status.state, State::Healthy, "{:?}", status.findings);
    assert!(status.missing.is_empty() && status.too_much.is_empty());
    assert!(
        status.credential_ends.is_some(),
        "the tenant says until when the secret is good"
    );
    for part in Part::ALL {
        let stands = &status.parts[&part];
        assert!(stands.last_success.is_some(), "{part:?}");
        assert!(
            stands.findings.is_empty(),
            "{part:?}: {:?}",
            stands.findings
        );
    }
    // No limit was overrun by it.
    assert!(world.lab.seen().iter().all(|seen| seen.status != 429));
}

#[tokio::test]
async fn a_change_is_told_at_once_and_drawn_within_the_round() {
    let mut world = World::start().await;
    world.sync_all().await;
    world.told();
    let epoch = world.status().await.epoch;
    let (user, team) = world.lab.edit(|tenant| {
        let user = tenant.user("nina@fabrik.example", "Nina Neu");
        let team = tenant.group("sg-night-shift");
        tenant.join(team, user).expect("joined");
        (user, team)
    });
    world.sync_people().await;
    world.assert_right();
    assert_eq!(world.group("sg-night-shift"), Some(team));
    assert!(world.status().await.epoch > epoch);
    let told = world.told();
    assert!(
        told.iter().any(|one| one.applied.back == [user]),
        "{told:?}"
    );
    let moved = told.iter().any(|one| {
        let Moves::Each(moves) = &one.applied.moves else {
            return false;
        };
        moves
            .iter()
            .any(|one| one.user == user && one.added == [team])
    });
    assert!(moved, "{told:?}");
    // Nothing changed since: the same picture, and nobody is bothered.
    assert_eq!(world.sync(Part::Groups).await, Ok(Came::Unchanged));
    assert!(world.told().is_empty());
}

#[tokio::test]
async fn who_is_disabled_or_deleted_is_told_without_being_held() {
    let mut world = World::start().await;
    let [off, gone] = world.lab.edit(|tenant| {
        ["off", "gone"].map(|name| tenant.user(&format!("{name}@fabrik.example"), name))
    });
    world.sync_all().await;
    world.told();
    world.lab.edit(|tenant| {
        tenant
            .set(off, "accountEnabled", &false.into())
            .expect("set");
        tenant.delete(gone).expect("deleted");
    });
    assert_eq!(world.sync(Part::Users).await, Ok(Came::Committed));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].applied.disabled, [off]);
    assert_eq!(told[0].applied.gone, [gone]);
    assert_eq!(world.known()[&off].0, Some(false));
    world.assert_right();
}

#[tokio::test]
async fn sessions_that_are_void_are_told() {
    let mut world = World::start().await;
    let user = world
        .lab
        .edit(|tenant| tenant.user("out@fabrik.example", "Otto Out"));
    world.sync_all().await;
    world.told();
    world.lab.edit(|tenant| {
        let at = "2026-08-20T10:00:00Z".into();
        tenant
            .set(user, "signInSessionsValidFromDateTime", &at)
            .expect("set");
    });
    world.sync(Part::Users).await.expect("it is read");
    let told = world.told();
    let at = time::macros::datetime!(2026-08-20 10:00 UTC);
    assert_eq!(told[0].sessions, [(user, at)]);
}

#[tokio::test]
async fn everything_is_read_again_at_its_own_pace() {
    let world = World::start().await;
    world.sync_all().await;
    let asked = |path: &str| {
        let seen = world.lab.seen();
        seen.iter()
            .filter(|seen| seen.target.starts_with(path))
            .count()
    };
    let paths = [
        "/v1.0/users/delta",
        "/v1.0/identity/conditionalAccess/policies",
        "/v1.0/applications",
    ];
    let before = paths.map(asked);
    let user = world
        .lab
        .edit(|tenant| tenant.user("later@fabrik.example", "Lana Later"));
    world.pass(35 * MINUTE).await;
    let after = paths.map(asked);
    assert!(world.known().contains_key(&user));
    let times = after[0] - before[0];
    assert!((10..=14).contains(&times), "every three minutes: {times}");
    assert_eq!(after[1] - before[1], 1, "every half hour");
    assert_eq!(after[2] - before[2], 0, "every six hours");
    assert_eq!(world.status().await.state, State::Healthy);
}

#[tokio::test]
async fn a_picture_is_drawn_again_before_it_is_too_old() {
    let world = World::start().await;
    world.sync_all().await;
    let before = world.snapshot();
    world.pass(45 * MINUTE).await;
    let after = world.snapshot();
    let users = weir_directory::Part::Users;
    let [before, after] = [&before, &after].map(|one| one.head().checked(users).expect("read"));
    assert!(after - before >= 30 * 60, "{before} {after}");
}

#[tokio::test]
async fn roles_are_told_twice_and_held_once() {
    let world = World::start().await;
    let admin = world.lab.edit(|tenant| {
        let admin = tenant.user("root@fabrik.example", "Rita Root");
        tenant.assign(shapes::GLOBAL_ADMINISTRATOR, admin, "/");
        admin
    });
    world.sync_all().await;
    let snapshot = world.snapshot();
    let id = admin.to_string();
    let view = snapshot.at(snapshot.head().taken_at, MINUTE);
    let user = view
        .find(&Who {
            object_id: Some(&id),
            ..Who::default()
        })
        .user()
        .expect("she is there");
    let roles: Vec<_> = user.held_roles().expect("roles are known").collect();
    assert_eq!(roles.len(), 1, "{roles:?}");
    assert_eq!(roles[0].to_string(), shapes::GLOBAL_ADMINISTRATOR);
}

#[tokio::test]
async fn what_a_tenant_has_no_licence_for_is_no_outage() {
    let world = World::of(Quirks::default(), Guard::default(), |lab| {
        lab.world().tenants[0].licence = Licence::Free;
    })
    .await;
    let synced = world
        .during(world.handle.sync(None, false))
        .await
        .expect("it runs");
    let without: Vec<_> = synced.iter().filter(|one| one.outcome.is_err()).collect();
    assert!(without.iter().any(|one| one.part == Part::SignIns));
    for one in without {
        let finding = one.outcome.as_ref().expect_err("only those were kept");
        assert_eq!(
            finding.reason,
            Reason::NotLicensed,
            "{:?}: {finding}",
            one.part
        );
    }
    world.assert_right();
    let status = world.status().await;
    assert_eq!(status.state, State::Degraded);
    // It is asked for again, but seldom.
    assert!(status.parts[&Part::SignIns].next_in > Duration::from_hours(4));
    world.lab.world().tenants[0].licence = Licence::P2;
    world.pass(Duration::from_hours(9)).await;
    assert!(
        world.status().await.parts[&Part::SignIns]
            .last_success
            .is_some()
    );
}

#[tokio::test]
async fn a_consent_that_is_on_its_way_is_waited_for() {
    let world = World::of(Quirks::default(), Guard::default(), |lab| {
        let mut world = lab.world();
        let soon = world.clock.now() + time::Duration::seconds(50);
        let account = world.tenants[0].account_mut(APP).expect("it has one");
        for (_, from) in &mut account.grants {
            *from = soon;
        }
    })
    .await;
    let status = world.status().await;
    assert!(status.state <= State::Degraded, "{:?}", status.findings);
    world.sync_all().await;
    world.assert_right();
}

#[tokio::test]
async fn a_permission_that_was_taken_away_leaves_what_was_known() {
    let world = World::start().await;
    world.sync_all().await;
    let roles = |world: &World| {
        let mut world = world.lab.world();
        std::mem::take(
            &mut world.tenants[0]
                .account_mut(APP)
                .expect("it has one")
                .grants,
        )
    };
    let grants = roles(&world);
    world.lab.world().tenants[0]
        .account_mut(APP)
        .expect("it has one")
        .grants = grants
        .iter()
        .filter(|(role, _)| role != "GroupMember.Read.All")
        .cloned()
        .collect();
    let before = world.known();
    // A token from before keeps its permissions for an hour.
    world.pass(Duration::from_hours(2)).await;
    let finding = world.sync(Part::Groups).await.expect_err("it may not");
    assert_eq!(finding.reason, Reason::ConsentMissing);
    assert!(
        finding.step.contains("GroupMember.Read.All"),
        "{}",
        finding.step
    );
    assert_eq!(world.known(), before);
    assert_eq!(world.status().await.state, State::NeedsAttention);
    world.lab.world().tenants[0]
        .account_mut(APP)
        .expect("it has one")
        .grants = grants;
    world.sync(Part::Groups).await.expect("it may again");
    world.assert_right();
}

#[tokio::test]
async fn each_sign_in_is_kept_once_and_for_as_long_as_said() {
    let world = World::start().await;
    let user = *world.truth().keys().next().expect("somebody");
    let sign_in = |world: &World, id: u128, ago: time::Duration| {
        let at = world.lab.world().clock.now() - ago;
        let template = world.lab.world().tenants[0].documents.of(Section::SignIns)[0].clone();
        let mut event = template;
        event["id"] = uuid::Uuid::from_u128(id).to_string().into();
        event["userId"] = user.to_string().into();
        let at = at.replace_nanosecond(0).expect("nought");
        let format = &time::format_description::well_known::Rfc3339;
        event["createdDateTime"] = at.format(format).expect("a time").into();
        world.lab.edit(|tenant| tenant.put(Section::SignIns, event));
    };
    sign_in(&world, 1, time::Duration::minutes(10));
    world.sync_all().await;
    // Told late, and inside the hour that is asked for again.
    sign_in(&world, 2, time::Duration::minutes(30));
    assert_eq!(world.sync(Part::SignIns).await, Ok(Came::Committed));
    assert_eq!(world.sync(Part::SignIns).await, Ok(Came::Unchanged));
    let kept = kept(world).await;
    let ids: Vec<_> = kept.iter().map(|one| one.id.as_str()).collect();
    for id in [1, 2] {
        let id = uuid::Uuid::from_u128(id).to_string();
        assert_eq!(ids.iter().filter(|one| **one == id).count(), 1, "{ids:?}");
    }
}

#[tokio::test]
async fn being_asked_to_wait_is_waited_for() {
    let world = World::start().await;
    world.sync_all().await;
    let headers = vec![("Retry-After".to_owned(), "90".to_owned())];
    let act = Act::Graph {
        status: 429,
        code: "TooManyRequests".to_owned(),
        message: String::new(),
        headers,
    };
    world
        .lab
        .fault(Fault::graph("/v1.0/users/delta*", act).times(2));
    let user = world
        .lab
        .edit(|tenant| tenant.user("slow@fabrik.example", "Sam Slow"));
    let before = world.lab.world().clock.now();
    world.sync(Part::Users).await.expect("in the end");
    assert!(world.lab.world().clock.now() - before >= time::Duration::seconds(180));
    assert!(world.known().contains_key(&user));
}

/// The sign-ins in the store of a world, which ends.
async fn kept(world: World) -> Vec<SignIn> {
    let store: Store = world.into_store().await;
    let documents = store
        .read()
        .and_then(|view| view.documents(Part::SignIns))
        .expect("readable");
    documents
        .values()
        .map(|bytes| serde_json::from_slice(bytes).expect("a sign-in"))
        .collect()
}
