//! Who is meant by names that agree, and by names that do not.

mod common;

use std::time::Duration;

use common::{ALICE, BOB, CAROL, TAKEN_AT, TENANT, head, id, tenant};
use uuid::Uuid;
use weir_directory::{Attribute, Builder, Found, Key, NewUser, Snapshot, Who};

const HOUR: Duration = Duration::from_hours(1);

/// What was found, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Is {
    One(Uuid),
    Despite(Uuid, Key),
    None,
    Ambiguous(Key),
    Contradictory(Key, Key),
    OtherTenant,
    Unknown,
}

fn find(snapshot: &Snapshot<Vec<u8>>, who: Who<'_>) -> Is {
    match snapshot.at(TAKEN_AT, HOUR).find(&who) {
        Found::One(user) => Is::One(user.id()),
        Found::Despite(user, key) => Is::Despite(user.id(), key),
        Found::None => Is::None,
        Found::Ambiguous(key) => Is::Ambiguous(key),
        Found::Contradictory {
            named_by,
            ruled_out_by,
        } => Is::Contradictory(named_by, ruled_out_by),
        Found::OtherTenant => Is::OtherTenant,
        Found::Unknown => Is::Unknown,
    }
}

fn upn(upn: &str) -> Who<'_> {
    Who {
        upn: Some(upn),
        ..Who::default()
    }
}

#[test]
fn everybody_is_found_by_every_name() {
    let snapshot = tenant(head(1));
    let alice = ALICE.to_string().to_uppercase();
    let by = [
        Who {
            object_id: Some(&alice),
            ..Who::default()
        },
        Who {
            immutable_id: Some("QWxpY2U="),
            ..Who::default()
        },
        Who {
            sid: Some("s-1-5-21-1-2-3-1001"),
            ..Who::default()
        },
        upn("aLICE@corp.EXAMPLE"),
        Who {
            tenant_id: Some(&TENANT.to_string()),
            object_id: Some(&alice),
            immutable_id: Some("QWxpY2U="),
            sid: Some("S-1-5-21-1-2-3-1001"),
            upn: Some("alice@corp.example"),
        },
    ];
    for who in by {
        assert_eq!(find(&snapshot, who), Is::One(ALICE), "{who:?}");
    }
    assert_eq!(find(&snapshot, upn("björn@corp.example")), Is::One(BOB));
}

#[test]
fn nobody_is_found_by_what_is_nobodys_name() {
    let snapshot = tenant(head(1));
    for who in [
        Who::default(),
        upn(""),
        upn("alice@corp.exampl"),
        upn("Alice"),
        Who {
            object_id: Some("alice@corp.example"),
            ..Who::default()
        },
        // Base64: the case counts.
        Who {
            immutable_id: Some("qwxpy2u="),
            ..Who::default()
        },
    ] {
        assert_eq!(find(&snapshot, who), Is::None, "{who:?}");
    }
}

#[test]
fn the_stronger_name_wins_and_the_other_is_told() {
    let snapshot = tenant(head(1));
    let alice = ALICE.to_string();
    let who = Who {
        object_id: Some(&alice),
        ..upn("carol@corp.example")
    };
    assert_eq!(find(&snapshot, who), Is::Despite(ALICE, Key::Upn));
    // A name that is nobody's: she was renamed.
    let who = Who {
        immutable_id: Some("QWxpY2U="),
        ..upn("al@corp.example")
    };
    assert_eq!(find(&snapshot, who), Is::Despite(ALICE, Key::Upn));
    let who = Who {
        object_id: Some(&alice),
        immutable_id: Some("Qm9i"),
        ..Who::default()
    };
    assert_eq!(find(&snapshot, who), Is::Despite(ALICE, Key::ImmutableId));
}

#[test]
fn a_name_that_was_given_again_is_not_its_old_bearer() {
    let snapshot = tenant(head(1));
    let gone = id(0xdead).to_string();
    let who = Who {
        object_id: Some(&gone),
        ..upn("alice@corp.example")
    };
    assert_eq!(
        find(&snapshot, who),
        Is::Contradictory(Key::Upn, Key::ObjectId)
    );
    let who = Who {
        immutable_id: Some("T2xk"),
        ..upn("alice@corp.example")
    };
    assert_eq!(
        find(&snapshot, who),
        Is::Contradictory(Key::Upn, Key::ImmutableId)
    );
    // Carol has no immutable id that could say otherwise.
    let who = Who {
        immutable_id: Some("T2xk"),
        ..upn("carol@corp.example")
    };
    assert_eq!(find(&snapshot, who), Is::One(CAROL));
}

#[test]
fn names_of_another_tenant_are_nobodys() {
    let snapshot = tenant(head(1));
    let (alice, other) = (ALICE.to_string(), id(8).to_string());
    for tenant_id in [other.as_str(), "corp.example"] {
        let who = Who {
            tenant_id: Some(tenant_id),
            object_id: Some(&alice),
            ..upn("alice@corp.example")
        };
        assert_eq!(find(&snapshot, who), Is::OtherTenant);
    }
}

#[test]
fn a_name_that_two_bear_is_neither() {
    let mut builder = Builder::new(head(1));
    let groups = builder.set(&[]).expect("no groups");
    for (number, immutable) in [(1, "QQ=="), (2, "QQ=="), (3, "Qg==")] {
        let user = NewUser {
            id: id(number),
            enabled: None,
            groups,
        };
        let texts = [
            (Attribute::Upn, ["A@x", "a@X", "c@x"][number as usize - 1]),
            (Attribute::ImmutableId, immutable),
        ];
        builder.user(user, texts).expect("in order");
    }
    let snapshot = Snapshot::parse(builder.finish().expect("small")).expect("written");
    assert_eq!(find(&snapshot, upn("a@x")), Is::Ambiguous(Key::Upn));
    assert_eq!(snapshot.at(TAKEN_AT, HOUR).knows("a@x"), Some(true));
    // A weaker name does not tell apart what the stronger one leaves open.
    let who = Who {
        immutable_id: Some("QQ=="),
        ..upn("c@x")
    };
    assert_eq!(find(&snapshot, who), Is::Ambiguous(Key::ImmutableId));
    let third = id(3).to_string();
    let who = Who {
        object_id: Some(&third),
        ..upn("a@x")
    };
    assert_eq!(find(&snapshot, who), Is::Despite(id(3), Key::Upn));
}

#[test]
fn nobody_can_say_when_users_are_too_old() {
    let mut old = head(1);
    old.checked[0] = Some(TAKEN_AT - 3601);
    let mut never = head(1);
    never.checked[0] = None;
    // A clock was wrong: that is no proof of freshness.
    let mut ahead = head(1);
    ahead.checked[0] = Some(TAKEN_AT + 3601);
    for head in [old, never, ahead] {
        let snapshot = tenant(head);
        assert_eq!(find(&snapshot, upn("alice@corp.example")), Is::Unknown);
        assert_eq!(
            snapshot.at(TAKEN_AT, HOUR).knows("nobody@corp.example"),
            None
        );
    }
    old.checked[0] = Some(TAKEN_AT - 3600);
    let snapshot = tenant(old);
    let view = snapshot.at(TAKEN_AT, HOUR);
    assert_eq!(view.knows("nobody@corp.example"), Some(false));
    assert_eq!(view.knows("Carol@corp.example"), Some(true));
}
