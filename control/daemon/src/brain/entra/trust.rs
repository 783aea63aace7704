//! Whom the tenant lets sign its users in: what is told of that, and the certificates that it vouches for.

use std::sync::Arc;

use time::OffsetDateTime;
use weir_api::entra::Finding;
use weir_claims::Certificate;
use weir_entra::model::Part;
use weir_entra::trust::{self, Fronted, Known};

use super::super::{Brain, blocking};
use crate::tenant::{Tenant, kept, shown};

impl Brain {
    /// How the federation settings of the tenant's domains go with the services here. Nothing, while they are not
    /// known: the part itself says why.
    pub(super) async fn domain_findings(&self, tenant: &Arc<Tenant>) -> Vec<Finding> {
        let Some(domains) = known_domains(tenant).await else {
            return Vec::new();
        };
        let running = self.running();
        let services = running.candidate.config().services.iter();
        let keys = |name: &str| {
            let mut all = running.candidate.keys();
            all.find_map(|(service, keys)| (service == name).then_some(keys))
        };
        let services: Vec<_> = services
            .map(|service| Fronted {
                name: &service.name,
                hosts: &service.hosts,
                keys: keys(&service.name).filter(|keys| !keys.is_empty()),
            })
            .collect();
        let elsewhere = &tenant.config.elsewhere;
        let now = OffsetDateTime::now_utc();
        let remarks = trust::check(&domains, &services, elsewhere, now);
        remarks.iter().map(shown::remark).collect()
    }

    /// The certificates that the tenant's federation settings hold for a service; none while they are not known.
    pub(in crate::brain) async fn vouched(&self, service: &str) -> Vec<Certificate> {
        let Some(tenant) = self.tenant() else {
            return Vec::new();
        };
        let Some(domains) = known_domains(&tenant).await else {
            return Vec::new();
        };
        let running = self.running();
        let services = &running.candidate.config().services;
        let named = |name: &str| services.iter().find(|one| one.name == name);
        let service = named(service);
        // At a relying party's reply URLs the keys are those of the service that signs for it.
        let signs = service.and_then(|one| one.tokens.as_ref()?.of.as_deref());
        let signs = signs.map_or(service, named);
        signs.map_or_else(Vec::new, |one| trust::vouched(&domains, &one.hosts))
    }
}

/// The domains as they were last read, if that was not too long ago.
async fn known_domains(tenant: &Arc<Tenant>) -> Option<Vec<Known>> {
    let tenant = Arc::clone(tenant);
    let read = blocking(move || {
        let (store, max_age) = (&tenant.store, tenant.config.max_age);
        let kept = kept::documents(store, Part::Domains, max_age, OffsetDateTime::now_utc());
        let documents = kept.ok();
        let documents = documents.as_ref().map(|documents| {
            let documents = documents.iter();
            trust::read(documents.map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
        });
        Ok(documents.and_then(Result::ok))
    });
    read.await.ok().flatten()
}
