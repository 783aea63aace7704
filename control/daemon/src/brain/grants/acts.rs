//! What administrators do about grants and principals.

use std::net::IpAddr;
use std::sync::Arc;

use weir_api::Actor;
use weir_api::grants::{Granted, Grants, Limit, RevokedPrincipal, Taken};
use weir_link::PrincipalId;

use super::{shown, time};
use crate::Error;
use crate::brain::Brain;
use crate::ledger::{Moment, Reach, Revocation};
use crate::witness::Witness;

impl Brain {
    /// Every live grant, and every revoked principal.
    pub fn grants(&self) -> Grants {
        let (running, directory) = (self.running(), self.directory());
        self.grants.books(|books| Grants {
            grants: books.by_witness(&running, directory.as_deref(), |books, witness| {
                let grants = books.ledger.grants();
                let shown = grants.map(|(address, grant)| limited(address, grant, witness));
                shown.collect()
            }),
            revoked: (books.ledger.revoked())
                .map(|(who, why)| RevokedPrincipal {
                    principal: who.to_string(),
                    by: why.by.clone(),
                    time: why.time.clone(),
                    reason: why.reason.clone(),
                })
                .collect(),
        })
    }

    /// The live grant of an address.
    pub fn grant_of(&self, address: IpAddr) -> Option<Granted> {
        let (running, directory) = (self.running(), self.directory());
        self.grants.books(|books| {
            books.by_witness(&running, directory.as_deref(), |books, witness| {
                let grant = books.ledger.grant(address)?;
                Some(limited(address, grant, witness))
            })
        })
    }

    /// Takes an address what it was granted, and cuts what goes on of it.
    pub async fn take_grant(&self, who: Actor, address: IpAddr) -> Result<Taken, Error> {
        let address = address.to_canonical();
        self.finish(move |brain| async move {
            let taken = brain
                .step(|books, now| {
                    let any = books.ledger.has_flows(address);
                    (books.ledger.take(address, now), any)
                })
                .await;
            let result = match taken {
                Ok((None, false)) => Err(Error::NoGrant(address.to_string())),
                Ok((taken, _)) => Ok(Taken {
                    ended: taken.iter().map(|grant| shown(address, grant)).collect(),
                }),
                Err(error) => Err(error),
            };
            brain.note_taken(who, "grants revoke", &address.to_string(), &result);
            result
        })
        .await
    }

    /// Takes a principal everything that it was granted; it may earn anew.
    pub async fn take_grants(&self, who: Actor, principal: PrincipalId) -> Result<Taken, Error> {
        self.finish(move |brain| async move {
            let taken = brain
                .step(|books, now| {
                    let any = books.ledger.has_anything(principal);
                    (books.ledger.take_all(principal, now), any)
                })
                .await;
            let result = match taken {
                Ok((_, false)) => Err(Error::NoGrant(principal.to_string())),
                Ok((taken, true)) => Ok(all(&taken)),
                Err(error) => Err(error),
            };
            brain.note_taken(who, "grants revoke", &principal.to_string(), &result);
            result
        })
        .await
    }

    /// Disables a principal: it loses everything at once, and is granted nothing until it is restored.
    pub async fn revoke(
        &self,
        who: Actor,
        principal: PrincipalId,
        reason: String,
    ) -> Result<Taken, Error> {
        if reason.trim().is_empty() || reason.len() > 400 || reason.contains(char::is_control) {
            return Err(Error::Reason);
        }
        self.finish(move |brain| async move {
            let why = Revocation {
                by: who.to_string(),
                time: time(),
                reason: reason.clone(),
            };
            let taken = brain
                .step(|books, now| {
                    let taken = books.ledger.revoke(principal, why, now);
                    let lost = [(principal, Moment::MAX)].into();
                    books.ledger.cut_where_alone(&lost, now);
                    taken
                })
                .await;
            let result = match taken {
                Ok(Ok(taken)) => Ok(all(&taken)),
                Ok(Err(refused)) => Err(Error::Grant(refused)),
                Err(error) => Err(error),
            };
            brain.note_taken(who, "revoke", &format!("{principal}: {reason}"), &result);
            result
        })
        .await
    }

    /// Lifts a revocation.
    pub async fn restore(&self, who: Actor, principal: PrincipalId) -> Result<Taken, Error> {
        self.finish(move |brain| async move {
            let lifted = brain.step(|books, _| books.ledger.restore(principal)).await;
            let result = match lifted {
                Ok(Some(_)) => Ok(Taken::default()),
                Ok(None) => Err(Error::NotRevoked(principal)),
                Err(error) => Err(error),
            };
            brain.note_taken(who, "restore", &principal.to_string(), &result);
            result
        })
        .await
    }

    /// Acts to the end, also when whoever asked for it does not wait.
    pub(in crate::brain) async fn finish<T, F>(
        &self,
        act: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let me = self.me.upgrade().expect("whoever asks holds it");
        let done = tokio::spawn(act(me)).await;
        done.unwrap_or_else(|ended| Err(Error::Request(format!("the act failed: {ended}"))))
    }

    fn note_taken(&self, who: Actor, action: &str, what: &str, result: &Result<Taken, Error>) {
        let told = match result {
            Ok(taken) => Ok(format!("{what}; {} grants ended", taken.ended.len())),
            Err(error) => Err(format!("{what}; {error}")),
        };
        self.note(who, action, told);
    }
}

/// A grant, and how far it opens.
fn limited(address: IpAddr, grant: &crate::ledger::Grant, witness: &Witness<'_>) -> Granted {
    let limit = witness.has_limits().then(|| {
        let (reach, because) = witness.reach(grant.principal);
        Limit {
            class: match reach {
                Reach::UpTo(class) => Some(class),
                Reach::Unknown => None,
            },
            why: because.to_string(),
        }
    });
    Granted {
        limit,
        ..shown(address, grant)
    }
}

fn all(taken: &[(IpAddr, crate::ledger::Grant)]) -> Taken {
    let ended = taken.iter().map(|(address, grant)| shown(*address, grant));
    Taken {
        ended: ended.collect(),
    }
}
