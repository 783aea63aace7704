//! `/users/delta` and `/groups/delta`: rounds of pages, told from the log of changes.
//!
//! The first round shows everything as it was when it began; when it ends, what changed meanwhile follows, then a link
//! for later. A later round shows the changes since the link was handed out. Pages come in an order that the seed
//! decides; objects come twice, and groups in pieces, as [`Quirks`](crate::world::Quirks) say.

mod plan;

use std::sync::Arc;

use http::StatusCode;
use time::Duration;
use uuid::Uuid;

use super::error::Refusal;
use super::filter::Filter;
use super::link::{At, Link};
use super::list::metadata;
use super::query::{ID, MEMBERS, Selected};
use super::render::{Envelope, Object, Tell, item, properties};
use super::{Context, Reply};
use crate::world::Expired;
use crate::world::directory::{Slot, View};
use crate::world::object::{Kind, Prop, State};
pub use plan::Plans;
use plan::{Changed, Piece, Plan};

/// How long a link is good.
const LIFE: Duration = Duration::days(7);
/// Most ids that a filter may name.
const IDS: usize = 50;

/// Answers a request for the first page, the next one, or the next round.
pub fn answer(context: &mut Context<'_>, kind: Kind) -> Result<Reply, Refusal> {
    let link = begin(context, kind)?;
    let selected = Selected::of(kind, link.select.as_deref())?;
    let minimal = context.call.prefer.contains("return=minimal");
    let mut reply = page(context, kind, &link, selected, minimal);
    if minimal {
        let applied = ("Preference-Applied", "return=minimal");
        reply
            .headers
            .push((applied.0.to_owned(), applied.1.to_owned()));
    }
    Ok(reply)
}

/// Where the request begins: what its token says, or everything.
fn begin(context: &Context<'_>, kind: Kind) -> Result<Link, Refusal> {
    let query = &context.call.query;
    let token = query.get("$skiptoken").map(|token| (token, false));
    let token = token.or(query.get("$deltatoken").map(|token| (token, true)));
    let path = format!("{}/delta", kind.path());
    let replica = context.replica();
    let link = |at| Link {
        tenant: context.session.tenant,
        path: path.clone(),
        issued: context.world.clock.now().unix_timestamp(),
        generation: context.tenant().generation,
        select: query.get("$select").map(str::to_owned),
        ids: Vec::new(),
        at,
        empty: false,
    };
    match token {
        None | Some(("", true)) => {
            query.refuse(&["$top", "$expand", "$orderby", "$count", "$search", "$skip"])?;
            Selected::of(kind, query.get("$select"))?;
            Ok(Link {
                ids: ids(query.get("$filter"))?,
                ..link(At::First {
                    seen: replica,
                    position: 0,
                })
            })
        }
        Some(("latest", true)) => {
            query.refuse(&["$top", "$expand", "$orderby", "$count", "$search", "$skip"])?;
            Ok(link(At::Round {
                since: replica,
                to: replica,
                position: 0,
            }))
        }
        Some((token, delta)) => {
            let mut link = Link::open(context.shared, token, context.session.tenant, &path)?;
            if matches!(link.at, At::Done(_)) != delta || matches!(link.at, At::List(_)) {
                return Err(Refusal::bad("Badly formed token."));
            }
            fresh(context, kind, &link)?;
            if let At::Done(since) = link.at {
                link.at = At::Round {
                    since: since.saturating_sub(replayed(context)),
                    to: replica.max(since),
                    position: 0,
                };
            }
            Ok(link)
        }
    }
}

/// How many changes that were told before are told again.
fn replayed(context: &Context<'_>) -> usize {
    let chance = context.chance.of_text("replay");
    if chance.happens(context.world.quirks.replay) {
        1 + chance.of(1).below(20)
    } else {
        0
    }
}

fn fresh(context: &Context<'_>, kind: Kind, link: &Link) -> Result<(), Refusal> {
    let void = link.generation != context.tenant().generation;
    if !void && link.age(context.world.clock.now()) <= LIFE.whole_seconds() {
        return Ok(());
    }
    let lost = "The sync state generation is not found. The delta token is expired and data must be synchronized again.";
    let refusal = |status, code: &'static str| Refusal::new(status, code, lost);
    Err(match context.world.quirks.expired {
        Expired::BadRequest => refusal(StatusCode::BAD_REQUEST, "syncStateNotFound"),
        Expired::BadRequestCapital => refusal(StatusCode::BAD_REQUEST, "SyncStateNotFound"),
        Expired::NotFound => refusal(StatusCode::NOT_FOUND, "syncStateNotFound"),
        Expired::Gone => {
            let mut refusal = Refusal::new(
                StatusCode::GONE,
                "resyncRequired",
                "Resync required. Replace any local items with the server's version (including deletes) if you're sure that the service was up to date with your local changes when you last sync'd.",
            );
            let select = link.select.as_deref().unwrap_or_default();
            let path = format!("{}/delta?$deltatoken=&$select={select}", kind.path());
            refusal
                .headers
                .push(("Location".to_owned(), context.url(&path)));
            refusal
        }
    })
}

fn ids(filter: Option<&str>) -> Result<Vec<Uuid>, Refusal> {
    if filter.is_none() {
        return Ok(Vec::new());
    }
    let unsupported =
        || Refusal::unsupported("The specified filter is not supported for delta queries.");
    let ids = Filter::parse(filter, |path| path == "id")
        .map_err(|_| unsupported())?
        .ids()
        .ok_or_else(unsupported)?;
    if ids.len() > IDS {
        return Err(unsupported());
    }
    ids.iter()
        .map(|id| Uuid::try_parse(id).map_err(|_| unsupported()))
        .collect()
}

fn page(
    context: &mut Context<'_>,
    kind: Kind,
    link: &Link,
    selected: Selected,
    minimal: bool,
) -> Reply {
    let (plan, seen, position) = planned(context, kind, link, selected);
    let chance = context.chance.of_text("page").of(position as u64);
    let empty = !link.empty
        && position < plan.pieces.len()
        && chance.happens(context.world.quirks.empty_page);
    let mut items = Vec::new();
    let end = if empty {
        position
    } else {
        let hidden = context.session.has("Member.Read.Hidden");
        let pen = Pen {
            view: context.tenant().directory.view(seen),
            selected,
            minimal,
            hidden,
        };
        let quirks = &context.world.quirks;
        pen.write(&plan, position, quirks.delta_page, quirks.piece, &mut items)
    };
    let now = context.world.clock.now().unix_timestamp();
    let follow = |at| Link {
        at,
        empty,
        issued: now,
        ..link.clone()
    };
    let all = end >= plan.pieces.len();
    let sequence = context.tenant().directory.sequence();
    let next = match link.at {
        At::First { seen, .. } if all && sequence == seen => follow(At::Done(seen)),
        At::First { seen, .. } if all => follow(At::Round {
            since: seen,
            to: sequence,
            position: 0,
        }),
        At::First { seen, .. } => follow(At::First {
            seen,
            position: end,
        }),
        At::Round { to, .. } if all => follow(At::Done(to)),
        At::Round { since, to, .. } => follow(At::Round {
            since,
            to,
            position: end,
        }),
        At::List(_) | At::Done(_) => unreachable!("no request begins there"),
    };
    let done = matches!(next.at, At::Done(_));
    let option = if done { "deltatoken" } else { "skiptoken" };
    let token = next.seal(context.shared);
    let url = context.url(&format!("{}/delta?${option}={token}", kind.path()));
    let envelope = Envelope {
        context: metadata(kind.path(), link.select.as_deref()),
        count: None,
        next: (!done).then(|| url.clone()),
        delta: done.then_some(url),
    };
    Reply::json(envelope.around(&context.shared.places.graph, &items))
}

/// The plan of the round, the change up to which its pages are, and where in it the page begins.
fn planned(
    context: &mut Context<'_>,
    kind: Kind,
    link: &Link,
    selected: Selected,
) -> (Arc<Plan>, usize, usize) {
    let (since, seen, position) = match link.at {
        At::First { seen, position } => (None, seen, position),
        At::Round {
            since,
            to,
            position,
        } => (Some(since), to, position),
        At::List(_) | At::Done(_) => unreachable!("no request begins there"),
    };
    let ask = plan::Ask {
        kind,
        since,
        seen,
        selected,
        ids: link.ids.clone(),
    };
    let (chance, quirks) = (
        context.world.chance.of_text("plan"),
        context.world.quirks.clone(),
    );
    let tenant = context.tenant_mut();
    let plan = tenant.plans.get(&tenant.directory, ask, &quirks, chance);
    (plan, seen, position)
}

/// Writes the items of a page.
struct Pen<'a> {
    view: View<'a>,
    selected: Selected,
    minimal: bool,
    hidden: bool,
}

impl Pen<'_> {
    /// Writes pieces from `position` on; returns where the next page begins.
    fn write(
        &self,
        plan: &Plan,
        position: usize,
        most: usize,
        piece: usize,
        items: &mut Vec<u8>,
    ) -> usize {
        let mut edges = 0;
        let mut at = position;
        while at < plan.pieces.len() && at - position < most && edges < piece * 4 {
            match &plan.pieces[at] {
                Piece::Whole { slot, from, to } => {
                    edges += to - from;
                    self.whole(*slot, *from, *to, items);
                }
                Piece::Change { at, from, to } => {
                    edges += to - from;
                    self.change(&plan.changes[*at], *from, *to, items);
                }
            }
            at += 1;
        }
        at
    }

    fn whole(&self, slot: Slot, from: usize, to: usize, items: &mut Vec<u8>) {
        if self.removed(slot, items) {
            return;
        }
        let mut object = item(items);
        self.told(&mut object, slot, Tell::Set);
        if self.selected.shows(MEMBERS) && self.shows_members(slot) && from < to {
            let members = self.view.members(slot);
            let members = members[from..to.min(members.len())].iter();
            self.members(&mut object, members.map(|member| (*member, true)));
        }
        object.end();
    }

    fn change(&self, changed: &Changed, from: usize, to: usize, items: &mut Vec<u8>) {
        if self.removed(changed.slot, items) {
            return;
        }
        let tell = if self.minimal && !changed.whole {
            Tell::Changed(changed.keys)
        } else {
            Tell::Set
        };
        let mut object = item(items);
        self.told(&mut object, changed.slot, tell);
        if from < to && self.shows_members(changed.slot) {
            let edges = changed.edges[from..to].iter().copied();
            self.members(&mut object, edges);
        }
        object.end();
    }

    /// Writes a tombstone, if the object is deleted or gone.
    fn removed(&self, slot: Slot, items: &mut Vec<u8>) -> bool {
        let reason = match self.view.state(slot) {
            State::Live => return false,
            State::Deleted(_) => "changed",
            State::Purged => "deleted",
        };
        let mut object = item(items);
        object.id(self.view.object(slot).id);
        object.value("@removed", &serde_json::json!({ "reason": reason }));
        object.end();
        true
    }

    fn told(&self, object: &mut Object<'_>, slot: Slot, tell: Tell) {
        properties(object, &self.view, slot, self.selected.with(ID), tell);
    }

    fn members(&self, object: &mut Object<'_>, edges: impl Iterator<Item = (Slot, bool)>) {
        let out = object.name("members@delta");
        out.push(b'[');
        for (at, (member, came)) in edges.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let known = self.view.object(member);
            let mut edge = Object::new(out);
            edge.text("@odata.type", known.kind.odata());
            edge.id(known.id);
            if !came {
                edge.value("@removed", &serde_json::json!({ "reason": "deleted" }));
            }
            edge.end();
        }
        out.push(b']');
    }

    fn shows_members(&self, slot: Slot) -> bool {
        let hidden = Kind::Group
            .key("visibility")
            .and_then(|key| self.view.prop(slot, key));
        self.hidden || hidden != Some(&Prop::Text("HiddenMembership".into()))
    }
}
