//! A small tenant with something of everything, and its exports as text.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use weir_entra::guard::Guard;
use weir_entra::model::{
    Edge, GroupPatch, Held, Id, Item, MemberKind, Part, RoleAssignment, Text, Told, UserPatch,
};
use weir_entra::review::export::{Content, Format, Writer};
use weir_entra::review::{Finding, Head, Moment, ReviewError, Row, What, access, head, posture};

use crate::stores::{Scene, TENANT, at, finish, id, member};

pub const GLOBAL_ADMINISTRATOR: Id = Id::from_u128(0x62e9_0394_69f5_4237_9190_0121_7714_5e10);
pub const USER_ADMINISTRATOR: Id = Id::from_u128(0xfe93_0be7_5e62_47db_91af_98c3_a49a_38b1);

pub const VERA: u128 = 1;
pub const OMAR: u128 = 2;
pub const JON: u128 = 3;
pub const EVIL: u128 = 4;
pub const BREAK_GLASS: u128 = 9;
pub const STAFF: u128 = 101;
pub const EVERYBODY: u128 = 102;
pub const HELPDESK: u128 = 103;

/// A user with a name.
pub fn account(number: u128, upn: &str, kind: &str, enabled: bool) -> Item<UserPatch> {
    let texts = [
        (Text::Upn, upn),
        (Text::DisplayName, upn),
        (Text::UserType, kind),
    ];
    let texts = texts.map(|(text, value)| (text, Some(value.to_owned())));
    let patch = UserPatch {
        enabled: Told::Is(enabled),
        texts: BTreeMap::from(texts),
        ..UserPatch::default()
    };
    Item::Live(id(number), patch)
}

pub fn group(number: u128, name: &str, members: Vec<Edge>) -> Item<GroupPatch> {
    let patch = GroupPatch {
        texts: BTreeMap::from([(Text::DisplayName, Some(name.to_owned()))]),
        members,
        ..GroupPatch::default()
    };
    Item::Live(id(number), patch)
}

pub fn group_in(number: u128) -> Edge {
    Edge {
        kind: MemberKind::Group,
        ..member(number)
    }
}

/// A full round of a polled part.
pub fn documents(scene: &Scene, minute: i64, part: Part, documents: Vec<(&str, Value)>) {
    let mut round = scene.full(part);
    let documents = documents.into_iter();
    let documents =
        documents.map(|(id, document)| (id.to_owned(), document.to_string().into_bytes()));
    round
        .documents(documents.collect())
        .expect("it is a round of documents");
    finish(round, minute, &Guard::default());
}

pub fn assignment(principal: u128, role: Id, scope: &str, held: Held) -> Value {
    let assignment = RoleAssignment {
        principal: id(principal),
        role,
        scope: scope.to_owned(),
        held,
        from: None,
        until: (held == Held::Eligible).then(|| at(10_000)),
    };
    serde_json::to_value(assignment).expect("it is JSON")
}

/// Accounts and groups alone, since minute 10.
pub fn people() -> Scene {
    let scene = Scene::new();
    scene.users(
        10,
        vec![
            account(VERA, "vera@fabrik.example", "Member", true),
            account(OMAR, "omar@partner.example", "Guest", true),
            account(JON, "jon@fabrik.example", "Member", false),
            account(EVIL, "=HYPERLINK(\"http://x\"),a", "Member", true),
            account(BREAK_GLASS, "glass@fabrik.example", "Member", true),
        ],
    );
    scene.groups(
        11,
        vec![
            group(STAFF, "staff; all", vec![member(VERA), member(JON)]),
            group(EVERYBODY, "everybody", vec![group_in(STAFF), member(OMAR)]),
            group(HELPDESK, "helpdesk", vec![member(EVIL)]),
        ],
    );
    scene
}

/// All of it, since minute 20.
pub fn tenant() -> Scene {
    let scene = people();
    documents(
        &scene,
        12,
        Part::Roles,
        vec![
            (
                "ga",
                json!({"id": GLOBAL_ADMINISTRATOR, "displayName": "Global Administrator", "isBuiltIn": true}),
            ),
            (
                "ua",
                json!({"id": USER_ADMINISTRATOR, "displayName": "User Administrator", "isBuiltIn": true}),
            ),
            (
                "1",
                assignment(VERA, GLOBAL_ADMINISTRATOR, "/", Held::Active),
            ),
            (
                "2",
                assignment(
                    HELPDESK,
                    USER_ADMINISTRATOR,
                    "/administrativeUnits/77",
                    Held::Active,
                ),
            ),
            (
                "3",
                assignment(OMAR, GLOBAL_ADMINISTRATOR, "/", Held::Eligible),
            ),
        ],
    );
    policies(&scene);
    settings(&scene);
    documents(
        &scene,
        17,
        Part::Registrations,
        vec![
            ("1", registration(VERA, true, true)),
            ("4", registration(EVIL, true, false)),
            ("9", registration(BREAK_GLASS, false, false)),
        ],
    );
    documents(
        &scene,
        18,
        Part::SignIns,
        vec![
            ("a", sign_in(VERA, at(5), 0)),
            ("b", sign_in(VERA, at(7), 0)),
            ("c", sign_in(VERA, at(9), 50_126)),
            ("d", sign_in(OMAR, at(5) - Duration::days(200), 0)),
        ],
    );
    scene
}

fn policies(scene: &Scene) {
    documents(
        scene,
        13,
        Part::ConditionalAccess,
        vec![
            (
                "mfa",
                policy(
                    "MFA for all",
                    "enabled",
                    &["mfa"],
                    &["all"],
                    &json!({
                        "includeUsers": ["All"], "excludeUsers": [id(BREAK_GLASS)], "excludeGroups": [id(HELPDESK)],
                    }),
                ),
            ),
            (
                "legacy",
                policy(
                    "Block legacy",
                    "enabled",
                    &["block"],
                    &["exchangeActiveSync", "other"],
                    &json!({"includeUsers": ["All"]}),
                ),
            ),
            (
                "report",
                policy(
                    "Devices",
                    "enabledForReportingButNotEnforced",
                    &["compliantDevice"],
                    &["all"],
                    &json!({
                        "includeUsers": ["All"], "excludeRoles": [GLOBAL_ADMINISTRATOR],
                        "excludeUsers": ["GuestsOrExternalUsers"],
                    }),
                ),
            ),
            (
                "off",
                policy(
                    "Old",
                    "disabled",
                    &["mfa"],
                    &["all"],
                    &json!({
                        "includeUsers": ["All"], "excludeUsers": [id(VERA)],
                    }),
                ),
            ),
        ],
    );
}

fn settings(scene: &Scene) {
    documents(
        scene,
        14,
        Part::Methods,
        vec![(
            "policy",
            json!({
                "policyMigrationState": "migrationInProgress",
                "authenticationMethodConfigurations": [
                    {"id": "Sms", "state": "disabled", "includeTargets": [{"id": "all_users", "targetType": "group"}]},
                    {"id": "Fido2", "state": "enabled", "includeTargets": [{"id": "all_users", "targetType": "group"}]},
                ],
            }),
        )],
    );
    documents(
        scene,
        15,
        Part::SecurityDefaults,
        vec![("defaults", json!({"isEnabled": false}))],
    );
    documents(
        scene,
        16,
        Part::Domains,
        vec![
            (
                "fabrik.example",
                json!({"id": "fabrik.example", "authenticationType": "Federated", "isVerified": true}),
            ),
            (
                "federation/fabrik.example",
                json!({
                    "id": "6601d14b-d113-8f64-fda2-9b5ddda18ecc", "issuerUri": "http://sts.fabrik.example/adfs/services/trust",
                    "passiveSignInUri": "https://sts.fabrik.example/adfs/ls/", "preferredAuthenticationProtocol": "wsFed",
                    "federatedIdpMfaBehavior": "acceptIfMfaDoneByFederatedIdp",
                }),
            ),
            (
                "partner.example",
                json!({"id": "partner.example", "authenticationType": "Managed"}),
            ),
        ],
    );
}

pub fn policy(
    name: &str,
    state: &str,
    controls: &[&str],
    clients: &[&str],
    users: &Value,
) -> Value {
    json!({
        "id": format!("id of {name}"), "displayName": name, "state": state,
        "conditions": {"clientAppTypes": clients, "applications": {"includeApplications": ["All"]}, "users": users},
        "grantControls": {"operator": "OR", "builtInControls": controls},
    })
}

fn registration(number: u128, registered: bool, capable: bool) -> Value {
    json!({"id": id(number), "isMfaRegistered": registered, "isMfaCapable": capable})
}

fn sign_in(number: u128, time: OffsetDateTime, code: i64) -> Value {
    json!({
        "id": "s", "createdDateTime": rfc3339(time), "userId": id(number), "status": {"errorCode": code},
    })
}

pub fn rfc3339(time: OffsetDateTime) -> String {
    let form = &time::format_description::well_known::Rfc3339;
    time.format(form).expect("it has a common year")
}

pub fn now(scene: &Scene, minute: i64) -> Moment {
    Moment::now(&scene.store, at(minute)).expect("it reads")
}

pub fn as_of(scene: &Scene, minute: i64) -> Moment {
    Moment::as_of(&scene.store, at(minute)).expect("it reads")
}

pub fn head_of(scene: &Scene, moment: &Moment, what: What) -> Head {
    let mut head = head(&scene.store, moment, TENANT, what, at(100)).expect("it reads");
    steady(&mut head);
    head
}

/// Puts others in the place of what changes with the version.
pub fn steady(head: &mut Head) {
    "weir 1".clone_into(&mut head.tool);
    head.journal = head.journal.take().map(|_| "the hash".to_owned());
}

/// What an export has in it.
pub fn written<R: Row>(
    head: &Head,
    format: Format,
    rows: impl FnOnce(&mut dyn FnMut(&R) -> Result<(), ReviewError>) -> Result<(), ReviewError>,
) -> (String, Content) {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, format, head).expect("there is room");
    rows(&mut |row| writer.row(row)).expect("it reads");
    let content = writer.finish().expect("there is room");
    (String::from_utf8(bytes).expect("it is UTF-8"), content)
}

pub fn access_of(scene: &Scene, moment: &Moment, format: Format) -> (String, Content) {
    let head = head_of(scene, moment, What::Access);
    written(&head, format, |take| access(moment, take))
}

pub fn findings(moment: &Moment) -> Vec<Finding> {
    let mut findings = Vec::new();
    posture(moment, Duration::days(90), |finding| {
        findings.push(finding.clone());
        Ok::<_, ReviewError>(())
    })
    .expect("it reads");
    findings
}

/// Holds an export against the file of what it was; `GOLDEN=write` writes the files anew, to be read through.
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/review/golden")
        .join(name);
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, text).expect("there is room");
    }
    let kept = std::fs::read_to_string(&path).expect("it is there");
    assert_eq!(text, kept, "{name}");
}
