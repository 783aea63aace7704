//! A change in the tenant on its way to the kernel: whoever leaves a group, or is disabled, is cut off in both planes.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use weir_lab_servers::people::id_of;

use super::flow::Flow;
use super::{ALICE, ASK_AGAIN, ENGINEERS, PATIENCE, Show};
use crate::demo::life::Lived;
use crate::sources::{Class, Family};

/// What has been promised of the way from the tenant's answer to the kernel.
const PROMISED: time::Duration = time::Duration::SECOND;
const FAMILY: Family = Family::V6;

/// What somebody loses the path by.
struct Loss {
    name: &'static str,
    what: &'static str,
    /// The part that tells it.
    part: &'static str,
    page: &'static str,
}

impl Show<'_> {
    /// Earned, and lost by a group; earned, and lost by being disabled; and earned once more.
    pub(super) async fn change(&mut self) -> Result<()> {
        let (group, alice) = (id_of(ENGINEERS).to_string(), id_of(ALICE).to_string());
        self.sync(&[]).await?;
        self.history.push(OffsetDateTime::now_utc());
        let left = Loss {
            name: "entra/change/left",
            what: "the one who earned the path is taken out of the group",
            part: "groups",
            page: "/v1.0/groups/delta",
        };
        let proxied = self.earn("earned", &left).await?;
        let tenant = self.tenant.clone();
        let leave = async { tenant.member(&group, &alice, false).await };
        self.lose(&left, proxied, leave).await?;
        self.history.push(OffsetDateTime::now_utc());
        self.perform(&["left"]).await?;
        tenant.member(&group, &alice, true).await?;
        self.sync(&["groups"]).await?;
        let disabled = Loss {
            name: "entra/change/disabled",
            what: "the account of the one who earned the path is disabled",
            part: "users",
            page: "/v1.0/users/delta",
        };
        let proxied = self.earn("again", &disabled).await?;
        let disable = async { tenant.set(&alice, "accountEnabled", json!(false)).await };
        self.lose(&disabled, proxied, disable).await?;
        self.perform(&["disabled"]).await?;
        tenant.set(&alice, "accountEnabled", json!(true)).await?;
        self.sync(&["users"]).await?;
        self.perform(&["last"]).await?;
        let mut lived = self.begin("entra/change/again", "enabled, and in the group again");
        let shown = self.grant_is(true).await?;
        lived.state(
            shown.is_some(),
            "earned anew".to_owned(),
            "no grant is shown".to_owned(),
        );
        let address = Class::Unmanaged.source().address(FAMILY).to_string();
        self.weir(&["grants", "revoke", &address]).await?;
        self.end(lived);
        Ok(())
    }

    /// A sign-in earns the path; a flow from before stays in the proxy.
    async fn earn(&mut self, row: &str, loss: &Loss) -> Result<Flow> {
        let (connection, forwarded) = self.open(FAMILY).await?;
        if forwarded {
            bail!(
                "{}: the kernel forwards before anybody earned that",
                loss.name
            );
        }
        self.perform(&[row]).await?;
        Ok(Flow::begin(connection))
    }

    /// Both flows live; the tenant changes; both are cut.
    async fn lose(
        &mut self,
        loss: &Loss,
        proxied: Flow,
        change: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let mut lived = self.begin(loss.name, loss.what);
        let shown = self.grant_is(true).await?;
        lived.state(
            shown.is_some(),
            "weir grants: for the kernel too".to_owned(),
            "no grant for the kernel is shown".to_owned(),
        );
        let (connection, is_forwarded) = self.open(FAMILY).await?;
        let forwarded = Flow::begin(connection);
        lived.state(
            is_forwarded && proxied.lives(),
            "one flow is forwarded, one is proxied".to_owned(),
            format!(
                "forwarded: {is_forwarded}; the proxied one lives: {}",
                proxied.lives()
            ),
        );
        change.await?;
        lived.state(
            proxied.lives() && forwarded.lives(),
            "both live until the tenant is asked".to_owned(),
            "a flow broke before".to_owned(),
        );
        let asked = self.tenant.asked()?.len();
        let outcome = self.sync(&[loss.part]).await?;
        lived.state(
            outcome[0]["outcome"] == "committed",
            format!("weir entra sync {}: changed", loss.part),
            format!("weir entra sync says: {outcome}"),
        );
        let page = self.page(asked, loss.page)?;
        for (flow, word) in [(forwarded, "forwarded"), (proxied, "proxied")] {
            let Some(cut) = flow.cut().await? else {
                lived.state(false, String::new(), format!("the {word} flow lives on"));
                continue;
            };
            let after = cut.at - page;
            lived.state(
                after < PROMISED && cut.answers > 0,
                format!(
                    "the {word} flow is cut {} ms after the delta page, after {} answers",
                    after.whole_milliseconds(),
                    cut.answers
                ),
                format!("the {word} flow is cut {after} after the delta page"),
            );
        }
        self.judged_anew(&mut lived).await?;
        self.end(lived);
        Ok(())
    }

    /// The next connection has another verdict.
    async fn judged_anew(&self, lived: &mut Lived) -> Result<()> {
        let gone = self.grant_is(false).await?;
        lived.state(
            gone.is_some(),
            "weir grants: none".to_owned(),
            "a grant is shown still".to_owned(),
        );
        let next = self.open(FAMILY).await;
        lived.state(
            matches!(next, Ok((_, false))),
            "the next connection goes through the proxy".to_owned(),
            format!(
                "the next connection: {:?}",
                next.map(|(_, forwarded)| forwarded)
            ),
        );
        Ok(())
    }

    /// When the tenant answered the first request for a page since then that has anything to do with this.
    fn page(&self, since: usize, path: &str) -> Result<OffsetDateTime> {
        let asked = self.tenant.asked()?;
        let mut pages = asked.iter().skip(since);
        let page =
            pages.find(|asked| asked.path.as_deref() == Some(path) && asked.status == Some(200));
        Ok(page.context("the tenant was not asked for the page")?.time)
    }

    /// Waits until `weir grants` shows the client's address with a grant for the kernel, or without one.
    async fn grant_is(&self, there: bool) -> Result<Option<Value>> {
        let begun = Instant::now();
        let address = Class::Unmanaged.source().address(FAMILY).to_string();
        loop {
            let told = self.weir(&["grants", "--json"]).await?.json()?;
            let all = told["grants"].as_array().or_else(|| told.as_array());
            let own = all
                .into_iter()
                .flatten()
                .find(|grant| grant["address"] == address.as_str() && grant["kernel"] == true);
            if own.is_some() == there {
                return Ok(Some(own.cloned().unwrap_or_default()));
            }
            if begun.elapsed() > PATIENCE {
                return Ok(None);
            }
            sleep(ASK_AGAIN).await;
        }
    }
}
