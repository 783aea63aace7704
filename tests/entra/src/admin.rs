//! Changes by HTTP, on a port of its own: what the demo does with `curl`.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use http::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use weir_lab_servers::http::{Handler, Request, Response, json as json_answer};

use crate::faults::Fault;
use crate::lab::Shared;
use crate::world::apps::{App, Certificate};
use crate::world::documents::Section;
use crate::world::object::Kind;
use crate::world::{Consent, Licence, Quirks, Refused, World};

/// The administration: `POST /` with one [`Change`], or `GET /` for where everything is.
#[derive(Debug)]
pub struct Admin(pub(crate) Arc<Shared>);

/// A change, as JSON: `{"do":"create","kind":"user","properties":{…}}`. Without `tenant` the first one is meant.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Change {
    /// Puts an object in.
    Create {
        /// What.
        kind: Kind,
        /// Its properties, and `id` if it is to have a certain one.
        properties: Value,
    },
    /// Sets a property, or clears it with null.
    Set {
        /// Of which object.
        id: Uuid,
        /// Which.
        property: String,
        /// What to.
        value: Value,
    },
    /// Makes a member of a group.
    Join {
        /// The group.
        group: Uuid,
        /// Who.
        member: Uuid,
    },
    /// Ends that.
    Leave {
        /// The group.
        group: Uuid,
        /// Who.
        member: Uuid,
    },
    /// Soft-deletes an object.
    Delete {
        /// Which.
        id: Uuid,
    },
    /// Brings it back.
    Restore {
        /// Which.
        id: Uuid,
    },
    /// Deletes it for good.
    Purge {
        /// Which.
        id: Uuid,
    },
    /// Puts a document in.
    Put {
        /// Where.
        section: Section,
        /// The document.
        document: Value,
    },
    /// Takes a document away.
    Remove {
        /// From where.
        section: Section,
        /// Its id.
        id: String,
    },
    /// Sets federation settings of a domain; null takes them away.
    Federate {
        /// The domain.
        domain: String,
        /// The settings.
        settings: Value,
    },
    /// Sets what is paid for.
    License {
        /// Now.
        licence: Licence,
    },
    /// Gives an application's account permissions from now on, and no others.
    Grant {
        /// The application.
        app: Uuid,
        /// The permissions.
        roles: Vec<String>,
    },
    /// Takes away an application's account: nobody has consented to it.
    Dismiss {
        /// The application.
        app: Uuid,
    },
    /// Registers a certificate with an application.
    Register {
        /// The application.
        app: Uuid,
        /// The certificate, as PEM.
        certificate: String,
    },
    /// Takes a certificate of an application away.
    Unregister {
        /// The application.
        app: Uuid,
        /// The certificate, as PEM.
        certificate: String,
    },
    /// Voids all delta links.
    ExpireLinks,
    /// Adds to the script of what goes wrong.
    Fault {
        /// What.
        fault: Fault,
    },
    /// All goes well again.
    Mend,
    /// Puts the clock forward.
    Advance {
        /// By so many seconds.
        seconds: i64,
    },
    /// Sets how the services behave.
    Quirks {
        /// So.
        quirks: Quirks,
    },
    /// Sets limits.
    Throttle {
        /// Whether there are any.
        on: bool,
        /// Resource units in ten seconds.
        units: Option<f64>,
    },
    /// Sets what the administrator does when asked for consent.
    Consent {
        /// This.
        decision: Consent,
        /// How long it takes to be in force, in seconds.
        #[serde(default)]
        delay: i64,
    },
}

#[derive(Deserialize)]
struct Order {
    tenant: Option<Uuid>,
    #[serde(flatten)]
    change: Change,
}

impl Handler for Admin {
    async fn handle(&self, request: Request) -> Response {
        if request.method == Method::GET {
            return self.state();
        }
        let order: Order = match serde_json::from_slice(&request.body) {
            Ok(order) => order,
            Err(error) => return said(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let mut world = self.0.world();
        let tenant = order
            .tenant
            .or(world.tenants.first().map(|tenant| tenant.id));
        match apply(&mut world, tenant.unwrap_or_default(), order.change) {
            Ok(value) => json_answer(StatusCode::OK, &value),
            Err(error) => said(StatusCode::CONFLICT, &error.to_string()),
        }
    }
}

impl Admin {
    fn state(&self) -> Response {
        let world = self.0.world();
        let tenants = world.tenants.iter().map(|tenant| {
            json!({ "id": tenant.id, "users": tenant.directory.live(Kind::User),
                "groups": tenant.directory.live(Kind::Group), "changes": tenant.directory.sequence() })
        });
        let places = &self.0.places;
        let body = json!({ "login": places.login, "graph": places.graph, "machine": places.machine,
            "elsewhere": places.elsewhere, "now": crate::world::clock::written(world.clock.now()),
            "tenants": tenants.collect::<Vec<_>>() });
        json_answer(StatusCode::OK, &body)
    }
}

/// Makes a change to a tenant or to the world.
pub fn apply(world: &mut World, tenant: Uuid, change: Change) -> Result<Value, Refused> {
    match change {
        Change::Fault { fault } => world.faults.add(fault),
        Change::Mend => world.faults.clear(),
        Change::Advance { seconds } => world.clock.advance(time::Duration::seconds(seconds)),
        Change::Quirks { quirks } => world.quirks = quirks,
        Change::Throttle { on, units } => {
            world.throttle.on = on;
            world.throttle.units = units;
        }
        Change::Consent { decision, delay } => {
            world.consent = decision;
            world.consent_delay = time::Duration::seconds(delay);
        }
        Change::Register { app, certificate } => {
            let der = der(&certificate)?;
            let certificates = &mut application(world, app)?.certificates;
            let digest = digest(&SHA256, &der);
            let key_id = Uuid::from_slice(&digest.as_ref()[..16]).expect("sixteen bytes");
            certificates.push(Certificate { key_id, der });
        }
        Change::Unregister { app, certificate } => {
            let der = der(&certificate)?;
            let certificates = &mut application(world, app)?.certificates;
            certificates.retain(|known| known.der != der);
        }
        change => return within(world, tenant, change),
    }
    Ok(json!({}))
}

fn within(world: &mut World, tenant: Uuid, change: Change) -> Result<Value, Refused> {
    let now = world.clock.now();
    let mut edit = world
        .edit(tenant)
        .ok_or_else(|| Refused::Unknown(format!("tenant {tenant}")))?;
    match change {
        Change::Create { kind, properties } => {
            return Ok(json!({ "id": edit.create(kind, &properties)? }));
        }
        Change::Set {
            id,
            property,
            value,
        } => edit.set(id, &property, &value)?,
        Change::Join { group, member } => edit.join(group, member)?,
        Change::Leave { group, member } => edit.leave(group, member)?,
        Change::Delete { id } => edit.delete(id)?,
        Change::Restore { id } => edit.restore(id)?,
        Change::Purge { id } => edit.purge(id)?,
        Change::Put { section, document } => edit.put(section, document),
        Change::Remove { section, id } => edit.remove(section, &id)?,
        Change::Federate { domain, settings } => {
            let federation = &mut edit.tenant.documents.federation;
            match settings {
                Value::Null => drop(federation.remove(&domain)),
                settings => drop(federation.insert(domain, settings)),
            }
        }
        Change::License { licence } => edit.tenant.licence = licence,
        Change::Grant { app, roles } => {
            let account = edit.tenant.account_mut(app);
            let account = account.ok_or_else(|| Refused::Unknown(format!("application {app}")))?;
            account.grants = roles.into_iter().map(|role| (role, now)).collect();
        }
        Change::Dismiss { app } => {
            let account = edit.tenant.account(app);
            let account = account.ok_or_else(|| Refused::Unknown(format!("application {app}")))?;
            let object = account.object_id;
            edit.tenant.accounts.retain(|account| account.app_id != app);
            edit.delete(object)?;
        }
        Change::ExpireLinks => edit.expire_links(),
        Change::Fault { .. }
        | Change::Mend
        | Change::Advance { .. }
        | Change::Quirks { .. }
        | Change::Throttle { .. }
        | Change::Register { .. }
        | Change::Unregister { .. }
        | Change::Consent { .. } => unreachable!("made by the caller"),
    }
    Ok(json!({}))
}

fn application(world: &mut World, app: Uuid) -> Result<&mut App, Refused> {
    let unknown = || Refused::Unknown(format!("application {app}"));
    world.app_mut(app).ok_or_else(unknown)
}

fn der(certificate: &str) -> Result<Vec<u8>, Refused> {
    let read = CertificateDer::from_pem_slice(certificate.as_bytes());
    let read = read.map_err(|_| Refused::WrongForm("a certificate".to_owned()))?;
    Ok(read.to_vec())
}

fn said(status: StatusCode, text: &str) -> Response {
    json_answer(status, &json!({ "error": text }))
}
