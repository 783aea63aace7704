//! The books against a model that remembers everything and decides anew at each question.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use weir_abi::{Class, ClassSet};
use weir_control::ledger::{Asked, Clocks, Ledger, Moment, Reach};

use crate::{DRAIN, LONG_AGO, LOOK_BACK, MINUTE, SOURCES, address, asked, id, rules, why};

#[derive(Clone, Debug)]
enum Act {
    See(usize, usize),
    Earn(usize, usize, Class, [Moment; 2], bool),
    Take(usize),
    TakeAll(usize),
    Revoke(usize),
    Restore(usize),
    SetReach(usize, Reach),
    Void(usize, Moment),
    Wait(Moment),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let who = 0_usize..3;
    let source = 0..SOURCES.len();
    let class = prop_oneof![Just(Class::Managed), Just(Class::Bypass)];
    let up_to = prop_oneof![
        Just(Class::Managed),
        Just(Class::Bypass),
        Just(Class::Unmanaged),
        Just(Class::Blocked)
    ];
    let reach = prop_oneof![
        4 => up_to.prop_map(Reach::UpTo),
        1 => Just(Reach::Unknown)
    ];
    let wait = prop_oneof![1..5 * MINUTE, 20 * MINUTE..90 * MINUTE];
    let act = prop_oneof![
        2 => (who.clone(), source.clone()).prop_map(|(who, source)| Act::See(who, source)),
        5 => (who.clone(), source.clone(), class, 1..60_i64, 0..5_i64, prop::bool::weighted(0.8)).prop_map(
            |(who, source, class, minutes, ago, kernel)| {
                Act::Earn(who, source, class, [minutes, ago].map(|one| one * MINUTE), kernel)
            }
        ),
        1 => source.prop_map(Act::Take),
        1 => who.clone().prop_map(Act::TakeAll),
        1 => who.clone().prop_map(Act::Revoke),
        1 => who.clone().prop_map(Act::Restore),
        2 => (who.clone(), reach).prop_map(|(who, reach)| Act::SetReach(who, reach)),
        1 => (who, 0..40_i64).prop_map(|(who, ago)| Act::Void(who, ago * MINUTE)),
        5 => wait.prop_map(Act::Wait),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..40)
}

/// What the kernel makes of an entry for an address that no list names: its class, and which classes its
/// flows may have begun with.
type Opened = (Class, ClassSet);

fn opened(
    ledger: &Ledger,
    principals: &BTreeMap<u32, Class>,
    source: IpAddr,
    now: Moment,
) -> Opened {
    let none = (Class::Unmanaged, ClassSet::EMPTY);
    let Some(entry) = ledger.entry(source).filter(|entry| now < entry.rests) else {
        return none;
    };
    let up_to = principals
        .get(&entry.principal)
        .copied()
        .unwrap_or_default();
    let less = |class| match (class, up_to) {
        (Class::Managed, Class::Managed) => Class::Managed,
        (Class::Managed | Class::Bypass, Class::Managed | Class::Bypass) => Class::Bypass,
        _ => Class::Unmanaged,
    };
    let given = less(entry.class);
    let mut held = ClassSet::EMPTY;
    for class in [Class::Managed, Class::Bypass] {
        let may = less(class) == class;
        if may && (given == class || entry.held.contains(class)) {
            held = held.with(class);
        }
    }
    let class = if now < entry.expires {
        given
    } else {
        Class::Unmanaged
    };
    (class, held)
}

/// A grant of the past or of now.
#[derive(Clone, Copy, Debug)]
struct Gave {
    who: usize,
    class: Class,
    /// When the newest sign-in was that it was earned by.
    earned: Moment,
    until: Moment,
    open: bool,
    /// It gives its class no longer; its flows go on until then.
    over: Option<Moment>,
    /// From then on nothing is left of it.
    cut: bool,
}

/// Everything that ever happened.
#[derive(Default)]
struct Model {
    seen: Vec<(usize, usize, Moment)>,
    shared: Vec<(usize, Moment)>,
    gave: BTreeMap<usize, Vec<Gave>>,
    up_to: [Class; 3],
    unsure: [bool; 3],
    void: [Moment; 3],
    revoked: [bool; 3],
}

impl Model {
    fn up_to(&self, who: usize) -> Class {
        if self.revoked[who] {
            Class::Unmanaged
        } else {
            self.up_to[who]
        }
    }

    fn live(gave: &Gave, now: Moment) -> bool {
        !gave.cut && gave.over.is_none() && now < gave.until
    }

    fn rests(gave: &Gave, now: Moment) -> bool {
        gave.open && !gave.cut && gave.over.is_some_and(|until| now < until)
    }

    /// One grant of an address ends by itself. What still goes on of the grants before, of the same one, goes
    /// on as long as what goes on of this.
    fn end(gave: &mut [Gave], which: usize, now: Moment) {
        let until = now + DRAIN;
        let ended = gave[which];
        gave[which].over = Some(until);
        if ended.open {
            for one in gave {
                if one.who == ended.who && Self::rests(one, now) {
                    one.over = Some(until);
                }
            }
        }
    }

    /// Ends what is over by now.
    fn settle(&mut self, now: Moment) {
        for gave in self.gave.values_mut() {
            let over = |one: &Gave| !one.cut && one.over.is_none() && one.until <= now;
            if let Some(which) = gave.iter().position(over) {
                let until = gave[which].until;
                Self::end(gave, which, until);
            }
        }
    }

    fn see(&mut self, who: usize, source: usize, now: Moment) {
        let gave = self.gave.entry(source).or_default();
        let holds = |one: &Gave| one.who != who && (Self::live(one, now) || Self::rests(one, now));
        let held = gave.iter().any(holds);
        let mine = gave.iter().any(|one| Self::live(one, now));
        // Who was on an address is only remembered where it matters.
        let watched = source < 2 || mine;
        let others = self
            .seen
            .iter()
            .any(|(other, at, when)| *at == source && *other != who && now - when < LOOK_BACK);
        if !watched {
            return;
        }
        self.seen.push((who, source, now));
        if held || others {
            self.shared.push((source, now));
            for one in gave.iter_mut().filter(|one| one.open || one.who != who) {
                one.cut = true;
            }
        }
    }

    fn earn(
        &mut self,
        who: usize,
        source: usize,
        class: Class,
        [lasts, ago]: [Moment; 2],
        kernel: bool,
        now: Moment,
    ) {
        let mut earned = now - ago;
        let may = matches!(self.up_to(who), Class::Managed | Class::Bypass);
        if !(may || self.unsure[who] && !self.revoked[who]) || earned < self.void[who] {
            return;
        }
        let shared = self
            .shared
            .iter()
            .any(|(at, when)| *at == source && now - when < LOOK_BACK);
        let open = kernel && source < 2 && !shared && !self.unsure[who];
        let gave = self.gave.entry(source).or_default();
        let mut until = now + lasts;
        if let Some(which) = gave.iter().position(|one| Self::live(one, now)) {
            let one = &mut gave[which];
            if (one.who, one.class, one.open) == (who, class, open) {
                until = until.max(one.until);
                earned = earned.max(one.earned);
                one.cut = true;
            } else {
                Self::end(gave, which, now);
            }
        }
        gave.push(Gave {
            who,
            class,
            earned,
            until,
            open,
            over: None,
            cut: false,
        });
    }

    fn take(&mut self, source: usize, who: Option<usize>) {
        for one in self.gave.entry(source).or_default() {
            one.cut |= who.is_none_or(|who| one.who == who);
        }
    }

    /// How far the grants of somebody open.
    fn set_reach(&mut self, who: usize, reach: Reach, now: Moment) {
        self.unsure[who] = reach == Reach::Unknown;
        let Reach::UpTo(class) = reach else {
            for gave in self.gave.values_mut() {
                let open = |one: &Gave| one.who == who && one.open && Self::live(one, now);
                if let Some(which) = gave.iter().position(open) {
                    let kept = Gave {
                        open: false,
                        ..gave[which]
                    };
                    Self::end(gave, which, now);
                    gave.push(kept);
                }
            }
            return;
        };
        let loses = class != Class::Managed && self.up_to[who] != class;
        self.up_to[who] = class;
        for one in self
            .gave
            .values_mut()
            .flatten()
            .filter(|one| one.who == who)
        {
            // Live ones may open again; what is cut of the past does not.
            let nothing = !matches!(class, Class::Managed | Class::Bypass);
            one.cut |= nothing || loses && Self::rests(one, now);
        }
    }

    /// Sign-ins of somebody from before count for nothing.
    fn void(&mut self, who: usize, since: Moment, now: Moment) {
        self.void[who] = self.void[who].max(since);
        for gave in self.gave.values_mut() {
            let goes_on =
                |one: &Gave| one.who == who && (Self::live(one, now) || Self::rests(one, now));
            // The flows of one address are those of the newest sign-in, whichever grant they began with.
            let rests = gave
                .iter()
                .filter(|one| goes_on(one) && !Self::live(one, now));
            let rests = rests
                .map(|one| one.earned)
                .max()
                .is_some_and(|at| at < since);
            let live = gave
                .iter()
                .any(|one| goes_on(one) && Self::live(one, now) && one.earned < since);
            if rests || live {
                for one in gave.iter_mut().filter(|one| one.who == who) {
                    one.cut = true;
                }
            }
        }
    }

    fn opened(&self, source: usize, now: Moment) -> Opened {
        let mut class = Class::Unmanaged;
        let mut held = ClassSet::EMPTY;
        for one in self.gave.get(&source).into_iter().flatten() {
            let up_to = self.up_to(one.who);
            let may = |class| match class {
                Class::Managed => up_to == Class::Managed,
                _ => up_to != Class::Unmanaged,
            };
            if one.open && Self::live(one, now) {
                let less = if may(one.class) {
                    one.class
                } else {
                    Class::Bypass
                };
                if may(less) {
                    class = less;
                    held = held.with(less);
                }
            } else if Self::rests(one, now) && may(one.class) {
                held = held.with(one.class);
            }
        }
        (class, held)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn the_books_agree_with_the_model(acts in acts()) {
        let mut ledger = Ledger::new(rules(), LONG_AGO);
        let mut model = Model { up_to: [Class::Managed; 3], ..Model::default() };
        let mut principals = BTreeMap::new();
        let mut now: Moment = 10 * MINUTE;
        for act in acts {
            match &act {
                Act::See(who, source) => {
                    ledger.see(id(*who), address(*source), now);
                    model.see(*who, *source, now);
                }
                Act::Earn(who, source, class, times, kernel) => {
                    let [lasts, ago] = *times;
                    let asked = Asked {
                        reach: if model.unsure[*who] { Reach::Unknown } else { Reach::UpTo(model.up_to[*who]) },
                        ago: Duration::from_millis(ago.unsigned_abs()),
                        ..asked(*class, lasts, *kernel)
                    };
                    ledger.see(id(*who), address(*source), now);
                    model.see(*who, *source, now);
                    let _ = ledger.earn(id(*who), address(*source), &asked, now);
                    model.earn(*who, *source, *class, *times, *kernel, now);
                }
                Act::Take(source) => {
                    ledger.take(address(*source), now);
                    model.take(*source, None);
                }
                Act::TakeAll(who) => {
                    ledger.take_all(id(*who), now);
                    for source in 0..SOURCES.len() {
                        model.take(source, Some(*who));
                    }
                }
                Act::Revoke(who) => {
                    ledger.revoke(id(*who), why(), now).expect("there is room");
                    model.revoked[*who] = true;
                    for source in 0..SOURCES.len() {
                        model.take(source, Some(*who));
                    }
                }
                Act::Restore(who) => {
                    ledger.restore(id(*who));
                    model.revoked[*who] = false;
                }
                Act::SetReach(who, reach) => {
                    ledger.set_reach(id(*who), *reach, now);
                    model.set_reach(*who, *reach, now);
                }
                Act::Void(who, ago) => {
                    ledger.void(id(*who), now - ago, now);
                    model.void(*who, now - ago, now);
                }
                Act::Wait(time) => {
                    now += time;
                    model.settle(now);
                }
                Act::Restart => {
                    let clocks = Clocks { boot_id: "one".to_owned(), since_boot: now, wall: 0 };
                    let saved = ledger.save(clocks.clone());
                    let text = serde_json::to_string(&saved).expect("plain data");
                    let saved: weir_control::ledger::Saved = serde_json::from_str(&text).expect("as written");
                    saved.check(100).expect("as it must be");
                    let mut again = Ledger::open(rules(), saved, &clocks);
                    prop_assert_eq!(again.save(clocks.clone()), ledger.save(clocks));
                    again.look(now);
                    ledger = again;
                }
            }
            ledger.look(now);
            for who in ledger.touched().1 {
                if let Some((index, class)) = ledger.reach(who) {
                    principals.insert(index, class);
                }
            }
            for source in 0..SOURCES.len() {
                let expected = model.opened(source, now);
                let found = opened(&ledger, &principals, address(source), now);
                prop_assert_eq!(found, expected, "{:?} at {} minutes: source {}", act, now / MINUTE, source);
                let live = model.gave.get(&source).into_iter().flatten().any(|one| Model::live(one, now));
                prop_assert_eq!(ledger.grant(address(source)).is_some(), live);
            }
            if let Some(next) = ledger.next() {
                prop_assert!(next > now, "what is over is gone");
            }
        }
        // In the end nothing is left but what administrators decided.
        ledger.look(now + 10 * LOOK_BACK);
        prop_assert_eq!((ledger.watched(), ledger.next()), (0, None));
        prop_assert_eq!(ledger.held().count(), 0);
    }
}
