//! Changes to a tenant, as an administrator or a synchronisation would make them: logged, audited, told by delta.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Tenant;
use super::apps::Account;
use super::clock::written;
use super::directory::Slot;
use super::documents::Section;
use super::object::{Kind, Object, Prop, State};
use crate::chance::Chance;

/// Why a change was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// There is no such object.
    #[error("the tenant has no object {0}")]
    NoObject(Uuid),
    /// The object is not of the right kind, or not in the right state.
    #[error("object {0} is not {1}")]
    NotSuch(Uuid, &'static str),
    /// There is no such property.
    #[error("a {1:?} has no property {0}")]
    NoProperty(String, Kind),
    /// The value is not of the property's form.
    #[error("{0} cannot have that value")]
    WrongForm(String),
    /// There is no such document.
    #[error("there is no document {0}")]
    NoDocument(String),
    /// There is no such tenant or application.
    #[error("there is no {0}")]
    Unknown(String),
}

/// A tenant that is being changed.
#[derive(Debug)]
pub struct Edit<'a> {
    /// The tenant.
    pub tenant: &'a mut Tenant,
    now: OffsetDateTime,
    chance: Chance,
    silent: f64,
}

impl<'a> Edit<'a> {
    pub(super) fn new(
        tenant: &'a mut Tenant,
        now: OffsetDateTime,
        chance: Chance,
        silent: f64,
    ) -> Self {
        Self {
            tenant,
            now,
            chance,
            silent,
        }
    }

    /// A member of the organisation with that user principal name and display name.
    pub fn user(&mut self, upn: &str, name: &str) -> Uuid {
        self.person(upn, name, "Member")
    }

    /// A guest.
    pub fn guest(&mut self, mail: &str, name: &str) -> Uuid {
        let upn = format!("{}#EXT#@fabrik.onmicrosoft.example", mail.replace('@', "_"));
        let id = self.person(&upn, name, "Guest");
        for (property, value) in [("mail", mail), ("externalUserState", "Accepted")] {
            self.set(id, property, &json!(value))
                .expect("a user has this text");
        }
        id
    }

    /// A security group without members.
    pub fn group(&mut self, name: &str) -> Uuid {
        self.create(
            Kind::Group,
            &json!({ "displayName": name, "securityEnabled": true, "mailEnabled": false, "groupTypes": [],
                "mailNickname": name, "createdDateTime": written(self.now) }),
        )
        .expect("a group has these properties")
    }

    /// An object with these properties; `id` among them is its id.
    pub fn create(&mut self, kind: Kind, properties: &Value) -> Result<Uuid, Refused> {
        let none = Map::new();
        let properties = properties.as_object().unwrap_or(&none);
        let sequence = self.tenant.directory.sequence() as u64;
        let id = match properties.get("id") {
            Some(id) => id.as_str().and_then(|id| Uuid::try_parse(id).ok()),
            None => Some(self.chance.of(sequence).id()),
        };
        let id = id.ok_or_else(|| Refused::WrongForm("id".to_owned()))?;
        let mut object = Object {
            id,
            kind,
            state: State::Live,
            props: Vec::new(),
        };
        for (name, value) in properties {
            if name != "id" {
                let (key, value) = property(kind, name, value)?;
                object.set(key, value);
            }
        }
        let slot = self.tenant.directory.create(object, self.now);
        self.audit(&activity(kind, "Add"), slot, &[]);
        Ok(id)
    }

    /// Sets a property, or clears it with null.
    pub fn set(&mut self, id: Uuid, name: &str, value: &Value) -> Result<(), Refused> {
        let slot = self.slot(id)?;
        let kind = self.tenant.directory.object(slot).kind;
        let (key, new) = property(kind, name, value)?;
        let before = self.tenant.directory.object(slot).prop(key).cloned();
        if self.tenant.directory.set(slot, key, new, self.now) {
            let before = before.map_or(Value::Null, |before| before.to_json());
            let changed = json!({ "displayName": name, "oldValue": json!([before]).to_string(),
                "newValue": json!([value]).to_string() });
            self.audit(&activity(kind, "Update"), slot, &[changed]);
            if name == "accountEnabled" {
                let verb = if *value == json!(true) {
                    "Enable"
                } else {
                    "Disable"
                };
                self.audit(&format!("{verb} account"), slot, &[]);
            }
        }
        Ok(())
    }

    /// Makes `member` a member of `group`.
    pub fn join(&mut self, group: Uuid, member: Uuid) -> Result<(), Refused> {
        self.edge(group, member, true)
    }

    /// Makes `member` no member of `group` any more.
    pub fn leave(&mut self, group: Uuid, member: Uuid) -> Result<(), Refused> {
        self.edge(group, member, false)
    }

    /// Soft-deletes an object.
    pub fn delete(&mut self, id: Uuid) -> Result<(), Refused> {
        let slot = self.slot(id)?;
        if self.tenant.directory.object(slot).state != State::Live {
            return Err(Refused::NotSuch(id, "live"));
        }
        let gone = State::Deleted(self.now.unix_timestamp());
        self.put_state(slot, gone, false);
        Ok(())
    }

    /// Brings a soft-deleted object back.
    pub fn restore(&mut self, id: Uuid) -> Result<(), Refused> {
        let slot = self.slot(id)?;
        if !matches!(self.tenant.directory.object(slot).state, State::Deleted(_)) {
            return Err(Refused::NotSuch(id, "soft-deleted"));
        }
        self.put_state(slot, State::Live, false);
        Ok(())
    }

    /// Deletes an object for good. Whether anybody is told of it is left to chance.
    pub fn purge(&mut self, id: Uuid) -> Result<(), Refused> {
        let sequence = self.tenant.directory.sequence() as u64;
        let silent = self
            .chance
            .of_text("purge")
            .of(sequence)
            .happens(self.silent);
        self.purge_as(id, silent)
    }

    /// Deletes an object for good; when `silent`, no tombstone is ever told.
    pub fn purge_as(&mut self, id: Uuid, silent: bool) -> Result<(), Refused> {
        let slot = self.slot(id)?;
        self.put_state(slot, State::Purged, silent);
        Ok(())
    }

    /// Puts a document in, in the place of the one with its id.
    pub fn put(&mut self, section: Section, document: Value) {
        self.tenant.documents.put(section, document);
    }

    /// Takes a document away.
    pub fn remove(&mut self, section: Section, id: &str) -> Result<(), Refused> {
        if self.tenant.documents.remove(section, id) {
            Ok(())
        } else {
            Err(Refused::NoDocument(id.to_owned()))
        }
    }

    /// Makes a role's assignment: to a user, a group or a service principal, for a scope (`/`: everything).
    pub fn assign(&mut self, role: &str, principal: Uuid, scope: &str) -> String {
        let id = self.assignment_id(role, principal, scope);
        self.put(
            Section::RoleAssignments,
            json!({ "id": id, "principalId": principal, "directoryScopeId": scope, "roleDefinitionId": role }),
        );
        if let Ok(slot) = self.slot(principal) {
            let role = json!({ "displayName": "Role.TemplateId", "oldValue": null,
                "newValue": json!(role).to_string() });
            self.audit("Add member to role", slot, &[role]);
        }
        self.put(
            Section::RoleAssignmentSchedules,
            json!({ "id": id, "principalId": principal, "directoryScopeId": scope, "roleDefinitionId": role,
                "appScopeId": null, "startDateTime": written(self.now), "endDateTime": null, "memberType": "Direct",
                "assignmentType": "Assigned", "roleAssignmentOriginId": id, "roleAssignmentScheduleId": id }),
        );
        id
    }

    /// Lets somebody take a role.
    pub fn make_eligible(&mut self, role: &str, principal: Uuid, scope: &str) -> String {
        let id = self.assignment_id(role, principal, scope) + "-e";
        self.put(
            Section::RoleEligibilities,
            json!({ "id": id, "principalId": principal, "directoryScopeId": scope, "roleDefinitionId": role,
                "appScopeId": null, "startDateTime": written(self.now), "endDateTime": null, "memberType": "Direct",
                "roleEligibilityScheduleId": self.chance.of_text(&id).id() }),
        );
        id
    }

    /// Gives an application an account in the tenant, if it has none.
    pub fn account(&mut self, app_id: Uuid, name: &str) -> &mut Account {
        if self.tenant.account(app_id).is_none() {
            let object_id = self
                .create(
                    Kind::ServicePrincipal,
                    &json!({ "appId": app_id, "displayName": name, "appDisplayName": name, "accountEnabled": true,
                        "servicePrincipalType": "Application" }),
                )
                .expect("a service principal has these properties");
            self.tenant.accounts.push(Account {
                app_id,
                object_id,
                enabled: true,
                machine: None,
                grants: Vec::new(),
            });
        }
        self.tenant
            .account_mut(app_id)
            .expect("it was put there if it was missing")
    }

    /// Voids every link that was handed out, to a page or to a later round.
    pub fn expire_links(&mut self) {
        self.tenant.generation += 1;
    }

    fn person(&mut self, upn: &str, name: &str, kind: &str) -> Uuid {
        let (given, family) = name.rsplit_once(' ').unwrap_or(("", name));
        let immutable = STANDARD.encode(self.chance.of_text(upn).id().to_bytes_le());
        self.create(
            Kind::User,
            &json!({ "userPrincipalName": upn, "displayName": name, "givenName": given, "surname": family,
                "accountEnabled": true, "userType": kind, "mail": upn, "onPremisesImmutableId": immutable,
                "proxyAddresses": [format!("SMTP:{upn}")], "createdDateTime": written(self.now) }),
        )
        .expect("a user has these properties")
    }

    fn edge(&mut self, group: Uuid, member: Uuid, came: bool) -> Result<(), Refused> {
        let (at, who) = (self.slot(group)?, self.slot(member)?);
        if self.tenant.directory.object(at).kind != Kind::Group {
            return Err(Refused::NotSuch(group, "a group"));
        }
        if at == who {
            return Err(Refused::NotSuch(member, "another group"));
        }
        for (slot, id) in [(at, group), (who, member)] {
            if self.tenant.directory.object(slot).state != State::Live {
                return Err(Refused::NotSuch(id, "live"));
            }
        }
        if self.tenant.directory.edge(at, who, came, self.now) {
            let words = if came {
                "Add member to group"
            } else {
                "Remove member from group"
            };
            let name = self.tenant.directory.object(at).text("displayName");
            let told = [
                ("Group.ObjectID", json!(group).to_string()),
                ("Group.DisplayName", json!(name).to_string()),
            ];
            let changed = told.map(|(property, value)| {
                let [old, new] = if came {
                    [Value::Null, json!(value)]
                } else {
                    [json!(value), Value::Null]
                };
                json!({ "displayName": property, "oldValue": old, "newValue": new })
            });
            self.audit(words, who, &changed);
        }
        Ok(())
    }

    fn put_state(&mut self, slot: Slot, state: State, silent: bool) {
        let kind = self.tenant.directory.object(slot).kind;
        let verb = match state {
            State::Live => "Restore",
            State::Deleted(_) => "Delete",
            State::Purged => "Hard Delete",
        };
        self.tenant
            .directory
            .put_state(slot, state, silent, self.now);
        self.audit(&activity(kind, verb), slot, &[]);
    }

    fn audit(&mut self, activity: &str, slot: Slot, changed: &[Value]) {
        let object = self.tenant.directory.object(slot);
        let category = match object.kind {
            Kind::User => "UserManagement",
            Kind::Group => "GroupManagement",
            Kind::Device => "Device",
            Kind::ServicePrincipal => "ApplicationManagement",
        };
        let target = json!({ "id": object.id, "displayName": object.text("displayName"),
            "type": format!("{:?}", object.kind), "userPrincipalName": object.text("userPrincipalName"),
            "groupType": null, "modifiedProperties": changed });
        let number = self.tenant.documents.of(Section::Audits).len() as u64;
        let id = self.chance.of_text("audit").of(number).id();
        self.tenant.documents.put(
            Section::Audits,
            json!({ "id": format!("Directory_{id}"), "category": category, "correlationId": id, "result": "success",
                "resultReason": "", "activityDisplayName": activity, "activityDateTime": written(self.now),
                "loggedByService": "Core Directory", "operationType": "Update", "additionalDetails": [],
                "initiatedBy": { "app": null, "user": { "id": null, "displayName": null, "ipAddress": "203.0.113.18",
                    "userPrincipalName": "admin@fabrik.example" } },
                "targetResources": [target] }),
        );
    }

    fn assignment_id(&self, role: &str, principal: Uuid, scope: &str) -> String {
        let of = self.chance.of_text(role).of_text(scope);
        let id = of.of_text(&principal.to_string()).id();
        STANDARD_NO_PAD.encode(id.as_bytes()).replace('/', "_") + "-1"
    }

    fn slot(&self, id: Uuid) -> Result<Slot, Refused> {
        let slot = self.tenant.directory.slot(id);
        slot.filter(|slot| self.tenant.directory.object(*slot).state != State::Purged)
            .ok_or(Refused::NoObject(id))
    }
}

fn property(kind: Kind, name: &str, value: &Value) -> Result<(u8, Prop), Refused> {
    let key = kind
        .key(name)
        .ok_or_else(|| Refused::NoProperty(name.to_owned(), kind))?;
    let value = Prop::from_json(&kind.properties()[usize::from(key)], value)
        .ok_or_else(|| Refused::WrongForm(name.to_owned()))?;
    Ok((key, value))
}

fn activity(kind: Kind, verb: &str) -> String {
    let noun = match kind {
        Kind::User => "user",
        Kind::Group => "group",
        Kind::Device => "device",
        Kind::ServicePrincipal => "service principal",
    };
    format!("{verb} {noun}")
}
