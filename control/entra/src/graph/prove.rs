//! Proof that the application may do in the tenant what it is to do there: a token that says so, and the tenant's own
//! word on who it is.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Ask, Call, Failure, Graph, Kind, Priority};
use crate::decode::organisation::{self, Organisation};
use crate::model::{Id, Part};
use crate::token::TokenError;

/// How long a new consent, or a new secret, may need until all of Entra knows it.
const SPREADS_WITHIN: Duration = Duration::from_mins(2);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A secret or certificate that Entra does not know, or an application that it does not know: also right after they
/// were registered.
const UNKNOWN_YET: [u32; 4] = [7_000_215, 700_027, 700_016, 7_000_112];

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The tenant, by its own word.
    pub organisation: Organisation,
    /// Permissions that are missing, of those that are needed; any one of each suffices.
    pub missing: Vec<&'static [&'static str]>,
    /// Permissions that let the application change something, which Weir never needs.
    pub too_much: Vec<String>,
}

/// Why nothing was proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A question was not answered.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The token is of another tenant, or Graph answered for another.
    #[error("the sign-in ended in tenant {got}, and not in the one of the configuration")]
    OtherTenant {
        /// In which.
        got: Id,
    },
}

impl Graph {
    /// Proves that the tenant is the one of the configuration, and tells which permissions are missing for `parts`.
    /// Right after a consent, `is_new`, what is missing is given two minutes to spread.
    pub async fn prove(&self, parts: &[Part], is_new: bool) -> Result<Proof, ProofError> {
        let until = self.clock.elapsed()
            + if is_new {
                SPREADS_WITHIN
            } else {
                Duration::ZERO
            };
        loop {
            if is_new {
                // An old token keeps its old permissions.
                self.tokens.forget(&self.registration);
            }
            let is_over = self.clock.elapsed() + LOOK_EVERY >= until;
            match self.look(parts).await {
                Ok(proof) if proof.missing.is_empty() || is_over => return Ok(proof),
                Err(error) if is_over || !error.may_spread() => return Err(error),
                Ok(_) | Err(_) => self.clock.sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn look(&self, parts: &[Part]) -> Result<Proof, ProofError> {
        let failed =
            |error| Failure::without_answer(Part::Organisation, Kind::Token(Box::new(error)));
        let token = self.tokens.get(&self.registration).await.map_err(failed)?;
        let said = token.said().cloned().unwrap_or_default();
        let tenant = self.registration.tenant;
        if let Some(got) = said.tid.filter(|tid| *tid != tenant) {
            return Err(ProofError::OtherTenant { got });
        }
        let call = Call::start(&Ask::Organisation).priority(Priority::Normal);
        let organisation = self.get(&call, organisation::decode).await?.said;
        if organisation.id != tenant {
            return Err(ProofError::OtherTenant {
                got: organisation.id,
            });
        }
        Ok(Proof {
            organisation,
            missing: missing(&said.roles, parts),
            too_much: too_much(&said.roles),
        })
    }
}

impl ProofError {
    /// Whether it may be for want of time alone.
    fn may_spread(&self) -> bool {
        let Self::Failed(failure) = self else {
            return false;
        };
        match &failure.kind {
            Kind::NotPermitted | Kind::NotYet | Kind::Unauthorized => true,
            Kind::Token(error) => {
                let refused = match &**error {
                    TokenError::Refused(refusal) => &*refusal.codes,
                    _ => &[],
                };
                let is_unknown = refused.iter().any(|code| UNKNOWN_YET.contains(code));
                is_unknown || error.is_transient()
            }
            _ => failure.is_transient(),
        }
    }
}

/// What some parts need and `roles` does not have.
pub(crate) fn missing(roles: &[String], parts: &[Part]) -> Vec<&'static [&'static str]> {
    let asks = parts.iter().flat_map(|part| Ask::of(*part));
    let needed: BTreeSet<_> = asks.map(|ask| ask.suffices()).collect();
    let has = |name: &&str| roles.iter().any(|role| role == name);
    let lacking = needed.into_iter().filter(|any| !any.iter().any(has));
    lacking.collect()
}

/// Those that do more than read.
pub(crate) fn too_much(roles: &[String]) -> Vec<String> {
    let reads = |role: &&String| {
        role.split('.')
            .any(|word| ["Read", "ReadBasic"].contains(&word))
    };
    roles.iter().filter(|role| !reads(role)).cloned().collect()
}
