//! What was written is what is read; what was damaged is refused, or can be read all the same.

mod common;
#[path = "../fuzz/properties/directory.rs"]
mod directory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use common::{TAKEN_AT, head, id, tenant};
use proptest::prelude::*;
use uuid::Uuid;
use weir_directory::{Attribute, Builder, NewGroup, NewUser, ParseError, Snapshot, VERSION};

/// What is written of a user.
type Described = (Option<bool>, BTreeSet<u32>, BTreeMap<Attribute, String>);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn what_was_written_is_what_is_read(
        groups in prop::collection::btree_map(number(), (name(), any::<bool>()), 0..8),
        users in prop::collection::btree_map(number(), user(), 0..12),
        held in prop::collection::vec((number(), 0..4_u32), 0..6),
    ) {
        let mut builder = Builder::new(head(3));
        let ids: Vec<Uuid> = groups.keys().copied().collect();
        for (id, (name, complete)) in &groups {
            let name = Some(name.as_str());
            builder.group(NewGroup { id: *id, name, complete: *complete }).expect("in order");
        }
        for (user, role) in &held {
            builder.holds(*user, id((*role).into()), None, None);
        }
        let within = |set: &BTreeSet<u32>| -> Vec<u32> {
            set.iter().copied().filter(|group| (*group as usize) < ids.len()).collect()
        };
        for (id, (enabled, set, texts)) in &users {
            let groups = builder.set(&within(set)).expect("they are there");
            let user = NewUser { id: *id, enabled: *enabled, groups };
            builder.user(user, texts.iter().map(|(attribute, text)| (*attribute, text.as_str()))).expect("in order");
        }
        let bytes: Arc<[u8]> = builder.finish().expect("it is small").into();
        directory::check(&bytes);
        let snapshot = Snapshot::parse(bytes).expect("what was written");
        let read: Vec<_> = snapshot.groups().map(|(id, name, complete)| (id, (name.unwrap_or_default().to_owned(), complete))).collect();
        prop_assert_eq!(read, groups.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(snapshot.users().count(), users.len());
        for (user, (id, (enabled, set, texts))) in snapshot.users().zip(&users) {
            prop_assert_eq!((user.id(), user.enabled()), (*id, *enabled));
            let read: Vec<Uuid> = user.groups().expect("known").collect();
            let written: Vec<Uuid> = within(set).into_iter().map(|group| ids[group as usize]).collect();
            prop_assert_eq!(read, written);
            for attribute in Attribute::ALL {
                let written = texts.get(&attribute).map(String::as_str).filter(|text| !text.is_empty());
                prop_assert_eq!(user.attribute(attribute), written);
            }
            if let Some(upn) = user.attribute(Attribute::Upn) {
                let view = snapshot.at(TAKEN_AT, Duration::from_secs(1));
                prop_assert_eq!(view.knows(&upn.to_lowercase()), Some(true));
            }
            let read: BTreeSet<Uuid> = user.held_roles().expect("known").collect();
            let own = held.iter().filter(|(holder, _)| holder == id);
            let written: BTreeSet<Uuid> = own.map(|(_, role)| Uuid::from_u128((*role).into())).collect();
            prop_assert_eq!(read, written);
        }
    }
}

fn number() -> impl Strategy<Value = Uuid> {
    (0..20_u128).prop_map(id)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[aAbBéÉ]{1,3}",
        Just("Straße Σ".to_owned())
    ]
}

fn user() -> impl Strategy<Value = Described> {
    let attribute = prop::sample::select(Attribute::ALL.to_vec());
    (
        any::<Option<bool>>(),
        prop::collection::btree_set(0..8_u32, 0..6),
        prop::collection::btree_map(attribute, name(), 0..6),
    )
}

#[test]
fn every_byte_that_is_changed_is_refused_or_harmless() {
    let bytes = tenant(head(1)).bytes().to_vec();
    directory::check(&bytes);
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            directory::check(&damaged);
        }
    }
}

#[test]
fn bytes_that_are_no_directory_are_refused_with_a_reason() {
    let bytes = tenant(head(1)).bytes().to_vec();
    let refused = |bytes: &[u8]| Snapshot::parse(bytes).expect_err("they are no directory");
    assert_eq!(refused(b""), ParseError::Magic);
    assert_eq!(refused(b"weirlist............"), ParseError::Magic);
    for length in 0..bytes.len() {
        refused(&bytes[..length]);
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let announced = bytes.len() as u64;
    let actual = announced + 1;
    assert_eq!(refused(&longer), ParseError::Length { actual, announced });
    let mut newer = bytes.clone();
    newer[8] += 1;
    assert_eq!(refused(&newer), ParseError::Version { found: VERSION + 1 });
    // The number of users: the sections no longer fit.
    let mut more = bytes;
    more[80] += 1;
    assert!(matches!(refused(&more), ParseError::Damaged { .. }));
}
