//! What single addresses are granted.

use weir_api::grants::GrantsStatus;

use super::families::Families;

pub(super) fn tell(families: &mut Families, grants: &GrantsStatus) {
    let mut live = families.gauge(
        "weir_grants",
        "Grants that live, by whether the kernel goes by them.",
    );
    live.set(&[("kernel", "true")], grants.kernel);
    live.set(
        &[("kernel", "false")],
        grants.live.saturating_sub(grants.kernel),
    );
    families
        .gauge(
            "weir_grants_watched_addresses",
            "Addresses on which it is watched who is seen.",
        )
        .set(&[], grants.watched);
    families
        .gauge(
            "weir_grants_trouble",
            "Grants cannot be written down or carried out (1).",
        )
        .set(&[], grants.trouble.is_some());
    families
        .gauge(
            "weir_principals_revoked",
            "Principals that are granted nothing until they are restored.",
        )
        .set(&[], grants.revoked);
    let mut outcomes = families.counter(
        "weir_grants_total",
        "What became of sign-ins that should earn a grant, and of grants that ended early.",
    );
    for (outcome, count) in [
        ("earned", grants.earned),
        ("refused", grants.refused),
        ("stranger", grants.strangers),
        ("unconnected", grants.unconnected),
        ("withdrawn", grants.withdrawn),
        ("unsure", grants.unsure),
        ("missed", grants.missed),
    ] {
        outcomes.add(&[("outcome", outcome)], count);
    }
}
