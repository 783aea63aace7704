//! The tenant: how its parts stand, how old they are, and until when Weir may ask.

use std::time::Duration;

use time::OffsetDateTime;
use weir_api::entra::{Entra, EntraStatus, Part, State};
use weir_entra::model::Part as Kind;

use super::families::Families;
use super::seconds;

const STATES: [State; 6] = [
    State::Healthy,
    State::Degraded,
    State::Stale,
    State::Held,
    State::NeedsAttention,
    State::Disconnected,
];

/// `noted` is how all of it was when its state was last looked at.
pub(super) fn tell(
    families: &mut Families,
    short: &EntraStatus,
    noted: Option<&Entra>,
    max_age: Duration,
) {
    state(
        families,
        "weir_entra_state",
        "How the synchronisation with the tenant stands.",
        &[],
        short.state,
    );
    for (name, help, count) in [
        (
            "weir_directory_users",
            "Users in the directory that both planes judge by.",
            short.users,
        ),
        (
            "weir_directory_groups",
            "Groups in the directory that both planes judge by.",
            short.groups,
        ),
        (
            "weir_directory_epoch",
            "Number of the directory that both planes judge by; 0 while there is none.",
            short.epoch.unwrap_or(0),
        ),
    ] {
        families.gauge(name, help).set(&[], count);
    }
    families
        .gauge(
            "weir_directory_max_age_seconds",
            "What was not seen to be so for this long is unknown, and unknown restricts.",
        )
        .set(&[], max_age.as_secs_f64());
    let Some(noted) = noted else { return };
    // The older of the two, by its time: what was noted may be some seconds old.
    let times = [Kind::Users, Kind::Groups].map(|kind| {
        let part = noted.parts.iter().find(|part| part.part == kind.name());
        part.and_then(|part| part.current.as_deref())
            .and_then(seconds)
    });
    if let [Some(users), Some(groups)] = times {
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 fit for ages"
        )]
        let age = now as f64 / 1000.0 - users.min(groups);
        families
            .gauge(
                "weir_directory_age_seconds",
                "Seconds since users and groups were last known to be current; the older of the two.",
            )
            .set(&[], age.max(0.0));
    }
    credential(families, noted);
    for part in &noted.parts {
        tell_part(families, part);
    }
}

fn credential(families: &mut Families, noted: &Entra) {
    let credential = &noted.credential;
    if let Some(end) = credential.ends.as_deref().and_then(seconds) {
        let labels = [
            ("slot", credential.slot.as_str()),
            ("kind", &credential.kind),
        ];
        families
            .gauge(
                "weir_entra_credential_not_after_timestamp_seconds",
                "When what Weir signs in to the tenant with ends.",
            )
            .set(&labels, end);
    }
    if let Some(skew) = noted.skew_seconds {
        families
            .gauge(
                "weir_entra_clock_skew_seconds",
                "Seconds that the clock here is behind Microsoft's.",
            )
            .set(&[], skew);
    }
}

fn tell_part(families: &mut Families, part: &Part) {
    let name = [("part", part.part.as_str())];
    state(
        families,
        "weir_entra_part_state",
        "How a part of the tenant stands.",
        &name,
        part.state,
    );
    families
        .gauge(
            "weir_entra_part_held",
            "A round waits for an approval, because it would take much away (1).",
        )
        .set(&name, part.held.is_some());
    families
        .gauge(
            "weir_entra_part_failures",
            "Rounds of a part that failed in a row.",
        )
        .set(&name, part.failures);
    if let Some(time) = part.current.as_deref().and_then(seconds) {
        families
            .gauge(
                "weir_entra_part_last_success_timestamp_seconds",
                "When a part was last known to be current.",
            )
            .set(&name, time);
    }
}

fn state(
    families: &mut Families,
    name: &'static str,
    help: &str,
    labels: &[(&str, &str)],
    is: State,
) {
    let word = |state: State| state.name().replace(' ', "-");
    let all = STATES.map(word);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    families
        .gauge(name, help)
        .one_of(labels, "state", &all, &word(is));
}
