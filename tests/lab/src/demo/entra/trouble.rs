//! Rounds that go wrong: nothing changes, status says what it is and what to do, and afterwards all is well.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Show, findings, in_words, part, picture};
use crate::demo::life::Lived;
use crate::tenant::ELSEWHERE;

/// What goes wrong at every request for a part.
struct Trouble {
    name: &'static str,
    what: &'static str,
    part: &'static str,
    path: &'static str,
    act: Value,
    /// What status has to name.
    reason: &'static str,
}

const USERS: &str = "/v1.0/users/delta*";
const GROUPS: &str = "/v1.0/groups/delta*";
const LOCATIONS: &str = "/v1.0/identity/conditionalAccess/namedLocations*";

impl Show<'_> {
    pub(super) async fn trouble(&mut self) -> Result<()> {
        self.throttled_for_a_while().await?;
        self.go_wrong(vec![throttled()], "throttled-alice").await?;
        self.go_wrong(broken(), "broken-alice").await?;
        self.go_wrong(vec![foreign()], "broken-alice").await?;
        self.expired().await
    }

    /// Twice, which a round gets over.
    async fn throttled_for_a_while(&mut self) -> Result<()> {
        let name = "entra/trouble/throttled-twice";
        let mut lived = self.begin(name, "429 with Retry-After, twice in a row");
        let before = picture(&self.settled().await?);
        self.tenant.spoil(USERS, Some(2), throttled().act).await?;
        let asked = self.tenant.asked()?.len();
        let outcome = self.sync(&["users"]).await?;
        let refused = self.tenant.asked()?;
        let refused = refused
            .iter()
            .skip(asked)
            .filter(|asked| asked.status == Some(429));
        let refused = refused.count();
        lived.state(
            refused == 2,
            "refused twice".to_owned(),
            format!("refused {refused} times"),
        );
        let status = self.settled().await?;
        let is_fine = outcome[0]["outcome"] == "unchanged" || outcome[0]["outcome"] == "committed";
        lived.state(
            is_fine && status["state"] == "healthy" && picture(&status)[1..] == before[1..],
            "the round waits, and goes on; status: healthy".to_owned(),
            format!(
                "weir entra sync says: {outcome}; status: {}",
                in_words(&status)
            ),
        );
        self.tenant.mend().await?;
        self.end(lived);
        Ok(())
    }

    /// Several at a time, each at its own part; a row for each. A sign-in meanwhile is decided as ever.
    async fn go_wrong(&mut self, troubles: Vec<Trouble>, row: &str) -> Result<()> {
        let before = picture(&self.settled().await?);
        for Trouble { path, act, .. } in &troubles {
            self.tenant.spoil(path, None, act.clone()).await?;
        }
        let outcomes = match &troubles[..] {
            [
                Trouble {
                    part: "locations", ..
                },
            ] => self.sync(&["locations"]).await?,
            [Trouble { part, .. }] => self.sync(&[part, "--full"]).await?,
            _ => self.sync(&["--full"]).await?,
        };
        let status = self.settled().await?;
        let mut begun = Vec::new();
        for trouble in &troubles {
            let mut lived = self.begin(trouble.name, trouble.what);
            let all = outcomes.as_array().into_iter().flatten();
            let own = all.into_iter().find(|one| one["part"] == trouble.part);
            lived.state(
                own.is_some_and(|own| own["outcome"] == "failed"),
                format!("{}: the round fails", trouble.part),
                format!("weir entra sync says: {}", own.unwrap_or(&outcomes)),
            );
            self.named(trouble, &status, &mut lived).await?;
            let after = picture(&status);
            lived.state(
                after[1..] == before[1..],
                format!(
                    "the picture has {} users and {} groups, as before",
                    after[1], after[2]
                ),
                format!("before {before:?}, now {after:?}"),
            );
            if let [_] = &troubles[..] {
                lived.state(
                    after[0] == before[0],
                    format!("picture {} stays in force", after[0]),
                    format!("picture {} is in force, and was {}", after[0], before[0]),
                );
            }
            begun.push(lived);
        }
        self.perform(&[row]).await?;
        self.tenant.mend().await?;
        let outcome = self.sync(&[]).await?;
        let status = self.settled().await?;
        for mut lived in begun {
            lived.state(
                status["state"] == "healthy",
                "afterwards: healthy".to_owned(),
                format!("afterwards: {}; {outcome}", in_words(&status)),
            );
            self.end(lived);
        }
        Ok(())
    }

    /// Status names it, with what to do next.
    async fn named(&self, trouble: &Trouble, status: &Value, lived: &mut Lived) -> Result<()> {
        let own = part(status, trouble.part)["findings"]
            .as_array()
            .into_iter()
            .flatten();
        let own = own
            .into_iter()
            .find(|finding| finding["reason"] == trouble.reason);
        let step = own.and_then(|finding| finding["step"].as_str());
        let step = step.unwrap_or_default();
        lived.state(
            status["state"] != "healthy" && !step.is_empty(),
            format!("{}: {}. {step}", trouble.part, trouble.reason),
            format!("status: {}", in_words(status)),
        );
        let told = self.weir(&["entra", "status"]).await?;
        let first = step
            .split_whitespace()
            .take(4)
            .collect::<Vec<_>>()
            .join(" ");
        lived.state(
            told.line().contains(&first),
            "weir entra status tells a person the same".to_owned(),
            format!("weir entra status says: {}", told.line()),
        );
        Ok(())
    }

    /// Every link that was handed out is void: all is read anew, and nobody is lost.
    async fn expired(&mut self) -> Result<()> {
        let mut lived = self.begin("entra/trouble/expired", "the delta links have expired");
        let before = self.settled().await?;
        self.tenant.change(json!({ "do": "expire-links" })).await?;
        let asked = self.tenant.asked()?.len();
        self.sync(&["users"]).await?;
        self.sync(&["groups"]).await?;
        let status = self.settled().await?;
        let all = self.tenant.asked()?;
        let is_refused = |status: u16| status >= 400;
        let mut since = all.iter().skip(asked);
        lived.state(
            since.any(|asked| asked.status.is_some_and(is_refused)),
            "the tenant refuses the links".to_owned(),
            "the tenant refused nothing".to_owned(),
        );
        lived.state(
            status["state"] == "healthy" && picture(&status)[1..] == picture(&before)[1..],
            "all is read anew; status: healthy, nobody is lost".to_owned(),
            format!("status: {}; {:?}", in_words(&status), picture(&status)),
        );
        lived.state(
            findings(&status).is_empty(),
            "nothing is left to do".to_owned(),
            in_words(&status),
        );
        let elsewhere = all
            .iter()
            .filter(|asked| asked.local.port() == 8443)
            .count();
        lived.state(
            elsewhere == 0,
            "no link to another host was ever followed".to_owned(),
            format!("{elsewhere} requests went to another host"),
        );
        self.end(lived);
        Ok(())
    }
}

fn throttled() -> Trouble {
    Trouble {
        name: "entra/trouble/throttled",
        what: "429 with Retry-After, however often it is asked",
        part: "users",
        path: USERS,
        act: json!({ "do": "graph", "status": 429, "code": "TooManyRequests", "message": "Too many requests",
            "headers": [["Retry-After", "1"]] }),
        reason: "throttled",
    }
}

fn broken() -> Vec<Trouble> {
    vec![
        Trouble {
            name: "entra/trouble/server-error",
            what: "500, however often it is asked",
            part: "users",
            path: USERS,
            act: json!({ "do": "graph", "status": 500, "code": "generalException", "message": "It is broken" }),
            reason: "unavailable",
        },
        Trouble {
            name: "entra/trouble/truncated",
            what: "a page that breaks off, and says that it is whole",
            part: "groups",
            path: GROUPS,
            act: json!({ "do": "truncate", "bytes": 200 }),
            reason: "malformed",
        },
        Trouble {
            name: "entra/trouble/empty",
            what: "200 with nothing in it",
            part: "locations",
            path: LOCATIONS,
            act: json!({ "do": "answer", "status": 200, "body": "" }),
            reason: "malformed",
        },
    ]
}

fn foreign() -> Trouble {
    Trouble {
        name: "entra/trouble/foreign-link",
        what: "a link to the next page on another host",
        part: "users",
        path: USERS,
        act: json!({ "do": "links", "origin": ELSEWHERE }),
        reason: "foreign-link",
    }
}
