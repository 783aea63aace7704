//! What evidence says of a tenant that was really read, against what the lab's tenant holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weir_entra::guard::Guard;
use weir_entra::model::{Id, Part};
use weir_entra::review::{
    Access, Area, Event, Finding, Known, Mfa, Moment, Move, ReviewError, Status, What, access,
    head, joiners, leavers, posture, user,
};
use weir_entra::store::Store;
use weir_lab_entra::Entra;
use weir_lab_entra::world::Quirks;
use weir_lab_entra::world::documents::Section;
use weir_lab_entra::world::object::Kind;
use weir_lab_entra::world::populate::TENANT;
use weir_lab_entra::world::shapes;

use crate::world::{Truth, World};

const MINUTE: Duration = Duration::from_mins(1);

/// A policy that leaves somebody out.
const LEAVES_OUT: &str = "MFA, not for the board";

fn rows(moment: &Moment) -> Vec<Access> {
    let mut rows = Vec::new();
    access(moment, |row| {
        rows.push(row.clone());
        Ok::<_, ReviewError>(())
    })
    .expect("it reads");
    rows
}

fn moves(
    list: impl FnOnce(&mut dyn FnMut(&Move) -> Result<(), ReviewError>) -> Result<(), ReviewError>,
) -> Vec<Move> {
    let mut moves = Vec::new();
    list(&mut |found| {
        moves.push(found.clone());
        Ok(())
    })
    .expect("it reads");
    moves
}

fn findings(moment: &Moment) -> Vec<Finding> {
    let mut findings = Vec::new();
    posture(moment, time::Duration::days(90), |finding| {
        findings.push(finding.clone());
        Ok::<_, ReviewError>(())
    })
    .expect("it reads");
    findings
}

/// Who is there, and in which groups, by evidence.
fn shown(rows: &[Access]) -> BTreeMap<Id, (Status, BTreeSet<Id>)> {
    let mut shown: BTreeMap<_, (_, BTreeSet<Id>)> = BTreeMap::new();
    for row in rows {
        let (status, groups) = shown
            .entry(row.person.id)
            .or_insert((row.person.status, BTreeSet::new()));
        assert_eq!(*status, row.person.status);
        groups.extend(row.group.as_ref().map(|via| via.id));
    }
    shown
}

/// The same, by the tenant itself.
fn expected(truth: &Truth) -> BTreeMap<Id, (Status, BTreeSet<Id>)> {
    let users = truth.iter().map(|(id, (enabled, groups))| {
        let status = match enabled {
            Some(true) => Status::Enabled,
            Some(false) => Status::Disabled,
            None => Status::Unknown,
        };
        (*id, (status, groups.clone()))
    });
    users.collect()
}

/// Names of live groups that a group or user is directly in.
fn direct(lab: &Entra, id: Id) -> BTreeSet<String> {
    let world = lab.world();
    let directory = &world.tenants[0].directory;
    let view = directory.view(directory.sequence());
    let slot = directory.slot(id).expect("it is there");
    let groups = directory.groups_of(slot).iter().copied();
    groups
        .filter(|group| view.is_live(*group))
        .map(|group| directory.object(group).text("displayName").to_owned())
        .collect()
}

fn id_of(lab: &Entra, kind: Kind, name: &str) -> Id {
    let property = match kind {
        Kind::User => "userPrincipalName",
        _ => "displayName",
    };
    let world = lab.world();
    let directory = &world.tenants[0].directory;
    let mut objects = directory
        .of_kind(kind)
        .iter()
        .map(|slot| directory.object(*slot));
    let found = objects.find(|object| object.text(property) == name);
    found.unwrap_or_else(|| panic!("no {name}")).id
}

fn person<'a>(rows: &'a [Access], upn: &str) -> &'a weir_entra::review::Person {
    let row = rows.iter().find(|row| row.person.upn == upn);
    &row.unwrap_or_else(|| panic!("no {upn}")).person
}

/// A tenant with a policy that leaves out a user by name, a group and a role, all read.
async fn read() -> (World, Arc<Entra>) {
    let world = World::of(Quirks::default(), Guard::default(), |lab| {
        let bob = id_of(lab, Kind::User, "bob@nomex.corp.example");
        let night = id_of(lab, Kind::Group, "sg-lab-night");
        let mut policy =
            shapes::conditional_access(Id::from_u128(0xca), LEAVES_OUT, "enabled", &[]);
        let users = &mut policy["conditions"]["users"];
        users["excludeUsers"] = serde_json::json!([bob]);
        users["excludeGroups"] = serde_json::json!([night]);
        users["excludeRoles"] = serde_json::json!([shapes::GLOBAL_ADMINISTRATOR]);
        lab.edit(|tenant| tenant.put(Section::ConditionalAccess, policy));
    })
    .await;
    world.sync_all().await;
    let lab = Arc::clone(&world.lab);
    (world, lab)
}

/// The last that succeeded, of those whom the tenant's log tells of.
fn last_sign_in(lab: &Entra, user: Id) -> Known<OffsetDateTime> {
    let world = lab.world();
    let log = world.tenants[0].documents.of(Section::SignIns).iter();
    let own = log.filter(|one| one["userId"] == user.to_string().as_str());
    let succeeded = own.filter(|one| one["status"]["errorCode"] == 0);
    let last = succeeded
        .filter_map(|one| one["createdDateTime"].as_str())
        .max();
    Known::Is(OffsetDateTime::parse(last.expect("there is one"), &Rfc3339).expect("a time"))
}

fn now(lab: &Entra) -> OffsetDateTime {
    lab.world().clock.now()
}

#[tokio::test]
async fn access_is_what_the_tenant_has() {
    let (world, lab) = read().await;
    let (truth, at) = (world.truth(), now(&lab));
    let store = world.into_store().await;
    let moment = Moment::now(&store, at).expect("it opens");
    let rows = rows(&moment);
    assert_eq!(shown(&rows), expected(&truth));
    // Every way begins where the user is directly, and each group on it is in the next.
    let mut longest = 0;
    for row in &rows {
        let Some(via) = &row.group else { continue };
        longest = longest.max(via.path.len());
        assert!(
            direct(&lab, row.person.id).contains(&via.path[0]),
            "{row:?}"
        );
        for step in via.path.windows(2) {
            let group = id_of(&lab, Kind::Group, &step[0]);
            assert!(direct(&lab, group).contains(&step[1]), "{row:?}");
        }
        assert_eq!(via.path.last(), Some(&via.name));
    }
    assert_eq!(longest, 3, "sg-lab-shift, sg-lab-night, sg-lab-all");

    // Roles: of a user, through a group, and to be taken.
    let [alice, bob, carol] = [
        "alice@mex.corp.example",
        "bob@nomex.corp.example",
        "carol@mex-adfs.corp.example",
    ]
    .map(|upn| person(&rows, upn));
    let named = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(alice.active, named(&["Global Administrator"]));
    assert_eq!(
        bob.active,
        named(&[
            "User Administrator in /administrativeUnits/77aa1c40-0000-4000-8000-000000000001 through rg-helpdesk"
        ])
    );
    assert_eq!(carol.active, named(&[]));
    assert_eq!(carol.eligible, named(&["Security Administrator"]));

    // Whom policies leave out, and by what.
    let by = |what: &str| named(&[&format!("{LEAVES_OUT}: {what}")]);
    assert_eq!(alice.excluded_by, by("by role Global Administrator"));
    assert_eq!(bob.excluded_by, by("by user, by group sg-lab-night"));
    assert_eq!(carol.excluded_by, by("by group sg-lab-night"));

    // Second factors and sign-ins, of all of whom the tenant tells.
    let mfa = Mfa {
        registered: true,
        capable: true,
    };
    assert_eq!(alice.mfa, Some(mfa));
    assert_eq!(alice.last_sign_in, last_sign_in(&lab, alice.id));
    assert_eq!(bob.last_sign_in, last_sign_in(&lab, bob.id));
    assert_eq!(carol.last_sign_in, Known::No);

    // One user alone says the same, and by which rule.
    let told = user(&moment, alice.id).expect("it reads").expect("she is");
    assert_eq!(&told.person, alice);
    let groups = told.groups.expect("groups are known");
    assert_eq!(groups.len(), truth[&alice.id].1.len());
    let dynamic = groups.iter().find(|group| group.via.name == "dyn-lab");
    assert_eq!(
        dynamic.expect("she is in it").rule.as_deref(),
        Some("(user.department -eq \"Lab\")")
    );

    let head = head(&store, &moment, TENANT, What::Access, at).expect("it reads");
    let unknown: Vec<_> = head.unknown.iter().map(|one| one.why.as_str()).collect();
    assert_eq!(
        unknown,
        ["groups that hide their members: 1; members that the tenant does not tell are missing"]
    );
}

#[tokio::test]
async fn posture_is_what_the_tenant_has_set() {
    let (world, lab) = read().await;
    let at = now(&lab);
    let store = world.into_store().await;
    let findings = findings(&Moment::now(&store, at).expect("it opens"));
    let of = |area| {
        let findings = findings.iter().filter(move |one| one.area == area);
        let told = findings.map(|one| (one.subject.as_str(), one.state.as_deref()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        of(Area::SecurityDefaults),
        [("security defaults", Some("off"))]
    );
    assert_eq!(
        of(Area::Policy),
        [
            (
                "MFA for administrators",
                Some("enabledForReportingButNotEnforced")
            ),
            ("MFA for all, not from plants", Some("enabled")),
            (LEAVES_OUT, Some("enabled")),
        ]
    );
    let detail = |subject: &str| {
        let finding = findings.iter().find(|one| one.subject == subject);
        finding
            .unwrap_or_else(|| panic!("no {subject}"))
            .detail
            .clone()
    };
    let except = detail("MFA for all, not from plants");
    assert!(
        except.contains(&"excludes location Plant north egress".to_owned()),
        "{except:?}"
    );
    let out = detail(LEAVES_OUT);
    for what in [
        "excludes user bob@nomex.corp.example",
        "excludes group sg-lab-night",
        "excludes role Global Administrator",
    ] {
        assert!(out.contains(&what.to_owned()), "{out:?}");
    }
    assert_eq!(
        of(Area::Method),
        [
            ("Fido2", Some("enabled")),
            ("MicrosoftAuthenticator", Some("enabled")),
            ("Sms", Some("disabled")),
        ]
    );
    let domains = of(Area::FederatedDomain);
    let names: Vec<_> = domains.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "fabrik.example",
            "mex-adfs.corp.example",
            "mex.corp.example",
            "nomex-adfs.corp.example",
            "nomex.corp.example",
        ]
    );
    for (name, _) in domains {
        let host = if name.contains("-adfs") {
            "adfs"
        } else {
            "sts"
        };
        let issuer = format!("issuer http://{host}.corp.example/adfs/services/trust");
        assert!(detail(name).contains(&issuer), "{name}: {:?}", detail(name));
    }
    let holders: BTreeSet<_> = of(Area::RoleHolder).into_iter().collect();
    let expected = [
        ("alice@mex.corp.example", Some("active")),
        ("bob@nomex.corp.example", Some("active")),
        ("carol@mex-adfs.corp.example", Some("eligible")),
        ("rg-helpdesk", Some("active")),
    ];
    assert_eq!(holders, expected.into());
    let guests: Vec<_> = of(Area::Guest);
    assert_eq!(guests.len(), 1, "{guests:?}");
    let count = |of: &str| {
        let one = findings
            .iter()
            .find(|one| one.area == Area::Count && one.subject == of);
        one.and_then(|one| one.state.clone())
    };
    let users = world_users(&lab);
    assert_eq!(count("users"), Some(users.to_string()));
    assert_eq!(count("users disabled"), Some("1".to_owned()));
    assert_eq!(count("users with roles"), Some("3".to_owned()));
}

fn world_users(lab: &Entra) -> usize {
    let world = lab.world();
    let directory = &world.tenants[0].directory;
    directory.of_kind(Kind::User).len()
}

/// What is told of a move, to be compared.
fn told(found: &Move) -> (Event, &str, Option<&str>, Option<&str>) {
    let group = found.group.as_ref().map(|(_, name)| name.as_str());
    (found.event, &found.upn, group, found.role.as_deref())
}

#[tokio::test]
async fn who_came_and_who_left_is_what_was_done() {
    let (world, lab) = read().await;
    let began = now(&lab);
    let before = world.truth();
    world.pass(MINUTE).await;
    let nina = lab.edit(|tenant| tenant.user("nina@fabrik.example", "Nina Neu"));
    let ids = |kind, names: [&str; 2]| names.map(|name| id_of(&lab, kind, name));
    let [bob, dave] = ids(
        Kind::User,
        ["bob@nomex.corp.example", "dave@nomex-adfs.corp.example"],
    );
    let [helpdesk, all] = ids(Kind::Group, ["rg-helpdesk", "sg-lab-all"]);
    let erin = id_of(&lab, Kind::User, "erin@mex-adfs.corp.example");
    lab.edit(|tenant| {
        tenant.join(all, nina).expect("joined");
        tenant.leave(helpdesk, bob).expect("left");
        tenant
            .set(erin, "accountEnabled", &false.into())
            .expect("set");
        tenant.delete(dave).expect("deleted");
        tenant.assign(shapes::GLOBAL_READER, nina, "/");
    });
    world.pass(MINUTE).await;
    world.sync_all().await;
    let (after, ended) = (world.truth(), now(&lab));
    let store: Store = world.into_store().await;

    let came = moves(|take| joiners(&store, began, ended, take));
    let came_told: Vec<_> = came.iter().map(told).collect();
    let upn = "nina@fabrik.example";
    assert_eq!(
        came_told,
        [
            (Event::AccountCame, upn, None, None),
            (Event::MembershipBegan, upn, Some("sg-lab-all"), None),
            (Event::RoleBegan, upn, None, Some("Global Reader in /")),
        ]
    );
    let left = moves(|take| leavers(&store, began, ended, take));
    let left_told: BTreeSet<_> = left.iter().map(told).collect();
    let wanted = [
        (
            Event::AccountDisabled,
            "erin@mex-adfs.corp.example",
            None,
            None,
        ),
        (
            Event::AccountDeleted,
            "dave@nomex-adfs.corp.example",
            None,
            None,
        ),
        (
            Event::MembershipEnded,
            "bob@nomex.corp.example",
            Some("rg-helpdesk"),
            None,
        ),
    ];
    assert_eq!(left_told, wanted.into());
    for found in came.iter().chain(&left) {
        assert!(found.after >= began - time::Duration::minutes(1) && found.seen <= ended);
        let by = found.actor.as_ref().map(|actor| actor.name.as_str());
        assert_eq!(by, Known::Is("admin@fabrik.example"), "{found:?}");
    }
    // Nobody came or left before or after that.
    assert_eq!(moves(|take| joiners(&store, ended, ended, take)), []);

    // As it was, and as it is.
    let then = Moment::as_of(&store, began).expect("it opens");
    assert_eq!(shown(&rows(&then)), expected(&before));
    let is = Moment::now(&store, ended).expect("it opens");
    assert_eq!(shown(&rows(&is)), expected(&after));
    assert_eq!(
        person(&rows(&then), "bob@nomex.corp.example")
            .active
            .as_deref()
            .map(<[_]>::len),
        Some(1)
    );
    assert_eq!(
        person(&rows(&is), "bob@nomex.corp.example").active,
        Some(Vec::new())
    );

    // Before the first round nobody knows, which is said.
    let long_ago = began - time::Duration::days(30);
    let long_ago = Moment::as_of(&store, long_ago).expect("it opens");
    assert_eq!(rows(&long_ago), []);
    let head = head(&store, &long_ago, TENANT, What::Access, ended).expect("it reads");
    let parts: BTreeSet<Part> = head.unknown.iter().map(|one| one.part).collect();
    assert!(parts.contains(&Part::Users) && parts.contains(&Part::Roles));
}

#[tokio::test]
async fn a_built_in_role_has_its_name_whatever_its_id() {
    // A tenant may know a built-in role by an id of its own; tokens and assignments say the template's.
    let world = World::of(Quirks::default(), Guard::default(), |lab| {
        let own = Id::from_u128(0x0401).to_string();
        let mut role = shapes::role_definition(shapes::GLOBAL_READER, "Global Reader");
        role["id"] = own.clone().into();
        let alice = id_of(lab, Kind::User, "alice@mex.corp.example");
        lab.edit(|tenant| {
            tenant
                .remove(Section::RoleDefinitions, shapes::GLOBAL_READER)
                .expect("it was there");
            tenant.put(Section::RoleDefinitions, role);
            tenant.assign(&own, alice, "/");
        });
    })
    .await;
    world.sync_all().await;
    let at = now(&world.lab);
    let store = world.into_store().await;
    let rows = rows(&Moment::now(&store, at).expect("it opens"));
    let mut active = person(&rows, "alice@mex.corp.example")
        .active
        .clone()
        .expect("roles are known");
    active.sort();
    assert_eq!(active, ["Global Administrator", "Global Reader"]);
}
