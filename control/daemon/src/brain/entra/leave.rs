//! Leaving a tenant: collection ends, credentials are destroyed, and what is known too, where that is wanted.

use std::path::PathBuf;
use std::sync::Arc;

use weir_api::Actor;
use weir_api::entra::Disconnected;
use weir_config::{CredentialSource, Entra};

use super::super::{Brain, blocking};
use crate::Error;
use crate::tenant::TenantError;
use crate::tenant::credentials::{self, Slot};

impl Brain {
    /// Ends collection, also beyond a restart, and destroys the files with credentials that the configuration names;
    /// with `purge`, what is known is destroyed too, and both planes forget it.
    pub async fn disconnect_entra(&self, who: Actor, purge: bool) -> Result<Disconnected, Error> {
        self.asked_tenant()?;
        self.begun_tenant().await?;
        self.finish(move |brain: Arc<Self>| async move {
            let by = who.to_string();
            let done = brain.disconnect(&by, purge).await;
            let told = match &done {
                Ok(done) => Ok(words(done)),
                Err(error) => Err(error.to_string()),
            };
            brain.note(who, "entra disconnect", told);
            Ok(done?)
        })
        .await
    }

    async fn disconnect(&self, by: &str, purge: bool) -> Result<Disconnected, TenantError> {
        let _step = self.entra.step.lock().await;
        let tenant = self.begun_tenant().await?;
        // Nothing is destroyed before collection has ended, so that it can be tried again.
        tenant.handle.disconnect(purge, by).await?;
        self.entra.note(|noted| {
            noted.is_disconnected = true;
            noted.moved_aside = None;
        });
        let config = tenant.config.clone();
        drop(tenant);
        let files = credentials::files(&config);
        let mut done = Disconnected {
            purged: purge,
            ..Disconnected::default()
        };
        let destroyed = blocking(move || {
            let tried = files.into_iter().map(|file: PathBuf| {
                let gone = credentials::destroy(&file);
                (file.display().to_string(), gone)
            });
            Ok(tried.collect::<Vec<_>>())
        });
        let destroyed = destroyed.await;
        for (file, gone) in destroyed.map_err(|error| TenantError::NotBegun(error.to_string()))? {
            match gone {
                Ok(true) => done.destroyed.push(file),
                Ok(false) => {}
                Err(why) => done.left.push((file, why)),
            }
        }
        if purge {
            self.withdraw().await;
        }
        // What it signed in with is in its memory yet. If that takes its time, it is done all the same.
        drop(self.reopen().await);
        done.next = next(&config, &done);
        Ok(done)
    }
}

/// What only people can do.
fn next(config: &Entra, done: &Disconnected) -> Vec<String> {
    let (application, tenant) = (config.application, config.tenant);
    let mut next = Vec::new();
    let sources = Slot::ALL.into_iter().filter_map(|slot| slot.of(config));
    let has_machine = sources
        .into_iter()
        .any(|source| matches!(source, CredentialSource::ManagedIdentity(_)));
    if has_machine {
        next.push(format!(
            "the identity of this machine keeps its permissions in tenant {tenant}: take them away in Entra"
        ));
    }
    next.push(format!(
        "remove the credential from application {application} in Entra (App registrations, Certificates & secrets), or \
         the whole application with its consent: copies of the files, in backups for example, are good until then"
    ));
    if !done.left.is_empty() {
        next.push("destroy by hand what could not be destroyed here".to_owned());
    }
    if !done.purged {
        next.push(
            "what was known stays in force until it is too old, and stays as evidence: `weir entra disconnect --purge` \
             destroys it"
                .to_owned(),
        );
    }
    next
}

/// For the audit log.
fn words(done: &Disconnected) -> String {
    let mut words = "collection ended".to_owned();
    if done.purged {
        words.push_str("; what was known is destroyed");
    }
    if !done.destroyed.is_empty() {
        words = format!("{words}; destroyed: {}", done.destroyed.join(", "));
    }
    for (file, why) in &done.left {
        words = format!("{words}; {file} could not be destroyed: {why}");
    }
    words
}
