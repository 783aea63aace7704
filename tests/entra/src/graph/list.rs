//! Lists and single objects.

use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use super::error::Refusal;
use super::filter::Filter;
use super::link::{At, Link};
use super::permit::BASIC;
use super::query::{DELETED, Selected};
use super::render::{Envelope, Tell, item, properties};
use super::{Context, Reply};
use crate::world::Licence;
use crate::world::directory::{Slot, View};
use crate::world::object::{Kind, State};

/// All objects of a kind that are not deleted.
pub fn all(context: &Context<'_>, kind: Kind) -> Result<Reply, Refusal> {
    page(context, kind, kind.path(), State::Live)
}

/// All soft-deleted objects of a kind.
pub fn deleted(context: &Context<'_>, kind: Kind) -> Result<Reply, Refusal> {
    page(context, kind, "directoryObjects", State::Deleted(0))
}

fn page(context: &Context<'_>, kind: Kind, name: &str, wanted: State) -> Result<Reply, Refusal> {
    let query = &context.call.query;
    query.refuse(&["$skip", "$search", "$orderby", "$expand", "$deltatoken"])?;
    let mut size = query.page(100, 999)?;
    let select = query.get("$select");
    let mut selected = Selected::of(kind, select)?;
    if wanted != State::Live && !selected.named {
        selected = selected.with(DELETED);
    }
    readable(context, kind, selected)?;
    if is_activity(kind, selected) {
        size = size.min(120);
    }
    let filter = Filter::parse(query.get("$filter"), |path| of_kind(kind, path))?;
    let counted = query.get("$count") == Some("true");
    let advanced = filter.is_advanced();
    if advanced && !(context.call.eventual && counted) {
        return Err(Refusal::advanced());
    }
    let position = position(context)?;
    let tenant = context.tenant();
    let view = tenant.directory.view(context.replica());
    let slots = tenant.directory.of_kind(kind);
    let fits = |slot: Slot| {
        let state = view.state(slot);
        let there = match wanted {
            State::Live => state == State::Live,
            _ => matches!(state, State::Deleted(_)),
        };
        there && filter.is_true(|path| look(&view, slot, path))
    };
    let mut items = Vec::new();
    let mut at = position;
    let mut left = size;
    while left > 0 && at < slots.len() {
        if fits(slots[at]) {
            let mut object = item(&mut items);
            properties(&mut object, &view, slots[at], selected, Tell::All);
            object.end();
            left -= 1;
        }
        at += 1;
    }
    let total = || slots.iter().filter(|slot| fits(**slot)).count();
    let envelope = Envelope {
        context: metadata(name, select),
        count: (counted && context.call.eventual && position == 0).then(total),
        next: (at < slots.len() && left == 0).then(|| next(context, at)),
        delta: None,
    };
    Ok(Reply::json(
        envelope.around(&context.shared.places.graph, &items),
    ))
}

/// How many objects of a kind are not deleted, as plain text.
pub fn count(context: &Context<'_>, kind: Kind) -> Result<Reply, Refusal> {
    context.number(|| context.tenant().directory.live(kind))
}

/// One object by its id; a user also by name.
pub fn one(context: &Context<'_>, kind: Kind, id: &str) -> Result<Reply, Refusal> {
    let select = context.call.query.get("$select");
    let selected = Selected::of(kind, select)?;
    readable(context, kind, selected)?;
    let view = context.tenant().directory.view(context.replica());
    let slot = find(context, &view, kind, id)?;
    let mut out = Vec::new();
    let mut object = super::render::Object::new(&mut out);
    let about = format!(
        "{}/v1.0/$metadata#{}/$entity",
        context.shared.places.graph,
        metadata(kind.path(), select)
    );
    object.text("@odata.context", &about);
    properties(&mut object, &view, slot, selected, Tell::All);
    object.end();
    Ok(Reply::json(out))
}

/// `POST /directoryObjects/getByIds`
pub fn by_ids(context: &Context<'_>) -> Result<Reply, Refusal> {
    let body: Value = serde_json::from_slice(&context.call.body)
        .map_err(|_| Refusal::bad("Unable to read JSON request payload."))?;
    let ids = body["ids"]
        .as_array()
        .ok_or_else(|| Refusal::bad("The parameter 'ids' is required."))?;
    if ids.len() > 1000 {
        return Err(Refusal::bad(
            "The number of ids exceeds the maximum of 1000.",
        ));
    }
    let types = body["types"].as_array();
    let wanted = |kind: Kind| {
        let name = kind.odata().trim_start_matches("#microsoft.graph.");
        types.is_none_or(|types| types.iter().any(|wanted| *wanted == json!(name)))
    };
    let view = context.tenant().directory.view(context.replica());
    let mut items = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        let slot = Uuid::try_parse(id)
            .ok()
            .and_then(|id| view.directory.slot(id));
        let Some(slot) = slot.filter(|slot| view.is_live(*slot)) else {
            continue;
        };
        let kind = view.object(slot).kind;
        if wanted(kind) {
            let mut object = item(&mut items);
            object.text("@odata.type", kind.odata());
            let selected = Selected::lenient(kind, None);
            properties(&mut object, &view, slot, selected, Tell::All);
            object.end();
        }
    }
    let envelope = Envelope {
        context: "directoryObjects".to_owned(),
        ..Envelope::default()
    };
    Ok(Reply::json(
        envelope.around(&context.shared.places.graph, &items),
    ))
}

/// The live object of that kind and id; a user also by its principal name.
pub fn find(context: &Context<'_>, view: &View<'_>, kind: Kind, id: &str) -> Result<Slot, Refusal> {
    let slot = match Uuid::try_parse(id) {
        Ok(id) => view.directory.slot(id),
        Err(_) if kind == Kind::User => {
            let users = context.tenant().directory.of_kind(kind).iter().copied();
            let named = |slot: &Slot| {
                let upn = view.object(*slot).text("userPrincipalName");
                upn.eq_ignore_ascii_case(id)
            };
            users.filter(|slot| view.is_live(*slot)).find(named)
        }
        Err(_) => {
            return Err(Refusal::bad(format!("Invalid object identifier '{id}'.")));
        }
    };
    slot.filter(|slot| view.object(*slot).kind == kind && view.is_live(*slot))
        .ok_or_else(|| Refusal::missing(id))
}

/// What follows `$metadata#`: the name, and what is selected.
pub fn metadata(name: &str, select: Option<&str>) -> String {
    match select {
        Some(select) if !select.is_empty() => format!("{name}({select})"),
        _ => name.to_owned(),
    }
}

/// Where a list goes on: at the beginning, or where its token says.
pub fn position(context: &Context<'_>) -> Result<usize, Refusal> {
    let Some(token) = context.call.query.get("$skiptoken") else {
        return Ok(0);
    };
    let link = Link::open(
        context.shared,
        token,
        context.session.tenant,
        &context.call.path,
    )?;
    let now = context.world.clock.now();
    let void = link.generation != context.tenant().generation;
    if void || link.age(now) > Duration::HOUR.whole_seconds() {
        return Err(Refusal::new(
            http::StatusCode::BAD_REQUEST,
            "Directory_ExpiredPageToken",
            "The specified page token value has expired and can no longer be included in your request.",
        ));
    }
    match link.at {
        At::List(position) => Ok(position),
        _ => Err(Refusal::bad("Badly formed token.")),
    }
}

/// The link to the page that goes on at `position`.
pub fn next(context: &Context<'_>, position: usize) -> String {
    let link = Link {
        tenant: context.session.tenant,
        path: context.call.path.clone(),
        issued: context.world.clock.now().unix_timestamp(),
        generation: context.tenant().generation,
        select: None,
        ids: Vec::new(),
        at: At::List(position),
        empty: false,
    };
    let query = context.call.query.next(&link.seal(context.shared));
    format!("{}?{query}", context.url(&context.call.path))
}

/// Refuses what the permissions or the licence do not show.
fn readable(context: &Context<'_>, kind: Kind, selected: Selected) -> Result<(), Refusal> {
    if kind == Kind::User && basic_only(context) && selected.beyond_standard(kind) {
        return Err(Refusal::denied());
    }
    if is_activity(kind, selected) {
        if !context.session.has("AuditLog.Read.All") {
            return Err(Refusal::denied());
        }
        if context.tenant().licence == Licence::Free {
            return Err(Refusal::not_premium());
        }
    }
    Ok(())
}

fn basic_only(context: &Context<'_>) -> bool {
    let full = super::permit::accepted("/users/delta");
    context.session.has(BASIC) && !context.session.any(full)
}

fn is_activity(kind: Kind, selected: Selected) -> bool {
    let key = Kind::User.key("signInActivity");
    kind == Kind::User && key.is_some_and(|key| selected.shows(1 << key))
}

fn of_kind(kind: Kind, path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    first == "id" || kind.key(first).is_some()
}

fn look(view: &View<'_>, slot: Slot, path: &str) -> Value {
    let object = view.object(slot);
    if path == "id" {
        return json!(object.id);
    }
    let mut parts = path.split('/');
    let key = parts.next().and_then(|name| object.kind.key(name));
    let value = key.and_then(|key| view.prop(slot, key));
    let mut value = value.map_or(Value::Null, crate::world::object::Prop::to_json);
    for part in parts {
        value = value[part].take();
    }
    value
}
