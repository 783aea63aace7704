//! Policies, locations, domains and all else that is kept as documents.

use serde_json::json;
use weir_entra::decode::conditional_access::{self, Control, State};
use weir_entra::decode::domains::{self, MfaBehavior};
use weir_entra::decode::locations::{self, Place};
use weir_entra::decode::methods;
use weir_entra::decode::organisation::{self, Licence};

#[test]
fn a_policy_keeps_what_is_new_to_us() {
    let body = json!({ "value": [{
        "id": "c0ffee00", "displayName": "MFA for all", "state": "enabledByMagic",
        "conditions": {
            "users": { "includeUsers": ["All"], "excludeGroups": null },
            "platforms": { "includePlatforms": ["all"] },
        },
        "grantControls": { "operator": "OR", "builtInControls": ["mfa", "brandNew"] },
    }] });
    let page = conditional_access::decode(body.to_string().as_bytes()).expect("a page");
    let policy = &page.items[0];
    assert_eq!(policy.state, State::Other("enabledByMagic".to_owned()));
    let grant = policy.grant_controls.as_ref().expect("controls");
    let expected = [Control::Mfa, Control::Other("brandNew".to_owned())];
    assert_eq!(grant.built_in_controls, expected);
    assert_eq!(policy.conditions.users.include_users, ["All"]);
    assert!(policy.conditions.users.exclude_groups.is_empty());
    let kept = serde_json::to_value(policy).expect("plain data");
    assert_eq!(kept["state"], "enabledByMagic");
    assert_eq!(
        kept["conditions"]["platforms"]["includePlatforms"][0],
        "all"
    );
}

#[test]
fn a_location_is_prefixes_without_host_bits() {
    let body = json!({ "value": [
        { "@odata.type": "#microsoft.graph.ipNamedLocation", "id": "1", "displayName": "Plant",
          "isTrusted": true, "ipRanges": [
            { "cidrAddress": "203.0.113.19/29" }, { "cidrAddress": "2001:db8:5:0:7a:1:2:3/48" },
            { "cidrAddress": "everywhere" } ] },
        { "@odata.type": "#microsoft.graph.countryNamedLocation", "id": "2", "displayName": "Home",
          "countriesAndRegions": ["DE"], "includeUnknownCountriesAndRegions": false },
        { "@odata.type": "#microsoft.graph.compliantNetworkNamedLocation", "id": "3", "displayName": "All" },
    ] });
    let page = locations::decode(body.to_string().as_bytes()).expect("a page");
    let places: Vec<_> = page
        .items
        .into_iter()
        .map(|location| location.place)
        .collect();
    let prefixes =
        ["203.0.113.16/29", "2001:db8:5::/48"].map(|text| text.parse().expect("a prefix"));
    assert_eq!(
        places,
        [
            Place::Addresses {
                is_trusted: true,
                prefixes: prefixes.to_vec(),
                unreadable: 1
            },
            Place::Countries {
                countries: vec!["DE".to_owned()],
                includes_unknown: false,
                lookup: None,
            },
            Place::Other("#microsoft.graph.compliantNetworkNamedLocation".to_owned()),
        ]
    );
}

#[test]
fn federation_settings_come_in_three_shapes() {
    let settings = json!({
        "id": "6601d14b", "issuerUri": "http://sts.fabrik.example/adfs/services/trust",
        "federatedIdpMfaBehavior": "acceptIfMfaDoneByFederatedIdp", "nextSigningCertificate": null,
    });
    for body in [
        json!({ "@odata.context": "x", "value": [settings.clone()] }),
        json!({ "value": settings.clone() }),
        settings.clone(),
    ] {
        let read = domains::federation(body.to_string().as_bytes()).expect("settings");
        let read = read.expect("there are some");
        assert_eq!(read.federated_idp_mfa_behavior, Some(MfaBehavior::Accept));
        assert_eq!(read.next_signing_certificate, None);
    }
    assert_eq!(domains::federation(br#"{"value":[]}"#), Ok(None));
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"value":null}"#,
        r#"{"value":"x"}"#,
        r#"{"value":{}}"#,
    ] {
        assert!(domains::federation(body.as_bytes()).is_err(), "{body}");
    }
    let two = json!({ "value": [settings.clone(), settings] });
    assert!(domains::federation(two.to_string().as_bytes()).is_err());
}

#[test]
fn there_is_one_organisation() {
    let id = "7d3c1a52-0000-4000-8000-000000000001";
    let with = |plans: serde_json::Value| {
        let body = json!({ "value": [{ "id": id, "assignedPlans": plans }] });
        let read = organisation::decode(body.to_string().as_bytes()).expect("one");
        read.licence()
    };
    let plan = |id: &str, status: &str| json!({ "servicePlanId": id, "capabilityStatus": status });
    let (p1, p2) = (
        "41781fb2-bc02-4b7c-bd55-b576c07bb09d",
        "eec0eb4f-6444-4f95-aba0-50c24d67f998",
    );
    assert_eq!(with(json!([])), Licence::Free);
    assert_eq!(with(json!(null)), Licence::Free);
    assert_eq!(with(json!([plan(p1, "Enabled")])), Licence::P1);
    assert_eq!(
        with(json!([plan(p1, "Enabled"), plan(p2, "Warning")])),
        Licence::P2
    );
    assert_eq!(with(json!([plan(p2, "Deleted")])), Licence::Free);
    for body in [
        json!({ "value": [] }),
        json!({ "value": [{ "id": id }, { "id": id }] }),
        json!({ "value": [{ "id": "fabrik.example" }] }),
        json!({ "value": [{ "id": id }], "@odata.nextLink": "x" }),
    ] {
        assert!(
            organisation::decode(body.to_string().as_bytes()).is_err(),
            "{body}"
        );
    }
}

#[test]
fn older_settings_make_the_view_partial() {
    let partial = |state: serde_json::Value| {
        let body =
            json!({ "policyMigrationState": state, "authenticationMethodConfigurations": [] });
        methods::decode(body.to_string().as_bytes())
            .expect("a policy")
            .is_partial()
    };
    assert!(partial(json!("preMigration")) && partial(json!("migrationInProgress")));
    assert!(partial(json!("unknownFutureValue")));
    assert!(!partial(json!("migrationComplete")) && !partial(json!(null)));
}
