//! Tokens that were seen: each is new once, whatever else is remembered.

use std::time::Duration;

use proptest::prelude::*;
use time::UtcDateTime;
use weir_proxy::token::{NotNew, Replays};

/// How long after its end a token may still be taken for valid.
const SKEW: Duration = Duration::from_mins(5);

fn at(seconds: u32) -> UtcDateTime {
    UtcDateTime::UNIX_EPOCH + Duration::from_hours(24) + Duration::from_secs(seconds.into())
}

#[test]
fn a_token_is_new_once_at_each_service() {
    let replays = Replays::default();
    let first = |service, id| replays.first(service, id, at(3600), at(0));
    assert_eq!(first("sts", "_a"), Ok(()));
    assert_eq!(first("sts", "_a"), Err(NotNew::Before));
    assert_eq!(first("sts", "_b"), Ok(()));
    assert_eq!(first("adfs", "_a"), Ok(()));
}

#[test]
fn what_has_expired_makes_room_and_nothing_else_does() {
    let replays = Replays::with_room(1000);
    let first = |id: u32, until, now| replays.first("sts", &id.to_string(), at(until), at(now));
    for id in 0..1000 {
        assert_eq!(first(id, 3600, 0), Ok(()));
    }
    // With the skew of clocks they are all valid still.
    for id in 0..1001 {
        let seen = if id < 1000 {
            NotNew::Before
        } else {
            NotNew::Full
        };
        assert_eq!(first(id, 3600, 3899), Err(seen));
    }
    for id in 1000..2000 {
        assert_eq!(first(id, 7200, 4000), Ok(()));
    }
    assert_eq!(first(2000, 7200, 4000), Err(NotNew::Full));
    // Whoever puts the clock back makes nothing new that was forgotten.
    assert_eq!(first(0, 3600, 0), Err(NotNew::Over));
}

#[test]
fn a_token_whose_end_moves_is_remembered_until_its_last() {
    let replays = Replays::default();
    let first = |until, now| replays.first("sts", "_a", at(until), at(now));
    assert_eq!(first(600, 0), Ok(()));
    assert_eq!(first(6000, 0), Err(NotNew::Before));
    assert_eq!(first(600, 0), Err(NotNew::Before));
    assert_eq!(first(6000, 3000), Err(NotNew::Before));
}

/// Does the same with a list of all that was ever remembered.
#[derive(Default)]
struct Model(Vec<(u8, UtcDateTime)>);

impl Model {
    /// Ends of those that may still be taken for valid, or could so long ago.
    fn valid(&self, now: UtcDateTime, ago: Duration) -> impl Iterator<Item = &(u8, UtcDateTime)> {
        let is_valid = move |(_, until): &&(u8, UtcDateTime)| *until + SKEW + ago >= now;
        self.0.iter().filter(is_valid)
    }

    fn end(&self, id: u8, now: UtcDateTime, ago: Duration) -> Option<UtcDateTime> {
        let found = self.valid(now, ago).filter(|(known, _)| *known == id);
        found.last().map(|(_, until)| *until)
    }
}

proptest! {
    #[test]
    fn none_is_new_twice_and_none_refused_while_there_is_room(
        steps in prop::collection::vec((any::<u8>(), 0..900_u32, 0..60_u32), 1..200),
        room in 1..64_usize,
    ) {
        // Ends are rounded up to this.
        let rounded = Duration::from_mins(1);
        let replays = Replays::with_room(room);
        let mut model = Model::default();
        let mut now = at(0);
        for (id, lasts, passes) in steps {
            now += Duration::from_secs(passes.into());
            let known = model.end(id, now, rounded);
            let until = known.unwrap_or(now + Duration::from_secs(lasts.into()));
            let was_seen = model.end(id, now, Duration::ZERO).is_some();
            match replays.first("sts", &id.to_string(), until, now) {
                Ok(()) => {
                    prop_assert!(!was_seen);
                    model.0.push((id, until));
                }
                Err(NotNew::Before) => {
                    prop_assert!(model.0.iter().any(|(before, _)| *before == id));
                    if known.is_none() {
                        model.0.push((id, until));
                    }
                }
                Err(NotNew::Full) => {
                    prop_assert!(!was_seen);
                    prop_assert!(model.valid(now, rounded).count() >= room);
                }
                Err(NotNew::Over) => prop_assert!(until + SKEW < now),
            }
        }
    }
}
