//! The engine ends anywhere, and another goes on.

use std::time::Duration;

use weir_entra::guard::Guard;
use weir_entra::model::Part;
use weir_lab_entra::world::Quirks;

use crate::world::World;

#[tokio::test]
async fn what_was_known_is_published_before_anybody_is_asked() {
    let mut world = World::start().await;
    world.sync_all().await;
    let (known, epoch) = (world.known(), world.snapshot().head().epoch);
    let asked = world.lab.seen().len();
    world.lab.world().clock.advance(time::Duration::seconds(1));
    world.restart().await;
    assert_eq!(world.known(), known);
    assert!(world.snapshot().head().epoch > epoch);
    let seen = world.lab.seen();
    assert!(
        seen[asked..]
            .iter()
            .all(|seen| !seen.target.starts_with("/v1.0/users"))
    );
}

#[tokio::test]
async fn killed_again_and_again_it_ends_with_what_is_so() {
    let mut world = World::start().await;
    for n in 0..12 {
        world.lab.edit(|tenant| {
            let user = tenant.user(&format!("k{n}@fabrik.example"), &format!("K {n}"));
            let team = tenant.group(&format!("sg-k{n}"));
            tenant.join(team, user).expect("joined");
        });
        // Wherever it is by then: asking, staging, writing, drawing.
        let cut = Duration::from_millis(7 * n);
        let work = async {
            tokio::select! {
                _ = world.handle.sync(None, n % 3 == 0) => (),
                () = tokio::time::sleep(cut) => (),
            }
        };
        world.during(work).await;
        world.restart().await;
    }
    world.sync_all().await;
    world.assert_right();
}

#[tokio::test]
async fn a_full_round_comes_even_to_who_restarts_every_day() {
    let mut world = World::with(Quirks::none(), Guard::default()).await;
    let user = world
        .lab
        .edit(|tenant| tenant.user("ghost@fabrik.example", "Gerd Ghost"));
    world.sync_all().await;
    world
        .lab
        .edit(|tenant| tenant.purge_as(user, true))
        .expect("purged");
    for _ in 0..8 {
        world.restart().await;
        world.skip(time::Duration::days(1));
        world.sync(Part::Users).await.expect("read");
    }
    world.assert_right();
}
