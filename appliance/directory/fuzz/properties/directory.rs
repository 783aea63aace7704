//! What holds for all bytes that are taken for a directory.

use std::time::Duration;

use weir_directory::{Attribute, Found, GroupFound, Snapshot, UserRef, Who};

/// Users, groups and names that are looked at with all others.
const SOME: usize = 48;

/// Bytes are refused, or everything in them can be read, and who is found by a name bears it.
pub fn check(input: &[u8]) {
    let Ok(snapshot) = Snapshot::parse(input) else {
        return;
    };
    let view = snapshot.at(snapshot.head().taken_at, Duration::from_secs(u64::MAX));
    let mut groups = Vec::new();
    for (id, name, complete) in snapshot.groups() {
        match snapshot.group(&id.to_string()) {
            GroupFound::One(group) => {
                assert_eq!(snapshot.group_id(group), Some(id));
                groups.push((id, group, complete));
            }
            GroupFound::Unknown => assert_eq!(snapshot.head().checked[1], None),
            other => panic!("{id} is {other:?}"),
        }
        match name.map(|name| snapshot.group(name)) {
            Some(GroupFound::One(group)) => {
                // An id that stands where a name should means that id.
                let same = snapshot.group_id(group) == Some(id);
                assert!(same || name.is_some_and(|name| name.len() == 36));
            }
            Some(GroupFound::Ambiguous([one, other])) => assert_ne!(one, other),
            Some(GroupFound::None) => assert_eq!(name.map(str::len), Some(36)),
            Some(GroupFound::Unknown) | None => {}
        }
    }
    for user in snapshot.users().take(SOME) {
        let id = user.id().to_string();
        let own = Who {
            object_id: Some(&id),
            immutable_id: user.attribute(Attribute::ImmutableId),
            sid: user.attribute(Attribute::Sid),
            upn: user.attribute(Attribute::Upn),
            ..Who::default()
        };
        match view.find(&own) {
            Found::One(found) => {
                assert_eq!(found.id(), user.id());
                members(found, &groups);
            }
            Found::Unknown => assert_eq!(snapshot.head().checked[0], None),
            _ => panic!("a user is not found by its own names"),
        }
        if let Some(upn) = own.upn {
            assert_ne!(view.knows(upn), Some(false));
        }
        for attribute in Attribute::ALL {
            assert_ne!(user.attribute(attribute), Some(""));
        }
        let _ = (user.enabled(), user.is_guest());
        for role in user.held_roles().into_iter().flatten() {
            assert_eq!(user.has_role(role), Some(true));
        }
    }
}

/// Two ways to ask for the same agree.
fn members(user: UserRef<'_>, groups: &[(uuid::Uuid, weir_directory::GroupRef, bool)]) {
    let Some(own) = user.groups() else {
        return;
    };
    let own: Vec<_> = own.collect();
    for (id, group, complete) in groups.iter().take(SOME) {
        let expected = if own.contains(id) {
            Some(true)
        } else {
            complete.then_some(false)
        };
        assert_eq!(user.is_member(*group), expected);
    }
}
