//! Memory for bodies: of requests, and of the answers that are looked at. Each has its own, so that neither
//! keeps the other waiting.
//!
//! In: what clients may hold ([`Limits`]). Out: room for bytes that have arrived, which is taken of the client's
//! part, of its source's, and of what there is for all, and given back when it is dropped. Nobody has more than
//! a quarter of what there is for all.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{Limits, Room};
use crate::serve::Client;

/// What the bytes in memory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Bodies of requests.
    Requests,
    /// Answers that are looked at.
    Answers,
}

/// What somebody may hold, of each kind: one permit for each byte.
#[derive(Debug)]
pub struct Memory {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// Bytes in memory: of a client, of its source, and of all together.
#[derive(Debug)]
pub struct Held([OwnedSemaphorePermit; 3]);

impl Memory {
    /// What there is for all.
    pub fn of_all(limits: &Limits) -> Self {
        Self::new(limits, |room| room.all)
    }

    /// What one source may hold of it.
    pub fn of_source(limits: &Limits) -> Self {
        Self::new(limits, Room::of_source)
    }

    /// What one client connection may hold of it.
    pub fn of_client(limits: &Limits) -> Self {
        Self::new(limits, Room::of_client)
    }

    fn new(limits: &Limits, part: fn(&Room) -> usize) -> Self {
        let new = |room| Arc::new(Semaphore::new(part(room)));
        Self {
            requests: new(&limits.request_memory),
            answers: new(&limits.answer_memory),
        }
    }

    async fn take(&self, of: Of, bytes: u32) -> OwnedSemaphorePermit {
        let free = match of {
            Of::Requests => &self.requests,
            Of::Answers => &self.answers,
        };
        let taken = Arc::clone(free).acquire_many_owned(bytes).await;
        taken.expect("the semaphore is never closed")
    }
}

impl Held {
    /// Room for so many bytes; `None` when there is none in time. The client's own part first: who has used it
    /// up waits without holding what others need.
    pub async fn take(of: Of, bytes: usize, client: &Client) -> Option<Self> {
        let bytes = u32::try_from(bytes).ok()?;
        let take = async {
            Self([
                client.memory.take(of, bytes).await,
                client.place.share.memory.take(of, bytes).await,
                client.shared.memory.take(of, bytes).await,
            ])
        };
        tokio::time::timeout(client.shared.limits.wait, take)
            .await
            .ok()
    }

    /// Both together.
    pub fn merge(&mut self, other: Self) {
        for (mine, more) in self.0.iter_mut().zip(other.0) {
            mine.merge(more);
        }
    }
}
