//! Pages of users, groups and roles.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::macros::datetime;
use weir_entra::decode::{deleted, groups, roles, users};
use weir_entra::model::{
    Edge, GroupPatch, Held, Id, Item, MemberKind, Next, Page, Text, Told, UserPatch,
};

const A: Id = Id::from_u128(0x1b6f_6a0e_0c3b_4f0a_9a60_5f0f_5d3a_0001);
const B: Id = Id::from_u128(0x1b6f_6a0e_0c3b_4f0a_9a60_5f0f_5d3a_0002);
const LINK: &str = "https://graph.microsoft.com/v1.0/users/delta?$deltatoken=d1";

fn changes(items: Value) -> Vec<u8> {
    let mut page = json!({ "@odata.context": "x", "@odata.deltaLink": LINK });
    page["value"] = items;
    page.to_string().into_bytes()
}

fn only<P>(page: Page<Item<P>>) -> Item<P> {
    let [item] = <[_; 1]>::try_from(page.items).ok().expect("one item");
    item
}

fn user(item: Value) -> UserPatch {
    match only(users::changes(&changes(Value::Array(vec![item]))).expect("a page")) {
        Item::Live(_, patch) => patch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_unsaid_is_not_null() {
    let nothing = user(json!({ "id": A }));
    assert_eq!(nothing, UserPatch::default());

    let null = user(json!({
        "id": A, "accountEnabled": null, "department": null, "proxyAddresses": null,
        "createdDateTime": null, "signInSessionsValidFromDateTime": null,
    }));
    assert_eq!(null.enabled, Told::Null);
    assert_eq!(null.addresses, Told::Null);
    assert_eq!(
        (null.created, null.sessions_valid_from),
        (Told::Null, Told::Null)
    );
    assert_eq!(null.texts, [(Text::Department, None)].into());

    let said = user(json!({
        "id": A, "accountEnabled": false, "department": "Lab", "proxyAddresses": [],
        "createdDateTime": "2019-04-01T08:00:00.1234567Z", "unknownMember": { "x": [1, null] },
        "signInSessionsValidFromDateTime": "2026-08-22T07:41:12Z",
    }));
    assert_eq!(said.enabled, Told::Is(false));
    assert_eq!(said.addresses, Told::Is(BTreeSet::new()));
    assert_eq!(
        said.created,
        Told::Is(datetime!(2019-04-01 08:00:00.123_456_7 UTC))
    );
    assert_eq!(
        said.sessions_valid_from,
        Told::Is(datetime!(2026-08-22 07:41:12 UTC))
    );
    assert_eq!(
        said.texts,
        [(Text::Department, Some("Lab".to_owned()))].into()
    );
}

#[test]
fn every_text_of_a_user_has_its_place() {
    for (text, name) in Text::OF_USERS {
        let patch = user(json!({ "id": A, name: "value" }));
        assert_eq!(
            patch.texts,
            [(text, Some("value".to_owned()))].into(),
            "{name}"
        );
    }
}

#[test]
fn who_is_gone_may_come_back_unless_it_is_purged() {
    let item = |removed: Value| {
        let body = changes(json!([{ "id": A, "displayName": "x", "@removed": removed }]));
        only(users::changes(&body).expect("a page"))
    };
    assert_eq!(item(json!({ "reason": "changed" })), Item::Gone(A));
    assert_eq!(item(json!({ "reason": "deleted" })), Item::Purged(A));
    assert_eq!(item(json!({ "reason": "somethingNew" })), Item::Gone(A));
    assert_eq!(item(json!({})), Item::Gone(A));
}

#[test]
fn a_page_of_changes_goes_on_in_one_way() {
    let page = |links: &[(&str, &str)], value: Value| {
        let mut page = json!({ "value": value });
        for (name, link) in links {
            page[name] = json!(link);
        }
        page.to_string().into_bytes()
    };
    let (next, delta) = ("@odata.nextLink", "@odata.deltaLink");
    let read = |links: &[(&str, &str)]| users::changes(&page(links, json!([])));
    assert_eq!(
        read(&[(next, "n")]).expect("a page").next,
        Next::More("n".to_owned())
    );
    let done = Next::Done(Some("d".to_owned()));
    assert_eq!(read(&[(delta, "d")]).expect("a page").next, done);
    assert!(read(&[]).is_err());
    assert!(read(&[(next, "n"), (delta, "d")]).is_err());

    let list = |links: &[(&str, &str)]| users::list(&page(links, json!([])));
    assert_eq!(list(&[]).expect("a page").next, Next::Done(None));
    assert_eq!(
        list(&[(next, "n")]).expect("a page").next,
        Next::More("n".to_owned())
    );
    assert!(list(&[(delta, "d")]).is_err());
}

#[test]
fn a_page_with_a_fault_in_it_is_refused_whole() {
    let good = json!({ "id": B, "accountEnabled": true });
    for bad in [
        json!({}),
        json!({ "id": null }),
        json!({ "id": 7 }),
        json!({ "id": "" }),
        json!({ "id": "vera.lind@fabrik.example" }),
        json!({ "id": format!("{{{A}}}") }),
        json!({ "id": A.simple().to_string() }),
        json!({ "id": format!("urn:uuid:{A}") }),
        json!({ "id": A, "accountEnabled": "true" }),
        json!({ "id": A, "displayName": 7 }),
        json!({ "id": A, "createdDateTime": "yesterday" }),
        json!({ "id": A, "proxyAddresses": "SMTP:x" }),
        json!({ "id": A, "@removed": "deleted" }),
        json!(null),
        json!("x"),
    ] {
        let body = changes(json!([good.clone(), bad]));
        let error = users::changes(&body).expect_err(&bad.to_string());
        assert!(!error.to_string().contains("vera"), "{error}");
    }
    let twice = format!(r#"{{"@odata.deltaLink":"d","value":[{{"id":"{A}","id":"{B}"}}]}}"#);
    assert!(users::changes(twice.as_bytes()).is_err());
    for body in [
        "",
        "{}",
        "null",
        "[]",
        r#"{"value":{}}"#,
        r#"{"value":null,"@odata.deltaLink":"d"}"#,
    ] {
        assert!(users::changes(body.as_bytes()).is_err(), "{body}");
        assert!(users::list(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn an_id_is_the_same_in_capital_letters() {
    let body = changes(json!([{ "id": A.to_string().to_uppercase() }]));
    let item = only(users::changes(&body).expect("a page"));
    assert_eq!(item, Item::Live(A, UserPatch::default()));
}

#[test]
fn members_come_and_go() {
    let kinds = [
        ("#microsoft.graph.user", MemberKind::User),
        ("#microsoft.graph.group", MemberKind::Group),
        ("#microsoft.graph.device", MemberKind::Device),
        (
            "#microsoft.graph.servicePrincipal",
            MemberKind::ServicePrincipal,
        ),
        ("#microsoft.graph.orgContact", MemberKind::Other),
    ];
    for (name, kind) in kinds {
        let body = changes(json!([{
            "id": A, "displayName": null, "groupTypes": ["DynamicMembership"], "securityEnabled": true,
            "members@delta": [
                { "@odata.type": name, "id": B, "displayName": null },
                { "@odata.type": name, "id": A, "@removed": { "reason": "deleted" } },
            ],
        }]));
        let expected = GroupPatch {
            texts: [(Text::DisplayName, None)].into(),
            security: Told::Is(true),
            types: Told::Is(BTreeSet::from(["DynamicMembership".to_owned()])),
            members: vec![
                Edge {
                    member: B,
                    kind,
                    is_member: true,
                },
                Edge {
                    member: A,
                    kind,
                    is_member: false,
                },
            ],
            ..GroupPatch::default()
        };
        let item = only(groups::changes(&body).expect("a page"));
        assert_eq!(item, Item::Live(A, expected));
    }
    let untyped = json!({ "value": [{ "id": B }] }).to_string();
    let page = groups::members(untyped.as_bytes()).expect("a page");
    assert_eq!(page.items[0].kind, MemberKind::Other);
    let bad = changes(json!([{ "id": A, "members@delta": [{ "id": "x" }] }]));
    assert!(groups::changes(&bad).is_err());
}

#[test]
fn what_was_deleted_says_when() {
    let body =
        json!({ "value": [{ "id": A, "deletedDateTime": "2026-08-20T00:00:00Z" }, { "id": B }] });
    let page = deleted(body.to_string().as_bytes()).expect("a page");
    assert_eq!(page.items[0].at, Some(datetime!(2026-08-20 00:00 UTC)));
    assert_eq!((page.items[1].id, page.items[1].at), (B, None));
}

#[test]
fn a_role_without_a_scope_is_not_taken_for_the_whole_tenant() {
    let role = "62e90394-69f5-4237-9190-012177145e10";
    let page = |assignment: &Value| json!({ "value": [assignment] }).to_string();
    let mut assignment = json!({
        "id": "lAPpYv-1", "principalId": A, "roleDefinitionId": role, "directoryScopeId": "/",
        "startDateTime": "2026-03-01T08:00:00Z", "endDateTime": null,
    });
    let read = roles::eligibilities(page(&assignment).as_bytes())
        .expect("a page")
        .items
        .remove(0);
    assert_eq!(
        (read.principal, read.role.to_string()),
        (A, role.to_owned())
    );
    assert_eq!((&*read.scope, read.held), ("/", Held::Eligible));
    assert_eq!(
        (read.from, read.until),
        (Some(datetime!(2026-03-01 08:00 UTC)), None)
    );
    let active = roles::assignments(page(&assignment).as_bytes())
        .expect("a page")
        .items
        .remove(0);
    assert_eq!(active.held, Held::Active);

    assignment["directoryScopeId"] = json!(null);
    assert!(roles::assignments(page(&assignment).as_bytes()).is_err());
    assignment["appScopeId"] = json!("/MyApp");
    let scoped = roles::assignments(page(&assignment).as_bytes()).expect("a page");
    assert_eq!(scoped.items[0].scope, "/MyApp");
}

fn told<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Told<T>> {
    prop_oneof![
        Just(Told::Unsaid),
        Just(Told::Null),
        value.prop_map(Told::Is),
    ]
}

proptest! {
    /// Whatever is told, in whatever words and order, comes out as it went in.
    #[test]
    fn a_user_is_read_as_it_was_written(
        enabled in told(any::<bool>()),
        addresses in told(prop::collection::btree_set(".{0,9}", 0..4)),
        texts in prop::collection::btree_map(
            prop::sample::select(Text::OF_USERS.map(|(text, _)| text).to_vec()),
            prop::option::of(".{0,20}"),
            0..8,
        ),
        ids in prop::collection::vec(any::<u128>(), 0..5),
    ) {
        let patch = UserPatch { enabled, addresses, texts, ..UserPatch::default() };
        let items = ids.iter().map(|id| {
            let mut item = json!({ "id": Id::from_u128(*id), "@odata.type": "#microsoft.graph.user" });
            match &patch.enabled {
                Told::Unsaid => (),
                Told::Null => item["accountEnabled"] = json!(null),
                Told::Is(is) => item["accountEnabled"] = json!(is),
            }
            match &patch.addresses {
                Told::Unsaid => (),
                Told::Null => item["proxyAddresses"] = json!(null),
                Told::Is(all) => item["proxyAddresses"] = json!(all),
            }
            for (text, value) in &patch.texts {
                let (_, name) = Text::OF_USERS.iter().find(|(known, _)| known == text).expect("known");
                item[*name] = json!(value);
            }
            item
        });
        let page = users::changes(&changes(items.collect())).expect("a page");
        let expected = ids.iter().map(|id| Item::Live(Id::from_u128(*id), patch.clone()));
        prop_assert_eq!(page.items, expected.collect::<Vec<_>>());
    }
}
