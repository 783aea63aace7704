//! Sign-ins on their way to the books of weir-control.
//!
//! Each is kept until weir-control says that it is in the books, and told again to the next weir-control when
//! this one goes: who was seen where decides what others are granted. The data path never waits here; what
//! finds no room is counted, and the books are told that they missed somebody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use weir_link::{FromProxy, SignIn};

/// Most sign-ins that are kept; some minutes of the busiest hour, while weir-control is away.
const ROOM: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub struct SignIns {
    kept: Mutex<Kept>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    waiting: VecDeque<(Instant, SignIn)>,
    /// Number of the newest.
    newest: u64,
    /// Number of the last one that this weir-control was told of.
    told: u64,
    /// Sign-ins that found no room, and that nobody was told of.
    lost: u64,
}

impl SignIns {
    /// Keeps one, and gives it its number.
    pub fn keep(&self, mut sign_in: SignIn) {
        let mut kept = self.lock();
        if kept.waiting.len() >= ROOM {
            kept.lost += 1;
        } else {
            kept.newest += 1;
            sign_in.number = kept.newest;
            kept.waiting.push_back((Instant::now(), sign_in));
        }
        drop(kept);
        self.more.notify_one();
    }

    /// These are in the books.
    pub fn taken(&self, up_to: u64) {
        let mut kept = self.lock();
        while let Some((_, first)) = kept.waiting.front()
            && first.number <= up_to
        {
            kept.waiting.pop_front();
        }
    }

    /// This did not get there. A sign-in is told again anyway.
    pub fn untold(&self, message: &FromProxy) {
        if let FromProxy::SignInsLost { count } = message {
            self.lock().lost += count;
        }
    }

    /// Whoever comes next knows nothing of what is kept.
    pub fn tell_anew(&self) {
        self.lock().told = 0;
        self.more.notify_one();
    }

    /// What is to be said next. Cancel safe.
    pub async fn next(&self) -> FromProxy {
        loop {
            if let Some(message) = self.lock().next() {
                return message;
            }
            self.more.notified().await;
        }
    }

    /// Whether anything is to be said.
    pub fn try_next(&self) -> Option<FromProxy> {
        self.lock().next()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here can be left half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn next(&mut self) -> Option<FromProxy> {
        if self.lost > 0 {
            let count = std::mem::take(&mut self.lost);
            return Some(FromProxy::SignInsLost { count });
        }
        let first = self.waiting.front()?.1.number;
        let at = usize::try_from((self.told + 1).saturating_sub(first)).ok()?;
        let (since, sign_in) = self.waiting.get(at)?;
        let mut sign_in = sign_in.clone();
        self.told = sign_in.number;
        sign_in.ago = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Some(FromProxy::SignIn(Box::new(sign_in)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_in() -> SignIn {
        SignIn {
            number: 0,
            ago: 0,
            principal: "00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000002"
                .parse()
                .expect("two ids"),
            source: [10, 20, 0, 7].into(),
            peer: ([10, 20, 0, 7], 40000).into(),
            service: "sts".to_owned(),
            id: "00000000000000a1".to_owned(),
            grant: None,
        }
    }

    fn told(sign_ins: &SignIns) -> Vec<u64> {
        std::iter::from_fn(|| sign_ins.try_next())
            .map(|message| match message {
                FromProxy::SignIn(sign_in) => sign_in.number,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_is_not_in_the_books_is_told_again() {
        let sign_ins = SignIns::default();
        for _ in 0..3 {
            sign_ins.keep(sign_in());
        }
        assert_eq!(told(&sign_ins), [1, 2, 3]);
        assert!(told(&sign_ins).is_empty());
        sign_ins.taken(2);
        sign_ins.keep(sign_in());
        assert_eq!(told(&sign_ins), [4]);
        sign_ins.tell_anew();
        assert_eq!(told(&sign_ins), [3, 4]);
        sign_ins.taken(9);
        sign_ins.tell_anew();
        assert!(told(&sign_ins).is_empty());
        sign_ins.keep(sign_in());
        assert_eq!(told(&sign_ins), [5]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_first() {
        let sign_ins = SignIns::default();
        for _ in 0..ROOM + 5 {
            sign_ins.keep(sign_in());
        }
        match sign_ins.try_next() {
            Some(message @ FromProxy::SignInsLost { count: 5 }) => sign_ins.untold(&message),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            sign_ins.try_next(),
            Some(FromProxy::SignInsLost { count: 5 })
        ));
        assert_eq!(told(&sign_ins).len(), ROOM);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let sign_ins = std::sync::Arc::new(SignIns::default());
        let waits = std::sync::Arc::clone(&sign_ins);
        let next = tokio::spawn(async move { waits.next().await });
        tokio::task::yield_now().await;
        sign_ins.keep(sign_in());
        assert!(matches!(next.await, Ok(FromProxy::SignIn(_))));
    }
}
