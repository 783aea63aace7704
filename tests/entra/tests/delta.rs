//! Rounds of changes: a client that reads them as documented is right afterwards.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Client, Copy, bare, quiet, quirky};
use uuid::Uuid;
use weir_lab_entra::Entra;
use weir_lab_entra::chance::Chance;
use weir_lab_entra::world::object::{Kind, State};
use weir_lab_entra::world::{Expired, Quirks};

const USERS: &str = "/users/delta?$select=userPrincipalName,accountEnabled,department";
const GROUPS: &str = "/groups/delta?$select=displayName,members";

#[tokio::test]
async fn a_first_round_tells_everything_and_later_ones_the_changes() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let vera = lab.edit(|edit| edit.user("vera.lind@fabrik.example", "Vera Lind"));
    let mut copy = Copy::default();
    let (items, link) = client.round(USERS).await;
    copy.apply(&items);
    assert_eq!(copy.objects[&vera.to_string()]["accountEnabled"], true);
    assert!(
        !copy.objects[&vera.to_string()].contains_key("department"),
        "never set is not told"
    );
    assert_eq!(
        client.round(&link).await.0,
        [] as [Value; 0],
        "nothing changed"
    );

    lab.edit(|edit| {
        edit.set(vera, "department", &json!("Lab"))?;
        edit.set(vera, "accountEnabled", &json!(false))
    })
    .expect("a user");
    let (items, link) = client.round(&link).await;
    assert_eq!(items.len(), 1);
    assert_eq!(
        items[0]["userPrincipalName"], "vera.lind@fabrik.example",
        "all that was ever set"
    );
    assert_eq!(items[0]["department"], "Lab");

    lab.edit(|edit| edit.set(vera, "department", &Value::Null))
        .expect("a user");
    let (items, link, _) = client
        .round_with(&link, &[("prefer", "return=minimal")])
        .await;
    assert_eq!(
        items,
        [json!({ "id": vera, "department": null })],
        "cleared is null, the rest unsaid"
    );

    lab.edit(|edit| edit.set(vera, "displayName", &json!("V. Lind")))
        .expect("a user");
    assert!(
        client.round(&link).await.0.is_empty(),
        "not selected, not told"
    );
}

#[tokio::test]
async fn deleted_restored_and_purged_objects_are_told_apart() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let [kept, gone] = lab.edit(|edit| {
        let group = edit.group("sg-one");
        let users = ["a@fabrik.example", "b@fabrik.example"].map(|upn| edit.user(upn, "A B"));
        for user in users {
            edit.join(group, user).expect("a group");
        }
        users
    });
    let (_, users) = client.round(USERS).await;
    let (_, groups) = client.round(GROUPS).await;
    lab.edit(|edit| edit.delete(kept).and_then(|()| edit.delete(gone)))
        .expect("users");
    let removed = |reason: &str, id: Uuid| json!({ "id": id, "@removed": { "reason": reason } });
    let (mut items, users) = client.round(&users).await;
    items.sort_by_key(Value::to_string);
    let mut expected = [removed("changed", kept), removed("changed", gone)];
    expected.sort_by_key(Value::to_string);
    assert_eq!(items, expected);
    let (items, groups) = client.round(&groups).await;
    assert!(
        items.is_empty(),
        "soft-deleted members keep their edges: {items:?}"
    );

    lab.edit(|edit| edit.restore(kept).and_then(|()| edit.purge_as(gone, false)))
        .expect("deleted users");
    let (items, _) = client.round(&users).await;
    let mut copy = Copy::default();
    copy.apply(&items);
    assert_eq!(copy.objects.keys().collect::<Vec<_>>(), [&kept.to_string()]);
    assert_eq!(
        copy.objects[&kept.to_string()]["accountEnabled"],
        true,
        "a restored object is told as a whole"
    );
    assert!(client.round(&groups).await.0.is_empty());
}

#[tokio::test]
async fn what_microsoft_keeps_quiet_can_be_kept_quiet() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let [purged, restored] =
        lab.edit(|edit| ["a@fabrik.example", "b@fabrik.example"].map(|upn| edit.user(upn, "A B")));
    let (_, link) = client.round(USERS).await;
    lab.edit(|edit| {
        edit.purge_as(purged, true)
            .and_then(|()| edit.delete(restored))
    })
    .expect("users");
    let (items, link) = client.round(&link).await;
    assert_eq!(items.len(), 1, "no tombstone of the purge: {items:?}");
    lab.world().quirks.hidden_restore = true;
    lab.edit(|edit| edit.restore(restored))
        .expect("a deleted user");
    let (items, _) = client.round(&link).await;
    assert!(
        items.is_empty(),
        "with $select the restore does not surface: {items:?}"
    );
    let listed = client.all("/users?$select=id").await;
    let listed = |id: Uuid| listed.iter().any(|item| item["id"] == json!(id));
    assert!(
        listed(restored) && !listed(purged),
        "a list shows how it is"
    );
}

#[tokio::test]
async fn what_was_deleted_a_month_ago_cannot_come_back() {
    let lab = quiet().await;
    let mut client = Client::new(&lab).await;
    let vera = lab.edit(|edit| edit.user("vera.lind@fabrik.example", "Vera Lind"));
    lab.edit(|edit| edit.delete(vera)).expect("a user");
    lab.world().clock.advance(time::Duration::days(26));
    client.sign_in().await;
    let (_, link) = client.round(USERS).await;
    lab.world().clock.advance(time::Duration::days(5));
    client.sign_in().await;
    let (items, _) = client.round(&link).await;
    assert_eq!(
        items,
        [json!({ "id": vera, "@removed": { "reason": "deleted" } })]
    );
    assert!(lab.edit(|edit| edit.restore(vera)).is_err());
}

#[tokio::test]
async fn members_come_and_go_and_large_groups_come_in_pieces() {
    let lab = quiet().await;
    lab.world().quirks.piece = 10;
    lab.world().quirks.delta_page = 3;
    let client = Client::new(&lab).await;
    let (group, members) = lab.edit(|edit| {
        let group = edit.group("sg-large");
        let members: Vec<Uuid> = (0..35)
            .map(|at| edit.user(&format!("m{at}@fabrik.example"), "M M"))
            .collect();
        for member in &members {
            edit.join(group, *member).expect("a group");
        }
        (group, members)
    });
    let (items, link, pages) = client.round_with(GROUPS, &[]).await;
    assert!(pages > 3);
    let told = items.iter().filter(|item| item["id"] == json!(group));
    let sizes: Vec<usize> = told
        .map(|item| item["members@delta"].as_array().expect("members").len())
        .collect();
    assert_eq!(sizes.len(), 4, "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 35);
    lab.edit(|edit| {
        edit.leave(group, members[0])?;
        edit.leave(group, members[1])?;
        edit.join(group, members[1])
    })
    .expect("a group");
    let (items, _, _) = client
        .round_with(&link, &[("prefer", "return=minimal")])
        .await;
    let edge = |id: Uuid| json!({ "@odata.type": "#microsoft.graph.user", "id": id });
    let mut out = edge(members[0]);
    out["@removed"] = json!({ "reason": "deleted" });
    assert_eq!(items.len(), 1);
    let told = items[0]["members@delta"].as_array().expect("members");
    assert!(
        told.contains(&out) && told.contains(&edge(members[1])) && told.len() == 2,
        "{told:?}"
    );
}

#[tokio::test]
async fn the_latest_token_tells_nothing_but_what_comes_after_it() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let (items, link) = client.round(&format!("{USERS}&$deltatoken=latest")).await;
    assert!(items.is_empty());
    let new = lab.edit(|edit| edit.user("new@fabrik.example", "New One"));
    let (items, _) = client.round(&link).await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["id"], json!(new));
    assert!(
        items[0].get("displayName").is_none(),
        "the selection is in the token"
    );
}

#[tokio::test]
async fn an_expired_link_is_refused_in_every_way_that_was_seen() {
    let lab = quiet().await;
    let mut client = Client::new(&lab).await;
    let (_, link) = client.round(USERS).await;
    lab.world().clock.advance(time::Duration::days(8));
    client.sign_in().await;
    for (way, status, code) in [
        (
            Expired::BadRequest,
            StatusCode::BAD_REQUEST,
            "syncStateNotFound",
        ),
        (
            Expired::BadRequestCapital,
            StatusCode::BAD_REQUEST,
            "SyncStateNotFound",
        ),
        (
            Expired::NotFound,
            StatusCode::NOT_FOUND,
            "syncStateNotFound",
        ),
        (Expired::Gone, StatusCode::GONE, "resyncRequired"),
    ] {
        lab.world().quirks.expired = way;
        let answer = client.get(&link).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        if way == Expired::Gone {
            let fresh = answer.header("location").to_owned();
            assert!(
                !client.round(&fresh).await.0.is_empty(),
                "the place to start over: {fresh}"
            );
        }
    }
    let (_, link) = client.round(USERS).await;
    assert_eq!(client.get(&link).await.status, StatusCode::OK);
    lab.edit(|edit| {
        edit.expire_links();
    });
    assert_eq!(client.get(&link).await.status, StatusCode::GONE);
    let (_, link) = client.round(USERS).await;
    assert_eq!(
        client.get(&link).await.status,
        StatusCode::OK,
        "links from afterwards are good at once"
    );
}

#[tokio::test]
async fn what_delta_does_not_take_is_refused() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    for path in [
        "/users/delta?$top=5",
        "/users/delta?$expand=manager",
        "/groups/delta?$orderby=displayName",
    ] {
        assert_eq!(
            client.get(path).await.code(),
            "Request_UnsupportedQuery",
            "{path}"
        );
    }
    let filter = "/users/delta?$filter=displayName%20eq%20%27x%27";
    assert_eq!(client.get(filter).await.code(), "Request_UnsupportedQuery");
    for token in ["$deltatoken=abc", "$skiptoken=AAAA"] {
        let answer = client.get(&format!("/users/delta?{token}")).await;
        assert_eq!(answer.code(), "Request_BadRequest");
        assert!(answer.text.contains("Badly formed token."));
    }
    let vera = lab.edit(|edit| edit.user("vera.lind@fabrik.example", "Vera Lind"));
    let (items, _) = client
        .round(&format!("/users/delta?$filter=id%20eq%20%27{vera}%27"))
        .await;
    assert_eq!(items.len(), 1);
}

#[tokio::test]
async fn hidden_members_are_told_to_those_who_may_see_them() {
    let lab = quiet().await;
    let members = |items: &[Value]| {
        let hidden = items
            .iter()
            .find(|item| item["displayName"] == "sg-hidden")
            .expect("a group");
        hidden["members@delta"].as_array().map_or(0, Vec::len)
    };
    let all = Client::new(&lab).await;
    assert_eq!(members(&all.round(GROUPS).await.0), 1);
    let few = Client::with_roles(&lab, &["GroupMember.Read.All"]).await;
    assert_eq!(members(&few.round(GROUPS).await.0), 0);
}

#[tokio::test]
async fn the_same_seed_tells_the_same() {
    let told = async |seed| {
        let lab = quirky(seed).await;
        let client = Client::new(&lab).await;
        let (items, _, pages) = client.round_with(GROUPS, &[]).await;
        (
            items
                .iter()
                .map(|item| item["id"].to_string())
                .collect::<Vec<_>>(),
            pages,
        )
    };
    assert_eq!(told(3).await, told(3).await);
    assert_ne!(told(3).await.0, told(4).await.0);
}

/// Whatever happens between which pages: a client that takes every round as it comes holds what the tenant has.
#[tokio::test]
async fn a_client_that_reads_as_documented_is_right_whatever_the_order() {
    for seed in 0..25 {
        let lab = bare(seed).await;
        let chance = Chance::new(seed).of_text("story");
        lab.edit(|edit| {
            for at in 0..12 {
                edit.user(&format!("user{at}@fabrik.example"), "A User");
                edit.group(&format!("group{at}"));
            }
        });
        lab.world().quirks = Quirks {
            delta_page: 1 + chance.of(1).below(9),
            piece: 1 + chance.of(2).below(6),
            duplicate: 0.3,
            replay: 0.5,
            empty_page: 0.2,
            silent_purge: 0.0,
            lagging: 0.5,
            lag: 5,
            ..Quirks::default()
        };
        let client = Client::new(&lab).await;
        let mut copies = [Copy::default(), Copy::default()];
        let mut links = [USERS.to_owned(), GROUPS.to_owned()];
        let mut turn = 100;
        for round in 0..5 {
            // In the last round nothing happens any more, and no replica lags.
            let last = round == 4;
            if last {
                lab.world().quirks.lag = 0;
            }
            for (copy, link) in copies.iter_mut().zip(&mut links) {
                loop {
                    let page = client.get(link).await;
                    copy.apply(&page.items());
                    if !last {
                        turn += 1;
                        happen(&lab, chance.of(turn));
                    }
                    let page = page.json();
                    if let Some(next) = page["@odata.nextLink"].as_str() {
                        next.clone_into(link);
                        continue;
                    }
                    page["@odata.deltaLink"]
                        .as_str()
                        .expect("a link")
                        .clone_into(link);
                    break;
                }
            }
        }
        let [users, groups] = &copies;
        let (objects, gone, _) = truth(&lab, Kind::User);
        assert_eq!(live(users), objects, "seed {seed}");
        assert!(users.gone.is_subset(&gone), "seed {seed}");
        let (objects, _, members) = truth(&lab, Kind::Group);
        assert_eq!(live(groups), objects, "seed {seed}");
        for id in &objects {
            let held = groups.members.get(id).cloned().unwrap_or_default();
            let purged = |id: &&String| is_purged(&lab, id);
            let held: BTreeSet<String> = held.iter().filter(|id| !purged(id)).cloned().collect();
            assert_eq!(held, members[id], "seed {seed}, members of {id}");
        }
    }
}

/// One change of any kind.
fn happen(lab: &Entra, chance: Chance) {
    let any = |kind: Kind, salt: u64| {
        let world = lab.world();
        let directory = &world.tenants[0].directory;
        let slots = directory.of_kind(kind);
        let object = directory.object(slots[chance.of(salt).below(slots.len())]);
        (object.id, object.state)
    };
    let (user, user_state) = any(Kind::User, 1);
    let (group, group_state) = any(Kind::Group, 2);
    let (other, _) = any(Kind::Group, 3);
    let pick = chance.of(4).below(9);
    lab.edit(|edit| {
        // What is not possible in the state that things are in does not happen.
        let _ = match pick {
            0 => {
                edit.user(&format!("{}@fabrik.example", chance.number()), "New One");
                Ok(())
            }
            1 => edit.set(
                user,
                "department",
                &json!(format!("D{}", chance.of(5).below(3))),
            ),
            2 => edit.set(user, "accountEnabled", &json!(chance.of(6).happens(0.5))),
            3 | 4 => edit.join(group, user),
            5 => edit.leave(group, user),
            6 => edit.join(group, other),
            7 => match user_state {
                State::Live => edit.delete(user),
                State::Deleted(_) if chance.of(7).happens(0.5) => edit.restore(user),
                State::Deleted(_) => edit.purge(user),
                State::Purged => Ok(()),
            },
            _ => match group_state {
                State::Live if chance.of(8).happens(0.3) => edit.delete(group),
                State::Deleted(_) => edit.restore(group),
                _ => Ok(()),
            },
        };
    });
}

fn live(copy: &Copy) -> BTreeSet<String> {
    let ids = copy.objects.keys().filter(|id| !copy.gone.contains(*id));
    ids.cloned().collect()
}

/// What the tenant has: live objects, soft-deleted ones, and members of groups that were not purged.
fn truth(
    lab: &Entra,
    kind: Kind,
) -> (
    BTreeSet<String>,
    BTreeSet<String>,
    BTreeMap<String, BTreeSet<String>>,
) {
    let world = lab.world();
    let directory = &world.tenants[0].directory;
    let view = directory.view(directory.sequence());
    let (mut live, mut gone, mut members) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for &slot in directory.of_kind(kind) {
        let id = directory.object(slot).id.to_string();
        let of = view.members(slot);
        let of = of
            .iter()
            .map(|member| directory.object(*member).id.to_string());
        members.insert(id.clone(), of.collect());
        match view.state(slot) {
            State::Live => drop(live.insert(id)),
            State::Deleted(_) => drop(gone.insert(id)),
            State::Purged => {}
        }
    }
    (live, gone, members)
}

fn is_purged(lab: &Entra, id: &str) -> bool {
    let world = lab.world();
    let directory = &world.tenants[0].directory;
    let slot = directory
        .slot(Uuid::try_parse(id).expect("an id"))
        .expect("an object");
    directory.object(slot).state == State::Purged
}
