//! Changes by HTTP, on a port of its own: what the demo does with `curl`.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use weir_lab_servers::http::{Handler, Request, Response, json as json_answer};

use crate::faults::Fault;
use crate::lab::Shared;
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
        Change::ExpireLinks => edit.expire_links(),
        Change::Fault { .. }
        | Change::Mend
        | Change::Advance { .. }
        | Change::Quirks { .. }
        | Change::Throttle { .. }
        | Change::Consent { .. } => unreachable!("made by the caller"),
    }
    Ok(json!({}))
}

fn said(status: StatusCode, text: &str) -> Response {
    json_answer(status, &json!({ "error": text }))
}
