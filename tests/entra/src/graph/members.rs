//! Members of groups, groups of members, and roles, directly or however deep.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::documents::{directory_role, role_id};
use super::error::Refusal;
use super::list::{find, metadata, next, position};
use super::permit::accepted;
use super::query::{ID, Selected};
use super::render::{Envelope, Tell, item, properties};
use super::route::{Question, Reach};
use super::{Context, Reply};
use crate::world::directory::{Slot, View};
use crate::world::documents::Section;
use crate::world::object::{Kind, Prop};
use crate::world::shapes::ROLES;

/// More ids than this are not told.
const MOST: usize = 11_000;

/// `/groups/{id}/members` and `/groups/{id}/transitiveMembers`
pub fn members(context: &Context<'_>, reach: Reach, id: &str) -> Result<Reply, Refusal> {
    let view = context.tenant().directory.view(context.replica());
    let group = find(context, &view, Kind::Group, id)?;
    let hidden = Kind::Group.key("visibility");
    let hidden = hidden.and_then(|key| view.prop(group, key));
    if hidden == Some(&Prop::Text("HiddenMembership".into()))
        && !context.session.has("Member.Read.Hidden")
    {
        return Err(Refusal::denied());
    }
    let found = if reach.transitive {
        closure(group, |slot| {
            let members = match view.object(slot).kind {
                Kind::Group => view.members(slot).into_owned(),
                _ => Vec::new(),
            };
            members
                .into_iter()
                .filter(|slot| view.is_live(*slot))
                .collect()
        })
    } else {
        view.members(group).iter().copied().collect()
    };
    show(context, &view, reach, found.into_iter(), &[])
}

/// `/users/{id}/memberOf`, `/users/{id}/transitiveMemberOf`, and the same of groups.
pub fn member_of(
    context: &Context<'_>,
    reach: Reach,
    kind: Kind,
    id: &str,
) -> Result<Reply, Refusal> {
    let view = context
        .tenant()
        .directory
        .view(context.tenant().directory.sequence());
    let member = find(context, &view, kind, id)?;
    let found = groups(&view, member, reach.transitive);
    let mut holders = vec![member];
    if reach.transitive {
        holders.extend(&found);
    }
    let roles = roles_of(context, &view, &holders);
    let roles: Vec<Value> = roles
        .into_iter()
        .map(|template| directory_role(context, template))
        .collect();
    show(context, &view, reach, found.into_iter(), &roles)
}

/// `getMemberGroups`, `getMemberObjects`, `checkMemberGroups`
pub fn ask(context: &Context<'_>, question: Question, user: &str) -> Result<Reply, Refusal> {
    let directory = &context.tenant().directory;
    let view = directory.view(directory.sequence());
    let slot = find(context, &view, Kind::User, user)?;
    let body: Value = serde_json::from_slice(&context.call.body)
        .map_err(|_| Refusal::bad("Unable to read JSON request payload."))?;
    let found = groups(&view, slot, true);
    let id = |slot: &Slot| view.object(*slot).id.to_string();
    let ids: Vec<String> = if question == Question::Check {
        let asked = body["groupIds"].as_array();
        let asked = asked.ok_or_else(|| Refusal::bad("The parameter 'groupIds' is required."))?;
        if asked.len() > 20 {
            return Err(Refusal::bad(
                "The number of groups to check exceeds the maximum of 20.",
            ));
        }
        let found: BTreeSet<String> = found.iter().map(id).collect();
        let asked = asked.iter().filter_map(Value::as_str);
        asked
            .map(str::to_ascii_lowercase)
            .filter(|asked| found.contains(asked))
            .collect()
    } else {
        let security = body["securityEnabledOnly"].as_bool().unwrap_or(false);
        let key = Kind::Group
            .key("securityEnabled")
            .expect("a property of groups");
        let wanted = |slot: &&Slot| !security || view.prop(**slot, key) == Some(&Prop::Flag(true));
        let mut ids: Vec<String> = found.iter().filter(wanted).map(id).collect();
        if question == Question::Objects && !security {
            let mut holders = vec![slot];
            holders.extend(&found);
            let roles = roles_of(context, &view, &holders);
            ids.extend(
                roles
                    .iter()
                    .map(|template| role_id(context, template).to_string()),
            );
        }
        ids
    };
    if ids.len() > MOST {
        return Err(Refusal::new(
            http::StatusCode::BAD_REQUEST,
            "Directory_ResultSizeLimitExceeded",
            "The number of results exceeds the limit of 11000.",
        ));
    }
    let graph = &context.shared.places.graph;
    let about = format!("{graph}/v1.0/$metadata#Collection(Edm.String)");
    let answer = json!({ "@odata.context": about, "value": ids });
    Ok(Reply::json(answer.to_string()))
}

/// `/directoryRoles/{id}/members`, by the role's id or its template.
pub fn of_role(context: &Context<'_>, role: &str) -> Result<Reply, Refusal> {
    let asked = Uuid::try_parse(role).ok();
    let (template, _) = ROLES
        .into_iter()
        .find(|(template, _)| *template == role || Some(role_id(context, template)) == asked)
        .ok_or_else(|| Refusal::missing(role))?;
    let directory = &context.tenant().directory;
    let view = directory.view(directory.sequence());
    let assigned = context
        .tenant()
        .documents
        .of(Section::RoleAssignments)
        .iter();
    let holders = assigned
        .filter(|row| row["roleDefinitionId"] == template && row["directoryScopeId"] == "/")
        .filter_map(|row| Uuid::try_parse(row["principalId"].as_str()?).ok())
        .filter_map(|id| directory.slot(id));
    let reach = Reach {
        transitive: false,
        only: None,
        count: false,
    };
    show(context, &view, reach, holders, &[])
}

/// A page of objects of any kind.
fn show(
    context: &Context<'_>,
    view: &View<'_>,
    reach: Reach,
    found: impl Iterator<Item = Slot>,
    roles: &[Value],
) -> Result<Reply, Refusal> {
    let roles = if reach.only.is_none() { roles } else { &[] };
    let query = &context.call.query;
    let live = found.filter(|slot| {
        let kind = view.object(*slot).kind;
        view.is_live(*slot) && reach.only.is_none_or(|only| only == kind)
    });
    if reach.count {
        return context.number(|| live.count() + roles.len());
    }
    let counted = query.get("$count") == Some("true");
    if (query.get("$filter").is_some() || query.get("$search").is_some())
        && !(context.call.eventual && counted)
    {
        return Err(Refusal::advanced());
    }
    let size = query.page(100, 999)?;
    let start = position(context)?;
    let live: Vec<Slot> = live.collect();
    let total = live.len() + roles.len();
    let end = total.min(start + size);
    let select = query.get("$select");
    let mut items = Vec::new();
    for &slot in live.iter().take(end).skip(start) {
        let kind = view.object(slot).kind;
        let mut object = item(&mut items);
        object.text("@odata.type", kind.odata());
        let mut selected = Selected::lenient(kind, select);
        let tell = if may_read(context, kind) {
            Tell::All
        } else {
            selected = selected.with(ID);
            Tell::Nothing
        };
        properties(&mut object, view, slot, selected, tell);
        object.end();
    }
    for role in roles
        .iter()
        .take(end.saturating_sub(live.len()))
        .skip(start.saturating_sub(live.len()))
    {
        let mut object = item(&mut items);
        object.text("@odata.type", "#microsoft.graph.directoryRole");
        for (name, value) in role.as_object().expect("a role is an object") {
            object.value(name, value);
        }
        object.end();
    }
    let name = reach.only.map_or("directoryObjects", Kind::path);
    let envelope = Envelope {
        context: metadata(name, select),
        count: (counted && context.call.eventual && start == 0).then_some(total),
        next: (end < total).then(|| next(context, end)),
        delta: None,
    };
    Ok(Reply::json(
        envelope.around(&context.shared.places.graph, &items),
    ))
}

/// Whether the properties of objects of that kind may be read; without, only id and type are shown.
fn may_read(context: &Context<'_>, kind: Kind) -> bool {
    context.session.any(match kind {
        Kind::User => accepted("/users"),
        Kind::Group => accepted("/groups"),
        Kind::Device => accepted("/devices"),
        Kind::ServicePrincipal => accepted("/serviceprincipals"),
    })
}

/// The live groups of a member.
fn groups(view: &View<'_>, member: Slot, transitive: bool) -> BTreeSet<Slot> {
    let direct = |slot: Slot| -> Vec<Slot> {
        let groups = view.directory.groups_of(slot).iter().copied();
        groups.filter(|group| view.is_live(*group)).collect()
    };
    if transitive {
        closure(member, direct)
    } else {
        direct(member).into_iter().collect()
    }
}

/// Everything that is reached from `start`, which is not among it unless a cycle leads back.
fn closure(start: Slot, next: impl Fn(Slot) -> Vec<Slot>) -> BTreeSet<Slot> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(slot) = open.pop() {
        for reached in next(slot) {
            if found.insert(reached) {
                open.push(reached);
            }
        }
    }
    found.remove(&start);
    found
}

/// The roles that these have for the whole tenant, by their templates.
fn roles_of(context: &Context<'_>, view: &View<'_>, holders: &[Slot]) -> Vec<&'static str> {
    let ids: BTreeSet<String> = holders
        .iter()
        .map(|slot| view.object(*slot).id.to_string())
        .collect();
    let assigned = context.tenant().documents.of(Section::RoleAssignments);
    let held = |template: &str| {
        assigned.iter().any(|row| {
            row["roleDefinitionId"] == template
                && row["directoryScopeId"] == "/"
                && row["principalId"]
                    .as_str()
                    .is_some_and(|id| ids.contains(id))
        })
    };
    let templates = ROLES.into_iter().map(|(template, _)| template);
    templates.filter(|template| held(template)).collect()
}
