//! What people ask of it.

use weir_directory::Part as Drawn;
use weir_entra::credential::{Certificate, Credential};
use weir_entra::guard::{Guard, Watched};
use weir_entra::health::{Reason, State};
use weir_entra::model::Part;
use weir_entra::sync::{Came, CommandError};
use weir_lab_entra::faults::{Act, Fault};
use weir_lab_entra::world::populate::APP;

use crate::world::{World, secret};

#[tokio::test]
async fn who_is_disconnected_is_left_alone_until_somebody_connects() {
    let mut world = World::start().await;
    world.sync_all().await;
    let known = world.known();
    world
        .during(world.handle.disconnect(false, "alice"))
        .await
        .expect("done");
    assert_eq!(world.known(), known);
    assert_eq!(world.status().await.state, State::Disconnected);
    let asked = world.lab.seen().len();
    let refused = world.handle.sync(None, false).await;
    assert!(matches!(refused, Err(CommandError::Disconnected)));
    world.restart().await;
    world.pass(std::time::Duration::from_hours(1)).await;
    assert_eq!(world.lab.seen().len(), asked, "beyond a restart, too");
    assert_eq!(world.known(), known);
    world
        .lab
        .edit(|tenant| tenant.user("back@fabrik.example", "Bea Back"));
    world.handle.connect().await.expect("done");
    world.sync_all().await;
    world.assert_right();
}

#[tokio::test]
async fn what_is_purged_is_unknown() {
    let world = World::start().await;
    world.sync_all().await;
    world
        .during(world.handle.disconnect(true, "alice"))
        .await
        .expect("done");
    let snapshot = world.snapshot();
    assert_eq!(snapshot.users().count(), 0);
    for part in [Drawn::Users, Drawn::Groups, Drawn::Roles] {
        assert_eq!(
            snapshot.head().checked(part),
            None,
            "{part:?}: nobody can say"
        );
    }
    world.handle.connect().await.expect("done");
    world.sync_all().await;
    world.assert_right();
}

#[tokio::test]
async fn another_credential_is_proved_before_it_is_used() {
    let world = World::start().await;
    world.sync_all().await;
    let refused = world
        .during(world.handle.credential(secret("not.the.secret")))
        .await;
    let Err(CommandError::Refused(finding)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(finding.reason, Reason::SecretWrong);
    world.sync_people().await;
    let certificate = Certificate::from_parts(
        world.lab.certificate().as_bytes(),
        world.lab.key().as_bytes(),
    );
    let certificate = Credential::Certificate(certificate.expect("they belong together"));
    world
        .during(world.handle.credential(certificate))
        .await
        .expect("it holds");
    assert!(world.status().await.keeps_former_credential);
    // The secret is of no use any more, and nobody minds.
    world
        .lab
        .world()
        .app_mut(APP)
        .expect("it is registered")
        .secrets
        .clear();
    world
        .lab
        .edit(|tenant| tenant.user("cert@fabrik.example", "Carla Cert"));
    world.pass(std::time::Duration::from_hours(2)).await;
    world.assert_right();
}

#[tokio::test]
async fn a_new_credential_that_does_not_last_gives_way_to_the_old_one() {
    let world = World::start().await;
    world.sync_all().await;
    let certificate = Certificate::from_parts(
        world.lab.certificate().as_bytes(),
        world.lab.key().as_bytes(),
    );
    let certificate = Credential::Certificate(certificate.expect("they belong together"));
    world
        .during(world.handle.credential(certificate))
        .await
        .expect("it holds");
    world
        .lab
        .world()
        .app_mut(APP)
        .expect("it is registered")
        .certificates
        .clear();
    let user = world
        .lab
        .edit(|tenant| tenant.user("fall@fabrik.example", "Finn Fall"));
    world.pass(std::time::Duration::from_hours(2)).await;
    assert!(world.known().contains_key(&user));
    let status = world.status().await;
    assert!(
        status
            .findings
            .iter()
            .any(|one| one.reason == Reason::CertificateNotRegistered)
    );
}

#[tokio::test]
async fn an_outage_of_the_sign_in_is_said_with_its_next_step() {
    let world = World::start().await;
    world.sync_all().await;
    world
        .lab
        .fault(Fault::token(Act::Aadsts { code: 7_000_222 }));
    let before = world.known();
    world.pass(std::time::Duration::from_hours(2)).await;
    let status = world.status().await;
    assert_eq!(status.state, State::NeedsAttention);
    let users = &status.parts[&Part::Users];
    assert_eq!(users.findings[0].reason, Reason::SecretExpired);
    assert_eq!(users.findings[0].code.as_deref(), Some("AADSTS7000222"));
    assert!(!users.findings[0].step.is_empty());
    assert!(users.findings.iter().any(|one| one.reason == Reason::Stale));
    assert_eq!(world.known(), before);
}

#[tokio::test]
async fn groups_that_are_watched_from_now_on_are_held_from_now_on() {
    let world = World::start().await;
    let (team, people) = world.lab.edit(|tenant| {
        let team = tenant.group("sg-watched");
        let people =
            ["a", "b", "c"].map(|name| tenant.user(&format!("w{name}@fabrik.example"), name));
        for user in people {
            tenant.join(team, user).expect("joined");
        }
        (team, people)
    });
    world.sync_all().await;
    let watched = Watched {
        groups: [team].into(),
        ..Watched::default()
    };
    world
        .handle
        .guard(Guard {
            watched,
            ..Guard::default()
        })
        .await
        .expect("done");
    world.lab.edit(|tenant| {
        for user in people {
            tenant.leave(team, user).expect("left");
        }
    });
    let held = world.sync(Part::Groups).await;
    assert!(matches!(held, Ok(Came::Held(_))), "{held:?}");
}

#[tokio::test]
async fn what_nobody_holds_cannot_be_approved() {
    let world = World::start().await;
    let unknown = weir_entra::store::Digest::default();
    let refused = world.handle.approve(unknown, "alice").await;
    assert!(
        matches!(refused, Err(CommandError::Store(_))),
        "{refused:?}"
    );
}
