//! Small tenants.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;
use weir_directory::{Attribute, Builder, Head, NewGroup, NewUser, Snapshot};

/// When everything was seen; what tests call now.
pub const TAKEN_AT: i64 = 1_795_177_800;
pub const MAX_AGE: Duration = Duration::from_hours(24);
/// The tenant.
pub const TENANT: Uuid = Uuid::from_u128(0x7d3c_1a52);

pub const fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub fn head(epoch: u64) -> Head {
    Head {
        tenant: TENANT,
        epoch,
        taken_at: TAKEN_AT,
        checked: [Some(TAKEN_AT); 3],
    }
}

/// Users by number, user principal name and groups; groups are known by their names.
pub fn tenant(users: &[(u128, &str, &[&str])]) -> Snapshot<Vec<u8>> {
    let groups: BTreeSet<&str> = users
        .iter()
        .flat_map(|(.., groups)| *groups)
        .copied()
        .collect();
    let mut builder = Builder::new(head(1));
    for (number, name) in (1..).zip(&groups) {
        let group = NewGroup {
            id: id(0x9_0000 + number),
            name: Some(name),
            complete: true,
        };
        builder.group(group).expect("in order");
    }
    for (number, upn, named) in users {
        let numbers: Vec<u32> = (0..)
            .zip(&groups)
            .filter_map(|(number, name)| named.contains(name).then_some(number))
            .collect();
        let user = NewUser {
            id: id(*number),
            enabled: Some(true),
            groups: builder.set(&numbers).expect("they are there"),
        };
        builder
            .user(user, [(Attribute::Upn, *upn)])
            .expect("in order");
    }
    Snapshot::parse(builder.finish().expect("it is small")).expect("what was written")
}
