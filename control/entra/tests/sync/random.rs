//! Any story of a tenant, told by services that behave as badly as they do: in the end the planes know what is so.

use std::time::Duration;

use proptest::prelude::*;
use weir_entra::model::{Id, Part};
use weir_lab_entra::world::{Expired, Quirks};

use crate::world::World;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Hire,
    Found,
    Join(usize, usize),
    Nest(usize, usize),
    Leave(usize, usize),
    Disable(usize),
    Enable(usize),
    Delete(usize),
    DeleteGroup(usize),
    Restore(usize),
    Purge(usize),
    Expire,
    Restart,
    Sync,
    Cut(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0..64_usize;
    prop_oneof![
        3 => Just(Step::Hire),
        2 => Just(Step::Found),
        6 => (any.clone(), any.clone()).prop_map(|(a, b)| Step::Join(a, b)),
        3 => (any.clone(), any.clone()).prop_map(|(a, b)| Step::Nest(a, b)),
        3 => (any.clone(), any.clone()).prop_map(|(a, b)| Step::Leave(a, b)),
        2 => any.clone().prop_map(Step::Disable),
        1 => any.clone().prop_map(Step::Enable),
        2 => any.clone().prop_map(Step::Delete),
        1 => any.clone().prop_map(Step::DeleteGroup),
        2 => any.clone().prop_map(Step::Restore),
        1 => any.prop_map(Step::Purge),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
        4 => Just(Step::Sync),
        1 => (0..40_u64).prop_map(Step::Cut),
    ]
}

fn quirks() -> impl Strategy<Value = Quirks> {
    let expired = prop_oneof![
        Just(Expired::BadRequest),
        Just(Expired::BadRequestCapital),
        Just(Expired::NotFound),
        Just(Expired::Gone),
    ];
    (2..40_usize, 1..8_usize, expired, any::<bool>()).prop_map(
        |(delta_page, piece, expired, hidden_restore)| Quirks {
            delta_page,
            piece,
            duplicate: 0.2,
            replay: 0.3,
            empty_page: 0.2,
            gone_at_first: 0.5,
            silent_purge: 0.5,
            hidden_restore,
            expired,
            ..Quirks::default()
        },
    )
}

/// What a story is told of.
#[derive(Default)]
struct Cast {
    users: Vec<Id>,
    groups: Vec<Id>,
}

impl Cast {
    fn user(&self, n: usize) -> Option<Id> {
        self.users.get(n % self.users.len().max(1)).copied()
    }

    fn group(&self, n: usize) -> Option<Id> {
        self.groups.get(n % self.groups.len().max(1)).copied()
    }

    /// Does it, if that can be: nobody can delete who is gone.
    fn play(&mut self, world: &World, step: Step) -> Option<()> {
        let count = self.users.len() + self.groups.len();
        world.lab.edit(|tenant| {
            let done = match step {
                Step::Hire => {
                    self.users
                        .push(tenant.user(&format!("h{count}@fabrik.example"), "Hired"));
                    return Some(());
                }
                Step::Found => {
                    self.groups.push(tenant.group(&format!("sg-{count}")));
                    return Some(());
                }
                Step::Join(group, user) => tenant.join(self.group(group)?, self.user(user)?),
                Step::Nest(group, member) => tenant.join(self.group(group)?, self.group(member)?),
                Step::Leave(group, user) => tenant.leave(self.group(group)?, self.user(user)?),
                Step::Disable(user) => {
                    tenant.set(self.user(user)?, "accountEnabled", &false.into())
                }
                Step::Enable(user) => tenant.set(self.user(user)?, "accountEnabled", &true.into()),
                Step::Delete(user) => tenant.delete(self.user(user)?),
                Step::DeleteGroup(group) => tenant.delete(self.group(group)?),
                Step::Restore(user) => tenant.restore(self.user(user)?),
                Step::Purge(user) => tenant.purge(self.user(user)?),
                Step::Expire => {
                    tenant.expire_links();
                    return Some(());
                }
                Step::Restart | Step::Sync | Step::Cut(_) => return None,
            };
            done.ok()
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn in_the_end_the_planes_know_what_is_so(quirks in quirks(), story in prop::collection::vec(step(), 10..50)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut world = World::with(quirks, World::unguarded()).await;
            let mut cast = Cast::default();
            for step in story {
                match step {
                    Step::Sync => world.sync_people().await,
                    Step::Restart => world.restart().await,
                    Step::Cut(after) => {
                        let work = async {
                            tokio::select! {
                                _ = world.handle.sync(None, false) => (),
                                () = tokio::time::sleep(Duration::from_millis(after)) => (),
                            }
                        };
                        world.during(work).await;
                        world.restart().await;
                    }
                    step => drop(cast.play(&world, step)),
                }
            }
            // Purges and restores are not always told: the full round finds them.
            for part in [Part::Users, Part::Groups] {
                world.sync_full(part).await.unwrap_or_else(|finding| panic!("{part:?}: {finding}"));
            }
            world.assert_right();
        });
    }
}
