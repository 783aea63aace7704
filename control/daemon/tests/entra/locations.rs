//! Lists that are named locations of the tenant.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;
use weir_abi::Class;
use weir_control::locations::{NoList, prefixes};
use weir_control::testing::{Appliance, Settings};
use weir_entra::decode::locations::{Location, Place};
use weir_lab_entra::Entra;
use weir_lab_entra::world::documents::Section;
use weir_lab_entra::world::shapes::{country_location, ip_location};

use crate::world::{BEFORE, sync, until};

const OFFICES: Uuid = Uuid::from_u128(0x5a11_0001);
const HOMES: Uuid = Uuid::from_u128(0x5a11_0002);

/// Prefixes of the same width, so many.
fn ranges(count: u8) -> Vec<String> {
    (0..count).map(|n| format!("198.18.{n}.0/24")).collect()
}

fn put(lab: &Entra, trusted: bool, ranges: &[String]) {
    let ranges: Vec<_> = ranges.iter().map(String::as_str).collect();
    let location = ip_location(OFFICES, "Offices", trusted, &ranges);
    lab.edit(|tenant| tenant.put(Section::NamedLocations, location));
}

/// An appliance with a list `offices` of this class.
async fn appliance(lab: &Entra, class: &str) -> Appliance {
    let list = "[[list]]\nname = \"offices\"\nclass = \"CLASS\"\nnamed_location = \"offices\"\n";
    let entra = lab.configuration(&list.replace("CLASS", class));
    Appliance::start_with(Settings {
        edits: vec![(BEFORE, format!("{entra}{BEFORE}"))],
        ..Settings::default()
    })
    .await
}

/// Has the tenant's named locations read, and the list taken from them.
async fn taken(appliance: &Appliance) -> (StatusCode, String) {
    sync(appliance, "locations", false).await;
    let asked = appliance.ask(Method::POST, "/v1/lists/offices/refresh", None);
    let (status, said) = asked.await;
    (status, said.to_string())
}

async fn entries(appliance: &Appliance) -> Value {
    appliance.get("/v1/lists/offices?limit=0").await["entries"].clone()
}

async fn warnings(appliance: &Appliance) -> String {
    appliance.get("/v1/status").await["warnings"].to_string()
}

fn in_kernel(appliance: &Appliance, source: &str) -> Class {
    appliance.kernel.class(source.parse().expect("an address"))
}

#[tokio::test]
async fn a_list_follows_the_tenant_into_both_planes() {
    let lab = Entra::start().await;
    let two = ["198.18.0.0/24", "2001:db8:5:0:7a:1:2:3/48"].map(str::to_owned);
    put(&lab, true, &two);
    let appliance = appliance(&lab, "managed").await;
    // It comes without anybody asking, once the tenant's locations were read.
    until("the list came", async || entries(&appliance).await == 2).await;
    assert_eq!(in_kernel(&appliance, "198.18.0.7"), Class::Managed);
    assert_eq!(in_kernel(&appliance, "2001:db8:5::1"), Class::Managed);
    let shown = appliance.get("/v1/lists/offices?limit=0").await;
    assert_eq!(shown["source"], "named location \"offices\"");
    assert_eq!(shown["editable"], false);
    let kept = appliance.read("state/lists/offices.list");
    assert_eq!(kept, "198.18.0.0/24\n2001:db8:5::/48\n");

    put(&lab, true, &ranges(3));
    assert_eq!(taken(&appliance).await.0, StatusCode::OK);
    assert_eq!(entries(&appliance).await, 3);
    assert_eq!(in_kernel(&appliance, "198.18.2.7"), Class::Managed);
    assert_eq!(in_kernel(&appliance, "2001:db8:5::1"), Class::Unmanaged);
}

#[tokio::test]
async fn nothing_that_becomes_of_a_location_empties_a_list() {
    let lab = Entra::start().await;
    put(&lab, true, &ranges(10));
    let appliance = appliance(&lab, "bypass").await;
    until("the list came", async || entries(&appliance).await == 10).await;
    let id = OFFICES.to_string();
    let lose = |location: Option<Value>| {
        lab.edit(|tenant| match location {
            Some(location) => tenant.put(Section::NamedLocations, location),
            None => {
                tenant
                    .remove(Section::NamedLocations, &id)
                    .expect("it is there");
            }
        });
    };
    let wide = ip_location(OFFICES, "Offices", true, &["0.0.0.0/1"]);
    for (location, words) in [
        (None, "has no named location"),
        (
            Some(ip_location(OFFICES, "Ofices", true, &["198.18.0.0/24"])),
            "did you mean",
        ),
        (
            Some(ip_location(OFFICES, "Offices", false, &["198.18.0.0/24"])),
            "does not trust named location",
        ),
        (
            Some(country_location(OFFICES, "Offices", &["DE"])),
            "names countries, not addresses",
        ),
        (
            Some(ip_location(
                OFFICES,
                "Offices",
                true,
                &["198.18.0.0/24", "no prefix"],
            )),
            "are no prefixes",
        ),
        (
            Some(ip_location(OFFICES, "Offices", true, &[])),
            "no prefix",
        ),
        (Some(wide), "is wider than /8"),
    ] {
        lose(location);
        let (status, said) = taken(&appliance).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{words}: {said}");
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!(entries(&appliance).await, 10, "{words}");
        let told = warnings(&appliance).await;
        assert!(told.contains("list `offices` cannot be fetched"), "{told}");
        put(&lab, true, &ranges(10));
        assert_eq!(taken(&appliance).await.0, StatusCode::OK);
    }

    // Much at once is held, as of every list that comes from elsewhere.
    put(&lab, true, &ranges(2));
    assert_eq!(taken(&appliance).await.0, StatusCode::OK);
    assert_eq!(entries(&appliance).await, 10);
    let shown = appliance.get("/v1/lists/offices?limit=0").await;
    let digest = shown["remote"]["held"]["digest"].clone();
    let asked = appliance.ask(
        Method::POST,
        "/v1/lists/offices/approve",
        Some(json!({ "digest": digest })),
    );
    assert_eq!(asked.await.0, StatusCode::OK);
    assert_eq!(entries(&appliance).await, 2);
}

#[tokio::test]
async fn whom_the_tenant_does_not_trust_may_be_blocked() {
    let lab = Entra::start().await;
    put(&lab, false, &ranges(1));
    let appliance = appliance(&lab, "blocked").await;
    until("the list came", async || entries(&appliance).await == 1).await;
    assert_eq!(in_kernel(&appliance, "198.18.0.7"), Class::Blocked);
}

#[test]
fn a_location_is_found_by_its_id_or_its_name() {
    let location = |id: Uuid, name: &str, prefix: &str| Location {
        id: id.to_string(),
        display_name: name.to_owned(),
        modified: None,
        place: Place::Addresses {
            is_trusted: true,
            prefixes: vec![prefix.parse().expect("a prefix")],
            unreadable: 0,
        },
    };
    let both = [
        location(OFFICES, "Offices", "198.18.0.0/24"),
        location(HOMES, "offices", "198.18.1.0/24"),
    ];
    let found = |named: &str| {
        let found = prefixes(&both, named, true);
        found.map(|found| found[0].to_string())
    };
    assert_eq!(found("Offices").as_deref(), Ok("198.18.0.0/24"));
    assert_eq!(found("offices").as_deref(), Ok("198.18.1.0/24"));
    let id = HOMES.to_string().to_uppercase();
    assert_eq!(found(&id).as_deref(), Ok("198.18.1.0/24"));
    let ids = format!("{OFFICES}, {HOMES}");
    let several = NoList::Ambiguous("OFFICES".to_owned(), ids);
    assert_eq!(found("OFFICES"), Err(several), "neither to the letter");
    let none = found("Plants").expect_err("there is none").to_string();
    assert!(none.contains("has no named location \"Plants\";"), "{none}");
}
