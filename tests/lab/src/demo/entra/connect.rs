//! Before the tenant knows Weir, consent, the first round, rules on what came of it; and the end of it all.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_lab_servers::people::id_of;

use super::{ALICE, Show, application, findings, in_words, picture};
use crate::demo::curl::Call;
use crate::demo::form::Form;
use crate::demo::life::Lived;
use crate::settings::Slot;
use crate::sources::Family;
use crate::tenant::CALLBACK;

/// What the token endpoint says of an application that nobody in the tenant has consented to.
const NOT_THERE: &str = "AADSTS700016";

impl Show<'_> {
    /// From a configuration that is right, and a tenant that knows nothing of it.
    pub(super) async fn connect(&mut self) -> Result<()> {
        let dismiss = json!({ "do": "dismiss", "app": application() });
        self.tenant.change(dismiss).await?;
        self.configure(self.settings).await?;
        self.not_consented().await?;
        self.consent().await?;
        self.first_round().await?;
        self.enter().await
    }

    async fn not_consented(&mut self) -> Result<()> {
        let mut lived = self.begin(
            "entra/connect/not-consented",
            "nobody in the tenant has consented: weir entra check",
        );
        let told = self.weir(&["entra", "check"]).await?;
        lived.state(
            !told.ok && told.says(&["needs attention", NOT_THERE]),
            format!("needs attention, {NOT_THERE}"),
            format!("weir entra check says: {}", told.line()),
        );
        let next = told.line();
        let next = next.split("next: ").nth(1).unwrap_or_default();
        lived.state(
            next.contains("has consented"),
            format!("next: {}", next.split(". ").next().unwrap_or_default()),
            format!("weir entra check says: {}", told.line()),
        );
        let status = self.status().await?;
        lived.state(
            status["state"] != "healthy" && !findings(&status).is_empty(),
            format!("status: {}", in_words(&status)),
            "status says that all is well".to_owned(),
        );
        lived.state(
            picture(&status)[1..] == [0, 0],
            "nothing is known of anybody".to_owned(),
            format!("status tells of {:?}", picture(&status)),
        );
        self.end(lived);
        Ok(())
    }

    async fn consent(&mut self) -> Result<()> {
        let mut lived = self.begin(
            "entra/connect/consent",
            "weir entra connect; an administrator consents in a browser",
        );
        let told = self.weir(&["entra", "connect"]).await?;
        let cloud = &self.lab.plan.cloud;
        let start = format!("https://{}/", cloud.sign_in.host);
        let link = told
            .address(&start)
            .with_context(|| format!("no link: {}", told.line()))?;
        let fits = [&cloud.tenant, "/v2.0/adminconsent", "client_id=", "state="];
        lived.state(
            fits.iter().all(|part| link.contains(part)),
            format!("link: {start}{}/v2.0/adminconsent?...", cloud.tenant),
            format!("the link is {link}"),
        );
        let forged = format!(
            "{CALLBACK}?admin_consent=True&tenant={}&state=forged",
            cloud.tenant
        );
        let refused = self.callback(&forged).await?;
        lived.state(
            !refused.ok && refused.says(&["ask for a new link"]),
            "an answer that nobody asked for is refused".to_owned(),
            format!("to a forged answer weir says: {}", refused.line()),
        );
        let back = self.accept(&link, &mut lived).await?;
        let taken = self.callback(&back).await?;
        lived.state(
            taken.ok && taken.says(&["has consented"]),
            "weir entra connect --callback: consented".to_owned(),
            format!("weir says: {}", taken.line()),
        );
        let again = self.callback(&back).await?;
        lived.state(
            !again.ok,
            "the answer is good once".to_owned(),
            format!("to the same answer weir says: {}", again.line()),
        );
        let checked = self.weir(&["entra", "check"]).await?;
        lived.state(
            checked.ok && checked.says(&["healthy"]),
            "weir entra check: healthy".to_owned(),
            format!("weir entra check says: {}", checked.line()),
        );
        self.end(lived);
        Ok(())
    }

    async fn callback(&self, url: &str) -> Result<super::Told> {
        self.weir(&["entra", "connect", "--callback", url]).await
    }

    /// As an administrator's browser: the page, its button, and the redirection, which is not followed.
    async fn accept(&self, link: &str, lived: &mut Lived) -> Result<String> {
        let page = Call::get(link).send(&self.stage, None, Family::V4).await?;
        let form = Form::first(&page.body).context("the page that asks for consent has no form")?;
        let asked = page.body.matches("<li>").count();
        let writes = page.body.contains("Write");
        lived.state(
            asked > 0 && !writes,
            format!("asked for: {asked} permissions, all to read"),
            "more is asked for than to read".to_owned(),
        );
        let action = url::Url::parse(link)?.join(&form.action)?;
        let accept = Call::form(action, &[("decision", "accept")]);
        let answer = accept.send(&self.stage, None, Family::V4).await?;
        let back = answer.location.context("the browser is not sent back")?;
        lived.state(
            back.starts_with(CALLBACK),
            format!("back to {CALLBACK}"),
            format!("the browser is sent to {back}"),
        );
        Ok(back)
    }

    async fn first_round(&mut self) -> Result<()> {
        let mut lived = self.begin(
            "entra/connect/first-sync",
            "the first round: weir entra sync",
        );
        let outcomes = self.sync(&[]).await?;
        let outcomes = outcomes.as_array().cloned().unwrap_or_default();
        let is_fine = |one: &Value| one["outcome"] == "committed" || one["outcome"] == "unchanged";
        lived.state(
            !outcomes.is_empty() && outcomes.iter().all(is_fine),
            format!("{} parts are read", outcomes.len()),
            format!("weir entra sync says: {outcomes:?}"),
        );
        let status = self.settled().await?;
        lived.state(
            status["state"] == "healthy",
            "status: healthy".to_owned(),
            format!("status: {}", in_words(&status)),
        );
        let wanted = self.tenant.counts().await?;
        let [epoch, users, groups] = picture(&status);
        lived.state(
            [users, groups] == wanted,
            format!("{users} users and {groups} groups, as the tenant counts them"),
            format!("{users} users and {groups} groups, and the tenant has {wanted:?}"),
        );
        lived.state(
            epoch > 0,
            "both planes judge by the same picture".to_owned(),
            "there is no picture".to_owned(),
        );
        self.end(lived);
        Ok(())
    }

    /// Rules on groups, by whatever joins a verified token to the directory.
    pub(super) async fn decide(&mut self) -> Result<()> {
        self.perform(&[
            "by-immutable-id-alice",
            "by-upn-bob",
            "overage-grace",
            "by-immutable-id-erin",
            "name-given-again-carol",
            "in-no-group-dave",
            "no-contractor-erin",
            "contractor-dave",
        ])
        .await
    }

    /// Collection ends, with the data kept; then the data goes, too.
    pub(super) async fn leave(&mut self) -> Result<()> {
        let slot = self
            .settings
            .tenant
            .map_or(Slot::First, |tenant| tenant.credential);
        let files = slot.files(&self.lab.plan);
        let mut lived = self.begin("entra/leave/disconnect", "weir entra disconnect");
        let before = picture(&self.status().await?);
        let told = self.weir(&["entra", "disconnect", "--yes"]).await?;
        lived.state(
            told.ok,
            "weir entra disconnect".to_owned(),
            format!("weir says: {}", told.line()),
        );
        let gone = !files[1].exists();
        lived.state(
            gone,
            "the key's file is gone".to_owned(),
            format!("{} is there still", files[1].display()),
        );
        lived.state(
            told.says(&[files[1].to_str().context("a path in UTF-8")?]),
            "and weir names it".to_owned(),
            format!("weir says: {}", told.line()),
        );
        let status = self.settled().await?;
        lived.state(
            status["state"] == "disconnected",
            "status: disconnected".to_owned(),
            format!("status: {}", in_words(&status)),
        );
        let after = picture(&status);
        lived.state(
            after[1..] == before[1..] && after[1] > 0,
            format!("what is known is kept: {} users", after[1]),
            format!("known were {before:?}, and now {after:?}"),
        );
        let asked = self.tenant.asked()?.len();
        let refused = self.weir(&["entra", "sync", "users"]).await?;
        lived.state(
            !refused.ok && self.tenant.asked()?.len() == asked,
            "the tenant is asked nothing more".to_owned(),
            format!("to weir entra sync weir says: {}", refused.line()),
        );
        self.end(lived);
        self.perform(&["data-kept-alice"]).await?;
        let mut lived = self.begin("entra/leave/purge", "weir entra disconnect --purge");
        let told = self
            .weir(&["entra", "disconnect", "--purge", "--yes"])
            .await?;
        lived.state(
            told.ok,
            "weir entra disconnect --purge".to_owned(),
            format!("weir says: {}", told.line()),
        );
        let is_empty = |status: &Value| status["users"] == 0 && status["proxy_epoch"] == 0;
        let status = self.status_when(is_empty).await?;
        lived.state(
            is_empty(&status) && status["state"] == "disconnected",
            "both planes have forgotten everybody".to_owned(),
            format!("status: {status}"),
        );
        let told = self.weir(&["explain", "user", ALICE]).await?;
        let id = id_of(ALICE).to_string();
        lived.state(
            !told.says(&[&id]),
            "weir explain user knows nobody".to_owned(),
            format!("weir explain user says: {}", told.line()),
        );
        self.end(lived);
        self.perform(&["data-purged-alice", "purged-erin"]).await
    }
}
