//! The tenant, as the document describes it.

use http::Method;
use serde_json::json;
use weir_control::testing::{Appliance, Settings};
use weir_lab_entra::Entra;
use weir_lab_entra::world::populate::REDIRECT;

use super::Seen;

const TENANT: &str = "/v1/entra";
const ACTS: [(&str, &str); 6] = [
    ("/v1/entra/check", ""),
    ("/v1/entra/connect", "{}"),
    ("/v1/entra/sync", "{}"),
    ("/v1/entra/approve", r#"{"digest":"00000000"}"#),
    ("/v1/entra/discard", r#"{"digest":"00000000"}"#),
    ("/v1/entra/disconnect", "{}"),
];
/// Before what the tenant is written in the configuration.
const BEFORE: &str = "[[service]]\nname = \"sts\"\n";

/// Read, held, decided, connected and disconnected, and everything that can be wrong with that.
pub async fn tenant(seen: &mut Seen) {
    let none = Appliance::start().await;
    assert_eq!(seen.ask(&none, Method::GET, TENANT, TENANT, "").await, 404);
    for (path, body) in ACTS {
        let asked = seen.ask(&none, Method::POST, path, path, body);
        assert_eq!(asked.await, 404, "{path}");
    }
    let lab = Entra::start().await;
    let people: Vec<_> = lab.edit(|tenant| {
        let people = (0..60).map(|n| tenant.user(&format!("u{n}@fabrik.example"), "U"));
        people.collect()
    });
    let entra = lab.configuration(&format!(
        "callback = \"{REDIRECT}\"\n[[entra.group]]\ngroup = \"No such group\"\nclass = \"blocked\"\n"
    ));
    not_begun(seen, &entra).await;
    let appliance = Appliance::start_with(Settings {
        edits: vec![(BEFORE, format!("{entra}{BEFORE}"))],
        ..Settings::default()
    })
    .await;
    let mut post = async |path: &str, body: &str, status: u16| {
        let asked = seen.ask(&appliance, Method::POST, path, path, body);
        assert_eq!(asked.await, status, "{path} {body}");
    };
    post("/v1/entra/sync", "{}", 200).await;
    post("/v1/entra/check", "", 200).await;
    post("/v1/entra/sync", r#"{"part":"user"}"#, 422).await;
    post("/v1/entra/connect", "{}", 200).await;
    post("/v1/entra/connect", r#"{"callback":"elsewhere"}"#, 422).await;
    for path in ["/v1/entra/discard", "/v1/entra/approve"] {
        lab.edit(|tenant| {
            for one in &people {
                // The second time they are gone already.
                let _ = tenant.delete(*one);
            }
        });
        post("/v1/entra/sync", r#"{"part":"users"}"#, 200).await;
        let held = appliance.get(TENANT).await["parts"][0]["held"]["digest"].clone();
        post(path, &json!({ "digest": held }).to_string(), 200).await;
    }
    post("/v1/entra/disconnect", r#"{"purge":true}"#, 200).await;
    assert_eq!(
        seen.ask(&appliance, Method::GET, TENANT, TENANT, "").await,
        200
    );
    let status = "/v1/status";
    assert_eq!(
        seen.ask(&appliance, Method::GET, status, status, "").await,
        200
    );
}

/// A store that cannot be opened.
async fn not_begun(seen: &mut Seen, entra: &str) {
    let appliance = Appliance::start().await;
    appliance.write("state/entra", "no directory");
    let config = appliance.read("weir.toml");
    appliance.write(
        "weir.toml",
        &config.replace(BEFORE, &format!("{entra}{BEFORE}")),
    );
    let (status, said) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, 200, "{said}");
    for (path, body) in ACTS {
        let asked = seen.ask(&appliance, Method::POST, path, path, body);
        assert_eq!(asked.await, 409, "{path}");
    }
}
