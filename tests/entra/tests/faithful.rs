//! The lab held against Microsoft's own words: the schema of Graph, and its table of permissions.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::schema::{Schema, reference, schema};
use support::{Client, quiet};
use weir_lab_entra::graph::permit::TABLE;

/// Every collection with the type of its items.
const COLLECTIONS: [(&str, &str); 24] = [
    ("/organization", "organization"),
    ("/users", "user"),
    (
        "/users?$select=id,userPrincipalName,displayName,mail,accountEnabled,userType,department,companyName,jobTitle,employeeId,employeeType,onPremisesSyncEnabled,onPremisesImmutableId,onPremisesSamAccountName,onPremisesDomainName,onPremisesSecurityIdentifier,createdDateTime,externalUserState,proxyAddresses,signInSessionsValidFromDateTime,lastPasswordChangeDateTime",
        "user",
    ),
    ("/users/delta", "user"),
    ("/groups", "group"),
    (
        "/groups?$select=id,displayName,securityEnabled,mailEnabled,groupTypes,isAssignableToRole,visibility,onPremisesSyncEnabled,onPremisesSamAccountName,onPremisesSecurityIdentifier,onPremisesDomainName,membershipRule",
        "group",
    ),
    (
        "/groups/delta?$select=id,displayName,securityEnabled,mailEnabled,groupTypes,isAssignableToRole,visibility,membershipRule,members",
        "group",
    ),
    ("/directory/deletedItems/microsoft.graph.user", "user"),
    ("/directoryRoles", "directoryRole"),
    (
        "/roleManagement/directory/roleDefinitions",
        "unifiedRoleDefinition",
    ),
    (
        "/roleManagement/directory/roleAssignments?$expand=principal",
        "unifiedRoleAssignment",
    ),
    (
        "/roleManagement/directory/roleAssignmentScheduleInstances",
        "unifiedRoleAssignmentScheduleInstance",
    ),
    (
        "/roleManagement/directory/roleEligibilityScheduleInstances",
        "unifiedRoleEligibilityScheduleInstance",
    ),
    (
        "/identity/conditionalAccess/policies",
        "conditionalAccessPolicy",
    ),
    (
        "/identity/conditionalAccess/namedLocations",
        "namedLocation",
    ),
    (
        "/policies/authenticationStrengthPolicies",
        "authenticationStrengthPolicy",
    ),
    ("/domains", "domain"),
    (
        "/domains/fabrik.example/federationConfiguration",
        "internalDomainFederation",
    ),
    ("/applications", "application"),
    ("/servicePrincipals", "servicePrincipal"),
    ("/auditLogs/signIns", "signIn"),
    ("/auditLogs/directoryAudits", "directoryAudit"),
    (
        "/reports/authenticationMethods/userRegistrationDetails",
        "userRegistrationDetails",
    ),
    ("/groups/{group}/transitiveMembers", "directoryObject"),
];

/// Every single document with its type.
const SINGLES: [(&str, &str); 5] = [
    (
        "/policies/authenticationMethodsPolicy",
        "authenticationMethodsPolicy",
    ),
    (
        "/policies/identitySecurityDefaultsEnforcementPolicy",
        "identitySecurityDefaultsEnforcementPolicy",
    ),
    ("/policies/authorizationPolicy", "authorizationPolicy"),
    (
        "/applications(appId='6f1d0c52-3b7e-4d9a-9c41-5e8f7a6b2c30')",
        "application",
    ),
    ("/groups/{group}", "group"),
];

#[tokio::test]
async fn every_answer_has_the_shape_that_the_schema_says() {
    let Some(schema) = schema("every_answer_has_the_shape_that_the_schema_says") else {
        return;
    };
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let group = lab.edit(|edit| {
        let gone = edit.user("gone@fabrik.example", "Gone Long");
        edit.delete(gone).expect("a user");
        let listed = edit
            .tenant
            .directory
            .of_kind(weir_lab_entra::world::object::Kind::Group)[0];
        edit.tenant.directory.object(listed).id.to_string()
    });
    for (path, kind) in COLLECTIONS {
        let path = path.replace("{group}", &group);
        let items = client.all(&path).await;
        assert!(!items.is_empty(), "{path} has nothing to look at");
        for item in &items {
            holds(schema, kind, item, &path);
        }
    }
    for (path, kind) in SINGLES {
        let path = path.replace("{group}", &group);
        holds(schema, kind, &client.get(&path).await.json(), &path);
    }
}

fn holds(schema: &Schema, kind: &str, item: &Value, path: &str) {
    let declared = match (kind, item["@odata.type"].as_str()) {
        ("directoryObject", Some("#microsoft.graph.device")) => return, // beyond the subset
        _ => format!("microsoft.graph.{kind}"),
    };
    let mut item = item.clone();
    if let Some(expanded) = item.get_mut("principal") {
        // Declared as a navigation to directoryObject: it is held against what it says it is.
        let kind = expanded["@odata.type"]
            .as_str()
            .expect("a type")
            .trim_start_matches('#')
            .to_owned();
        assert_eq!(schema.check(&kind, expanded), [] as [String; 0], "{path}");
        item.as_object_mut().expect("an object").remove("principal");
    }
    assert_eq!(
        schema.check(&declared, &item),
        [] as [String; 0],
        "{path}: {item}"
    );
}

/// The checker itself finds what is wrong.
#[test]
fn a_wrong_shape_is_found() {
    let Some(schema) = schema("a_wrong_shape_is_found") else {
        return;
    };
    let wrong = |kind: &str, value: Value| {
        !schema
            .check(&format!("microsoft.graph.{kind}"), &value)
            .is_empty()
    };
    assert!(!wrong("user", json!({ "id": "x", "displayName": null })));
    assert!(wrong("user", json!({ "id": "x", "displayName": 5 })));
    assert!(wrong("user", json!({ "id": "x", "shoeSize": 5 })));
    assert!(wrong("user", json!({ "id": null })));
    assert!(wrong("domain", json!({ "id": "x", "isDefault": null })));
    assert!(wrong("ipRange", json!({})), "abstract");
    assert!(wrong(
        "namedLocation",
        json!({ "@odata.type": "#microsoft.graph.user", "id": "x" })
    ));
    assert!(wrong("signIn", json!({ "id": "x", "riskState": "sleepy" })));
}

/// The lab's table is Microsoft's: what it accepts they accept, and no way of reading is forgotten.
#[test]
fn permissions_are_those_of_microsoft_s_table() {
    let name = "permissions_are_those_of_microsoft_s_table";
    let Some(path) = reference("entra_graph_permissions_subset.json") else {
        println!("skipped: {name}: Microsoft's table of permissions is not at hand");
        return;
    };
    let text = std::fs::read_to_string(path).expect("readable");
    let whole: Value = serde_json::from_str(&text).expect("JSON");
    let mut seen = 0;
    for (endpoint, ours) in TABLE {
        let methods = &whole["endpoints"][*endpoint];
        if methods.is_null() {
            continue;
        }
        seen += 1;
        let method = if endpoint.ends_with("groups") && endpoint.contains("member")
            || endpoint.ends_with("getbyids")
        {
            "POST"
        } else {
            "GET"
        };
        let theirs = methods[method]["Application"]
            .as_array()
            .expect("permissions");
        let name = |permission: &Value| permission["perm"].as_str().expect("a name").to_owned();
        let all: BTreeSet<String> = theirs.iter().map(name).collect();
        for accepted in *ours {
            assert!(
                all.contains(*accepted),
                "{endpoint}: {accepted} is not enough"
            );
        }
        for permission in &all {
            // Of what writes, manages devices or agents, or serves one product only, the client asks for nothing.
            let reads = permission.contains(".Read") && !permission.contains("ReadWrite");
            let ours_too = ["Device", "AgentId", "XTenant"];
            if reads && !ours_too.iter().any(|product| permission.contains(product)) {
                assert!(
                    ours.contains(&permission.as_str()),
                    "{endpoint}: {permission} would do"
                );
            }
        }
    }
    assert!(seen > 25, "{seen} endpoints were looked at");
}
