//! What is kept besides people: a list from a named location, and credentials that are replaced in time.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{ASK_AGAIN, PATIENCE, Show, application, findings, in_words};
use crate::demo::life::Lived;
use crate::settings::{Slot, Tenant};
use crate::sources::{Class, Family};

/// The named location, and its id.
const LOCATION: &str = "Plant south egress";
const LOCATION_ID: &str = "b7b1a1c4-6d5e-4f0a-8a3c-0d8f5c1e7a21";
const FAMILY: Family = Family::V4;

impl Show<'_> {
    /// A source becomes managed because Entra says where it is; what Entra empties stays as it was.
    pub(super) async fn location(&mut self) -> Result<()> {
        let source = Class::Unmanaged.source().address(FAMILY).to_string();
        self.locate(&[&format!("{source}/32")]).await?;
        self.sync(&["locations"]).await?;
        let usual = self.settings.tenant.unwrap_or(Tenant::USUAL);
        let mut lived = self.begin(
            "entra/location/list",
            "a named location of the tenant is a list of managed sources",
        );
        let before = self.class_of(&source).await?;
        self.reconfigure(Tenant {
            location: Some(LOCATION),
            ..usual
        })
        .await?;
        self.sync(&["locations"]).await?;
        let after = self.class_when(&source, "managed").await?;
        lived.state(
            before == "unmanaged" && after == "managed",
            format!("weir explain {source}: {before}, then {after}"),
            format!("weir explain {source}: {before}, then {after}"),
        );
        let forwarded = self.open(FAMILY).await.map(|(_, forwarded)| forwarded);
        lived.state(
            matches!(forwarded, Ok(true)),
            "its next connection is forwarded".to_owned(),
            format!("its next connection: {forwarded:?}"),
        );
        self.end(lived);
        let mut lived = self.begin(
            "entra/location/emptied",
            "the location is emptied in the tenant",
        );
        self.locate(&[]).await?;
        self.sync(&["locations"]).await?;
        let list = self.list_in_trouble().await?;
        let why = [&list["remote"]["error"], &list["remote"]["held"]["whys"][0]];
        let why = why.into_iter().find_map(Value::as_str);
        lived.state(
            why.is_some(),
            format!("weir lists: {}", why.unwrap_or_default()),
            format!("weir lists says: {list}"),
        );
        let class = self.class_of(&source).await?;
        lived.state(
            class == "managed" && list["entries"] == 1,
            format!("the list stays: {source} is {class}"),
            format!("{source} is {class}: {list}"),
        );
        self.end(lived);
        self.reconfigure(usual).await?;
        let class = self.class_when(&source, "unmanaged").await?;
        let mut lived = self.begin("entra/location/ended", "the list is configured no more");
        lived.state(
            class == "unmanaged",
            format!("{source} is {class}"),
            format!("{source} is {class}"),
        );
        self.end(lived);
        Ok(())
    }

    async fn locate(&self, ranges: &[&str]) -> Result<()> {
        let ranges: Vec<Value> = ranges
            .iter()
            .map(|range| json!({ "@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": range }))
            .collect();
        let document = json!({ "@odata.type": "#microsoft.graph.ipNamedLocation", "id": LOCATION_ID,
            "displayName": LOCATION, "createdDateTime": "2025-02-03T09:00:00Z",
            "modifiedDateTime": "2025-02-03T09:00:00Z", "deletedDateTime": null, "isTrusted": true,
            "ipRanges": ranges });
        let change = json!({ "do": "put", "section": "named-locations", "document": document });
        self.tenant.change(change).await.map(drop)
    }

    /// The list as `weir lists` has it, once something is wrong with it; else as it was last.
    async fn list_in_trouble(&self) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let told = self.weir(&["lists", "--json"]).await?.json()?;
            let all = told.as_array().or_else(|| told["lists"].as_array());
            let own = all
                .into_iter()
                .flatten()
                .find(|list| list["name"] == "plant");
            let own = own.context("weir lists does not name the list")?;
            let remote = &own["remote"];
            if !remote["error"].is_null() || !remote["held"].is_null() || begun.elapsed() > PATIENCE
            {
                return Ok(own.clone());
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// What the kernel takes an address for.
    async fn class_of(&self, source: &str) -> Result<String> {
        let words = ["explain", source, "--service", "sts", "--json"];
        let told = self.weir(&words).await?.json()?;
        let class = told["kernel"]["class"]
            .as_str()
            .context("weir explain names no class")?;
        Ok(class.to_owned())
    }

    /// The same, once it is that one; else the last.
    async fn class_when(&self, source: &str, wanted: &str) -> Result<String> {
        let begun = Instant::now();
        loop {
            let class = self.class_of(source).await?;
            if class == wanted || begun.elapsed() > PATIENCE {
                return Ok(class);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// A certificate is replaced while the old one is good still; and one that ends soon is told of.
    pub(super) async fn credentials(&mut self) -> Result<()> {
        let usual = self.settings.tenant.unwrap_or(Tenant::USUAL);
        let mut lived = self.begin(
            "entra/credentials/rotate",
            "another certificate: registered, taken up, the old one removed",
        );
        self.register(Slot::Second, true).await?;
        self.reconfigure(Tenant {
            next: Some(Slot::Second),
            ..usual
        })
        .await?;
        let checked = self.weir(&["entra", "check", "--json"]).await?.json()?;
        let proved = checked["credentials"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_good = |one: &Value| one["has_token"] == true && !one["tenant"].is_null();
        lived.state(
            proved.len() == 2 && proved.iter().all(is_good),
            "weir entra check: both are good".to_owned(),
            format!("weir entra check says: {checked}"),
        );
        self.reconfigure(Tenant {
            credential: Slot::Second,
            ..usual
        })
        .await?;
        self.register(Slot::First, false).await?;
        self.still_good("the old one is removed in the tenant", &mut lived)
            .await?;
        self.end(lived);
        let mut lived = self.begin(
            "entra/credentials/ends",
            "a certificate that is good for 20 days",
        );
        self.register(Slot::Ending, true).await?;
        self.reconfigure(Tenant {
            credential: Slot::Ending,
            ..usual
        })
        .await?;
        let ends = |status: &Value| {
            let found = findings(status);
            let own = found
                .into_iter()
                .find(|finding| finding["reason"] == "credential-ends");
            own.cloned()
        };
        let status = self.status_when(|status| ends(status).is_some()).await?;
        let own = ends(&status).unwrap_or_default();
        lived.state(
            status["state"] == "degraded"
                && own["words"]
                    .as_str()
                    .is_some_and(|it| it.contains("19 days")),
            format!(
                "status: degraded, {}. {}",
                own["words"].as_str().unwrap_or_default(),
                own["step"].as_str().unwrap_or_default()
            ),
            format!("status: {}", in_words(&status)),
        );
        self.reconfigure(Tenant {
            credential: Slot::Second,
            ..usual
        })
        .await?;
        let healthy = self
            .status_when(|status| status["state"] == "healthy")
            .await?;
        lived.state(
            healthy["state"] == "healthy",
            "with the other one again: healthy".to_owned(),
            format!("status: {}", in_words(&healthy)),
        );
        self.end(lived);
        Ok(())
    }

    /// Registers a certificate with the application, or takes it away.
    async fn register(&self, slot: Slot, there: bool) -> Result<()> {
        let [certificate, _] = slot.files(&self.lab.plan);
        let certificate = fs::read_to_string(&certificate)
            .with_context(|| format!("cannot read {}", certificate.display()))?;
        let verb = if there { "register" } else { "unregister" };
        let change = json!({ "do": verb, "app": application(), "certificate": certificate });
        self.tenant.change(change).await.map(drop)
    }

    async fn still_good(&self, when: &str, lived: &mut Lived) -> Result<()> {
        let checked = self.weir(&["entra", "check", "--json"]).await?.json()?;
        let status = self.status().await?;
        lived.state(
            status["state"] == "healthy" && checked["state"] == "healthy",
            format!("{when}: healthy"),
            format!("{when}: {}; {checked}", in_words(&status)),
        );
        Ok(())
    }
}
