//! Names for rules, out of the claims of a token.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use time::UtcDateTime;
use time::macros::utc_datetime;
use weir_claims::mapping::{Mapping, MappingError, MappingSpec, Named, PRESETS, Principal};
use weir_claims::{Claims, Form};

fn claims(values: &[(&str, &[&str])]) -> Claims {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Claims {
        form: Form::Saml11,
        issuer: "http://sts.corp.example/adfs/services/trust".to_owned(),
        id: "_1".to_owned(),
        audiences: Vec::new(),
        subject: Some("subject".to_owned()),
        issued: None,
        not_before: None,
        not_after: UtcDateTime::UNIX_EPOCH,
        authenticated: Some(utc_datetime!(2026-01-02 03:04:05)),
        methods: vec!["urn:a".to_owned(), "urn:b".to_owned()],
        values: values
            .iter()
            .map(|(name, values)| ((*name).to_owned(), owned(values)))
            .collect(),
        missing: BTreeSet::new(),
    }
}

/// Names and claim types, as `name: type type`.
fn table(lines: &[&str]) -> BTreeMap<String, Vec<String>> {
    let entries = lines
        .iter()
        .map(|line| line.split_once(": ").unwrap_or((line, "")));
    entries
        .map(|(name, types)| {
            (
                name.to_owned(),
                types
                    .split(' ')
                    .filter(|kind| !kind.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )
        })
        .collect()
}

fn preset(name: &str) -> MappingSpec {
    MappingSpec {
        preset: Some(name.to_owned()),
        ..MappingSpec::default()
    }
}

fn apply(spec: &MappingSpec, claims: &Claims) -> Named {
    Mapping::new(spec).expect("a good mapping").apply(claims)
}

fn errors(spec: &MappingSpec) -> Vec<MappingError> {
    Mapping::new(spec).expect_err("a bad mapping")
}

#[test]
fn a_token_for_microsoft_365_by_the_preset_of_adfs() {
    let token = claims(&[
        (
            "http://schemas.xmlsoap.org/claims/UPN",
            &["ada@corp.example"],
        ),
        (
            "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID",
            &["Kg=="],
        ),
        (
            "http://schemas.xmlsoap.org/claims/Group",
            &["Staff", "Admins", "Staff"],
        ),
        (
            "http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork",
            &["true"],
        ),
        (
            "http://schemas.microsoft.com/2012/01/devicecontext/claims/ismanaged",
            &["true"],
        ),
        (
            "http://schemas.xmlsoap.org/claims/upn",
            &["another case, another claim"],
        ),
    ]);
    let named = apply(&preset("adfs"), &token);
    let shown: Vec<String> = named
        .values
        .iter()
        .map(|(name, values)| format!("{name}={}", values.join("|")))
        .collect();
    assert_eq!(
        shown,
        [
            "authenticated=2026-01-02T03:04:05Z",
            "device_managed=true",
            "groups=Staff|Admins",
            "immutable_id=Kg==",
            "inside_network=true",
            "issuer=http://sts.corp.example/adfs/services/trust",
            "method=urn:a|urn:b",
            "name_id=subject",
            "upn=ada@corp.example",
        ]
    );
    assert!(named.missing.is_empty());
    assert_eq!(
        named.principal(),
        Some(Principal::ImmutableId("Kg==".to_owned()))
    );
}

#[test]
fn every_preset_compiles_and_knows_its_server() {
    for name in PRESETS {
        let mapping = Mapping::new(&preset(name)).expect("a preset is good");
        for known in ["method", "authenticated", "groups", "email", "upn"] {
            let excused = name == "oidc" && known == "upn";
            assert!(
                excused || mapping.names().any(|name| name == known),
                "{name}: {known}"
            );
        }
    }
    let education = claims(&[("urn:oid:1.3.6.1.4.1.5923.1.1.1.6", &["ada@uni.example"])]);
    for name in ["shibboleth", "simplesamlphp"] {
        assert_eq!(
            apply(&preset(name), &education).values["upn"],
            ["ada@uni.example"]
        );
    }
}

#[test]
fn what_the_administrator_writes_replaces_or_extends_the_preset() {
    let spec = MappingSpec {
        claims: table(&["department: urn:department", "roles: urn:role", "sid"]),
        also: table(&["groups: urn:group"]),
        ..preset("adfs")
    };
    let token = claims(&[
        ("urn:department", &[" R&D ", "", "  "]),
        ("urn:role", &["a"]),
        ("role", &["b"]),
        ("group", &["c"]),
        ("urn:group", &["d"]),
        ("sid", &["S-1-5-21"]),
    ]);
    let named = apply(&spec, &token);
    assert_eq!(named.values["department"], [" R&D "]);
    assert_eq!(named.values["roles"], ["a"]);
    assert_eq!(named.values["groups"], ["c", "d"]);
    assert!(!named.values.contains_key("sid") && !named.missing.contains("sid"));
    let text = serde_json::to_string(&spec).expect("text and lists");
    let written: MappingSpec = serde_json::from_str(&text).expect("what was written");
    assert_eq!(written, spec);
    assert!(serde_json::from_str::<MappingSpec>(r#"{"claim":{}}"#).is_err());
}

#[test]
fn names_of_one_value_with_two_are_unknown() {
    let spec = MappingSpec {
        claims: table(&["upn: a b", "access_level: level", "department: department"]),
        single: BTreeSet::from(["access_level".to_owned()]),
        ..MappingSpec::default()
    };
    let told = |values: &[(&str, &[&str])]| apply(&spec, &claims(values));
    let same = told(&[("a", &["x"]), ("b", &["x"])]);
    assert_eq!((same.values["upn"].len(), same.missing.len()), (1, 0));
    let differ = told(&[("a", &["x"]), ("b", &["X"])]);
    for named in [differ, told(&[("a", &["x", "y"])])] {
        assert!(!named.values.contains_key("upn") && named.missing.contains("upn"));
        assert_eq!(named.principal(), None);
    }
    let named = told(&[("level", &["low", "high"]), ("department", &["a", "b"])]);
    assert!(named.missing.contains("access_level"));
    assert_eq!(named.values["department"], ["a", "b"]);
}

#[test]
fn what_the_issuer_left_out_is_missing_and_not_none() {
    let mut token = claims(&[("roles", &["a"]), ("tid", &["t"]), ("oid", &["o"])]);
    token.missing = BTreeSet::from(["groups".to_owned(), "roles".to_owned(), "oid".to_owned()]);
    let named = apply(&preset("entra"), &token);
    assert_eq!(
        named.missing,
        BTreeSet::from(["groups", "object_id", "roles"].map(str::to_owned))
    );
    // What is there is there, and may not be all; one value that may be another is none.
    assert_eq!(named.values["roles"], ["a"]);
    assert!(!named.values.contains_key("object_id"));
}

#[test]
fn the_most_certain_name_says_whose_token_it_is() {
    let mut named = Named::default();
    let mut with = |name: &str, value: &str| {
        named.values.insert(name.to_owned(), vec![value.to_owned()]);
        named.principal()
    };
    assert_eq!(with("sid", "5d1f-session"), None);
    assert_eq!(
        with("sid", "S-1-5-21-1"),
        Some(Principal::Sid("S-1-5-21-1".to_owned()))
    );
    assert_eq!(with("upn", "u"), Some(Principal::Upn("u".to_owned())));
    assert_eq!(with("object_id", "o"), Some(Principal::Upn("u".to_owned())));
    assert_eq!(
        with("immutable_id", "i"),
        Some(Principal::ImmutableId("i".to_owned()))
    );
    let (tenant, object) = ("t".to_owned(), "o".to_owned());
    assert_eq!(
        with("tenant_id", "t"),
        Some(Principal::Object { tenant, object })
    );
}

#[test]
fn mistakes_come_with_what_was_probably_meant() {
    let hint = |spec: &MappingSpec| -> Vec<(String, Option<String>)> {
        errors(spec)
            .into_iter()
            .map(|error| (error.field, error.suggestion))
            .collect()
    };
    let of = |field: &str, meant: &str| vec![(field.to_owned(), Some(meant.to_owned()))];
    assert_eq!(hint(&preset("adsf")), of("preset", "adfs"));
    let claims = |line: &str| MappingSpec {
        claims: table(&[line]),
        ..MappingSpec::default()
    };
    assert_eq!(hint(&claims("Groups: a")), of("claims.Groups", "groups"));
    assert_eq!(
        hint(&claims("device-managed: a")),
        of("claims.device-managed", "device_managed")
    );
    assert_eq!(
        hint(&claims("name_id: @subjekt")),
        of("claims.name_id", "@subject")
    );
    assert_eq!(
        hint(&claims("upn: https://schemas.xmlsoap.org/claims/UPN")),
        of("claims.upn", "http://schemas.xmlsoap.org/claims/UPN")
    );
    assert_eq!(hint(&claims("a: b b")), [("claims.a".to_owned(), None)]);
    for name in ["", "1a", "a b", "\u{e4}", &"a".repeat(65)] {
        assert_eq!(hint(&claims(&format!("{name}: b"))).len(), 1, "{name}");
    }
    let blank = MappingSpec {
        also: BTreeMap::from([("a".to_owned(), vec!["b c".to_owned(), String::new()])]),
        ..MappingSpec::default()
    };
    assert_eq!(errors(&blank).len(), 2);
    let single = MappingSpec {
        single: BTreeSet::from(["departmnt".to_owned()]),
        ..preset("oidc")
    };
    assert_eq!(hint(&single), of("single", "department"));
    let complete = MappingSpec {
        complete: BTreeSet::from(["rols".to_owned()]),
        ..preset("oidc")
    };
    assert_eq!(hint(&complete), of("complete", "roles"));
    assert_eq!(
        errors(&preset("adsf"))[0].to_string(),
        "preset: there is no preset `adsf`; did you mean `adfs`?"
    );
}

#[test]
fn a_name_that_is_complete_has_no_value_where_none_is_told() {
    let spec = |complete: &[&str]| MappingSpec {
        claims: table(&["role: r", "groups: g"]),
        complete: complete.iter().map(|name| (*name).to_owned()).collect(),
        ..MappingSpec::default()
    };
    let told = claims(&[("g", &["Staff"])]);
    assert_eq!(apply(&spec(&[]), &told).values.get("role"), None);
    let named = apply(&spec(&["role", "groups"]), &told);
    assert_eq!(named.values["role"], Vec::<String>::new());
    assert_eq!(named.values["groups"], ["Staff"]);
    // What was left out because it is too much is unknown all the same.
    let mut too_many = claims(&[]);
    too_many.missing.insert("g".to_owned());
    let named = apply(&spec(&["groups"]), &too_many);
    assert_eq!(named.values.get("groups"), None);
    assert!(named.missing.contains("groups"));
}

proptest! {
    /// A naive model: every value of every type that is mapped, once, if it is not blank.
    #[test]
    fn names_have_the_values_of_their_types(
        types in prop::collection::btree_map("[a-c]", prop::collection::btree_set("[x-z]", 1..3), 1..3),
        values in prop::collection::btree_map("[x-z]", prop::collection::vec("[ pq]{0,2}", 0..4), 0..4),
        missing in prop::collection::btree_set("[x-z]", 0..2),
        single in any::<bool>(),
    ) {
        let names: BTreeMap<String, Vec<String>> = types.iter().map(|(name, types)| (name.clone(), types.iter().cloned().collect())).collect();
        let all: BTreeSet<String> = names.keys().cloned().collect();
        let spec = MappingSpec { claims: names, single: if single { all } else { BTreeSet::new() }, ..MappingSpec::default() };
        let token = Claims { values: values.clone(), missing: missing.clone(), ..claims(&[]) };
        let named = apply(&spec, &token);
        for (name, types) in &types {
            let expected: BTreeSet<&String> = types.iter().filter_map(|kind| values.get(kind)).flatten().filter(|value| !value.trim().is_empty()).collect();
            let left_out = !types.is_disjoint(&missing);
            let unclear = single && (expected.len() > 1 || left_out);
            let found = named.values.get(name).cloned().unwrap_or_default();
            let distinct: BTreeSet<&String> = found.iter().collect();
            prop_assert_eq!(distinct.len(), found.len());
            prop_assert_eq!(distinct, if unclear { BTreeSet::new() } else { expected });
            prop_assert_eq!(named.missing.contains(name), unclear || left_out);
        }
    }
}

#[test]
fn the_primary_group_alone_is_not_all_groups() {
    const IDENTITY: &str = "http://schemas.microsoft.com/ws/2008/06/identity/claims";
    let primary = format!("{IDENTITY}/primarygroupsid");
    let all = format!("{IDENTITY}/groupsid");
    let users: (&str, &[&str]) = (&primary, &["S-1-5-21-1-2-3-513"]);
    let name: (&str, &[&str]) = ("http://schemas.xmlsoap.org/claims/Group", &["Staff"]);
    let sids: (&str, &[&str]) = (&all, &["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1104"]);
    for (token, groups, is_known) in [
        (vec![users], vec!["S-1-5-21-1-2-3-513"], false),
        (
            vec![name, users],
            vec!["Staff", "S-1-5-21-1-2-3-513"],
            false,
        ),
        (vec![users, sids], sids.1.to_vec(), true),
        (vec![name], vec!["Staff"], true),
    ] {
        let named = apply(&preset("adfs"), &claims(&token));
        assert_eq!(named.values["groups"], groups, "{token:?}");
        assert_eq!(named.missing.is_empty(), is_known, "{token:?}");
    }
}
