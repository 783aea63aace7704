//! What Weir asks for is what Microsoft's own schema and permissions know. Where the tables are not at hand, these
//! tests say so and end.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use weir_entra::graph::Ask;
use weir_entra::model::Part;

fn table(name: &str, test: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../../shared/reference/data").join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {test}: there is no {}", path.display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).expect("the table is JSON"))
}

/// The type of what a question is about.
fn kind(ask: &Ask) -> &'static str {
    match ask {
        Ask::UserChanges | Ask::UserChangesFromNow | Ask::Users | Ask::DeletedUsers => "user",
        Ask::GroupChanges | Ask::GroupChangesFromNow | Ask::Groups | Ask::DeletedGroups => "group",
        Ask::Members(_) => "directoryObject",
        Ask::RoleDefinitions => "unifiedRoleDefinition",
        Ask::Credentials(_) => "application",
        other => panic!("{other:?} selects something; say of what type"),
    }
}

/// All names of a type, those of its bases too.
fn properties(types: &Value, kind: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut kind = Some(format!("microsoft.graph.{kind}"));
    while let Some(name) = kind {
        let described = &types[&name];
        for what in ["props", "navs"] {
            let members = described[what].as_object();
            let members = members.unwrap_or_else(|| panic!("{name} is in the schema"));
            names.extend(members.keys().cloned());
        }
        let base = described["base"].as_str();
        kind = base.map(|base| base.replacen("graph.", "microsoft.graph.", 1));
    }
    names
}

#[test]
fn every_property_that_is_selected_is_in_the_schema() {
    let Some(schema) = table(
        "entra_graph_csdl_subset.json",
        "every_property_that_is_selected_is_in_the_schema",
    ) else {
        return;
    };
    let mut count = 0;
    for ask in Part::ALL.into_iter().flat_map(Ask::of) {
        let selects = ask.selects();
        if selects.is_empty() {
            continue;
        }
        let known = properties(&schema["types"], kind(&ask));
        for name in selects {
            assert!(known.contains(name), "{ask:?} selects {name}");
            count += 1;
        }
    }
    assert!(count > 50, "{count} properties");
}

#[test]
fn every_permission_is_accepted_where_it_is_needed() {
    let Some(table) = table(
        "entra_graph_permissions_subset.json",
        "every_permission_is_accepted_where_it_is_needed",
    ) else {
        return;
    };
    // The table does not have it.
    let absent = "/directory/deleteditems/microsoft.graph.user";
    for ask in Part::ALL.into_iter().flat_map(Ask::of) {
        let path = ask.path().to_lowercase();
        let path = path.replace("00000000-0000-0000-0000-000000000000", "{id}");
        let path = path.replace("example.org", "{id}");
        if path == absent {
            assert!(table["endpoints"][&path].is_null(), "{path} is there now");
            continue;
        }
        let endpoint = &table["endpoints"][&path];
        let method = if path.ends_with("checkmembergroups") {
            "POST"
        } else {
            "GET"
        };
        let accepted = endpoint[method]["Application"].as_array();
        let accepted = accepted.unwrap_or_else(|| panic!("{path} is in the table"));
        for permission in ask.suffices() {
            let found = accepted.iter().find(|one| one["perm"] == *permission);
            let found = found.unwrap_or_else(|| panic!("{permission} does not do for {path}"));
            assert!(
                found["alsoRequires"].is_null(),
                "{permission} does not do alone for {path}"
            );
        }
    }
}

#[test]
fn what_is_asked_of_an_administrator_reads_and_no_more() {
    let all = Ask::permissions(Part::ALL);
    assert_eq!(
        all,
        [
            "Application.Read.All",
            "AuditLog.Read.All",
            "Domain-InternalFederation.Read.All",
            "Domain.Read.All",
            "GroupMember.Read.All",
            "Policy.Read.All",
            "RoleManagement.Read.Directory",
            "User.Read.All",
        ]
    );
    let core = Ask::permissions([Part::Users, Part::Groups, Part::Organisation]);
    assert_eq!(core, ["GroupMember.Read.All", "User.Read.All"]);
}
