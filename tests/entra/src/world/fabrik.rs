//! The tenant "Fabrik am See": small, with one of everything.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use weir_lab_servers::people;

use super::documents::Section;
use super::object::Kind;
use super::populate::{TENANT, bare};
use super::shapes::{self, GLOBAL_ADMINISTRATOR, SECURITY_ADMINISTRATOR, USER_ADMINISTRATOR};
use super::{Edit, World};
use crate::chance::Chance;

/// Makes it: the lab's people with their groups, nested groups with a cycle, roles active and eligible, policies,
/// locations, federated domains and some sign-ins. `federation` is the certificate in the domains' settings.
pub fn fabrik(world: &mut World, certificate: Vec<u8>, federation: &str) {
    bare(world, certificate);
    let now = world.clock.now();
    let chance = world.chance.of_text("fabrik");
    let mut edit = world.edit(TENANT).expect("it was put there above");
    let people = known_people(&mut edit);
    groups(&mut edit, chance, &people);
    policies(&mut edit, chance);
    for (at, domain, host) in [
        (0, "fabrik.example", "sts.corp.example"),
        (1, "mex.corp.example", "sts.corp.example"),
        (2, "nomex.corp.example", "sts.corp.example"),
        (3, "mex-adfs.corp.example", "adfs.corp.example"),
        (4, "nomex-adfs.corp.example", "adfs.corp.example"),
    ] {
        let settings = shapes::federation(chance.of(20 + at).id(), host, federation);
        let documents = &mut edit.tenant.documents;
        documents.federation.insert(domain.to_owned(), settings);
    }
    sign_ins(&mut edit, chance, now, &people);
}

/// The people who can sign in at the lab's federation services, with the names, ids and groups that they have there.
fn known_people(edit: &mut Edit<'_>) -> Vec<Uuid> {
    let mut groups = BTreeMap::new();
    let mut made = Vec::new();
    for user in people::users() {
        let (domain, account) = user.account.split_once('\\').unwrap_or(("", &user.account));
        let properties = json!({ "id": user.object_id, "userPrincipalName": user.upn,
            "displayName": user.display_name, "mail": user.upn, "accountEnabled": true, "userType": "Member",
            "department": user.department, "onPremisesImmutableId": user.immutable_id,
            "onPremisesSecurityIdentifier": user.sid, "onPremisesSamAccountName": account,
            "onPremisesDomainName": domain, "onPremisesSyncEnabled": true,
            "proxyAddresses": [format!("SMTP:{}", user.upn)], "createdDateTime": "2024-03-01T08:00:00Z" });
        let id = create(edit, Kind::User, &properties);
        for name in user.groups {
            let group = *groups.entry(name).or_insert_with_key(|name| {
                let properties = json!({ "id": people::id_of(name), "displayName": name, "securityEnabled": true,
                    "mailEnabled": false, "groupTypes": [], "onPremisesSyncEnabled": true });
                create(edit, Kind::Group, &properties)
            });
            edit.join(group, id).expect("both were just made");
        }
        made.push(id);
    }
    assert!(made.len() >= 3, "the lab has more than two people");
    made
}

fn groups(edit: &mut Edit<'_>, chance: Chance, people: &[Uuid]) {
    let [vera, olaf, kim] = [people[0], people[1], people[2]];
    let guest = edit.guest("o.kern@partner.example", "Olaf Kern");
    let all = edit.group("sg-lab-all");
    let night = edit.group("sg-lab-night");
    let shift = edit.group("sg-lab-shift");
    let helpdesk = edit.group("rg-helpdesk");
    edit.group("sg-empty");
    // An account from before there were types.
    let old = json!({ "displayName": "svc-scanner", "userPrincipalName": "svc-scanner@fabrik.example",
        "accountEnabled": false, "onPremisesSyncEnabled": true });
    create(edit, Kind::User, &old);
    let device = json!({ "displayName": "bench-01", "accountEnabled": true, "operatingSystem": "Windows",
        "deviceId": chance.of(9).id() });
    let device = create(edit, Kind::Device, &device);
    let hidden = json!({ "displayName": "sg-hidden", "securityEnabled": true, "mailEnabled": false,
        "groupTypes": [], "visibility": "HiddenMembership" });
    let hidden = create(edit, Kind::Group, &hidden);
    let dynamic = json!({ "displayName": "dyn-lab", "securityEnabled": true, "mailEnabled": false,
        "groupTypes": ["DynamicMembership"], "membershipRule": "(user.department -eq \"Lab\")",
        "membershipRuleProcessingState": "On" });
    let dynamic = create(edit, Kind::Group, &dynamic);
    edit.set(helpdesk, "isAssignableToRole", &json!(true))
        .expect("a group has this flag");
    // sg-lab-night and sg-lab-shift contain each other.
    for (group, member) in [
        (all, vera),
        (all, night),
        (all, device),
        (night, olaf),
        (night, shift),
        (shift, night),
        (shift, kim),
        (shift, guest),
        (helpdesk, olaf),
        (hidden, vera),
        (dynamic, vera),
    ] {
        edit.join(group, member).expect("both were just made");
    }
    edit.assign(GLOBAL_ADMINISTRATOR, vera, "/");
    edit.assign(
        USER_ADMINISTRATOR,
        helpdesk,
        "/administrativeUnits/77aa1c40-0000-4000-8000-000000000001",
    );
    edit.make_eligible(SECURITY_ADMINISTRATOR, kim, "/");
}

fn policies(edit: &mut Edit<'_>, chance: Chance) {
    let [plant, home, policy, report] = [11, 12, 13, 14].map(|at| chance.of(at).id());
    let ranges = ["203.0.113.16/29", "2001:db8:5:0:7a:1:2:3/48"];
    let locations = [
        shapes::ip_location(plant, "Plant north egress", true, &ranges),
        shapes::country_location(home, "Home countries", &["DE", "AT"]),
    ];
    for location in locations {
        edit.put(Section::NamedLocations, location);
    }
    let watched = "enabledForReportingButNotEnforced";
    let policies = [
        shapes::conditional_access(policy, "MFA for all, not from plants", "enabled", &[plant]),
        shapes::conditional_access(report, "MFA for administrators", watched, &[]),
    ];
    for policy in policies {
        edit.put(Section::ConditionalAccess, policy);
    }
}

fn sign_ins(edit: &mut Edit<'_>, chance: Chance, now: OffsetDateTime, people: &[Uuid]) {
    let entries = [(1, people[0], 0), (8, people[1], 0), (15, people[0], 50126)];
    for (minutes, user, error) in entries {
        let minutes: i64 = minutes;
        let slot = edit.tenant.directory.slot(user).expect("it was made");
        let who = edit.tenant.directory.object(slot);
        let entry = shapes::sign_in(
            chance.of(100 + minutes.unsigned_abs()).id(),
            now - Duration::minutes(minutes),
            (user, who.text("userPrincipalName"), who.text("displayName")),
            "203.0.113.18",
            error,
        );
        edit.put(Section::SignIns, entry);
    }
}

fn create(edit: &mut Edit<'_>, kind: Kind, properties: &Value) -> Uuid {
    edit.create(kind, properties)
        .expect("these are properties of this kind")
}
