//! Lists that are fetched.

use weir_abi::Class;

use crate::certificate::{self, Named};
use crate::read::{Draft, DraftRemote};
use crate::reader::{At, Context};

/// What a list may do that others write, and whether the authorities can be read that vouch for them.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    for list in &draft.lists {
        let (Some(remote), Some(class)) = (list.remote(), &list.class) else {
            continue;
        };
        if class.value == Class::Managed {
            context.warning(
                &remote.span,
                "others write this list, and what is on it passes in the kernel",
                bounds(remote),
            );
        }
    }
    let of_lists = draft
        .lists
        .iter()
        .filter_map(|list| list.remote()?.ca.as_ref());
    let mut found = Vec::new();
    for At { value, span } in of_lists.chain(&draft.outbound.ca) {
        let place = context.place(span);
        let named = Named {
            path: value,
            place: &place,
        };
        certificate::read_authorities(named, &mut found);
    }
    for diagnostic in found {
        context.push(diagnostic);
    }
}

/// What bounds it.
fn bounds(remote: &DraftRemote) -> String {
    let limits = &remote.limits;
    format!(
        "it is bounded: at most {} prefixes (`most`), none wider than /{} or IPv6 /{} (`widest_v4`, \
         `widest_v6`), and what changes more than {} % of its addresses (`share`) is held for `weir lists \
         approve`; its first state is not. Make these as narrow as the list is; what a local list blocks \
         stays blocked",
        limits.prefixes, limits.widest_v4, limits.widest_v6, limits.share
    )
}
