//! What administrators do about keys, and what they are shown.

use std::sync::Arc;

use time::UtcDateTime;
use weir_api::Actor;
use weir_api::keys::Keys;

use super::super::Brain;
use crate::Error;
use crate::keys::{KeysError, fingerprints, line};

impl Brain {
    /// By whose keys tokens are verified, service by service.
    pub fn keys(&self) -> Keys {
        let (running, now) = (self.running(), UtcDateTime::now());
        let names = running.candidate.service_names();
        let names = names.into_iter();
        Keys {
            services: self.keys.books(|books| {
                names
                    .filter_map(|name| Some(books.get(name)?.shown(name, now)))
                    .collect()
            }),
        }
    }

    /// Reads the keys of a service, or of all, where they are published.
    pub async fn refresh_keys(&self, who: Actor, service: Option<String>) -> Result<Keys, Error> {
        // A reload may have just been done.
        self.follow_configuration().await;
        let wanted = match service {
            Some(service) => {
                self.running().service_id(&service)?;
                self.keys.book(&service, |_| ())?;
                vec![service]
            }
            None => self.keys.books(|books| books.keys().cloned().collect()),
        };
        self.note(
            who,
            "keys refresh",
            Ok(match wanted.as_slice() {
                [] => "no service has its tokens looked at".to_owned(),
                services => services.join(", "),
            }),
        );
        self.finish(move |brain| async move {
            let mut failed = Vec::new();
            for service in &wanted {
                if let Err(error) = brain.read_keys(service).await {
                    failed.push(format!("{service}: {error}"));
                }
            }
            if failed.is_empty() {
                Ok(brain.keys())
            } else {
                Err(Error::Keys(KeysError::NotRead(failed.join("; "))))
            }
        })
        .await
    }

    /// Puts keys in force that are held. Each that is new is named by its fingerprint.
    pub async fn approve_keys(
        &self,
        who: Actor,
        service: String,
        named: Vec<String>,
    ) -> Result<Keys, Error> {
        self.running().service_id(&service)?;
        let named = fingerprints(&named)?;
        self.finish(move |brain: Arc<Self>| async move {
            let approved = async {
                let _step = brain.keys.step.lock().await;
                let (file, next, change) = brain.keys.book(&service, |book| {
                    let (next, change) = book.saved()?.approving(&service, &named)?;
                    Ok::<_, KeysError>((book.file().to_owned(), next, change))
                })??;
                brain.keep_keys(&service, &file, next).await?;
                Ok(change)
            };
            let approved: Result<_, KeysError> = approved.await;
            let told = match &approved {
                Ok(change) => Ok(format!("{service}: {}", line(change))),
                Err(error) => Err(format!("{service}: {error}")),
            };
            brain.note(who, "keys approve", told);
            approved?;
            brain.publish_keys().await?;
            Ok(brain.keys())
        })
        .await
    }

    /// What a person should know of keys.
    pub(crate) fn keys_warnings(&self) -> Vec<String> {
        let now = UtcDateTime::now();
        self.keys.books(|books| {
            let books = books.iter();
            books
                .flat_map(|(service, book)| book.warnings(service, now))
                .collect()
        })
    }
}
