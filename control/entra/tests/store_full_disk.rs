//! A disk that is full, and then is not. The limit holds for the whole process, so this test is alone in it.

mod stores;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use stores::{Scene, World, at, users};
use weir_entra::guard::Guard;
use weir_entra::model::Part;
use weir_entra::round::Outcome;
use weir_entra::store::StoreError;

#[test]
fn a_full_disk_changes_nothing_and_is_got_over() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    let before = World::of(&scene.view()).expect("it reads");

    // SAFETY: no handler runs.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.expect("it can be ignored");
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("there is one");
    let size = std::fs::metadata(scene.path()).expect("it is there").len();
    setrlimit(Resource::RLIMIT_FSIZE, size, hard).expect("it may be lowered");
    let mut round = scene.next(Part::Users);
    round.users(users(0..30_000)).expect("it is a page");
    let failed = round.finish(Some("too far".to_owned()), &Guard::default(), at(1));
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).expect("it may be raised again");

    scene
        .store
        .failed(Part::Users, "disk", at(2))
        .expect("there is room again");
    assert_eq!(World::of(&scene.view()).expect("it reads"), before);
    assert_eq!(
        scene.store.link(Part::Users).expect("it reads").as_deref(),
        Some("link of 0")
    );
    assert!(matches!(
        scene.users(3, users(0..30_000)),
        Outcome::Committed(_)
    ));
}
