//! What is taken away from many is looked at by a person first.

use weir_entra::guard::Guard;
use weir_entra::health::{Reason, State};
use weir_entra::model::{Id, Part};
use weir_entra::store::StoreError;
use weir_entra::sync::{Came, CommandError};
use weir_lab_entra::world::Quirks;

use crate::world::World;

/// A tenant with many people in it, of which everything is known.
async fn crowded() -> (World, Vec<Id>) {
    let world = World::with(Quirks::none(), Guard::default()).await;
    let people = world.lab.edit(|tenant| {
        let made = (0..60).map(|n| tenant.user(&format!("p{n}@fabrik.example"), &format!("P {n}")));
        made.collect::<Vec<_>>()
    });
    world.sync_all().await;
    (world, people)
}

#[tokio::test]
async fn a_mass_removal_waits_and_one_who_is_disabled_does_not() {
    let (mut world, people) = crowded().await;
    world.told();
    let before = world.known();
    world.lab.edit(|tenant| {
        for user in &people[..40] {
            tenant.delete(*user).expect("deleted");
        }
        tenant
            .set(people[50], "accountEnabled", &false.into())
            .expect("set");
    });
    let Ok(Came::Held(digest)) = world.sync(Part::Users).await else {
        panic!("forty people")
    };
    let known = world.known();
    assert_eq!(known.len(), before.len());
    assert_eq!(known[&people[50]].0, Some(false));
    let told = world.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].applied.disabled, [people[50]]);
    assert!(told[0].applied.gone.is_empty());
    let status = world.status().await;
    assert_eq!(status.state, State::Held);
    let held = status.parts[&Part::Users].held.clone().expect("it waits");
    assert_eq!(held.digest, digest);
    // The same is told again, and waits under the same name.
    assert_eq!(world.sync(Part::Users).await, Ok(Came::Held(digest)));
    let part = world.during(world.handle.approve(digest, "alice")).await;
    assert_eq!(part.expect("approved"), Part::Users);
    world.assert_right();
    assert_eq!(
        world
            .told()
            .iter()
            .map(|one| one.applied.gone.len())
            .sum::<usize>(),
        40
    );
    world.sync(Part::Users).await.expect("it goes on");
    world.assert_right();
    assert_eq!(world.status().await.state, State::Healthy);
}

#[tokio::test]
async fn what_is_discarded_and_still_so_waits_again() {
    let (world, people) = crowded().await;
    let before = world.known();
    world.lab.edit(|tenant| {
        for user in &people[..40] {
            tenant.purge_as(*user, false).expect("purged");
        }
    });
    let Ok(Came::Held(digest)) = world.sync(Part::Users).await else {
        panic!("forty people")
    };
    let part = world.during(world.handle.discard(digest, "bob")).await;
    assert_eq!(part.expect("discarded"), Part::Users);
    assert_eq!(world.known(), before);
    let Ok(Came::Held(again)) = world.sync(Part::Users).await else {
        panic!("still forty people")
    };
    assert_eq!(world.known(), before);
    let old = world.during(world.handle.approve(digest, "bob")).await;
    if digest != again {
        assert!(
            matches!(old, Err(CommandError::Store(StoreError::NotHeld { .. }))),
            "{old:?}"
        );
    }
    if old.is_err() {
        world
            .during(world.handle.approve(again, "bob"))
            .await
            .expect("approved");
    }
    world.assert_right();
}

#[tokio::test]
async fn an_answer_with_nobody_in_it_takes_nothing_away() {
    use weir_lab_entra::faults::{Act, Fault};
    let (world, _) = crowded().await;
    let before = world.known();
    world
        .lab
        .fault(Fault::graph("/v1.0/users/delta*", Act::Empty));
    let nobody = world
        .sync_full(Part::Users)
        .await
        .expect_err("a tenant has users");
    assert_eq!(nobody.reason, Reason::Malformed);
    world
        .lab
        .fault(Fault::graph("/v1.0/groups/delta*", Act::Empty));
    let held = world.sync_full(Part::Groups).await;
    assert!(matches!(held, Ok(Came::Held(_))), "{held:?}");
    assert_eq!(world.known(), before);
    world.lab.world().faults.clear();
    world.sync_full(Part::Users).await.expect("read");
    world.sync_full(Part::Groups).await.expect("read");
    world.assert_right();
    let status = world.status().await;
    assert!(status.parts[&Part::Groups].held.is_none());
}
