//! What a grant makes of the standing that the lists give its address.
//!
//! - A grant only opens: it gives its class to a source that the lists leave `unmanaged`, and to no other.
//!   Where the lists name a class, that is the class; where it is `blocked`, the grant counts for nothing.
//! - It opens up to what its principal may have, as that stands at this moment.
//! - Its address is always in transition: with what the lists say it has held what it was granted. So
//!   the connection that earned the grant stays with the proxy, and after the grant has expired, until its
//!   rest is over, forwarded flows go on.
//! - Where the principal may not have a class any more, nothing was held either: the next packet of every
//!   flow goes by the lists.

use weir_abi::{Class, ClassSet, Grant, Principal, Standing};

use crate::{Grants, Packet, ip};

/// A standing, with what a grant added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The standing.
    pub standing: Standing,
    /// Whether forwarded flows of the address were cut, and what the servers still send is nobody's.
    pub cut: bool,
}

/// What a grant makes of this standing at this moment.
#[inline(always)]
pub fn granted(listed: Standing, grant: &Grant, principal: Principal, now: u64) -> Granted {
    let class = listed.class();
    if matches!(class, Class::Blocked) || now >= grant.rests {
        return Granted {
            standing: listed,
            cut: false,
        };
    }
    let may = principal.may();
    let given = if may.contains(grant.class()) {
        grant.class()
    } else if matches!(grant.class(), Class::Managed) && may.contains(Class::Bypass) {
        Class::Bypass
    } else {
        Class::Unmanaged
    };
    let held = grant.held().with(given).bits() & may.bits();
    let held = listed.held().union(ClassSet::from_bits(held));
    let class = if matches!(class, Class::Unmanaged) && now < grant.expires {
        given
    } else {
        class
    };
    Granted {
        standing: Standing::new(class, held),
        cut: grant.is_cut(),
    }
}

/// The standing of the client whose address lies at `client`, with what it was granted.
#[inline(always)]
pub(crate) fn of<P: Packet + ?Sized>(
    packet: &P,
    family: crate::Family,
    client: u32,
    listed: Standing,
    grants: &impl Grants,
) -> Granted {
    let address = if grants.any() {
        ip::address(packet, family, client).ok()
    } else {
        None
    };
    of_address(address.as_ref(), listed, grants)
}

/// As [`of`], for a client whose address does not lie in the packet; none while there are no grants.
#[inline(always)]
pub(crate) fn of_address(
    address: Option<&[u8; 16]>,
    listed: Standing,
    grants: &impl Grants,
) -> Granted {
    let none = Granted {
        standing: listed,
        cut: false,
    };
    let Some(address) = address else {
        return none;
    };
    let Some(grant) = grants.grant(address) else {
        return none;
    };
    match grants.principal(grant.principal) {
        Some(principal) => granted(listed, grant, *principal, grants.now()),
        None => none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grant of a class that expires at 10 and rests at 20.
    fn grant(class: Class, held: ClassSet) -> Grant {
        Grant::new(class, held, 0).until(10, 20)
    }

    fn all_listed() -> impl Iterator<Item = Standing> {
        Class::ALL.into_iter().flat_map(|class| {
            (0..1 << Class::COUNT).map(move |bits| Standing::new(class, ClassSet::from_bits(bits)))
        })
    }

    #[test]
    fn only_the_unmanaged_are_opened_and_only_while_it_lives() {
        let managed = Principal::up_to(Class::Managed);
        for listed in all_listed() {
            for (class, now) in [
                (Class::Managed, 0),
                (Class::Bypass, 9),
                (Class::Managed, 10),
            ] {
                let now_class = granted(listed, &grant(class, ClassSet::EMPTY), managed, now);
                let opens = listed.class() == Class::Unmanaged && now < 10;
                let expected = if opens { class } else { listed.class() };
                assert_eq!(now_class.standing.class(), expected);
            }
        }
    }

    #[test]
    fn blocked_by_a_list_beats_any_grant() {
        for listed in all_listed().filter(|listed| listed.class() == Class::Blocked) {
            let grant = grant(Class::Managed, ClassSet::EMPTY.with(Class::Bypass)).cut();
            let same = granted(listed, &grant, Principal::up_to(Class::Managed), 5);
            assert_eq!(same.standing, listed);
            assert!(!same.cut, "the class drops them");
        }
    }

    #[test]
    fn it_is_in_transition_until_its_rest_is_over() {
        let listed = Standing::stable(Class::Unmanaged);
        let managed = Principal::up_to(Class::Managed);
        let both = ClassSet::EMPTY.with(Class::Unmanaged).with(Class::Managed);
        let at = |now| {
            granted(
                listed,
                &grant(Class::Managed, ClassSet::EMPTY),
                managed,
                now,
            )
        };
        for now in [0, 9] {
            assert_eq!(at(now).standing, Standing::new(Class::Managed, both));
        }
        for now in [10, 19] {
            assert_eq!(at(now).standing, Standing::new(Class::Unmanaged, both));
        }
        for now in [20, u64::MAX] {
            assert_eq!(at(now).standing, listed);
        }
    }

    #[test]
    fn what_the_principal_may_not_have_was_never_held() {
        for listed in all_listed() {
            for now in [0, 9, 10, 19, 20] {
                let held = ClassSet::EMPTY.with(Class::Managed).with(Class::Bypass);
                let grant = grant(Class::Managed, held);
                for class in [Class::Unmanaged, Class::Blocked, Class::Relay] {
                    let standing = granted(listed, &grant, Principal::up_to(class), now).standing;
                    assert_eq!(standing, listed, "nothing is left of the grant");
                }
                let less = granted(listed, &grant, Principal::up_to(Class::Bypass), now).standing;
                if listed.class() == Class::Unmanaged && now < 10 {
                    assert_eq!(less.class(), Class::Bypass);
                }
                assert_eq!(
                    less.held().contains(Class::Managed),
                    listed.held().contains(Class::Managed)
                );
            }
        }
    }

    #[test]
    fn a_grant_of_less_does_not_open_more() {
        let listed = Standing::stable(Class::Unmanaged);
        let grant = grant(Class::Bypass, ClassSet::EMPTY);
        let standing = granted(listed, &grant, Principal::up_to(Class::Managed), 0).standing;
        assert_eq!(standing.class(), Class::Bypass);
        assert!(!standing.held().contains(Class::Managed));
        for class in [Class::Blocked, Class::Relay, Class::Unmanaged] {
            let odd = Grant::new(class, ClassSet::EMPTY, 0).until(10, 20);
            let standing = granted(listed, &odd, Principal::up_to(Class::Managed), 0).standing;
            assert_eq!(standing, listed, "no grant gives {class:?}");
        }
    }
}
