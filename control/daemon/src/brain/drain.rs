//! The drain windows: which classes sources held, and until when their flows keep the verdicts that they
//! began with.

use std::time::Duration;

use tokio::time::Instant;
use weir_tables::{History, Lists};

use crate::windows::Window;

/// Windows that are remembered apart; lists that change more often share some.
const PARTS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// By their ends, ascending.
    parts: Vec<Window>,
    /// Numbers below it were given.
    next: u64,
}

impl Drain {
    /// Goes on with windows of an earlier process.
    pub(super) fn go_on(parts: Vec<Window>) -> Self {
        let next = parts.iter().map(|part| part.number + 1).max();
        Self {
            parts,
            next: next.unwrap_or_default(),
        }
    }

    /// The windows, and the one that [`Drain::add`] would begin.
    pub(super) fn with<'a>(
        &'a self,
        held: Option<&'a History>,
        until: Instant,
    ) -> impl Iterator<Item = Window<&'a History>> {
        let parts = self.parts.iter().map(|part| Window {
            number: part.number,
            until: part.until,
            held: &part.held,
        });
        let number = self.next;
        let next = held.map(|held| Window {
            number,
            until,
            held,
        });
        parts.chain(next)
    }

    /// Sources hold this no longer; what they held counts until then, which is not before any other end.
    pub(super) fn add(&mut self, held: History, until: Instant) {
        let number = self.next;
        self.next += 1;
        self.parts.push(Window {
            number,
            until,
            held,
        });
        if self.parts.len() > PARTS {
            self.join();
        }
    }

    /// Forgets what sources held that a list cuts now, which `cuts` names: the flows that they had are over,
    /// also when the source comes off the list within a window.
    pub(super) fn cut(&mut self, lists: &Lists, cuts: impl Fn(&str) -> bool) {
        for part in &mut self.parts {
            let held = part.held.without(lists, &cuts);
            if held != part.held {
                part.held = held;
                part.number = self.next;
                self.next += 1;
            }
        }
    }

    /// Ends the windows that are over, and shortens those that would last longer than `window` from now.
    /// Whether any ended.
    pub(super) fn look(&mut self, now: Instant, window: Duration) -> bool {
        for part in &mut self.parts {
            part.until = part.until.min(now + window);
        }
        let before = self.parts.len();
        self.parts.retain(|part| part.until > now);
        self.parts.len() < before
    }

    /// What sources held in all windows.
    pub(super) fn held(&self) -> History {
        let mut parts = self.parts.iter();
        let first = parts
            .next()
            .map_or_else(History::default, |part| part.held.clone());
        parts.fold(first, |held, part| held.and(&part.held))
    }

    /// The end of the next window.
    pub(super) fn next(&self) -> Option<Instant> {
        self.parts.first().map(|part| part.until)
    }

    /// The end of the last window.
    pub(super) fn last(&self) -> Option<Instant> {
        self.parts.last().map(|part| part.until)
    }

    /// Makes one of the two whose ends are nearest to each other: what ends earlier ends with the other.
    fn join(&mut self) {
        let apart = |i: &usize| self.parts[i + 1].until - self.parts[*i].until;
        let Some(nearest) = (0..self.parts.len() - 1).min_by_key(apart) else {
            return;
        };
        let earlier = self.parts.remove(nearest);
        let part = &mut self.parts[nearest];
        part.held = part.held.and(&earlier.held);
        part.number = self.next;
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use weir_abi::Class;
    use weir_tables::{KernelTables, List, Lists, Origin, Scope};

    use super::*;

    const WINDOW: Duration = Duration::from_hours(1);

    #[test]
    fn what_was_held_counts_until_its_window_ends() {
        let start = Instant::now();
        let mut drain = Drain::default();
        drain.add(History::of(&lists(1)), start + WINDOW);
        drain.add(History::of(&lists(2)), start + 2 * WINDOW);
        assert_eq!(moving(&drain), [1, 2]);
        assert!(!drain.look(start, 2 * WINDOW));
        assert_eq!(drain.next(), Some(start + WINDOW));
        assert!(drain.look(start + WINDOW, 2 * WINDOW));
        assert_eq!(moving(&drain), [2]);
        assert_eq!(drain.next(), Some(start + 2 * WINDOW));
        assert!(drain.look(start + 3 * WINDOW, WINDOW));
        assert_eq!(moving(&drain), Vec::<u8>::new());
        assert_eq!(drain.next(), None);
    }

    #[test]
    fn a_shorter_window_holds_for_what_was_begun() {
        let start = Instant::now();
        let mut drain = Drain::default();
        drain.add(History::of(&lists(1)), start + WINDOW);
        assert!(!drain.look(start, WINDOW / 2));
        assert_eq!(drain.last(), Some(start + WINDOW / 2));
        assert!(drain.look(start, Duration::ZERO), "at once");
    }

    #[test]
    fn many_changes_share_windows_and_none_ends_early() {
        let start = Instant::now();
        let mut drain = Drain::default();
        let at = |second: u8| start + Duration::from_secs(second.into());
        for second in 0..60 {
            drain.look(at(second), WINDOW);
            drain.add(History::of(&lists(second)), at(second) + WINDOW);
        }
        assert_eq!(drain.parts.len(), PARTS);
        assert_eq!(drain.last(), Some(at(59) + WINDOW));
        for second in 0..60 {
            drain.look(at(second) + WINDOW - Duration::from_millis(1), WINDOW);
            let moving = moving(&drain);
            assert!(
                (second..60).all(|later| moving.contains(&later)),
                "{moving:?}"
            );
        }
    }

    /// One managed network.
    fn lists(number: u8) -> Lists {
        Lists::compile(&[List {
            name: "one".into(),
            class: Class::Managed,
            scope: Scope::All,
            origin: Origin::Local,
            prefixes: vec![format!("10.{number}.0.0/16").parse().expect("a prefix")],
        }])
    }

    /// The numbers of those that are in transition while nothing is listed.
    fn moving(drain: &Drain) -> Vec<u8> {
        let tables = KernelTables::compile(&Lists::default(), &drain.held());
        (0..60)
            .filter(|number| !tables.standing([10, *number, 0, 1].into()).is_stable())
            .collect()
    }
}
