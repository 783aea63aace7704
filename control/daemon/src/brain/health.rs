//! Which of the servers that the kernel chooses among answer.
//!
//! A server answers when a TCP connection to its own address opens, at the first port of its service. One
//! look alone says little: it takes two in a row to change what is believed, and until then a server that
//! is new is believed to answer. After a restart that is believed which the kernel has in force.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Servers that do not answer.
pub(crate) type Silent = BTreeSet<SocketAddr>;

/// Time for a connection to open.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looks in a row that change what is believed.
const ENOUGH: u8 = 2;

/// What is believed of each server.
#[derive(Debug, Default)]
pub(super) struct Health {
    servers: BTreeMap<SocketAddr, Belief>,
}

#[derive(Clone, Copy, Debug)]
struct Belief {
    answers: bool,
    /// Looks in a row that say the opposite.
    against: u8,
}

impl Health {
    /// These servers did not answer until now, all others did.
    pub(super) fn going_on(silent: Silent) -> Self {
        let belief = Belief {
            answers: false,
            against: 0,
        };
        let servers = silent.into_iter().map(|server| (server, belief));
        Self {
            servers: servers.collect(),
        }
    }

    /// Takes in one look at every server; what was not looked at is forgotten.
    pub(super) fn note(&mut self, looked: &[(SocketAddr, bool)]) -> Silent {
        let before = std::mem::take(&mut self.servers);
        self.servers = looked
            .iter()
            .map(|(server, answered)| {
                let mut belief = before.get(server).copied().unwrap_or(Belief {
                    answers: true,
                    against: 0,
                });
                if belief.answers == *answered {
                    belief.against = 0;
                } else {
                    belief.against += 1;
                }
                if belief.against == ENOUGH {
                    belief = Belief {
                        answers: *answered,
                        against: 0,
                    };
                }
                (*server, belief)
            })
            .collect();
        self.servers
            .iter()
            .filter(|(_, belief)| !belief.answers)
            .map(|(server, _)| *server)
            .collect()
    }
}

/// Looks at all servers at once.
pub(super) async fn look(servers: BTreeSet<SocketAddr>) -> Vec<(SocketAddr, bool)> {
    let mut looks = JoinSet::new();
    for server in servers {
        looks.spawn(async move {
            let opened = timeout(PATIENCE, TcpStream::connect(server)).await;
            (server, matches!(opened, Ok(Ok(_))))
        });
    }
    looks.join_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_two_looks_in_a_row() {
        let servers: [SocketAddr; 2] =
            [([192, 0, 2, 21], 443).into(), ([192, 0, 2, 22], 443).into()];
        let [one, other] = servers;
        let mut health = Health::default();
        let mut silent = |answered| {
            let silent = health.note(&[(one, answered), (other, true)]);
            assert!(!silent.contains(&other));
            silent.contains(&one)
        };
        let told: Vec<bool> = [
            false, true, false, false, false, true, false, true, true, false,
        ]
        .map(&mut silent)
        .into();
        let believed = [
            false, false, false, true, true, true, true, true, false, false,
        ];
        assert_eq!(told, believed);
    }

    #[test]
    fn who_was_silent_before_has_to_answer_twice() {
        let server = SocketAddr::from(([192, 0, 2, 21], 443));
        let mut health = Health::going_on([server].into());
        let told = [false, true, true].map(|answered| health.note(&[(server, answered)]).len());
        assert_eq!(told, [1, 1, 0]);
    }

    #[test]
    fn what_is_not_looked_at_is_forgotten() {
        let server = SocketAddr::from(([192, 0, 2, 21], 443));
        let mut health = Health::default();
        for _ in 0..ENOUGH {
            health.note(&[(server, false)]);
        }
        assert!(health.note(&[]).is_empty());
        assert!(health.note(&[(server, false)]).is_empty());
    }

    #[tokio::test]
    async fn a_server_answers_when_it_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = listener.local_addr().expect("bound");
        assert_eq!(look([server].into()).await, [(server, true)]);
        drop(listener);
        assert_eq!(look([server].into()).await, [(server, false)]);
    }
}
