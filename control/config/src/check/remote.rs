//! Lists that are fetched.

use weir_abi::Class;
use weir_entra::model::Part;
use weir_feeds::Source;

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
        if let Source::NamedLocation { .. } = remote.source {
            named_location(context, draft, remote);
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

/// Whether anybody reads the tenant's named locations.
fn named_location(context: &Context<'_>, draft: &Draft, remote: &DraftRemote) {
    match &draft.entra {
        None => context.error(
            &remote.span,
            "a named location is one of the tenant, and this file names none",
            "write `[entra]` with the tenant and how to sign in to it",
        ),
        Some(entra) if !entra.parts.contains(&Part::Locations) => context.error(
            &remote.span,
            "the tenant's named locations are not read",
            "add `\"locations\"` to `parts` in `[entra]`",
        ),
        Some(_) => (),
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
