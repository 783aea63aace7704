//! The parts that are polled: what Graph answers, as documents by name.
//!
//! A document is what [`crate::decode`] reads, as JSON. They are named by the id that the tenant gives, but for roles
//! (`definition:ID`, `assignment:PRINCIPAL:ROLE:HELD:SCOPE`) and domains (`domain:NAME`, `federation:NAME`).

use std::time::Duration;

use serde::Serialize;

use super::broken::Broken;
use super::read::{Ended, Reader};
use crate::decode::{
    Malformed, conditional_access, credentials, defaults, domains, locations, methods,
    organisation, registrations,
};
use crate::graph::{Ask, Failure, Kind as Why};
use crate::model::{Page, Part};
use crate::round::Kind;

/// Documents by name.
pub(super) type Documents = Vec<(String, Vec<u8>)>;

/// How long the federation settings of all domains may take.
const WITHIN: Duration = Duration::from_mins(10);

/// How a domain says that another server signs its users in.
const FEDERATED: &str = "Federated";
/// What the name of a federation's document begins with.
const FEDERATION: &str = "federation:";

impl Reader {
    /// A round of a part that is polled.
    pub(super) async fn polled(&self, part: Part) -> Result<Ended, Broken> {
        let mut round = self.store.begin(part, Kind::Full)?;
        let mut without = Vec::new();
        let documents = match part {
            Part::Users | Part::Groups | Part::SignIns | Part::Audits => Vec::new(),
            Part::Roles => self.roles(&mut without).await?,
            Part::Domains => self.domains(&mut without).await?,
            Part::ConditionalAccess => {
                let decode = conditional_access::decode;
                self.listed(&Ask::ConditionalAccess, decode, |policy| policy.id.clone())
                    .await?
            }
            Part::Locations => {
                let decode = locations::decode;
                self.listed(&Ask::Locations, decode, |location| location.id.clone())
                    .await?
            }
            Part::Registrations => {
                let decode = registrations::decode;
                self.listed(&Ask::Registrations, decode, |user| user.id.to_string())
                    .await?
            }
            Part::Credentials => {
                let ask = Ask::Credentials(self.graph.registration().client);
                self.listed(&ask, credentials::decode, |app| app.app_id.to_string())
                    .await?
            }
            Part::Methods => {
                let policy = self.one(&Ask::Methods, methods::decode).await?;
                vec![document("policy".to_owned(), &policy)?]
            }
            Part::SecurityDefaults => {
                let policy = self.one(&Ask::SecurityDefaults, defaults::decode).await?;
                vec![document("policy".to_owned(), &policy)?]
            }
            Part::Organisation => {
                let own = self.one(&Ask::Organisation, organisation::decode).await?;
                if own.id != self.graph.registration().tenant {
                    return Err(Broken::OtherTenant(own.id));
                }
                vec![document(own.id.to_string(), &own)?]
            }
        };
        round.documents(documents)?;
        Ok(Ended {
            outcome: self.finish(round, None).await?,
            is_full: true,
            without,
        })
    }

    async fn listed<T: Serialize>(
        &self,
        ask: &Ask,
        decode: fn(&[u8]) -> Result<Page<T>, Malformed>,
        name: fn(&T) -> String,
    ) -> Result<Documents, Broken> {
        let all = self.all(ask, decode).await?;
        all.iter().map(|one| document(name(one), one)).collect()
    }

    /// Domains, and whom the federated ones trust. What may not be read of them stays as it was.
    async fn domains(&self, without: &mut Vec<Failure>) -> Result<Documents, Broken> {
        let all = self.all(&Ask::Domains, domains::decode).await?;
        let mut documents = Documents::new();
        for domain in &all {
            documents.push(document(format!("domain:{}", domain.id), domain)?);
        }
        let federated = all
            .iter()
            .filter(|one| one.authentication_type == FEDERATED);
        let asks: Vec<Ask> = federated
            .map(|one| Ask::Federation(one.id.clone()))
            .collect();
        let decode = |_: &Ask, body: &[u8]| domains::federation(body);
        let answers = self.graph.batch(&asks, self.priority, WITHIN, decode).await;
        for (ask, answer) in asks.iter().zip(answers) {
            let Ask::Federation(domain) = ask else {
                continue;
            };
            match answer {
                Ok(answer) => {
                    if let Some(federation) = answer.said {
                        documents.push(document(format!("{FEDERATION}{domain}"), &federation)?);
                    }
                }
                // It ceased to be one since the list was read.
                Err(failure) if failure.kind == Why::Missing => (),
                Err(failure) if is_lasting(&failure) => {
                    // What was read just now counts more, and stands behind it.
                    documents.splice(0..0, self.kept(Part::Domains, FEDERATION)?);
                    without.push(failure);
                    break;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(documents)
    }

    /// The documents of a part that are there already, of those whose names begin so.
    pub(super) fn kept(&self, part: Part, prefix: &str) -> Result<Documents, Broken> {
        let documents = self.store.read()?.documents(part)?.into_iter();
        Ok(documents
            .filter(|(name, _)| name.starts_with(prefix))
            .collect())
    }
}

/// Whether asking again does not help, so that a part is read without.
pub(super) fn is_lasting(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        Why::NotPermitted | Why::NotLicensed | Why::NotOffered
    )
}

/// Something that was read, as it is kept.
pub(super) fn document(name: String, what: &impl Serialize) -> Result<(String, Vec<u8>), Broken> {
    let bytes = serde_json::to_vec(what).map_err(|_| Broken::Unwritten)?;
    Ok((name, bytes))
}
