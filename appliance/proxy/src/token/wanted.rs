//! Services whose tokens are signed with keys that are not known here: weir-control is asked to fetch them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use weir_link::FromProxy;

/// Not more often for one service; weir-control asks its servers more seldom still.
const EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Wanted {
    services: Mutex<BTreeMap<String, State>>,
    more: Notify,
}

#[derive(Debug)]
struct State {
    said: bool,
    since: Instant,
}

impl Wanted {
    /// Keys of this service are wanted.
    pub fn ask(&self, service: &str) {
        let mut services = self.lock();
        match services.get(service) {
            Some(state) if state.since.elapsed() < EVERY => return,
            _ => {}
        }
        let state = State {
            said: false,
            since: Instant::now(),
        };
        services.insert(service.to_owned(), state);
        drop(services);
        self.more.notify_one();
    }

    /// What is to be said next. Cancel safe.
    pub async fn next(&self) -> FromProxy {
        loop {
            if let Some(service) = self.lock().iter_mut().find_map(unsaid) {
                return FromProxy::KeysWanted { service };
            }
            self.more.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        // Nothing in here can be left half done.
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unsaid((service, state): (&String, &mut State)) -> Option<String> {
    let unsaid = !std::mem::replace(&mut state.said, true);
    unsaid.then(|| service.clone())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_question_is_asked_of_each_service() {
        let wanted = Wanted::default();
        for service in ["sts", "sts", "other"] {
            wanted.ask(service);
        }
        let said = || match wanted.next().now_or_never() {
            Some(FromProxy::KeysWanted { service }) => Some(service),
            Some(other) => panic!("{other:?}"),
            None => None,
        };
        let all = [said(), said(), said()];
        assert_eq!(all, [Some("other".into()), Some("sts".into()), None]);
        wanted.ask("sts");
        assert_eq!(said(), None);
    }
}
