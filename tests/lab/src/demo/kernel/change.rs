//! Lists change while a forwarded and a proxied flow live.

use anyhow::Result;
use serde_json::Value;
use tokio::time::timeout;

use super::{PART, SERVICE};
use crate::demo::client::{Connection, address};
use crate::demo::life::dead::SILENCE;
use crate::demo::life::{Lived, Ward};
use crate::demo::witness::Witness;
use crate::settings::{Plane, STRICT, Settings};
use crate::sources::{Class, Family};

/// How often a flow is asked whether it still lives.
const TIMES: usize = 5;
/// The window that the row configures, in milliseconds.
const WINDOW: u64 = 600_000;

impl Ward<'_> {
    /// The managed source becomes one that the proxy serves, and the unmanaged one becomes managed.
    pub(super) async fn change(&self, family: Family, lived: &mut Lived) -> Result<()> {
        self.configure(Settings {
            plane: Plane::Drained("10m"),
            ..Settings::of(STRICT)
        })
        .await?;
        let [managed, unmanaged] =
            [Class::Managed, Class::Unmanaged].map(|class| class.source().address(family));
        let mut witness = Witness::begin(self.lab)?;
        let mut forwarded = self.open(Class::Managed, family).await?;
        let mut proxied = self.open(Class::Unmanaged, family).await?;
        let direct = witness.seen()?.direct;
        lived.state(
            direct == [forwarded.local],
            "one flow is forwarded, one is proxied".to_owned(),
            format!("the service saw connections of {direct:?}"),
        );
        // The new class of each, and what it keeps against that.
        let keeps = [(Class::Bypass, "forward"), (Class::Managed, "proxy")];
        let mut kept = Vec::new();
        for (class, verdict) in keeps {
            kept.push(self.counted(class, verdict, "kept").await?);
        }
        let (_, before) = in_transition(&self.told().await?.0);
        self.on_list(Class::Bypass, managed, true).await?;
        self.on_list(Class::Managed, unmanaged, true).await?;
        let (window, ranges) = in_transition(&self.told().await?.0);
        lived.state(
            window == WINDOW && before == 0 && ranges > 0,
            format!("status: {ranges} ranges in transition, window {window} ms"),
            format!("status says {window} ms, and {before} ranges before, {ranges} after"),
        );
        self.both_live([&mut forwarded, &mut proxied], "changed", lived)
            .await?;
        for ((class, verdict), before) in keeps.into_iter().zip(kept) {
            let kept = self.counted(class, verdict, "kept").await? - before;
            lived.state(
                kept > 0,
                format!("kept: {verdict} of {} {kept} packets", class.name()),
                format!(
                    "no packet is counted as kept: {verdict} of {}",
                    class.name()
                ),
            );
        }
        witness.seen()?;
        let now_proxied = self.open(Class::Managed, family).await?;
        let now_forwarded = self.open(Class::Unmanaged, family).await?;
        let direct = witness.seen()?.direct;
        lived.state(
            direct == [now_forwarded.local] && now_proxied.local.ip() == managed,
            "new connections take the new verdicts".to_owned(),
            format!("the service saw new connections of {direct:?}"),
        );
        self.on_list(Class::Bypass, managed, false).await?;
        self.on_list(Class::Managed, unmanaged, false).await?;
        self.both_live([&mut forwarded, &mut proxied], "changed back", lived)
            .await?;
        self.both_live_of([now_proxied, now_forwarded], lived)
            .await?;
        self.configure(Settings {
            plane: Plane::Drained("0s"),
            ..Settings::of(STRICT)
        })
        .await?;
        let (_, ranges) = in_transition(&self.told().await?.0);
        lived.state(
            ranges == 0,
            "status: nothing in transition when the window is ended".to_owned(),
            format!("status still says {ranges} ranges"),
        );
        self.both_live([&mut forwarded, &mut proxied], "the window ended", lived)
            .await
    }

    /// Both sources become blocked, by a list that cuts.
    pub(super) async fn cut(&self, family: Family, lived: &mut Lived) -> Result<()> {
        self.configure(Settings {
            plane: Plane::Cutting,
            ..Settings::of(STRICT)
        })
        .await?;
        let both = [Class::Managed, Class::Unmanaged];
        let to = address(self.lab, SERVICE, family)?;
        let mut forwarded = self.open(Class::Managed, family).await?;
        let mut proxied = self.open(Class::Unmanaged, family).await?;
        let before = self.counted(Class::Blocked, "drop", "class").await?;
        for class in both {
            let address = class.source().address(family);
            self.on_list(Class::Blocked, address, true).await?;
        }
        let answer = timeout(SILENCE, proxied.get(PART)).await;
        lived.state(
            matches!(answer, Ok(Err(_))),
            "the proxied flow is reset at once".to_owned(),
            format!("the proxied flow: {answer:?}"),
        );
        let answer = timeout(SILENCE, forwarded.get(PART)).await;
        lived.state(
            answer.is_err(),
            "the forwarded flow gets no answer any more".to_owned(),
            format!("the forwarded flow: {answer:?}"),
        );
        for class in both {
            let answer = timeout(SILENCE, self.connect_once(class, family, to)).await;
            lived.state(
                answer.is_err(),
                format!("{} connects no more", class.name()),
                format!("{} is answered: {answer:?}", class.name()),
            );
        }
        let dropped = self.counted(Class::Blocked, "drop", "class").await? - before;
        lived.state(
            dropped >= 3,
            format!("dropped {dropped} packets"),
            format!("only {dropped} packets were counted as dropped"),
        );
        let (_, ranges) = in_transition(&self.told().await?.0);
        lived.state(
            ranges == 0,
            "status: nothing in transition".to_owned(),
            format!("status says {ranges} ranges in transition"),
        );
        for class in both {
            let address = class.source().address(family);
            self.on_list(Class::Blocked, address, false).await?;
            let again = self.ask(class, family, to).await;
            lived.state(
                matches!(again, Ok(200)),
                format!("{} is served again", class.name()),
                format!("{} is not served again: {again:?}", class.name()),
            );
        }
        Ok(())
    }

    async fn both_live(
        &self,
        flows: [&mut Connection; 2],
        when: &str,
        lived: &mut Lived,
    ) -> Result<()> {
        for (flow, word) in flows.into_iter().zip(["forwarded", "proxied"]) {
            let mut answers = 0;
            while answers < TIMES && matches!(flow.get(PART).await, Ok(200)) {
                answers += 1;
            }
            lived.state(
                answers == TIMES,
                format!("{when}: the {word} flow lives"),
                format!("{when}: the {word} flow broke after {answers} answers"),
            );
        }
        Ok(())
    }

    /// The connections that began under the new classes, when these are gone.
    async fn both_live_of(&self, flows: [Connection; 2], lived: &mut Lived) -> Result<()> {
        let [mut proxied, mut forwarded] = flows;
        self.both_live([&mut forwarded, &mut proxied], "begun amid", lived)
            .await
    }
}

/// The drain window in milliseconds, and how many ranges of sources are in it.
fn in_transition(status: &Value) -> (u64, u64) {
    let told = &status["kernel"]["transition"];
    let number = |key: &str| told[key].as_u64().unwrap_or(u64::MAX);
    (number("window_ms"), number("ranges"))
}
