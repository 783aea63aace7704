//! Policies, locations, roles, domains, logs and applications: what is kept as it is shown.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::error::Refusal;
use super::filter::Filter;
use super::list::{metadata, next, position};
use super::render::{Envelope, json as put};
use super::{Context, Reply};
use crate::world::apps::App;
use crate::world::documents::Section;
use crate::world::object::{Kind, State};
use crate::world::shapes::{ROLES, registration};

/// The documents of a section, or its one document.
pub fn all(context: &Context<'_>, section: Section) -> Result<Reply, Refusal> {
    let documents = context.tenant().documents.of(section);
    if section.is_single() {
        let document = documents
            .first()
            .ok_or_else(|| Refusal::missing(section.path()))?;
        return Ok(entity(context, section.path(), document));
    }
    let expand = context.call.query.get("$expand");
    let rows = documents.iter().map(|document| match expand {
        Some("principal") => with_principal(context, document),
        _ => document.clone(),
    });
    // The newest entries of logs come first.
    if matches!(section, Section::SignIns | Section::Audits) {
        let time = if section == Section::SignIns {
            "createdDateTime"
        } else {
            "activityDateTime"
        };
        let mut rows: Vec<Value> = rows.collect();
        let key = |row: &Value| row[time].as_str().map(str::to_owned);
        rows.reverse();
        rows.sort_by_key(|row| std::cmp::Reverse(key(row)));
        return collection(context, section.path(), rows.into_iter(), 1000);
    }
    collection(context, section.path(), rows, 999)
}

/// One document by its id.
pub fn one(context: &Context<'_>, section: Section, id: &str) -> Result<Reply, Refusal> {
    let mut documents = context.tenant().documents.of(section).iter();
    let document = documents
        .find(|document| {
            document["id"]
                .as_str()
                .is_some_and(|known| known.eq_ignore_ascii_case(id))
        })
        .ok_or_else(|| Refusal::missing(id))?;
    Ok(entity(context, section.path(), document))
}

/// Federation settings of a domain: a collection of none or one.
pub fn federation(context: &Context<'_>, domain: &str, id: Option<&str>) -> Result<Reply, Refusal> {
    let domain = domain.to_ascii_lowercase();
    let documents = &context.tenant().documents;
    let known = |row: &Value| row["id"] == domain.as_str();
    if !documents.of(Section::Domains).iter().any(known) {
        return Err(Refusal::missing(&domain));
    }
    let settings = documents.federation.get(&domain);
    let path = format!("domains('{domain}')/federationConfiguration");
    match id {
        None => collection(context, &path, settings.into_iter().cloned(), 999),
        Some(id) => settings
            .filter(|settings| settings["id"] == id)
            .map(|settings| entity(context, &path, settings))
            .ok_or_else(|| Refusal::missing(id)),
    }
}

/// The roles that somebody was ever given.
pub fn directory_roles(context: &Context<'_>) -> Result<Reply, Refusal> {
    let assigned = context.tenant().documents.of(Section::RoleAssignments);
    let assigned: BTreeSet<&str> = assigned
        .iter()
        .filter_map(|row| row["roleDefinitionId"].as_str())
        .collect();
    let rows = ROLES.into_iter().filter(|(id, _)| assigned.contains(id));
    let rows = rows.map(|(template, _)| directory_role(context, template));
    collection(context, "directoryRoles", rows, 999)
}

/// A role as the tenant has it.
pub fn directory_role(context: &Context<'_>, template: &str) -> Value {
    let name = ROLES.into_iter().find(|(known, _)| *known == template);
    let name = name.map_or("", |(_, name)| name);
    json!({ "id": role_id(context, template), "deletedDateTime": null, "description": name, "displayName": name,
        "roleTemplateId": template })
}

/// The id that a role has in the tenant, which is not its template's.
pub fn role_id(context: &Context<'_>, template: &str) -> uuid::Uuid {
    let chance = context.world.chance.of_text("role").of_text(template);
    chance.of_text(&context.session.tenant.to_string()).id()
}

/// The applications that are registered in the tenant.
pub fn applications(context: &Context<'_>) -> Result<Reply, Refusal> {
    let home = context.session.tenant;
    let apps = context.world.apps.iter().filter(|app| app.home == home);
    collection(context, "applications", apps.map(App::to_json), 999)
}

/// One application that is registered in the tenant.
pub fn application(context: &Context<'_>, wanted: impl Fn(&App) -> bool) -> Result<Reply, Refusal> {
    let home = context.session.tenant;
    let mut apps = context.world.apps.iter();
    let app = apps
        .find(|app| app.home == home && wanted(app))
        .ok_or_else(|| Refusal::missing(&context.call.path))?;
    Ok(entity(
        context,
        "applications",
        &select(context, app.to_json()),
    ))
}

/// Who registered which methods: a row for each user.
pub fn registrations(context: &Context<'_>) -> Result<Reply, Refusal> {
    let tenant = context.tenant();
    let users = tenant.directory.of_kind(Kind::User).iter();
    let users = users.map(|slot| tenant.directory.object(*slot));
    let users = users.filter(|user| user.state == State::Live);
    // Rows of pages that went before are not made again, unless they have to be looked at.
    let past = match context.call.query.get("$filter") {
        None => position(context)?,
        Some(_) => 0,
    };
    let rows = users
        .skip(past)
        .map(|user| match tenant.registrations.get(&user.id) {
            Some(row) => row.clone(),
            None => registration(
                user.id,
                user.text("userPrincipalName"),
                user.text("displayName"),
                match user.text("userType") {
                    "" => "Member",
                    kind => kind,
                },
            ),
        });
    let path = "reports/authenticationMethods/userRegistrationDetails";
    page(context, path, rows, past, 999)
}

/// A page of `rows` from the first on.
fn collection(
    context: &Context<'_>,
    path: &str,
    rows: impl Iterator<Item = Value>,
    most: usize,
) -> Result<Reply, Refusal> {
    page(context, path, rows, 0, most)
}

/// A page of `rows`: filtered, selected, from where its token says. The first `past` of them are left out already.
fn page(
    context: &Context<'_>,
    path: &str,
    rows: impl Iterator<Item = Value>,
    past: usize,
    most: usize,
) -> Result<Reply, Refusal> {
    let query = &context.call.query;
    let size = query.page(most, most)?;
    let filter = Filter::parse(query.get("$filter"), |_| true)?;
    let start = position(context)?;
    let mut items = Vec::new();
    let mut seen = past;
    let mut more = false;
    for row in rows {
        let look = |path: &str| {
            row.pointer(&format!("/{path}"))
                .cloned()
                .unwrap_or_default()
        };
        if !filter.is_true(look) {
            continue;
        }
        if seen == start + size {
            more = true;
            break;
        }
        if seen >= start {
            if !items.is_empty() {
                items.push(b',');
            }
            put(&mut items, &select(context, row));
        }
        seen += 1;
    }
    let envelope = Envelope {
        context: metadata(path, query.get("$select")),
        next: more.then(|| next(context, seen)),
        ..Envelope::default()
    };
    Ok(Reply::json(
        envelope.around(&context.shared.places.graph, &items),
    ))
}

fn entity(context: &Context<'_>, path: &str, document: &Value) -> Reply {
    let graph = &context.shared.places.graph;
    let mut whole = document.clone();
    whole["@odata.context"] = json!(format!("{graph}/v1.0/$metadata#{path}/$entity"));
    Reply::json(whole.to_string())
}

/// `document` with what `$select` names, and its type.
fn select(context: &Context<'_>, mut document: Value) -> Value {
    if let (Some(names), Value::Object(members)) =
        (context.call.query.get("$select"), &mut document)
    {
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        members.retain(|name, _| names.contains(&name.as_str()) || name.starts_with('@'));
    }
    document
}

fn with_principal(context: &Context<'_>, document: &Value) -> Value {
    let mut document = document.clone();
    let directory = &context.tenant().directory;
    let id = document["principalId"].as_str().unwrap_or_default();
    let slot = uuid::Uuid::try_parse(id)
        .ok()
        .and_then(|id| directory.slot(id));
    document["principal"] = slot.map_or(Value::Null, |slot| {
        let object = directory.object(slot);
        let mut principal = json!({ "@odata.type": object.kind.odata(), "id": object.id,
            "displayName": object.text("displayName") });
        if object.kind == Kind::User {
            principal["userPrincipalName"] = json!(object.text("userPrincipalName"));
        }
        principal
    });
    document
}
