//! Half of the people vanish: that waits for a person, and what must not wait does not.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_lab_servers::people::id_of;

use super::{CROWD, FRANK, Show, crowd, in_words, part, picture};
use crate::demo::life::Lived;

impl Show<'_> {
    /// Held and approved; held again and discarded.
    pub(super) async fn held(&mut self) -> Result<()> {
        self.sync(&[]).await?;
        let before = self.settled().await?;
        let mut lived = self.begin(
            "entra/held/mass-removal",
            "half of the people vanish, and an account is disabled",
        );
        let half = 0..CROWD / 2;
        self.vanish(half.clone(), true).await?;
        let frank = id_of(FRANK).to_string();
        self.tenant
            .set(&frank, "accountEnabled", json!(false))
            .await?;
        let digest = self.is_held(&before, &mut lived).await?;
        self.end(lived);
        self.perform(&["held-erin", "held-disabled-frank"]).await?;
        let mut lived = self.begin("entra/held/approve", "weir entra approve DIGEST");
        let told = self.weir(&["entra", "approve", &digest]).await?;
        lived.state(
            told.ok,
            format!("weir entra approve {}", short(&digest)),
            format!("weir says: {}", told.line()),
        );
        let status = self.settled().await?;
        let users = picture(&before)[1] - half.len() as u64;
        lived.state(
            picture(&status)[1] == users && status["state"] == "healthy",
            format!("in force: {users} users; status: healthy"),
            format!(
                "{} users; status: {}",
                picture(&status)[1],
                in_words(&status)
            ),
        );
        self.end(lived);
        let mut lived = self.begin(
            "entra/held/discard",
            "the other half vanishes: weir entra discard DIGEST",
        );
        let other = CROWD / 2..CROWD;
        self.vanish(other.clone(), true).await?;
        let digest = self.is_held(&status, &mut lived).await?;
        // Whoever made the mistake mends it.
        self.vanish(other, false).await?;
        let told = self.weir(&["entra", "discard", &digest]).await?;
        lived.state(
            told.ok,
            format!(
                "mended in the tenant; weir entra discard {}",
                short(&digest)
            ),
            format!("weir says: {}", told.line()),
        );
        self.sync(&["users"]).await?;
        let after = self.settled().await?;
        lived.state(
            after["state"] == "healthy" && picture(&after)[1..] == picture(&status)[1..],
            format!("nobody is lost: {users} users; status: healthy"),
            format!("{:?}; status: {}", picture(&after), in_words(&after)),
        );
        self.tenant
            .set(&frank, "accountEnabled", json!(true))
            .await?;
        self.sync(&["users"]).await?;
        self.end(lived);
        Ok(())
    }

    /// The round waits, and changes nothing of what it would take; its digest.
    async fn is_held(&self, before: &Value, lived: &mut Lived) -> Result<String> {
        let outcome = self.sync(&["users"]).await?;
        lived.state(
            outcome[0]["outcome"] == "held",
            "the round is held".to_owned(),
            format!("weir entra sync says: {outcome}"),
        );
        let status = self.settled().await?;
        let held = &part(&status, "users")["held"];
        let digest = held["digest"]
            .as_str()
            .context("status tells of nothing that is held")?;
        let why = held["whys"][0].as_str().unwrap_or_default();
        lived.state(
            status["state"] == "held" && why.contains("users are removed"),
            format!("status: held, {why}"),
            format!("status: {}", in_words(&status)),
        );
        lived.state(
            picture(&status)[1..] == picture(before)[1..],
            format!("the picture has {} users still", picture(&status)[1]),
            format!("before {:?}, now {:?}", picture(before), picture(&status)),
        );
        Ok(digest.to_owned())
    }

    /// Some of the crowd is deleted, or restored.
    async fn vanish(&self, numbers: std::ops::Range<usize>, gone: bool) -> Result<()> {
        let verb = if gone { "delete" } else { "restore" };
        for number in numbers {
            let change = json!({ "do": verb, "id": id_of(&crowd(number)) });
            self.tenant.change(change).await?;
        }
        Ok(())
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(8).collect()
}
