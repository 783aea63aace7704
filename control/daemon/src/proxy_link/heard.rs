//! Sign-ins on their way from the proxies to the books of grants. No proxy waits for the books: what finds no
//! room, or is longer than any proxy's words are, is counted, and the books are told that they missed
//! something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use weir_link::SignIn;

/// Sign-ins that wait at most; the books take them by the hundred.
const ROOM: usize = 4096;
/// Longest name or id in one of them, in bytes: so much memory can be had from here, and no more.
const LONGEST: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Heard {
    tell: mpsc::Sender<SignIn>,
    listen: Mutex<Option<mpsc::Receiver<SignIn>>>,
    missed: AtomicU64,
}

impl Default for Heard {
    fn default() -> Self {
        let (tell, listen) = mpsc::channel(ROOM);
        Self {
            tell,
            listen: Mutex::new(Some(listen)),
            missed: AtomicU64::new(0),
        }
    }
}

impl Heard {
    pub(super) fn tell(&self, sign_in: SignIn) {
        if !fits(&sign_in) || self.tell.try_send(sign_in).is_err() {
            self.miss(1);
        }
    }

    pub(super) fn miss(&self, count: u64) {
        self.missed.fetch_add(count, Ordering::Relaxed);
    }

    /// The one who listens; nothing for everybody after the first.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<SignIn>> {
        let mut listen = self.listen.lock().unwrap_or_else(PoisonError::into_inner);
        listen.take()
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
            heard.tell(sign_in.clone());
        }
        assert_eq!(heard.missed(), 7);
        let mut listen = heard.listen().expect("the first one");
        assert!(heard.listen().is_none());
        let mut batch = Vec::new();
        assert_eq!(listen.recv_many(&mut batch, 2 * ROOM).await, ROOM);
        heard.tell(sign_in);
        assert_eq!(
            (listen.recv_many(&mut batch, 1).await, heard.missed()),
            (1, 7)
        );
    }
}
