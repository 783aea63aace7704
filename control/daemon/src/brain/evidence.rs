//! Evidence about the tenant, for whoever asks; who did stands in the audit log.

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::Semaphore;
use weir_api::Actor;
use weir_entra::review::exports::{PublicKey, Signed};

use super::{Brain, blocking};
use crate::Error;
use crate::evidence::{Evidence, EvidenceError, Export, Gone, Wanted};
use crate::tenant::Tenant;

impl Brain {
    /// Makes an export. Of those that are made at a time, `exporting` has the places: each reads the whole tenant.
    pub async fn review(
        &self,
        who: Actor,
        wanted: Wanted,
        exporting: &Arc<Semaphore>,
    ) -> Result<Export, Error> {
        let tenant = self.known_tenant().await?;
        let evidence = self.evidence();
        let me = self.me.upgrade().expect("whoever asks holds it");
        let gone = Gone::default();
        let _waiting = gone.guard();
        let place = Arc::clone(exporting).acquire_owned().await;
        blocking(move || {
            let now = OffsetDateTime::now_utc();
            let id = tenant.config.tenant;
            let made = evidence.export(&tenant.store, id, wanted, now, &gone);
            drop(place);
            // Here, so that it is told also when whoever asked does not wait any more.
            me.tell_review(who, wanted, &made);
            Ok(made?)
        })
        .await
    }

    fn tell_review(&self, who: Actor, wanted: Wanted, made: &Result<Export, EvidenceError>) {
        let what = wanted.what.as_str();
        match made {
            Ok(export) => {
                let manifest = &export.signed.manifest;
                let from = manifest.head.from.as_ref();
                let from = from.map_or_else(String::new, |from| format!(" from {from}"));
                let told = format!(
                    "{what}{from} as of {}: export {}, {} rows, SHA-256 {}",
                    manifest.head.as_of,
                    manifest.number,
                    manifest.content.rows,
                    manifest.content.sha256
                );
                self.note(who, "review", Ok(told));
            }
            Err(error) if error.is_a_slip() => {}
            Err(error) => self.note(who, "review", Err(format!("{what}: {error}"))),
        }
    }

    /// What verifies exports.
    pub async fn review_key(&self) -> Result<PublicKey, Error> {
        self.asked_tenant()?;
        let evidence = self.evidence();
        blocking(move || Ok(evidence.key()?.public())).await
    }

    /// The line of the chain that is of an export.
    pub async fn review_signature(&self, number: u64) -> Result<Signed, Error> {
        self.asked_tenant()?;
        let evidence = self.evidence();
        blocking(move || Ok(evidence.signed(number)?)).await
    }

    /// The tenant, for whoever asks about it.
    pub(crate) async fn known_tenant(&self) -> Result<Arc<Tenant>, Error> {
        self.asked_tenant()?;
        Ok(self.begun_tenant().await?)
    }

    fn evidence(&self) -> Evidence {
        let running = self.running();
        Evidence::of(&running.candidate.config().appliance.state)
    }
}
