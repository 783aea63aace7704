//! A flow that is kept busy until it is cut.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{PATIENCE, Show};
use crate::demo::client::{Connection, address};
use crate::demo::life::dead::SILENCE;
use crate::demo::witness::Witness;
use crate::sources::{Class, Family};

/// The service whose managed sources the kernel forwards.
pub const SERVICE: &str = "sts";
const HOST: &str = "sts.corp.example";
/// What clients ask for: a picture of the page, which anyone may have who is not refused.
pub const PART: &str = "/adfs/portal/logo/logo.svg";
/// How often it is asked for.
const PACE: Duration = Duration::from_millis(4);

/// A connection on which somebody asks for something all the time.
pub struct Flow(JoinHandle<Cut>);

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// When it was closed; or when the request was sent to which nothing came any more.
    pub at: OffsetDateTime,
    /// Requests that were answered before.
    pub answers: u64,
}

impl Flow {
    /// Asks until nothing comes any more.
    pub fn begin(mut connection: Connection) -> Self {
        Self(tokio::spawn(async move {
            let mut answers = 0;
            loop {
                let sent = OffsetDateTime::now_utc();
                let at = match timeout(SILENCE, connection.get(PART)).await {
                    Ok(Ok(200)) => {
                        answers += 1;
                        sleep(PACE).await;
                        continue;
                    }
                    Ok(_) => OffsetDateTime::now_utc(),
                    Err(_) => sent,
                };
                return Cut { at, answers };
            }
        }))
    }

    /// Waits until it is cut; `None` when it is not.
    pub async fn cut(mut self) -> Result<Option<Cut>> {
        match timeout(PATIENCE, &mut self.0).await {
            Ok(cut) => Ok(Some(cut.context("the flow's task broke")?)),
            Err(_) => Ok(None),
        }
    }

    /// Whether it still lives.
    pub fn lives(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Show<'_> {
    /// Opens a connection to the service from the address of an unmanaged class, and has an answer on it. With it, whether
    /// the kernel forwarded it: then the service saw the client itself.
    pub(super) async fn open(&self, family: Family) -> Result<(Connection, bool)> {
        let mut witness = Witness::begin(self.lab)?;
        let to = address(self.lab, SERVICE, family)?;
        let from = Class::Unmanaged.source().address(family);
        let mut connection = self.client.connect(Some(from), to, HOST).await?;
        let status = connection.get(PART).await?;
        if status != 200 {
            bail!("{from} was answered with status {status}");
        }
        let is_forwarded = witness.seen()?.direct.contains(&connection.local);
        Ok((connection, is_forwarded))
    }
}
