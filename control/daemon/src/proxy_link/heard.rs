//! Sign-ins on their way from the proxies to the books of grants. No proxy waits for the books: what finds no
//! room, or is longer than any proxy's words are, is counted, and the books are told that they missed
//! something. What the books have taken in is told to the proxy that told of it: until then it tells of it
//! again, to whichever weir-control is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use weir_link::SignIn;

/// Sign-ins that wait at most; the books take them by the hundred.
const ROOM: usize = 4096;
/// Longest name or id in one of them, in bytes: so much memory can be had from here, and no more.
const LONGEST: usize = 256;

/// A sign-in, and the session of the proxy that told of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) session: u64,
    pub(crate) sign_in: SignIn,
}

/// The last sign-in of each session that the books have taken in.
pub(super) type Taken = BTreeMap<u64, u64>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Heard {
    tell: mpsc::Sender<Told>,
    listen: Mutex<Option<mpsc::Receiver<Told>>>,
    missed: AtomicU64,
    taken: watch::Sender<Taken>,
}

impl Default for Heard {
    fn default() -> Self {
        let (tell, listen) = mpsc::channel(ROOM);
        Self {
            tell,
            listen: Mutex::new(Some(listen)),
            missed: AtomicU64::new(0),
            taken: watch::Sender::default(),
        }
    }
}

impl Heard {
    pub(super) fn tell(&self, session: u64, sign_in: SignIn) {
        let told = Told { session, sign_in };
        if !fits(&told.sign_in) || self.tell.try_send(told).is_err() {
            self.miss(1);
        }
    }

    pub(super) fn miss(&self, count: u64) {
        self.missed.fetch_add(count, Ordering::Relaxed);
    }

    /// The one who listens; nothing for everybody after the first.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<Told>> {
        let mut listen = self.listen.lock().unwrap_or_else(PoisonError::into_inner);
        listen.take()
    }

    /// The books have taken in what these sessions told, up to these numbers.
    pub(crate) fn take(&self, taken: Taken) {
        self.taken.send_modify(|all| all.extend(taken));
    }

    /// What was taken in, whenever that grows.
    pub(super) fn taken(&self) -> watch::Receiver<Taken> {
        self.taken.subscribe()
    }

    /// Nobody of this session wants to know any more.
    pub(super) fn leave(&self, session: u64) {
        self.taken.send_if_modified(|all| {
            all.remove(&session);
            false
        });
    }

    /// How many found no room, here or at a proxy.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// Whether it can wait here, and its id can stand in the audit log.
fn fits(sign_in: &SignIn) -> bool {
    let rule = sign_in.grant.iter().map(|grant| &grant.rule);
    let mut texts = rule.chain([&sign_in.service, &sign_in.id]);
    texts.all(|text| text.len() <= LONGEST) && !sign_in.id.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_finds_no_room_is_counted() {
        let heard = Heard::default();
        let sign_in = SignIn {
            number: 1,
            ago: 0,
            principal: "00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000002"
                .parse()
                .expect("two ids"),
            source: [10, 20, 0, 7].into(),
            peer: ([10, 20, 0, 7], 40000).into(),
            service: "sts".to_owned(),
            id: "00000000000000a1".to_owned(),
            grant: None,
        };
        for _ in 0..ROOM + 7 {
            heard.tell(1, sign_in.clone());
        }
        assert_eq!(heard.missed(), 7);
        let mut listen = heard.listen().expect("the first one");
        assert!(heard.listen().is_none());
        let mut batch = Vec::new();
        assert_eq!(listen.recv_many(&mut batch, 2 * ROOM).await, ROOM);
        heard.tell(1, sign_in);
        assert_eq!(
            (listen.recv_many(&mut batch, 1).await, heard.missed()),
            (1, 7)
        );
    }
}
