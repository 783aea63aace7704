//! A small tenant.

use uuid::Uuid;
use weir_directory::{Attribute, Builder, Head, NewGroup, NewUser, Snapshot};

/// When everything was seen.
pub const TAKEN_AT: i64 = 1_800_000_000;

pub const fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub const TENANT: Uuid = id(0x7d3c_1a52);
pub const ALICE: Uuid = id(0xa1);
pub const BOB: Uuid = id(0xb0);
pub const CAROL: Uuid = id(0xca);
pub const STAFF: Uuid = id(0x01);
pub const TEAM: Uuid = id(0x02);
pub const SECRET: Uuid = id(0x03);
pub const OTHER_TEAM: Uuid = id(0x04);

pub fn head(epoch: u64) -> Head {
    Head {
        tenant: TENANT,
        epoch,
        taken_at: TAKEN_AT,
        checked: [Some(TAKEN_AT); 3],
    }
}

/// Alice is in everything; Bob, who may not sign in, is in staff; of Carol nothing is known but her name.
pub fn tenant(head: Head) -> Snapshot<Vec<u8>> {
    let mut builder = Builder::new(head);
    for (id, name, complete) in [
        (STAFF, "Staff", true),
        (TEAM, "Team", true),
        (SECRET, "Secret", false),
        (OTHER_TEAM, "team", true),
    ] {
        let name = Some(name);
        builder
            .group(NewGroup { id, name, complete })
            .expect("in order");
    }
    for (id, enabled, groups, texts) in [
        (
            ALICE,
            Some(true),
            &[0, 1, 2][..],
            &[
                (Attribute::Upn, "Alice@Corp.example"),
                (Attribute::Mail, "Alice@Corp.example"),
                (Attribute::Department, "Lab"),
                (Attribute::UserType, "Member"),
                (Attribute::ImmutableId, "QWxpY2U="),
                (Attribute::Sid, "S-1-5-21-1-2-3-1001"),
            ][..],
        ),
        (
            BOB,
            Some(false),
            &[0],
            &[
                (Attribute::Upn, "BJÖRN@corp.example"),
                (Attribute::Department, "Lab"),
                (Attribute::UserType, "Guest"),
                (Attribute::ImmutableId, "Qm9i"),
            ],
        ),
        (CAROL, None, &[], &[(Attribute::Upn, "carol@corp.example")]),
    ] {
        let groups = builder.set(groups).expect("they are there");
        let user = NewUser {
            id,
            enabled,
            groups,
        };
        builder.user(user, texts.iter().copied()).expect("in order");
    }
    Snapshot::parse(builder.finish().expect("it is small")).expect("what was written")
}
